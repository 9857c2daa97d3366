"""What a mail is made of: its MIME parts, by their offsets (RFC 2045, 2046, 2183).

parse is pure and total: any octets are a message, perhaps one with defects. It copies
no body. A multipart is cut at its own boundary first, and each piece is then looked at
alone, so an inner part never reaches past an outer boundary (RFC 2046, 5.1.2). Lines
end with LF; a CR before it belongs to the line's end, so that both forms, and mixtures,
are read alike.

A line is a boundary when only blanks follow the boundary on it. RFC 2046, 5.1.1 would
have the beginning of the line suffice, yet then "--ab" ends a part of the boundary "a",
and mailers do nest such names. Lines with more on them count only where there is no
clean one.

Nesting, parts and fields are bounded. Beyond the bounds the rest is one opaque leaf,
and a defect is noted; a message never fails to be stored for what it holds.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import define, field

from noinfra.mail.bodies import attachments
from noinfra.mail.header import (
    MAX_FIELDS,
    decode_words,
    parse_fields,
    parse_parameters,
    unfold,
)
from noinfra.mail.index import Indexed, index, section
from noinfra.mail.part import Message, Part
from noinfra.mail.transfer import ENCODINGS, transfer_decode

__all__ = [
    "Indexed",
    "Message",
    "Part",
    "attachments",
    "body_octets",
    "decoded",
    "index",
    "parse",
    "section",
]

MAX_DEPTH = 30
MAX_PARTS = 1000
#: The fields of all parts together, of which one may have MAX_FIELDS.
MAX_FIELDS_IN_ALL = 20_000
MAX_DEFECTS = 50

_SINGLE = (
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "content-type",
    "content-transfer-encoding",
)
# As nearly all mailers write them: these need no reading.
_ENCODINGS = {
    f" {name}".encode(): name
    for name in ("7bit", "8bit", "binary", "base64", "quoted-printable")
}
# RFC 6838, 4.2
_TYPE = re.compile(r"[^\s/]{1,127}/[^\s/]{1,127}\Z")


def parse(octets: bytes) -> Message:
    """The message that these octets are; never raises."""
    parser = _Parser(octets=octets)
    root = parser.part(0, len(octets), prefix="", number=None, depth=0)
    parts = tuple(_preorder(root))
    defects = tuple(_repeated(root) + parser.defects)
    return Message(root=root, parts=parts, defects=defects[:MAX_DEFECTS])


def _repeated(root: Part) -> list[str]:
    """The defects of fields that stand more than once, and may not."""
    if len(root.values) == len(root.fields):
        return []
    counts = Counter(one.name.lower() for one in root.fields)
    return [f"more than one {name}" for name in _SINGLE if counts[name] > 1]


def _preorder(part: Part) -> Iterator[Part]:
    yield part
    for child in part.children:
        yield from _preorder(child)


@define
class _Parser:
    octets: bytes
    defects: list[str] = field(factory=list)
    _count: int = 0
    _fields_left: int = MAX_FIELDS_IN_ALL

    def part(
        self,
        start: int,
        end: int,
        *,
        prefix: str,
        number: int | None,
        depth: int,
        default: str = "text/plain",
        opaque: bool = False,
    ) -> Part:
        """The part in octets[start:end]; number is None for a whole message."""
        self._count += 1
        limit = min(MAX_FIELDS, self._fields_left)
        fields, body_start, defects = parse_fields(self.octets, start, end, limit=limit)
        self._fields_left -= len(fields)
        values = {one.name.lower(): one.value for one in reversed(fields)}
        main, sub, parameters = _content_type(values.get("content-type"), default)
        encoding = _encoding(values.get("content-transfer-encoding"))
        regions: tuple[tuple[int, int], ...] = ()
        if main == "multipart" and not opaque:
            regions = self._regions(
                parameters.get("boundary", ""), body_start, end, depth
            )
        path, below = _paths(prefix, number, is_multipart=bool(regions))
        self._note(path, defects)
        if main == "multipart":
            if not regions:
                self._note(path, ("a multipart without a part",))
            children = self._children(regions, below, depth, digest=sub == "digest")
        elif main == "message" and sub in ("rfc822", "global") and not opaque:
            children = self._embedded(encoding, body_start, end, below, depth)
        else:
            children = ()
        disposition, disposition_parameters = _disposition(
            values.get("content-disposition")
        )
        counted = main in ("text", "message") or (main == "multipart" and not children)
        return Part(
            path=path,
            type=main,
            subtype=sub,
            parameters=parameters,
            encoding=encoding,
            disposition=disposition,
            disposition_parameters=disposition_parameters,
            content_id=_identifier(values.get("content-id")),
            description=_text(values.get("content-description")),
            language=_languages(values.get("content-language")),
            location=_location(values.get("content-location")),
            md5=_text(values.get("content-md5")),
            header_start=start,
            body_start=body_start,
            end=end,
            lines=count_lines(self.octets, body_start, end) if counted else 0,
            fields=fields,
            values=values,
            children=children,
        )

    def _note(self, path: str, defects: Sequence[str]) -> None:
        if defects and len(self.defects) < MAX_DEFECTS:
            self.defects += [f"{path}: {one}" if path else one for one in defects]

    def _is_full(self, depth: int) -> bool:
        """Whether there is room for no more parts at this depth."""
        full = depth >= MAX_DEPTH or self._count >= MAX_PARTS
        if full:
            self._note("", (f"more than {MAX_PARTS} parts, or {MAX_DEPTH} levels",))
        return full

    def _children(
        self,
        regions: Sequence[tuple[int, int]],
        prefix: str,
        depth: int,
        *,
        digest: bool,
    ) -> tuple[Part, ...]:
        # RFC 2046, 5.1.5
        default = "message/rfc822" if digest else "text/plain"
        children: list[Part] = []
        for number, (start, end) in enumerate(regions, start=1):
            opaque = self._count >= MAX_PARTS
            if opaque:
                self._note(prefix, (f"parts beyond the first {MAX_PARTS}",))
                end = regions[-1][1]
            children.append(
                self.part(
                    start,
                    end,
                    prefix=prefix,
                    number=number,
                    depth=depth + 1,
                    default=default,
                    opaque=opaque,
                )
            )
            if opaque:
                break
        return tuple(children)

    def _embedded(
        self, encoding: str, start: int, end: int, prefix: str, depth: int
    ) -> tuple[Part, ...]:
        """The message within; none if encoded, which RFC 2046, 5.2.1 forbids."""
        if encoding in ENCODINGS or start >= end:
            self._note(prefix, ("a message/rfc822 that is encoded or empty",))
            return ()
        if self._is_full(depth):
            return ()
        return (self.part(start, end, prefix=prefix, number=None, depth=depth + 1),)

    def _regions(
        self, boundary: str, start: int, end: int, depth: int
    ) -> tuple[tuple[int, int], ...]:
        """Where the parts of a multipart lie; empty if there are none."""
        if not boundary or self._is_full(depth):
            return ()
        mark = b"--" + boundary.encode("utf-8", "surrogateescape")
        most = MAX_PARTS + 1 - self._count
        for tried in dict.fromkeys((mark, mark.rstrip())):
            if len(tried) > 2:
                regions = split(self.octets, tried, start, end, most=most)
                if regions:
                    return regions
        return split(self.octets, mark, start, end, most=most, clean=False)


def split(
    octets: bytes, mark: bytes, start: int, end: int, *, most: int, clean: bool = True
) -> tuple[tuple[int, int], ...]:
    """The pieces of octets[start:end] between the lines of a mark (RFC 2046, 5.1.1).

    The line break before a mark is the mark's. What comes before the first (preamble)
    and after the closing one (epilogue) is no piece. Without a closing mark the last
    piece ends with the octets. The last of the most pieces holds all that is left.
    """
    pieces: list[tuple[int, int]] = []
    begun: int | None = None
    for line, after, closes in _marks(octets, mark, start, end, clean=clean):
        if begun is not None:
            pieces.append((begun, max(begun, _before_line(octets, line))))
            if len(pieces) == most:
                pieces[-1] = (begun, end)
                return tuple(pieces)
        if closes:
            # A closing mark before any other is part of the preamble.
            if begun is not None:
                return tuple(pieces)
            continue
        begun = after
    if begun is not None:
        pieces.append((begun, end))
    return tuple(pieces)


def _marks(
    octets: bytes, mark: bytes, start: int, end: int, *, clean: bool
) -> Iterator[tuple[int, int, bool]]:
    """Each line that is the mark: where it and the next one begin, and if it closes."""
    sought = b"\n" + mark
    line = start if octets.startswith(mark, start, end) else -1
    at = start
    while True:
        if line < 0:
            line = octets.find(sought, at, end) + 1
            if not line:
                return
        tail = line + len(mark)
        newline = octets.find(b"\n", tail, end)
        after = end if newline < 0 else newline + 1
        rest = octets[tail:after].strip(b" \t\r\n")
        if not rest or rest == b"--" or not clean:
            yield line, after, rest.startswith(b"--")
        if newline < 0:
            return
        at, line = newline, -1


def _before_line(octets: bytes, line: int) -> int:
    """Where the line before ends, without its line break."""
    end = max(line - 1, 0)
    return end - 1 if end and octets[end - 1] == 13 else end


def count_lines(octets: bytes, start: int, end: int) -> int:
    """The lines in octets[start:end]; a last one without its end counts."""
    lines = octets.count(b"\n", start, end)
    return lines + 1 if end > start and octets[end - 1] != 10 else lines


def _paths(prefix: str, number: int | None, *, is_multipart: bool) -> tuple[str, str]:
    """The path of a part, and the prefix for the parts below it."""
    if number is None and is_multipart:
        return (f"{prefix}.TEXT" if prefix else ""), prefix
    path = f"{prefix}.{number or 1}" if prefix else str(number or 1)
    return path, path


def _content_type(value: bytes | None, default: str) -> tuple[str, str, dict[str, str]]:
    if value is None:
        content_type, parameters = default, dict[str, str]()
    else:
        content_type, parameters = parse_parameters(value)
        if _TYPE.match(content_type) is None:
            content_type = "text/plain"  # RFC 2045, 5.2
    main, _, sub = content_type.partition("/")
    return main, sub, parameters


def _encoding(value: bytes | None) -> str:
    if value is None:
        return "7bit"
    usual = _ENCODINGS.get(value)
    if usual is not None:
        return usual
    token = parse_parameters(value)[0]
    return token[:40] if token.isascii() and token else "7bit"


def _disposition(value: bytes | None) -> tuple[str | None, dict[str, str]]:
    if value is None:
        return None, {}
    disposition, parameters = parse_parameters(value)
    if not disposition:
        return None, parameters
    # RFC 2183, 2.8: what is not known is treated as an attachment.
    return "inline" if disposition == "inline" else "attachment", parameters


def _text(value: bytes | None) -> str | None:
    return None if value is None else decode_words(unfold(value))[:1000].strip() or None


def _identifier(value: bytes | None) -> str | None:
    text = _text(value)
    return None if text is None else text.strip("<> \t") or None


def _languages(value: bytes | None) -> tuple[str, ...]:
    text = _text(value) or ""
    return tuple(filter(None, (one.strip() for one in text.split(",")[:20])))


def _location(value: bytes | None) -> str | None:
    text = _text(value)
    # RFC 2557, 4.4.2: white space in a folded URI is none of it.
    return None if text is None else "".join(text.split())


def body_octets(octets: bytes, part: Part) -> bytes:
    """The body of a part as it was sent."""
    return octets[part.body_start : part.end]


def decoded(octets: bytes, part: Part) -> bytes:
    """The body of a part, its transfer encoding undone; a multipart's as it is."""
    body = body_octets(octets, part)
    # RFC 2045, 6.4: a composite is never encoded, whatever its header says.
    return body if part.children else transfer_decode(body, part.encoding)
