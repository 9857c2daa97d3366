"""HTML laid out as lines of text, each of which knows its place in the HTML.

It is a walk over the tokens with a few counters and no tree: a stray end tag ends
nothing, a missing one is ended by the end of the mail, and depth costs nothing.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from attrs import Factory, define, field

from noinfra.mail.html_tokens import VOID, Token, decoded, tokens, values

Region = Callable[[str, dict[str, str]], str | None]
"""Names the region that a start tag opens, of its name and its attributes."""

REST = "rest"
"""The region that has no end tag: all that follows belongs to it."""

_BREAKING = frozenset(
    (
        *("address", "article", "aside", "body", "caption", "center", "dd", "div"),
        *("dl", "dt", "fieldset", "figcaption", "figure", "footer", "form"),
        *("header", "html", "legend", "li", "main", "nav", "section", "tbody"),
        *("tfoot", "thead", "tr"),
    )
)
_SPACED = frozenset(
    (
        *("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre"),
        *("table", "ul"),
    )
)
_CELL = frozenset({"td", "th"})
_GAP = (" ", "\t")
_LINKED = ("http://", "https://", "mailto:", "tel:")
_DEPTH_SHOWN = 8
_HREF_SHOWN = 1000

# Attributes are parsed only where they may matter: most do not, and it costs.
_NAMING = re.compile(r"class|id|name|cite|data-marker|style", re.IGNORECASE)
_HIDING = re.compile(r"hidden|none|opacity|font-size\s*+:\s*+0", re.IGNORECASE)

# Padding of preheaders: soft hyphen, joiner, spaces of no width, marks of direction.
_INVISIBLE = (
    "\xad\u034f\u061c\u115f\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\ufeff"
)
_BLANK = " \t\xa0\u2007\u202f" + _INVISIBLE


class Line(NamedTuple):
    """A line of text without its quote marks; start and end are where it came from.

    depth counts the blockquotes around it, region is what the caller named.
    """

    text: str
    start: int
    end: int
    depth: int
    region: str | None


def html_lines(
    html: str, *, addresses: bool = False, region: Region | None = None
) -> list[Line]:
    """The lines of text that the HTML shows; blank ones have no text.

    addresses adds the address of a link to its text, where the two differ.
    """
    layout = _Layout(html=html, addresses=addresses, region_of=region)
    for token in tokens(html):
        layout.take(token)
    layout.end_line()
    return layout.lines


@define
class _Element:
    """An element that we wait to see ended: those of its name nest."""

    name: str = ""
    nested: int = 0

    def opens(self, name: str) -> None:
        self.name, self.nested = name, 1

    def follow(self, token: Token) -> bool:
        """Take note of a tag within; True when it ended the element."""
        if token.name == self.name:
            self.nested += -1 if token.closing else 1
        return not self.nested


@define
class _Layout:
    html: str
    addresses: bool
    region_of: Region | None
    lines: list[Line] = Factory(list)
    _pieces: list[str] = field(init=False, factory=list)
    _start: int = field(init=False, default=0)
    _end: int = field(init=False, default=0)
    _line_region: str | None = field(init=False, default=None)
    _depth: int = field(init=False, default=0)
    _preformatted: int = field(init=False, default=0)
    _lists: list[int] = field(init=False, factory=list)
    _bullet: str = field(init=False, default="")
    _link: str = field(init=False, default="")
    _link_text: list[str] = field(init=False, factory=list)
    _region: str | None = field(init=False, default=None)
    _region_element: _Element = field(init=False, factory=_Element)
    _hidden: _Element = field(init=False, factory=_Element)

    def take(self, token: Token) -> None:
        if self._hidden.nested:
            self._stay_hidden(token)
        elif not token.name:
            self._text(token)
        elif token.name == "!":
            pass
        elif token.closing:
            self._close(token)
        else:
            self._open(token)

    def end_line(self, *, keep_empty: bool = False) -> None:
        """What has gathered becomes a line; so does nothing, for a <br>."""
        if not (self._pieces or keep_empty):
            return
        text = "".join(self._pieces)
        if text.strip(_BLANK):
            text = text.rstrip() if self._preformatted else text.strip(_BLANK)
            self._append(self._bullet + text)
            self._bullet = ""
        elif keep_empty:
            self._append("")
        self._pieces.clear()

    def _append(self, text: str) -> None:
        if not (text or any(line.text for line in self.lines[-2:])) and self.lines:
            return
        self.lines.append(
            Line(text, self._start, self._end, self._depth, self._line_region)
        )

    def _blank_line(self, offset: int) -> None:
        if not self.lines:
            return
        last = self.lines[-1]
        if last.text:
            self.lines.append(Line("", offset, offset, self._depth, self._region))
        elif last.depth > self._depth:
            self.lines[-1] = last._replace(depth=self._depth)

    def _stay_hidden(self, token: Token) -> None:
        # A <head> that nobody closed ends where the body begins.
        body = token.name == "body" and self._hidden.name == "head"
        if body or self._hidden.follow(token):
            self._hidden.nested = 0

    def _text(self, token: Token) -> None:
        text = self.html[token.start : token.end]
        if self._preformatted:
            self._preformatted_text(text, token.start)
            return
        if "&" in text or "\0" in text:
            text = decoded(text).replace("\0", "")
        if text[:1].isspace() and self._pieces and not self._pieces[-1].endswith(_GAP):
            self._pieces.append(" ")
        words = " ".join(text.split())
        if words:
            words += " " if text[-1].isspace() else ""
            self._piece(words, token.start, token.end)

    def _preformatted_text(self, raw: str, start: int) -> None:
        for number, line in enumerate(raw.split("\n")):
            if number:
                self.end_line(keep_empty=True)
            end = start + len(line)
            self._piece(decoded(line).replace("\0", ""), start, end)
            start = end + 1

    def _piece(self, text: str, start: int, end: int) -> None:
        if not self._pieces:
            self._start, self._line_region = start, self._region
        self._end = end
        self._pieces.append(text)
        if self._link:
            self._link_text.append(text)

    def _open(self, token: Token) -> None:
        name = token.name
        attributes = token.attributes
        if name == "head" or (attributes and name not in VOID and _is_hidden(token)):
            self._hidden.opens(name)
            return
        if self._region:
            self._follow_region(token)
        if attributes and self.region_of and self._region is None:
            self._enter_region(self.region_of, token)
        if name == "br":
            self._line_break(token)
        elif name in _SPACED or name in _BREAKING:
            self._open_block(token)
        elif name in _CELL:
            self._cell()
        elif name == "a":
            self._end_link()
            if self.addresses:
                self._link = values(token.attributes).get("href", "")
        elif name == "img":
            self._image(token)
        elif name == "hr":
            self._rule(token)

    def _line_break(self, token: Token) -> None:
        if not self._pieces:
            self._start, self._line_region = token.start, self._region
        self._end = token.end
        self.end_line(keep_empty=True)

    def _open_block(self, token: Token) -> None:
        name = token.name
        self.end_line()
        if name in _SPACED and not (name in ("ol", "ul") and self._lists):
            self._blank_line(token.start)
        if name == "blockquote":
            self._depth += 1
        elif name == "pre":
            self._preformatted += 1
        elif name in ("ol", "ul"):
            self._lists.append(0 if name == "ol" else -1)
        elif name == "li":
            self._item()

    def _item(self) -> None:
        indent = "  " * (min(len(self._lists), _DEPTH_SHOWN) - 1)
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            self._bullet = f"{indent}{self._lists[-1]}. "
        else:
            self._bullet = f"{indent}- "

    def _cell(self) -> None:
        if self._pieces and self._pieces[-1] != "\t":
            self._pieces.append("\t")

    def _image(self, token: Token) -> None:
        alt = " ".join(values(token.attributes).get("alt", "").split())
        if alt:
            self._piece(alt, token.start, token.end)

    def _rule(self, token: Token) -> None:
        self.end_line()
        self._piece("---", token.start, token.end)
        self.end_line()

    def _close(self, token: Token) -> None:
        name = token.name
        if name == "a":
            self._end_link()
        elif name in _SPACED or name in _BREAKING:
            self._close_block(token)
        if self._region:
            self._follow_region(token)

    def _close_block(self, token: Token) -> None:
        name = token.name
        self.end_line()
        if name == "blockquote":
            self._depth = max(self._depth - 1, 0)
        elif name == "pre":
            self._preformatted = max(self._preformatted - 1, 0)
        elif name == "li":
            self._bullet = ""
        elif name in ("ol", "ul") and self._lists:
            self._lists.pop()
        if name in _SPACED and not (name in ("ol", "ul") and self._lists):
            self._blank_line(token.end)

    def _end_link(self) -> None:
        """The address in parentheses, when the text has not told it already."""
        text = "".join(self._link_text).strip()
        address = self._link.strip()
        self._link = ""
        self._link_text.clear()
        if text and address.lower().startswith(_LINKED) and not _same(address, text):
            self._add_to_text(f" ({address.removeprefix('mailto:')})")

    def _add_to_text(self, more: str) -> None:
        if len(more) > _HREF_SHOWN:
            return
        if self._pieces:
            self._pieces[-1] = self._pieces[-1].rstrip()
            self._pieces.append(more)
            return
        for index in range(len(self.lines) - 1, max(len(self.lines) - 3, -1), -1):
            line = self.lines[index]
            if line.text:
                self.lines[index] = line._replace(text=line.text + more)
                return

    def _enter_region(self, region_of: Region, token: Token) -> None:
        if not _NAMING.search(token.attributes):
            return
        region = region_of(token.name, values(token.attributes))
        if region:
            self.end_line()
            self._region = region
            self._region_element.opens(token.name)

    def _follow_region(self, token: Token) -> None:
        if self._region != REST and self._region_element.follow(token):
            self.end_line()
            self._region = None


def _is_hidden(token: Token) -> bool:
    """Not shown, as the hidden preview text of newsletters; nor is what is in it."""
    if len(token.attributes) < 6 or not _HIDING.search(token.attributes):
        return False
    told = values(token.attributes)
    if "hidden" in told:
        return True
    rules = dict(_rules(told.get("style", "")))
    if rules.get("display") == "none" or rules.get("visibility") == "hidden":
        return True
    if rules.get("opacity") == "0":
        return True
    # A table cell of font-size 0 is the way to close its gaps: its content shows.
    if _is_zero(rules.get("font-size")) and token.name in ("span", "font", "p"):
        return True
    sides = ("height", "max-height", "width", "max-width")
    return rules.get("overflow") == "hidden" and any(
        _is_zero(rules.get(side)) for side in sides
    )


def _rules(style: str) -> Iterator[tuple[str, str]]:
    for rule in style.lower().split(";"):
        key, _, value = rule.partition(":")
        yield key.strip(), value.replace("!important", "").strip()


def _is_zero(length: str | None) -> bool:
    return length in ("0", "0px", "0pt", "0em", "0%", "0.0", "0in")


def _same(address: str, text: str) -> bool:
    return _plain(address) == _plain(text) or unquote(_plain(address)) == _plain(text)


def _plain(address: str) -> str:
    """An address as people write it: no scheme, no www, no last slash."""
    plain = address.strip().lower()
    for prefix in (*_LINKED, "www."):
        plain = plain.removeprefix(prefix)
    return plain.rstrip("/")


def quoted(line: Line) -> str:
    """The text of the line with a quote mark for each blockquote around it."""
    marks = "> " * min(line.depth, _DEPTH_SHOWN)
    return (marks + line.text).rstrip()
