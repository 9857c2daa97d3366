"""Values as IMAP sends them (RFC 9051, 9; RFC 3501, 9)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from noinfra.mail.imap.names import encode_name

NIL = b"NIL"

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+\Z')
_TO_ESCAPE = re.compile(rb'(["\\])')
_UNQUOTABLE = re.compile(rb"[\r\n\0\x80-\xff]")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_BRACKETS = str.maketrans("[]", "()")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
# Longer than this is sent as a literal, which a client need not search for its end.
_QUOTED = 1000


def quoted(octets: bytes) -> bytes:
    """Octets without line breaks, between quotes."""
    if b'"' in octets or b"\\" in octets:
        octets = _TO_ESCAPE.sub(rb"\\\1", octets)
    return b'"%b"' % octets


def literal(octets: bytes) -> bytes:
    """Octets of any kind, announced by their number."""
    return b"{%d}\r\n%b" % (len(octets), octets)


def string(octets: bytes) -> bytes:
    """A quoted string where that can hold the octets, else a literal."""
    if len(octets) > _QUOTED or _UNQUOTABLE.search(octets):
        return literal(octets)
    return quoted(octets)


def utf8_string(text: str) -> bytes:
    """Text in UTF-8: quoted where it is ASCII, else a literal."""
    return string(text.replace("\0", "").encode("utf-8", "replace"))


def astring(octets: bytes) -> bytes:
    """An atom where that can hold the octets, else a string."""
    if _ATOM.match(octets) and octets.upper() != NIL:
        return octets
    return string(octets)


def nstring(octets: bytes | None) -> bytes:
    """A string, or NIL."""
    return NIL if octets is None else string(octets)


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name: quoted, since many clients read nothing else in LIST."""
    octets = encode_name(name, utf8=utf8)
    if name == "INBOX":
        return octets
    # RFC 6855, 3: quoted strings may hold UTF-8 once the client has enabled that.
    return quoted(octets) if utf8 else string(octets)


def date_time(moment: datetime) -> bytes:
    """A date-time between quotes, in UTC."""
    moment = moment.astimezone(UTC)
    return (
        f'"{moment.day:02d}-{_MONTHS[moment.month - 1]}-{moment.year:04d} '
        f'{moment:%H:%M:%S} +0000"'
    ).encode("ascii")


def text(words: str) -> bytes:
    """Human-readable text: one line of printable ASCII that begins no response code."""
    line = " ".join(words.split())
    line = line.encode("ascii", "backslashreplace").decode("ascii")
    line = _UNPRINTABLE.sub("?", line)
    if line.startswith("["):
        line = line.translate(_BRACKETS)
    return line.encode("ascii") or b"-"
