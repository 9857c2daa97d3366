"""The new text of a reply, apart from the mail that it quotes and from signatures.

It never raises, and takes time in proportion to its input; marks of quoting are looked
for in the first lines only, as many as people write.
"""

from attrs import frozen

from noinfra.mail.html import to_text
from noinfra.mail.reply_html import extract_html
from noinfra.mail.reply_lines import is_unmarked, kinds, split_inline
from noinfra.mail.reply_parts import new_lines

__all__ = ["Extracted", "extract", "extract_html", "extracted"]

_TEXT_LIMIT = 1_000_000
_LINES = 1000
_SPLITS = 20


@frozen(kw_only=True)
class Extracted:
    """What a mail says that is new; html is None where the mail had none."""

    text: str
    html: str | None


def extracted(text: str | None, html: str | None) -> Extracted:
    """The new part of a mail that has a text, an HTML form of it, or both.

    A blank text beside HTML is a placeholder, and is made anew from the HTML.
    """
    new_html = None if html is None else extract_html(html)
    if text is not None and (text.strip() or new_html is None):
        return Extracted(text=extract(text), html=new_html)
    return Extracted(text=to_text(new_html or "").strip(), html=new_html)


def extract(text: str) -> str:
    """The new text of a plain text: lines of it, in their order, stripped at the ends.

    A line whose end is the introduction of a quote is cut before that.
    """
    head, tail = text[:_TEXT_LIMIT], text[_TEXT_LIMIT:]
    # What comes after the last of these lines stays in one piece, as if it were one.
    unix = head.replace("\r\n", "\n").replace("\r", "\n").split("\n", _LINES)
    if is_unmarked(unix):
        return ("\n".join(unix) + tail).strip()
    lines = _introductions_apart(unix)
    kept = new_lines(lines, kinds(lines))
    new = "\n".join(line for line, keep in zip(lines, kept, strict=True) if keep)
    return (new + tail if kept[-1] else new).strip()


def _introductions_apart(unix: list[str]) -> list[str]:
    """The lines, with an introduction that ends one of them on a line of its own."""
    lines: list[str] = []
    splits = 0
    for line in unix:
        may_split = splits < _SPLITS and line.endswith(":")
        splits += may_split
        lines.extend((split_inline(line) if may_split else None) or [line])
    return lines
