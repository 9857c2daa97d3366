"""Mailbox names: modified UTF-7 on the wire (RFC 3501, 5.1.3), text to us.

Clients that enabled UTF8=ACCEPT or IMAP4rev2 write and hear UTF-8 instead. INBOX is the
one name without case, and only as the first level of a hierarchy.
"""

from __future__ import annotations

import binascii
import re
import unicodedata

DELIMITER = "/"

_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_UNPRINTABLE = re.compile(r"[^\x20-\x25\x27-\x7e]+")


class BadName(ValueError):
    """Octets that are no mailbox name; says why."""


def decode_name(octets: bytes, *, utf8: bool = False) -> str:
    """The name that a client wrote, in one normal form (RFC 9051, 5.1).

    Eight bits are UTF-8 whatever was enabled: no other reading makes sense of them.

    :raises BadName: it is neither.
    """
    try:
        if utf8 or not octets.isascii():
            name = octets.decode("utf-8")
        else:
            name = decode_utf7(octets)
    except UnicodeDecodeError as error:
        raise BadName("The mailbox name is not in UTF-8.") from error
    return with_inbox(unicodedata.normalize("NFC", name))


def with_inbox(name: str) -> str:
    """The name with its first level as INBOX, if it is that in any case."""
    first, delimiter, rest = name.partition(DELIMITER)
    return f"INBOX{delimiter}{rest}" if first.upper() == "INBOX" else name


def encode_name(name: str, *, utf8: bool = False) -> bytes:
    """The octets of a name, before they are quoted."""
    return name.encode("utf-8", "replace") if utf8 else encode_utf7(name)


def decode_utf7(octets: bytes) -> str:
    """Text from modified UTF-7.

    :raises BadName: the octets are none.
    """
    text = _SHIFTED.sub(_unshift, octets)
    if octets.count(b"&") != len(_SHIFTED.findall(octets)):
        raise BadName('In a mailbox name "&" begins modified UTF-7; write "&-".')
    return text.decode("utf-8")


def _unshift(found: re.Match[bytes]) -> bytes:
    digits = found[1].replace(b",", b"/")
    if not digits:
        return b"&"
    try:
        units = binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
        return units.decode("utf-16-be").encode("utf-8")
    except (binascii.Error, UnicodeError) as error:
        raise BadName("The mailbox name is not in modified UTF-7.") from error


def encode_utf7(name: str) -> bytes:
    """Text in modified UTF-7."""
    return _UNPRINTABLE.sub(_shift, name).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    pieces = []
    for run in re.split("(&)", found[0]):
        if run == "&":
            pieces.append("&-")
        elif run:
            units = run.encode("utf-16-be", "replace")
            digits = binascii.b2a_base64(units, newline=False).rstrip(b"=")
            pieces.append(f"&{digits.decode('ascii').replace('/', ',')}-")
    return "".join(pieces)
