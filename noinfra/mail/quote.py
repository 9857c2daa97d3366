"""Replies and forwards: their subjects, and the earlier mail that they carry."""

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import format_datetime
from html import escape
from typing import Final

from attrs import frozen

from noinfra.mail.encode import neutral

#: "Re" as the mail programs of other languages write it.
REPLY_MARKS: Final = (
    "re", "aw", "antw", "antwort", "sv", "vs", "res", "rif", "odp", "ynt", "atb",
    "bls", "vá", "απ", "σχετ", "отв", "ответ",
    "回复", "回覆", "答复", "答覆", "返信", "답장", "회신", "رد", "תשובה", "השב",
)  # fmt: skip
#: "Fwd" likewise.
FORWARD_MARKS: Final = (
    "fwd", "fw", "wg", "vb", "vl", "tr", "enc", "rv", "pd", "doorst", "ilt", "i̇lt",
    "fs", "vd", "továbbítás", "πρθ", "пересл", "转发", "轉寄", "転送", "전달",
    "إعادة توجيه", "הועבר",
)  # fmt: skip

# A list's name in brackets may stand before, and a count after: "[dev] Re[2]:".
_BEFORE, _AFTER = (
    r"\s*(?:\[[^\[\]]{0,80}\]\s*)?",
    r"\s?(?:[\[(^]\d{1,3}[\])]?)?\s?[:：]",
)
_REPLY = re.compile(f"{_BEFORE}(?:{'|'.join(REPLY_MARKS)}){_AFTER}", re.I)
_FORWARD = re.compile(f"{_BEFORE}(?:{'|'.join(FORWARD_MARKS)}){_AFTER}", re.I)

_BODY_START = re.compile(r"<body\b[^<>]*>", re.I)
_BODY_END = re.compile(r"</body\s*>", re.I)
_DOCUMENT = re.compile(r"<!doctype[^<>]*>|</?(?:html|body)\b[^<>]*>", re.I)
_CITE_STYLE: Final = "margin:0 0 0 .8ex;border-left:1px solid #ccc;padding-left:1ex"
#: Of a longer subject, so much goes into a reply's.
MAX_SUBJECT: Final = 900
_FORWARD_LINE: Final = "---------- Forwarded message ---------"


def reply_subject(subject: str) -> str:
    """The subject of a reply: "Re: " before it, unless some such mark is there."""
    subject = neutral(subject[:MAX_SUBJECT])
    return subject if _REPLY.match(subject) else f"Re: {subject}".rstrip()


def forward_subject(subject: str) -> str:
    """The subject of a forward: "Fwd: " before it, unless some such mark is there."""
    subject = neutral(subject[:MAX_SUBJECT])
    return subject if _FORWARD.match(subject) else f"Fwd: {subject}".rstrip()


def attribution(author: str, date: datetime | None) -> str:
    """The line that introduces quoted text; a form that reply parsers recognise."""
    author = neutral(author)
    if date is None:
        return f"{author} wrote:"
    return f"On {date:%Y-%m-%d} at {date:%H:%M %z}, {author} wrote:"


def quote_text(original: str, attribution: str) -> str:
    """The earlier text, each line marked (RFC 3676, 4.5), under its attribution."""
    lines = original.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    marked = [f">{line}" if line[:1] in (">", "") else f"> {line}" for line in lines]
    return "\n".join([neutral(attribution), "", *marked]) + "\n"


def quote_html(original: str, attribution: str) -> str:
    """The earlier HTML as a citation; it should have been sanitised before."""
    return (
        f"<div>{escape(neutral(attribution))}</div>\n"
        f'<blockquote type="cite" style="{_CITE_STYLE}">\n'
        f"{html_body(original)}\n</blockquote>\n"
    )


def html_body(document: str) -> str:
    """What a document's body holds, so that it can stand within another document."""
    start = _BODY_START.search(document)
    inner = document if start is None else document[start.end() :]
    # Text after the last end tag only: a quoted document within may have one too.
    *_, end = [None, *_BODY_END.finditer(inner)]
    inner = inner if end is None else inner[: end.start()]
    return _DOCUMENT.sub("", inner).strip()


@frozen(kw_only=True)
class Forwarded:
    """What a forward's preamble says of the message; texts as they were decoded."""

    from_: str
    date: datetime | None
    subject: str
    to: str
    cc: str = ""


def _preamble(original: Forwarded) -> Iterator[tuple[str, str]]:
    yield "From", neutral(original.from_)
    if original.date is not None:
        yield "Date", format_datetime(original.date)
    yield "Subject", neutral(original.subject)
    yield "To", neutral(original.to)
    if original.cc:
        yield "Cc", neutral(original.cc)


def forward_text(note: str, original: Forwarded, text: str) -> str:
    """The sender's note, then the forwarded text under its preamble."""
    preamble = [f"{name}: {value}" for name, value in _preamble(original)]
    lines = [_FORWARD_LINE, *preamble, "", text]
    return "\n".join([note.rstrip(), "", *lines] if note else lines)


def forward_html(note: str, original: Forwarded, html: str) -> str:
    """The same for HTML; the note is HTML, too."""
    preamble = [
        f"<b>{name}:</b> {escape(value)}<br>" for name, value in _preamble(original)
    ]
    lines = [f"<div>{_FORWARD_LINE}<br>", *preamble, "</div><br>", html_body(html)]
    return "\n".join([html_body(note), "<br>", *lines] if note else lines) + "\n"
