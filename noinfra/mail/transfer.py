"""Content-Transfer-Encoding undone (RFC 2045, 6), whatever mailers get wrong in it."""

import binascii
import re

_BASE64_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BASE64_JUNK = bytes(set(range(256)) - set(_BASE64_DIGITS))
_SAMPLE = 4096
_WHITE_SPACE = b" \t\r\n"
# Possessive, and anchored where a run begins: linear on any octets.
_TRAILING_WHITE_SPACE = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
# Without one of these there is none, which a plain search finds out much sooner.
_BLANK_AT_END = (b" \r", b" \n", b"\t\r", b"\t\n")
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} [^\n]*\n", re.MULTILINE)

_UU_NAMES = frozenset({"x-uuencode", "uuencode", "x-uue", "uue"})

#: The encodings under which octets are not what they stand for.
ENCODINGS = frozenset({"base64", "quoted-printable"}) | _UU_NAMES


def transfer_decode(octets: bytes, encoding: str) -> bytes:
    """The octets that were encoded; for 7bit, 8bit, binary and the unknown, as is."""
    if encoding == "base64":
        return base64_decode(octets)
    if encoding == "quoted-printable":
        return quoted_printable_decode(octets)
    if encoding in _UU_NAMES:
        return uudecode(octets)
    return octets


def base64_decode(octets: bytes) -> bytes:
    """Base64 with junk between, padding missing, or several texts one after another.

    Text that was only said to be base64 comes back as it is.
    """
    if _is_text(octets[:_SAMPLE]):
        return octets
    padding = octets.find(b"=")
    if padding < 0 or not octets[padding:].strip(b"= \t\r\n"):
        try:
            return binascii.a2b_base64(octets)
        except binascii.Error:
            return _base64_quads(octets)
    decoded = [_base64_quads(octets[:padding])]
    rest = octets[padding:].translate(None, _WHITE_SPACE).lstrip(b"=")
    # More base64 was joined on; anything else is a list's footer, or a signature's.
    if rest.translate(None, _BASE64_JUNK) == rest:
        decoded += map(_base64_quads, filter(None, rest.split(b"=")))
    return b"".join(decoded)


def _is_text(sample: bytes) -> bool:
    """Whether this was never base64: one octet of sixteen, or more, could not be."""
    # Blanks tell words apart, but not those around a line.
    sample = b"".join([line.strip() for line in sample.split(b"\n")])
    return 16 * len(sample.translate(None, _BASE64_DIGITS)) > len(sample)


def _base64_quads(octets: bytes) -> bytes:
    digits = octets.translate(None, _BASE64_JUNK).replace(b"=", b"")
    if len(digits) % 4 == 1:
        digits = digits[:-1]  # six bits are no octet
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def quoted_printable_decode(octets: bytes) -> bytes:
    """Quoted-printable; what is not valid stands for itself (RFC 2045, 6.7, note 2)."""
    # Rule 3: white space at a line's end was added on the way.
    if octets.endswith((b" ", b"\t")) or any(one in octets for one in _BLANK_AT_END):
        octets = _TRAILING_WHITE_SPACE.sub(b"", octets)
    return binascii.a2b_qp(octets)


def uudecode(octets: bytes) -> bytes:
    """The file that stands between "begin" and "end"; nothing when there is none."""
    begin = _UU_BEGIN.search(octets)
    if begin is None:
        return b""
    decoded = []
    for line in octets[begin.end() :].split(b"\n"):
        line = line.rstrip(b"\r")
        if line in (b"end", b"`", b""):
            if line == b"end":
                break
            continue
        decoded.append(_uu_line(line))
    return b"".join(decoded)


def _uu_line(line: bytes) -> bytes:
    count = (line[0] - 32) & 63
    # Encoders pad lines too long, or strip their trailing blanks.
    digits = line[: 1 + (count + 2) // 3 * 4].ljust(1 + (count + 2) // 3 * 4)
    try:
        return binascii.a2b_uu(digits)
    except binascii.Error:
        return b""
