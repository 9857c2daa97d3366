"""The new part of an HTML reply, as a slice of the HTML that came.

The lines of the HTML are judged as those of a text are. Beyond that, mail clients tell
in classes and identifiers what they quote; and a blockquote is a quote without marks.
Dropped lines are then cut out of the HTML, with all tags that have their partner there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, takewhile

from noinfra.mail.html_lines import REST, Line, html_lines
from noinfra.mail.html_tokens import VOID, Token, tokens
from noinfra.mail.reply_lines import Kind, introduces, is_unmarked, kinds, plain
from noinfra.mail.reply_parts import new_lines

_LINES = 1000
_BEFORE_BODY = ("!", "html", "head", "meta", "link", "base")

_GMAIL = "gmail"
_QUOTE = "quote"
_PREFIX = "prefix"
_SIGNATURE = "signature"
_ASIDE = "aside"

# Elements by class, id or name; "x_" is what Outlook on the web puts before them.
_REGIONS = {
    name: region
    for region, names in {
        REST: (
            *("divrplyfwdmsg", "appendonsend", "zwchr", "stopspelling"),
            *("mail-editor-reference-message-container", "olk_src_body_section"),
            *("isreplycontent", "origbody"),
        ),
        _QUOTE: (
            *("yahoo_quoted", "yahooquoted", "protonmail_quote", "tutanota_quote"),
            *("zmail_extra", "moz-forward-container", "mail-quote-collapse"),
            *("freshdesk_quote", "front-blockquote", "missive_quote", "alimail-quote"),
            *("history-quote-wrapper", "lark-mail-quote", "messagereplysection"),
            *("intercom_quote", "bloop_original_html", "clean_bq"),
        ),
        _PREFIX: ("moz-cite-prefix", "gmail_attr", "reply-intro", "airmail_on"),
        _SIGNATURE: (
            *("gmail_signature", "moz-signature", "protonmail_signature_block"),
            *("bloop_sign", "bloop_signature", "ms-outlook-mobile-signature"),
            *("messagesignaturesection", "composer_signature", "applemailsignature"),
            *("tutanota_signature", "ntes-pcmac-signature"),
        ),
        _GMAIL: ("gmail_quote", "gmail_quote_container"),
    }.items()
    for name in names
}
# As classes these words say nothing: they are the ids of GMX, Fastmail, Outlook.
_BY_ID = {"quote": _QUOTE, "qt": _QUOTE, "signature": _SIGNATURE}


def extract_html(html: str) -> str:
    """The HTML without the quoted mail and the signature; "" if nothing is left.

    Where there is nothing to drop, it is the HTML as it came.
    """
    lines = html_lines(html, region=_region)
    if not any([line.depth or line.region for line in lines]) and is_unmarked(
        [line.text for line in lines[:_LINES]]
    ):
        return html
    found = _kinds(lines)
    kept = new_lines([line.text for line in lines], found, choosable=False)
    if all(kept):
        return html
    if not any(kept):
        # Whoever indents all of a mail quotes nobody.
        return html if _is_bare(lines, found) else ""
    return "".join(_without(html, _dropped(html, lines, kept)))


def _region(name: str, told: dict[str, str]) -> str | None:
    if told.get("data-marker") == "__DIVIDER__":
        return REST
    identifiers = (told.get("id", ""), told.get("name", ""))
    for word in (*told.get("class", "").split(), *identifiers):
        known = word.lower().removeprefix("x_")
        found = _REGIONS.get(known)
        if found is None and word in identifiers:
            found = _BY_ID.get(known)
        if found:
            return _ASIDE if found == _GMAIL and name == "blockquote" else found
    if name == "blockquote" and "border:none" in told.get("style", "").replace(" ", ""):
        return _ASIDE
    return None


def _kinds(lines: Sequence[Line]) -> list[Kind]:
    """Of what is beyond the lines that people write, only the quotes are told."""
    given = _given(lines)
    looked_at = kinds([line.text for line in lines[:_LINES]], given[:_LINES])
    return looked_at + [
        kind or (Kind.TEXT if line.text else Kind.EMPTY)
        for line, kind in zip(lines[_LINES:], given[_LINES:], strict=True)
    ]


def _given(lines: Sequence[Line]) -> list[Kind | None]:
    """The kinds that the markup tells."""
    given: list[Kind | None] = []
    written = ""
    for region, group in groupby(lines, key=lambda line: line.region):
        run = list(group)
        given.extend(
            None if not line.text else kind
            for line, kind in zip(run, _run(region, run, written), strict=True)
        )
        written = next((line.text for line in reversed(run) if line.text), written)
    return given


def _run(region: str | None, run: Sequence[Line], before: str) -> Iterable[Kind | None]:
    """The kinds of lines of one region; before is the last text before them."""
    if region == _GMAIL:
        return _gmail(run)
    if region == _ASIDE:
        # The indentation of Gmail's editor looks like its quotes.
        quoted = introduces(plain(before), before_quote=True)
        return [Kind.QUOTE if quoted else Kind.TEXT] * len(run)
    if region == REST and not before:
        return [None] * len(run)
    if region in (REST, _QUOTE):
        return [Kind.QUOTE] * len(run)
    if region == _PREFIX:
        return [Kind.INTRODUCTION] * len(run)
    if region == _SIGNATURE:
        return [Kind.FOOTER] * len(run)
    return [Kind.QUOTE if line.depth else None for line in run]


def _gmail(run: Sequence[Line]) -> Iterator[Kind | None]:
    """Gmail has all in one element: introduction, quotes, and answers in between."""
    first = next((line.text for line in run if line.text), "")
    if kinds([first]) == [Kind.FORWARDED]:
        yield from [None] * len(run)
        return
    quotes = any(line.depth for line in run)
    begun = False
    for line in run:
        begun = begun or line.depth > 0
        if line.depth or not quotes:
            yield Kind.QUOTE
        else:
            yield None if begun else Kind.INTRODUCTION


def _dropped(
    html: str, lines: Sequence[Line], kept: Sequence[bool]
) -> Iterator[tuple[int, int]]:
    """The stretches of HTML to drop, each from kept text to kept text."""
    dropping = False
    done = _body(html)
    for line, keep in zip(lines, kept, strict=True):
        if not keep:
            dropping = True
            continue
        if dropping and line.start > done:
            yield done, line.start
        dropping = False
        done = max(done, line.end)
    if dropping:
        yield done, len(html)


def _is_bare(lines: Sequence[Line], found: Sequence[Kind]) -> bool:
    """Whether there are blockquotes only, and no other sign of quoting."""
    return set(found) <= {Kind.EMPTY, Kind.QUOTE} and all(
        line.region is None for line in lines
    )


def _body(html: str) -> int:
    """Where the content begins: the head, with its styles, is nobody's words."""
    for token in tokens(html):
        if token.name == "body":
            return token.end
        blank = not token.name and html[token.start : token.end].isspace()
        if not blank and token.name not in _BEFORE_BODY:
            break
    return 0


def _without(html: str, dropped: Iterable[tuple[int, int]]) -> Iterator[str]:
    """The HTML without these stretches, but with the tags that others depend on."""
    done = 0
    for start, end in dropped:
        yield html[done:start]
        for token in _unpaired(_within(html, start, end)):
            # A start tag whose element has nothing left to hold is not missed.
            if token.closing or end < len(html):
                yield html[token.start : token.end]
        done = end
    yield html[done:]


def _within(html: str, start: int, end: int) -> Iterator[Token]:
    """The tokens from start up to end; where a line starts or ends, so does a token."""
    return takewhile(lambda token: token.start < end, tokens(html, start))


def _unpaired(stretch: Iterable[Token]) -> list[Token]:
    """End tags of what began before the stretch, and start tags of what ends after."""
    ends: list[Token] = []
    starts: list[Token] = []
    names: Counter[str] = Counter()
    for token in stretch:
        name = token.name
        if name in ("", "!") or name in VOID:
            continue
        if not token.closing:
            starts.append(token)
            names[name] += 1
        elif names[name]:
            while (last := starts.pop()).name != name:
                names[last.name] -= 1
            names[name] -= 1
        else:
            ends.append(token)
    return sorted(ends + starts, key=lambda token: token.start)
