"""MIME entities on their way out: a tree that gives its octets piece by piece.

What is large (an attachment) is encoded only as its piece is asked for, so that
composing copies it once and a caller can spread the work.
"""

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count
from typing import Final, TypeAlias

from attrs import frozen

from noinfra.mail.encode import LINE, MAX_LINE, ComposeError, fold, parameters_field

#: Octets in a line of base64, and lines encoded in one go.
_BASE64_LINE: Final = 57
_BASE64_LINES: Final = 1024

_PRINTABLE: Final = bytes(range(32, 127)) + b"\t\r\n"
_NOT_A_LINE = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")
_EIGHT_BIT: Final = b"Content-Transfer-Encoding: 8bit\r\n"
_TOO_LONG_LINE = re.compile(rb"[^\r\n]{%d}" % (MAX_LINE + 1))


@frozen(kw_only=True)
class Leaf:
    """An entity with content; `octets` are final unless they are still to be base64."""

    fields: bytes
    octets: bytes
    to_base64: bool


@frozen(kw_only=True)
class Branch:
    """A multipart entity; `parameters` are further ones of its type."""

    subtype: str
    children: Sequence["Entity"]
    parameters: tuple[tuple[str, ...], ...] = ()


Entity: TypeAlias = Leaf | Branch


def text_leaf(field: str, subtype: str, text: str, *, extra: bytes = b"") -> Leaf:
    """Text as 7bit where it can be, else by what is shorter.

    Long lines count as what must be encoded: quoted-printable brings them back as they
    were, and no server on the way may break them.
    """
    try:
        octets = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ComposeError(
            field, f"holds half a character at {error.start}; send whole UTF-8"
        ) from error
    octets = _crlf(octets)
    encoding, encoded, to_base64 = _encoded_text(octets)
    fields = (
        parameters_field("Content-Type", f"text/{subtype}", [["charset=utf-8"]])
        + extra
        + fold("Content-Transfer-Encoding", [encoding])
    )
    return Leaf(fields=fields, octets=encoded, to_base64=to_base64)


def _encoded_text(octets: bytes) -> tuple[str, bytes, bool]:
    odd = len(octets.translate(None, _PRINTABLE))
    # Lines end in CRLF by now; to split costs a tenth of what a search for a run does.
    if not odd and max(map(len, octets.split(b"\r\n"))) <= LINE:
        return "7bit", octets, False
    # An odd octet takes three in quoted-printable; base64 takes four for any three.
    if odd * 6 > len(octets):
        return "base64", octets, True
    return "quoted-printable", b2a_qp(octets), False


def _crlf(octets: bytes) -> bytes:
    """Text with CRLF line ends throughout, the last line ended too."""
    octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if octets and not octets.endswith(b"\n"):
        octets += b"\n"
    return octets.replace(b"\n", b"\r\n")


def binary_leaf(octets: bytes, fields: bytes) -> Leaf:
    """Any octets, in base64."""
    encoding = fold("Content-Transfer-Encoding", ["base64"])
    return Leaf(fields=fields + encoding, octets=octets, to_base64=True)


def message_leaf(
    octets: bytes, extra: bytes, *, eight_bit: bool = False
) -> Leaf | None:
    """A whole message, in wire form, within another; None where it cannot stand there.

    message/rfc822 may not be encoded (RFC 2046, 5.2.1): it is 7bit or, where the caller
    can do with that, 8bit, which asks the next server for 8BITMIME (RFC 6152).
    """
    fields = fold("Content-Type", ["message/rfc822"]) + extra
    if is_7bit(octets):
        return Leaf(fields=fields, octets=octets, to_base64=False)
    if eight_bit and _fits_lines(octets):
        fields += _EIGHT_BIT
        return Leaf(fields=fields, octets=octets, to_base64=False)
    return None


def is_7bit(octets: bytes) -> bool:
    """Whether octets in wire form need no encoding (RFC 2045, 2.7)."""
    return octets.isascii() and _fits_lines(octets)


def _fits_lines(octets: bytes) -> bool:
    """Whether octets can go through SMTP, once 8 bits can (RFC 2045, 2.8)."""
    return not (_NOT_A_LINE.search(octets) or _TOO_LONG_LINE.search(octets))


def pieces(entity: Entity, seed: str) -> Iterator[bytes]:
    """The octets of an entity, from its first MIME field on.

    The seed (a Message-ID) makes the boundaries: the same one gives the same octets.
    """
    return _pieces(entity, _delimiter(entity, seed), count())


def _delimiter(entity: Entity, seed: str) -> str:
    """A string that no unencoded content within holds, for boundaries to begin with.

    "=_" occurs neither in quoted-printable nor in base64 (RFC 2045, 6.7).
    """
    clear = [one.octets for one in _leaves(entity) if not one.to_base64]
    for attempt in count():
        digest = sha256(f"{attempt} {seed}".encode("utf-8", "replace")).hexdigest()
        delimiter = f"=_{digest[:24]}"
        if not any(delimiter.encode("ascii") in octets for octets in clear):
            break
    return delimiter


def _leaves(entity: Entity) -> Iterator[Leaf]:
    if isinstance(entity, Leaf):
        yield entity
    else:
        for child in entity.children:
            yield from _leaves(child)


def _pieces(entity: Entity, delimiter: str, numbers: "count[int]") -> Iterator[bytes]:
    if isinstance(entity, Leaf):
        yield entity.fields + b"\r\n"
        yield from base64_pieces(entity.octets) if entity.to_base64 else [entity.octets]
        return
    boundary = f"{delimiter}_{next(numbers)}"
    yield parameters_field(
        "Content-Type",
        f"multipart/{entity.subtype}",
        [*entity.parameters, [f'boundary="{boundary}"']],
    )
    # RFC 2045, 6.4: a container says 8bit where anything within does.
    if not all(one.to_base64 or one.octets.isascii() for one in _leaves(entity)):
        yield _EIGHT_BIT
    line = f"\r\n--{boundary}".encode("ascii")
    for child in entity.children:
        yield line + b"\r\n"
        yield from _pieces(child, delimiter, numbers)
    yield line + b"--\r\n"


def base64_pieces(octets: bytes) -> Iterator[bytes]:
    """Octets in base64, lines of 76 (RFC 2045, 6.8), some 80 KB at a time."""
    view = memoryview(octets)
    size = _BASE64_LINE * _BASE64_LINES
    for start in range(0, len(view), size):
        yield _base64_lines(b64encode(view[start : start + size]))


def _base64_lines(encoded: bytes) -> bytes:
    starts = range(0, len(encoded), LINE)
    return b"\r\n".join([encoded[start : start + LINE] for start in starts]) + b"\r\n"
