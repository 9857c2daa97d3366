"""Trace fields and the other header surgery that a server does on mail in transit.

Everything works on the octets before the body and leaves all others as they are:
a signature over them must hold afterwards.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from noinfra.mail.address import Address
from noinfra.mail.encode import addr_spec, fold

#: A message with more Received fields than this is in a loop (RFC 5321, 6.3).
MAX_HOPS: Final = 100

# What a peer says of itself goes into the header: only what a host name or an address
# literal is made of may stand as it is, and no more of it than a name may have.
_NOT_HOST = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_NOT_COMMENT = re.compile(r"[^A-Za-z0-9 ._:=/+-]")
_MAX_HOST: Final = 255
_RECEIVED = re.compile(rb"(?i)received[ \t]*+:")
# These begin with a line's end, for which re searches at memory speed.
_RECEIVED_BELOW = re.compile(rb"(?i)\nreceived[ \t]*+:")
_END_OF_HEADER = re.compile(rb"\n\r?\n")


def protocol(*, extended: bool, tls: bool, authenticated: bool, utf8: bool) -> str:
    """The word after "with" (RFC 3848; RFC 6531, 4.3)."""
    if not extended:
        return "SMTP"
    return f"{'UTF8SMTP' if utf8 else 'ESMTP'}{'S' * tls}{'A' * authenticated}"


def received(
    *,
    helo: str,
    peer: str,
    peer_name: str | None,
    by: str,
    protocol: str,
    session_id: str,
    recipient: Address | None,
    date: datetime,
    tls: str | None,
) -> bytes:
    """The Received field that we put before a message (RFC 5321, 4.4).

    `peer` is the client's address and `peer_name` its host name, where its forward and
    reverse DNS agree; `tls` is version and cipher. Give the recipient only where there
    is a single one, or the field would tell others of a Bcc (RFC 5321, 7.2).
    """
    literal = f"IPv6:{peer}" if ":" in peer else peer
    words = [
        f"from {_host(helo)}",
        f" ({_host(peer_name)} [{_host(literal)}])"
        if peer_name
        else f" ([{_host(literal)}])",
        f" by {_host(by)}",
        f" with {_host(protocol)}",
        f" id {_host(session_id)}",
    ]
    if tls:
        words.append(f" ({_NOT_COMMENT.sub('?', tls)})")
    if recipient is not None and (recipient.is_ascii or protocol.startswith("UTF8")):
        words.append(f" for <{addr_spec('Received', recipient)}>")
    words[-1] += ";"
    return fold("Received", [*words, f" {format_datetime(date)}"])


def _host(text: str) -> str:
    """What may stand where a host name does, whatever a peer called itself."""
    return _NOT_HOST.sub("?", text[:_MAX_HOST]) or "?"


def return_path(reverse_path: Address | None) -> bytes:
    """The field that final delivery adds; None is the null reverse-path."""
    path = "" if reverse_path is None else addr_spec("Return-Path", reverse_path)
    return fold("Return-Path", [f"<{path}>"])


def count_received(octets: bytes) -> int:
    """How many hops a message has taken; more than `MAX_HOPS` make a loop."""
    end = header_end(octets)
    first = _RECEIVED.match(octets, 0, end) is not None
    return first + len(_RECEIVED_BELOW.findall(octets, 0, end))


def header_end(octets: bytes) -> int:
    """Where the header ends: behind its last line end, before the empty line."""
    if octets.startswith((b"\r\n", b"\n")):
        return 0
    found = _END_OF_HEADER.search(octets)
    return len(octets) if found is None else found.start() + 1


def add_missing(octets: bytes, *, date: datetime, message_id: str) -> bytes:
    """Give a submitted message the fields it must have (RFC 6409, 8.2 and 8.3)."""
    header = octets[: header_end(octets)]
    missing = b""
    if not has_field(header, "Message-ID"):
        missing += fold("Message-ID", [f"<{message_id}>"])
    if not has_field(header, "Date"):
        missing += fold("Date", [format_datetime(date)])
    if not missing:
        return octets
    separator = (
        b"\r\n" if not header and not octets.startswith((b"\r\n", b"\n")) else b""
    )
    return missing + separator + octets


def has_field(header: bytes, name: str) -> bool:
    """Whether a header has a field of that name."""
    return re.search(_line_of(name), header) is not None


def strip_fields(octets: bytes, names: Iterable[str]) -> bytes:
    """Remove fields such as Bcc with their continuation lines; the rest stays."""
    end = header_end(octets)
    any_of = b"|".join(_line_of(name) for name in names)
    field = re.compile(rb"(?:%b)[^\n]*\n?(?:[ \t][^\n]*\n?)*" % any_of)
    header = octets[:end]
    stripped = field.sub(b"", header)
    return octets if len(stripped) == end else stripped + octets[end:]


def _line_of(name: str) -> bytes:
    # A first line that is indented continues nothing: it is read as a field, too.
    return rb"(?mi:(?:^|\A[ \t]+)%b[ \t]*:)" % re.escape(name.encode("ascii"))
