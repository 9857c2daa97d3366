"""What is read out of ENVELOPE and BODYSTRUCTURE, which are kept as they are sent.

BODY is BODYSTRUCTURE without extension data, and only the latter is kept. RFC 9051,
7.5.2: what follows the basic fields of a part are extensions, in an order that lets a
reader stop early; so does this, and copies the rest as it is.
"""

from __future__ import annotations

import re

from noinfra.mail.imap.scanner import Scanner

_LITERAL = re.compile(rb"\{([0-9]+)\}\r\n")
_QUOTED = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ATOM = re.compile(rb"[^ ()]+")

# Type, subtype, parameters, id, description, encoding, octets; then lines for text, and
# envelope, body and lines for a message (RFC 9051, 9: body-type-1part).
_BASIC = 7
_TEXT = 8
_MESSAGE = 10

# The fields of an ENVELOPE by their places in it.
TO, CC = 5, 6


def basic_body(structure: bytes) -> bytes:
    """The BODY that a BODYSTRUCTURE of ours amounts to."""
    return _body(structure, 0)[0]


def leading_group(envelope: bytes, field: int) -> bytes | None:
    """The name of the group that a field of an ENVELOPE of ours begins with, if any.

    RFC 9051, 7.5.2: a group begins with an address that has a mailbox and no host.
    """
    at = 1
    for _ in range(field):
        at = _end(envelope, at)
    start = at + len(b" ((NIL NIL ")
    if not envelope.startswith(b" ((NIL NIL ", at):
        return None
    end = _string_end(envelope, start)
    if not envelope.startswith(b" NIL)", end):
        return None
    return Scanner(envelope[start:end]).nstring()


def _body(octets: bytes, at: int) -> tuple[bytes, int]:
    """The basic form of the body that begins here, and where it ends."""
    if octets[at + 1 : at + 2] == b"(":
        return _multipart(octets, at)
    items: list[bytes] = []
    most = _BASIC
    at += 1
    while octets[at : at + 1] != b")":
        if octets[at : at + 1] == b" ":
            at += 1
        if len(items) == _TEXT and most == _MESSAGE:
            item, at = _body(octets, at)
        else:
            end = _end(octets, at)
            item, at = octets[at:end], end
        if len(items) < most:
            items.append(item)
        if len(items) == 2:
            most = _length(items[0], items[1])
    return b"(%b)" % b" ".join(items), at + 1


def _length(main: bytes, sub: bytes) -> int:
    if main.lower() == b'"text"':
        return _TEXT
    embeds = sub.lower() in (b'"rfc822"', b'"global"')
    return _MESSAGE if main.lower() == b'"message"' and embeds else _BASIC


def _multipart(octets: bytes, at: int) -> tuple[bytes, int]:
    bodies = []
    at += 1
    while octets[at : at + 1] == b"(":
        body, at = _body(octets, at)
        bodies.append(body)
    start = at + 1
    at = _end(octets, start)
    subtype = octets[start:at]
    while octets[at : at + 1] == b" ":
        at = _end(octets, at + 1)
    return b"(%b %b)" % (b"".join(bodies), subtype), at + 1


def _end(octets: bytes, at: int) -> int:
    """Where the value ends that begins here."""
    depth = 0
    while True:
        first = octets[at : at + 1]
        if first == b"(":
            depth += 1
            at += 1
        elif first == b")":
            depth -= 1
            at += 1
        elif first == b" ":
            at += 1
            continue
        else:
            at = _string_end(octets, at)
        if depth == 0:
            return at


def _string_end(octets: bytes, at: int) -> int:
    if literal := _LITERAL.match(octets, at):
        return literal.end() + int(literal[1])
    found = _QUOTED.match(octets, at) or _ATOM.match(octets, at)
    if found is None:
        raise ValueError(f"no BODYSTRUCTURE at octet {at} of {octets[:200]!r}")
    return found.end()
