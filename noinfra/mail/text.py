"""The text of a mail, as its reader would see it."""

import re
from html import escape

from attrs import frozen

from noinfra.mail.bodies import body_parts, is_html
from noinfra.mail.charset import codec_name, decode
from noinfra.mail.part import Message, Part
from noinfra.mail.transfer import transfer_decode

#: How many characters of text, and of HTML, are read; what is longer is cut.
MAX_TEXT = 2_000_000

_META_CHARSET = re.compile(
    rb"""<meta\s[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""",
    re.IGNORECASE,
)


@frozen(kw_only=True)
class Bodies:
    """A message's text and HTML, lines ended by LF; None where it has no such part."""

    text: str | None
    html: str | None


def bodies(octets: bytes, message: Message) -> Bodies:
    """What the message says, in both forms.

    Several texts in a row are joined. Where HTML and plain text take turns, the HTML
    has the plain ones too, as <pre>; text never holds HTML, so it may be the lesser
    one.
    """
    parts = body_parts(message)
    text = html = None
    if not all(map(is_html, parts.text)):
        text = _joined(octets, [part for part in parts.text if not is_html(part)])
    if any(map(is_html, parts.html)):
        html = _joined(octets, parts.html, as_html=True)
    return Bodies(text=text, html=html)


def _joined(
    octets: bytes, parts: "list[Part] | tuple[Part, ...]", *, as_html: bool = False
) -> str:
    pieces: list[str] = []
    left = MAX_TEXT
    for part in parts:
        piece = part_text(octets, part, limit=left)
        if as_html and not is_html(part):
            piece = f"<pre>{escape(piece, quote=False)}</pre>"
        if pieces and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        pieces.append(piece[:left])
        left -= len(piece)
        if left <= 0:
            break
    return "".join(pieces)[:MAX_TEXT]


def part_text(octets: bytes, part: Part, *, limit: int = MAX_TEXT) -> str:
    """The text of one part: decoded, unflowed, lines ended by LF, cut at the limit."""
    # Quoted-printable has three octets for one, UTF-8 at most four for a character.
    end = min(part.end, part.body_start + 12 * limit)
    body = transfer_decode(octets[part.body_start : end], part.encoding)
    text, _ = decode(body, _charset(part, body))
    text = text.replace("\r\n", "\n").replace("\r", "\n")[:limit]
    if part.content_type == "text/plain":
        parameters = part.parameters
        if parameters.get("format", "").lower() == "flowed":
            text = unflow(text, delsp=parameters.get("delsp", "").lower() == "yes")
    return text


def _charset(part: Part, body: bytes) -> str | None:
    if part.charset is not None and codec_name(part.charset) is not None:
        return part.charset
    if is_html(part):
        meta = _META_CHARSET.search(body[:2048])
        if meta is not None:
            return meta[1].decode("ascii")
    return part.charset


def unflow(text: str, *, delsp: bool = False) -> str:
    """Text of format=flowed with its paragraphs on one line each (RFC 3676, 4).

    Quoted lines keep their marks, with one blank after them.
    """
    paragraphs: list[str] = []
    open_depth: int | None = None  # of a paragraph whose last line was flowed
    pieces: list[str] = []
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")  # space-stuffing, 4.4
        if open_depth != depth or content == "-- ":
            if pieces:
                paragraphs.append("".join(pieces))
            pieces = [">" * depth + " " * bool(depth and content)]
        # 4.3: the signature's mark is never flowed.
        flowed = content.endswith(" ") and content != "-- "
        pieces.append(content[:-1] if flowed and delsp else content)
        open_depth = depth if flowed else None
        if not flowed:
            paragraphs.append("".join(pieces))
            pieces = []
    if pieces:
        paragraphs.append("".join(pieces))
    return "\n".join(paragraphs)
