"""An IMAP client that reads fast and looks at little, so that a server is what is timed."""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import Self

_PIECE = 262_144


class ImapClient:
    """A connection by TLS that has logged in.

    :ivar began: when it said LOGIN, by the clock of time.perf_counter().
    """

    def __init__(self, port: int, user: str, password: str) -> None:
        context = ssl.create_default_context()
        # On the loopback, to a certificate that nobody vouches for.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", port), 600)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain)
        self._number = 0
        self._piece = memoryview(bytearray(_PIECE))
        self.wait(b"* OK ")
        self.began = time.perf_counter()
        self.ask(f"LOGIN {user} {password}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, command: str) -> bytes:
        """The responses to a command, with its tagged one.

        :raises RuntimeError: it is refused.
        """
        tag = self._say(command)
        told = bytearray()
        while not ends(told[-4096:], tag):
            told += self._some()
        return bytes(told)

    def weigh(self, command: str) -> int:
        """The octets of the responses to a command, which are not kept."""
        tag = self._say(command)
        end, count = b"", 0
        while not ends(end, tag):
            some = self._some()
            count += len(some)
            end = (end + bytes(some[-4096:]))[-4096:]
        return count

    def timed(self, command: str) -> tuple[float, int]:
        """How long a command took, in seconds, and the octets of its responses."""
        began = time.perf_counter()
        count = self.weigh(command)
        return time.perf_counter() - began, count

    def idle(self) -> None:
        """Begin to idle (RFC 2177)."""
        self._say("IDLE")
        self.wait(b"+ ")

    def done(self) -> None:
        """Idle no longer; all that was told meanwhile is read."""
        self._socket.sendall(b"DONE\r\n")
        self.wait(b"a%d OK" % self._number)

    def wait(self, text: bytes) -> float:
        """Read until this is told; gives when it was, by the monotonic clock."""
        told = bytearray()
        while text not in told:
            told += self._some()
        return time.monotonic()

    def _say(self, command: str) -> bytes:
        self._number += 1
        self._socket.sendall(f"a{self._number} {command}\r\n".encode())
        return b"a%d " % self._number

    def _some(self) -> memoryview:
        count = self._socket.recv_into(self._piece)
        if not count:
            raise RuntimeError("the IMAP server hung up")
        return self._piece[:count]


def ends(told: bytes | bytearray, tag: bytes) -> bool:
    """Whether the last line is the tagged response.

    :raises RuntimeError: it is no OK.
    """
    if not told.endswith(b"\r\n"):
        return False
    last = told[:-2].rpartition(b"\r\n")[2]
    if not last.startswith(tag):
        return False
    if not re.match(rb"a\d+ OK\b", last):
        raise RuntimeError(f"the IMAP server says {bytes(last)!r}")
    return True
