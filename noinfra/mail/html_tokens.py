"""HTML cut into tags and text, by one regular expression, in linear time.

Why not a parser: mail is hostile, and what we need (text, and slices of the original)
needs no tree. Measured on inputs of 0.2 to 1 MB:

- html.parser is quadratic in unterminated "<a " and "<!--" (over 20 s) and raises on
  "<![";
- lexbor (selectolax) builds what HTML prescribes: 3,000 <font> before 3,000 <p> become
  9 million nodes, 3 GB and 10 s, and 100,000 <div> take 9 s;
- libxml2 (lxml) is quick, but drops everything below its depth limit, so that text can
  be hidden from us that a mail client shows, and it keeps no offsets.

Every alternative below ends in its terminator or in the end of the input, as a browser
would have it, and its loops are possessive. So whatever has been scanned is consumed,
and no character is looked at twice but the quote that nobody closed.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

HTML_LIMIT = 2_000_000
_VALUE_LIMIT = 4000
_TAG_LIMIT = 20_000

VOID = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link"),
        *("meta", "param", "source", "track", "wbr"),
    )
)
"""The elements that have no end tag."""

# A quote opens a value only after "=": stray ones ("it's") must not swallow the mail.
_ATTRIBUTES = r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+"""

_TOKEN = re.compile(
    rf"""
    <!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>|\Z))
    | <(?P<raw>script|style|title|textarea|xmp|iframe|noembed|noframes)(?=[\s/>])
      {_ATTRIBUTES}(?:\Z|>[^<]*+(?:<(?!/(?P=raw)[\s/>])[^<]*+)*+(?:</[^>]*+(?:>|\Z)|\Z))
    | <(?P<slash>/?)(?P<name>[a-z][^\s/>]*+)(?P<attributes>{_ATTRIBUTES})(?:>|\Z)
    | <[!?/][^>]*+(?:>|\Z)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(
    r"""([^\s=/>"']++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]++)))?+"""
)
# int() refuses thousands of digits, and no character has a number that long.
_ABSURD_REFERENCE = re.compile(r"&#(?:[0-9]{8,}+|x[0-9a-f]{7,}+);?", re.IGNORECASE)


class Token(NamedTuple):
    """A tag, a run of text (name is "") or something to skip (name is "!").

    start and end are offsets into the HTML. attributes is as written, see values.
    """

    name: str
    closing: bool
    attributes: str
    start: int
    end: int


def tokens(html: str, begin: int = 0) -> Iterator[Token]:
    """All of the first HTML_LIMIT characters, in order and without gaps.

    They may be had from any place on where a token begins, or that is within text.
    """
    done = begin
    for match in _TOKEN.finditer(html, begin, HTML_LIMIT):
        start, end = match.span()
        if start > done:
            yield Token("", False, "", done, start)
        _, slash, name, attributes = match.groups()
        if name is None:
            yield Token("!", False, "", start, end)
        else:
            yield Token(name.lower(), slash == "/", attributes, start, end)
        done = end
    if done < min(len(html), HTML_LIMIT):
        yield Token("", False, "", done, min(len(html), HTML_LIMIT))


def values(attributes: str) -> dict[str, str]:
    """The attributes by lower-case name; the first of a name counts."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(attributes, 0, _TAG_LIMIT):
        name, double, single, bare = match.groups()
        value = double or single or bare or ""
        found.setdefault(name.lower(), decoded(value[:_VALUE_LIMIT]))
    return found


def decoded(text: str) -> str:
    """Character references resolved."""
    if "&" not in text:
        return text
    return unescape(_ABSURD_REFERENCE.sub("\ufffd", text))
