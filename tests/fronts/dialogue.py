r"""Plays dialogues: files of what a client says and what a server must answer.

``C: text``   the client sends the text and CRLF
``C+ text``   the client sends the text, without CRLF
``S: text``   the server sends the text and CRLF; "…" stands for anything on that line
``S:``        the server sends an empty line
``-- closed`` the server has closed the connection
``# text``    a remark

In what the client says ``\r``, ``\n``, ``\0``, ``\\`` and ``\xHH`` are octets, as is ``{n*text}``,
the text n times. Lines of one side that stand together are sent, or expected, together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport

DIALOGUES = Path(__file__).parent / "dialogues"
ESCAPE = re.compile(rb"\\(?:([rn0\\])|x([0-9a-fA-F]{2}))|\{(\d+)\*([^}]*)\}")
NAMED = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}

How = Literal["whole", "byte by byte"]


@frozen
class Turn:
    """What the client says, what it then hears, and whether that was all."""

    said: bytes
    heard: tuple[bytes, ...]
    closed: bool
    line: int


def turns(text: str) -> Iterator[Turn]:
    """The turns of a dialogue, each with the number of the line that ends it."""
    said, heard, closed, number = b"", list[bytes](), False, 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("C: ", "C:", "C+ ")):
            if heard or closed:
                yield Turn(said, tuple(heard), closed, number - 1)
                said, heard, closed = b"", [], False
            said += octets(line)
        elif line.startswith("S:"):
            heard.append(line[3:].encode())
        elif line == "-- closed":
            closed = True
        elif line and not line.startswith("#"):
            raise ValueError(f"Line {number} belongs to nobody: {line}")
    yield Turn(said, tuple(heard), closed, number)


def octets(line: str) -> bytes:
    """What a line of the client amounts to."""

    def unescape(found: re.Match[bytes]) -> bytes:
        if found[3] is not None:
            return ESCAPE.sub(unescape, found[4]) * int(found[3])
        return NAMED[found[1]] if found[1] else bytes.fromhex(found[2].decode())

    ending = b"" if line.startswith("C+") else b"\r\n"
    return ESCAPE.sub(unescape, line[3:].encode()) + ending


def play(text: str, connect: Callable[[], IProtocol], how: How) -> None:
    """Hold a conversation, and compare it with the dialogue.

    :raises AssertionError: the server says something else; tells the line.
    """
    protocol = connect()
    transport = transport_of(protocol)
    for turn in turns(text):
        for piece in pieces(turn.said, how):
            protocol.dataReceived(piece)
        _compare(turn, transport.value())
        assert transport.disconnecting == turn.closed, (
            f"line {turn.line}: closed is {transport.disconnecting}"
        )
        transport.clear()


def _compare(turn: Turn, octets: bytes) -> None:
    lines = octets.split(b"\r\n")
    assert lines.pop() == b"", f"line {turn.line}: no CRLF after {octets!r}"
    alike = len(lines) == len(turn.heard) and all(map(matches, turn.heard, lines))
    assert alike, f"line {turn.line}: expected {turn.heard}, heard {lines}"


def matches(pattern: bytes, line: bytes) -> bool:
    """Whether the line is what the dialogue has; "…" is anything."""
    parts = map(re.escape, pattern.split("…".encode()))
    return re.fullmatch(b".*".join(parts), line) is not None


def pieces(octets: bytes, how: How) -> list[bytes]:
    """The octets as the network may bring them."""
    if how == "whole":
        return [octets] if octets else []
    return [octets[at : at + 1] for at in range(len(octets))]


def connected(protocol: IProtocol, peer: str = "192.0.2.1") -> StringTransport:
    """Connect the protocol to a transport that keeps what it says."""
    transport = StringTransport(peerAddress=IPv4Address("TCP", peer, 40000))
    protocol.makeConnection(transport)
    return transport


def transport_of(protocol: IProtocol) -> StringTransport:
    """The transport that `connected` gave the protocol."""
    transport = protocol.transport
    assert isinstance(transport, StringTransport)
    return transport
