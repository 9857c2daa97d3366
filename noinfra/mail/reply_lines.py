"""What each line of a mail is: the writer's own words, or a mark of quoting.

A line is judged by its form, with the phrases of quote_phrases as evidence. All tests
are cheap and look at bounded text, since anybody may send us anything.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import islice

from noinfra.mail.quote_phrases import (
    DEVICES,
    FIELDS,
    FORWARDED,
    FROM_SENT,
    LIST_FOOTER,
    OPENING,
    ORIGINAL,
    SENT_FROM,
    SENT_FROM_MY,
    WROTE,
)


class Kind(Enum):
    """What a line is."""

    # Enum's own is a function in Python, and each line is looked up in several sets.
    __hash__ = object.__hash__

    EMPTY = "empty"
    TEXT = "text"
    QUOTE = "quote"
    INTRODUCTION = "introduction"
    ORIGINAL = "original"
    FORWARDED = "forwarded"
    SIGNATURE = "signature"
    SIGNATURE_MAYBE = "signature, if nothing follows"
    DASHES = "signature, if little follows"
    FOOTER = "of a signature that ends with this line"
    RULE = "rule"


_MAY_BE_FIELDS = frozenset({Kind.TEXT, Kind.ORIGINAL})

_LINE_LIMIT = 1000
_INTRODUCTION_LIMIT = 300
_INTRODUCTION_LINES = 5
_FIELD_NAME_LIMIT = 30
_FIELD_WRAP = 3
_LOOKUPS = 60
_INLINE_LIMIT = 400
_INLINE_TRIES = 3

# Apple writes "3:59 PM" with a narrow space, Windows Mail wraps digits in marks.
_PLAIN_SPACES = str.maketrans(
    dict.fromkeys("\xa0\u2007\u202f\u3000\t", " ")
    | dict.fromkeys(
        "\u200b\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufeff"
    )
)
_DECORATION = "-_=*~#+|>< \u2013\u2014\u2500"
# The Canadian syllable is what Streak leaves at the end of a mail.
_RULE = re.compile(r"[-_=*~#+\u2013\u2014\u2500]{3,}|\u1427")
_OUTLOOK_RULE = "_" * 32

_SENTENCE = ".!?:"
_COLONS = (":", "\uff1a")
_TIME = r"\b\d{1,2} ?[:.\u6642\u65f6\uc2dch] ?\d{2}"
_DAY = r"\b(?:19|20)\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{1,2}\u6708"
_WHEN = re.compile(rf"{_TIME}|{_DAY}")
# A digit among the first four words: "2024-05-01 …", "Wed, 1 May 2024 …", "Ann, 1 …".
_BEGINS_WITH_DATE = re.compile(r"(?:\S{1,60} ){0,3}\S{0,24}?\d")
_OPENS = re.compile(
    "(?:" + "|".join(sorted(map(re.escape, OPENING), key=len, reverse=True)) + r")[ \d]"
)
# Scripts that put no spaces between words have no beginnings of words to look for.
_VERBS = tuple(verb if ord(verb[0]) > 0x2E00 else f" {verb}" for verb in WROTE)
_WROTE = frozenset(WROTE)
_LAST_VERBS = tuple(verb for verb in WROTE if len(verb) > 3)

# How a sign of quoting begins or ends at the least; see is_unmarked.
_FIRST_OF_MARKS = frozenset(">-_=*~#+[|\u2013\u2014\u2500\u1427")
_LAST_OF_MARKS = frozenset(":\uff1a->")
_DASHES = frozenset({"--", "__", "\u2014", "\u2013"})
_BEFORE_SENT = "(<[*_- "
_VERB_END = 4


def _by_head(phrases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The phrases by their first two characters: one look-up rules out nearly all."""
    heads: dict[str, list[str]] = {}
    for phrase in phrases:
        heads.setdefault(phrase[:2], []).append(phrase)
    return {head: tuple(found) for head, found in heads.items()}


_SENT_FROM = _by_head(SENT_FROM)
# Also the beginnings of _ISO_DATE and _POSTED_BY: lines of numbers are common enough.
_YEARS = [
    f"{century}{year:02}{dash}"
    for century in (19, 20)
    for year in range(100)
    for dash in "-/"
]
_HEADS_OF_MARKS = _by_head((*SENT_FROM, *_YEARS, "posted by "))
_VERB_ENDS = frozenset(verb[-_VERB_END:] for verb in _LAST_VERBS)
_ADDRESS = re.compile(r"[<(\[][^\s<>()\[\]@]{1,90}@[^\s<>()\[\]@]{1,190}")
_NAMED = re.compile(r"(?:[^\s<(\[]{1,40} ){1,6}[<(\[][^\s@]{1,90}@[^\s@]{1,190}")
_ISO_DATE = re.compile(r"(?:> )?(?:19|20)\d\d([-/])\d{1,2}\1\d{1,2} ")
_POSTED_BY = re.compile(r"posted by .{1,80} on \d{1,2}/\d{1,2}/\d{4}")
# Where an introduction follows text on the same line, as "Thanks On Wed, 4 Apr 2024 …".
_INLINE = re.compile(
    r"(?<=[^\s>]) +(?=(?:On|Am|Le|El|Il|Em|Op|Den) (?:\S{1,12} ){0,2}\S{0,10}\d)"
)


def plain(line: str) -> str:
    """The line as it is compared: bounded, with ordinary spaces, no marks of direction.

    Of a longer one the beginning only: it is text, or a quote, and nothing else.
    """
    line = line[:_LINE_LIMIT]
    if line.isascii():
        return line.replace("\t", " ").strip()
    return line.translate(_PLAIN_SPACES).strip()


def is_unmarked(lines: Sequence[str]) -> bool:
    """Whether kinds would find some text, and nothing but text and empty lines.

    So it is for most mails, and this costs a tenth of a closer look: it asks all lines
    at once for the first and last characters without which no line is a mark. What it
    takes for a mark need not be one.
    """
    texts = [text for line in lines if (text := plain(line).casefold())]
    if (
        not texts
        or not _FIRST_OF_MARKS.isdisjoint([text[0] for text in texts])
        or not _LAST_OF_MARKS.isdisjoint([text[-1] for text in texts])
        or not _VERB_ENDS.isdisjoint([text[-_VERB_END:] for text in texts])
    ):
        return False
    starts = [text.lstrip(_BEFORE_SENT) for text in texts]
    if any([start.startswith(_HEADS_OF_MARKS.get(start[:2], ())) for start in starts]):
        return False
    whole = "\n".join(texts)
    if "\uff1a" in whole:
        return False
    return not (
        any(phrase in whole for phrase in FROM_SENT)
        or any(_meaning(text) for text in texts if ":" in text)
    )


def kinds(lines: Sequence[str], given: Sequence[Kind | None] = ()) -> list[Kind]:
    """The kind of each of the lines; given are those known already, None the others."""
    texts = [plain(line) for line in lines]
    found = [_first_look(text) for text in texts]
    for index, kind in enumerate(given):
        if kind is not None and texts[index]:
            found[index] = kind
    _keep_code(texts, found)
    _find_separators(texts, found)
    _find_fields(texts, found)
    _find_introductions(texts, found)
    _find_signatures(lines, texts, found)
    return found


def split_inline(line: str) -> tuple[str, str] | None:
    """The text and the introduction that share a line, if they do."""
    if len(line) > _INLINE_LIMIT or not line.rstrip().endswith(_COLONS):
        return None
    for match in islice(_INLINE.finditer(line), _INLINE_TRIES):
        rest = line[match.end() :]
        if introduces(plain(rest), before_quote=False):
            return line[: match.start()], rest
    return None


def _first_look(text: str) -> Kind:
    if not text:
        return Kind.EMPTY
    if text[0] == ">":
        return Kind.QUOTE
    if text[0] in _FIRST_OF_MARKS and _RULE.fullmatch(text):
        return Kind.RULE
    return Kind.TEXT


def _keep_code(texts: list[str], found: list[Kind]) -> None:
    """What is between two fences is the writer's, whatever it looks like."""
    fences = [n for n, text in enumerate(texts) if text.startswith("```")]
    for first, last in zip(fences[::2], fences[1::2], strict=False):
        for index in range(first, last + 1):
            if found[index] is not Kind.EMPTY:
                texts[index], found[index] = "code", Kind.TEXT


def _find_separators(texts: Sequence[str], found: list[Kind]) -> None:
    for index, text in enumerate(texts):
        if found[index] is Kind.RULE and text == _OUTLOOK_RULE:
            found[index] = Kind.ORIGINAL
        elif found[index] is Kind.TEXT and (
            text[0] in "-_=*[|\u2013\u2014" or text.endswith(_COLONS)
        ):
            found[index] = _separator(text) or Kind.TEXT


def _separator(text: str) -> Kind | None:
    if len(text) > 120:
        return None
    phrase = " ".join(text.strip(_DECORATION + "[]:\uff1a.").casefold().split())
    bare = text.strip("* ")[:1] not in ("-", "_", "=", "[", "|", "\u2013", "\u2014")
    if phrase in FORWARDED:
        return Kind.FORWARDED
    if phrase in ORIGINAL and not bare:
        return Kind.ORIGINAL
    if phrase.startswith("original message processed by"):
        return Kind.ORIGINAL
    return None


def _find_fields(texts: Sequence[str], found: list[Kind]) -> None:
    """A block of header fields starts a quoted mail, and is all quote itself."""
    meanings = [
        _field(text) if kind in _MAY_BE_FIELDS else None
        for text, kind in zip(texts, found, strict=True)
    ]
    index = 0
    while index < len(texts):
        if meanings[index] is None:
            index += 1
            continue
        end = _block_end(texts, meanings, index)
        if _is_block(texts, meanings, found, index, end):
            start = _with_rule(texts, found, index)
            found[start:end] = [Kind.ORIGINAL] * (end - start)
        index = end


def _field(text: str) -> str | None:
    """The meaning of a header field's name, when the line begins with one."""
    return _meaning(text[: _FIELD_NAME_LIMIT + 4])


def _meaning(text: str) -> str | None:
    name, colon, _ = text.replace("\uff1a", ":").partition(":")
    return FIELDS.get(name.strip("*_| >").casefold()) if colon else None


def _block_end(texts: Sequence[str], meanings: Sequence[str | None], start: int) -> int:
    """Past the last field; a field may wrap, and Outlook may leave lines between."""
    end = start + 1
    for index in range(start + 1, len(texts)):
        if meanings[index]:
            end = index + 1
        elif index - end >= (_FIELD_WRAP if texts[index] else 1):
            break
    return end


def _is_block(
    texts: Sequence[str],
    meanings: Sequence[str | None],
    found: Sequence[Kind],
    start: int,
    end: int,
) -> bool:
    present = {meaning for meaning in meanings[start:end] if meaning} - {"other"}
    if len(present) < 2 or not present & {"from", "date"}:
        return False
    if "from" not in present:
        return {"date", "to", "subject"} <= present
    # "From: Paris / To: London" is an itinerary.
    if len(present) > 2 or any("@" in text for text in texts[start:end]):
        return True
    before = next((k for k in reversed(found[:start]) if k is not Kind.EMPTY), None)
    return before in (Kind.RULE, Kind.ORIGINAL, Kind.FORWARDED) or "date" in present


def _with_rule(texts: Sequence[str], found: Sequence[Kind], start: int) -> int:
    """Where the rule above the block is, if there is one."""
    above = start - 1
    while above >= 0 and found[above] is Kind.EMPTY:
        above -= 1
    if above < 0:
        return start
    dashed = texts[above].startswith("---") and texts[above].endswith("---")
    return above if dashed or found[above] is Kind.RULE else start


def _find_introductions(texts: Sequence[str], found: list[Kind]) -> None:
    candidates = (n for n in range(len(texts)) if _may_end(texts, found, n))
    for last in islice(candidates, _LOOKUPS):
        start = _introduction_start(texts, found, last)
        if start is not None:
            found[start : last + 1] = [Kind.INTRODUCTION] * (last + 1 - start)


def _may_end(texts: Sequence[str], found: Sequence[Kind], index: int) -> bool:
    """Whether an introduction may end with this line."""
    text = texts[index]
    if found[index] is Kind.QUOTE and index:
        # "<mailto:ann@example.com" on one line, and on the next "> wrote:".
        above = texts[index - 1]
        return above[-1:] == ">" and text[1:].strip(" :").casefold() in _WROTE
    if found[index] is not Kind.TEXT:
        return False
    body = text.rstrip(_DECORATION) if text[-1] in "->" else text
    return (
        body.endswith(_COLONS)
        or text.endswith(_COLONS)
        or (body[-_VERB_END:] in _VERB_ENDS and body.endswith(_LAST_VERBS))
        or (text[0] in "12>" and bool(_ISO_DATE.match(text)))
        or (text[0] in "pP" and bool(_POSTED_BY.match(text.casefold())))
    )


def _introduction_start(
    texts: Sequence[str], found: Sequence[Kind], last: int
) -> int | None:
    """The line where the introduction begins that ends with line last."""
    joined = ""
    undated: int | None = None
    for first in range(last, max(last - _INTRODUCTION_LINES, -1), -1):
        if found[first] is Kind.EMPTY and texts[first + 1].startswith("<"):
            continue
        if found[first] is not Kind.TEXT and first != last:
            break
        joined = f"{texts[first]} {joined}".rstrip()
        if len(joined) > _INTRODUCTION_LIMIT:
            break
        if not _dated(joined):
            continue
        if _WHEN.search(joined):
            above = texts[first - 1] if first and found[first - 1] is Kind.TEXT else ""
            return first - 1 if above and _leads_in(above, joined) else first
        undated = first if undated is None else undated
    if undated is not None or found[last] is not Kind.TEXT:
        return undated
    below = next((k for k in found[last + 1 : last + 4] if k is not Kind.EMPTY), None)
    quote = below is Kind.QUOTE
    if introduces(texts[last], before_quote=False):
        return last
    if last and found[last - 1] is Kind.TEXT and texts[last - 1][-1] not in _SENTENCE:
        two = f"{texts[last - 1]} {texts[last]}"
        if _NAMED.match(two.casefold()) and introduces(two, before_quote=quote):
            return last - 1
    return last if introduces(texts[last], before_quote=quote) else None


def _leads_in(text: str, rest: str) -> bool:
    """Whether it is the first half of an introduction, of which the rest would do."""
    folded = text.strip(_DECORATION).casefold()
    if len(folded) > 100:
        return False
    if "@" not in rest and text[-1] not in _SENTENCE and _NAMED.match(folded):
        return True
    if _OPENS.match(folded):
        return any(character.isdigit() for character in folded)
    dated = _BEGINS_WITH_DATE.match(folded) and _WHEN.search(folded)
    # "kl." and "plkst." are before the time; a sentence is longer.
    ends = text[-1] in _SENTENCE and not (text[-1] == "." and len(text) < 50)
    return bool(dated) and not ends


def _dated(text: str) -> bool:
    """Has the beginning of an introduction, its verb or address, its date, its end."""
    body = text.strip(_DECORATION)
    dashed = body != text and text[0] in "-\u2013\u2014"
    folded = body.rstrip(": \uff1a").casefold()
    ends = body.endswith(_COLONS) or dashed
    opens = bool(_OPENS.match(folded))
    if not (opens or _BEGINS_WITH_DATE.match(folded)) or len(folded) < 8:
        return False
    when, address = _WHEN.search(folded), "@" in folded
    if not (when or (address and opens)):
        return False
    if _has_verb(folded):
        return ends or (opens and folded.endswith(_LAST_VERBS))
    if not address or not when:
        return False
    return (ends and _closes_with_address(folded)) or (
        bool(_ISO_DATE.match(folded)) and bool(_ADDRESS.search(folded))
    )


def _has_verb(folded: str) -> bool:
    text = f" {folded} "
    for verb in _VERBS:
        at = text.find(verb)
        if at >= 0 and (verb[0] != " " or not text[at + len(verb)].isalpha()):
            return True
    return False


def _relayed(folded: str) -> bool:
    """As "ann via Example Forum wrote"."""
    return " via " in folded and len(folded) < 120 and folded.endswith(_LAST_VERBS)


def _is_named(body: str) -> bool:
    """As "Ann Lee wrote:", and unlike "The page says:"."""
    words = body.split()
    return 2 <= len(words) <= 7 and not any(
        word[0].islower()
        for word in words[:-1]
        if word not in ("van", "von", "de", "a")
    )


def _closes_with_address(text: str) -> bool:
    tail = text[-120:]
    return "@" in tail and (tail[-1] in ">)]\"'" or " " not in tail[tail.rindex("@") :])


def introduces(text: str, *, before_quote: bool) -> bool:
    """As _dated, or with less evidence where the form or a quote below supports it."""
    if not text or len(text) > _INTRODUCTION_LIMIT:
        return False
    if _dated(text):
        return True
    body = text.strip(_DECORATION)
    folded = body.rstrip(": \uff1a").casefold()
    if _POSTED_BY.match(folded):
        return True
    dashed = text[0] in "-\u2013\u2014" and text[-1] in "-\u2013\u2014"
    if not (body.endswith(_COLONS) or dashed):
        return False
    verb = _has_verb(folded)
    if verb and (dashed or _NAMED.match(folded) or _relayed(folded)):
        return True
    if not before_quote:
        return False
    return bool(
        (verb and _is_named(body))
        or _ADDRESS.search(folded)
        or (_WHEN.search(folded) and _BEGINS_WITH_DATE.match(folded))
    )


def _find_signatures(
    lines: Sequence[str], texts: Sequence[str], found: list[Kind]
) -> None:
    signatures = 0
    for index, text in enumerate(texts):
        kind = found[index]
        if kind is Kind.RULE:
            if _heads_list_footer(texts, index):
                found[index] = Kind.SIGNATURE
        elif kind is Kind.TEXT and signatures < _LOOKUPS:
            found[index] = _signature(lines[index], text) or kind
            signatures += found[index] is not kind


def _signature(line: str, text: str) -> Kind | None:
    # RFC 3676, 4.3 has "-- "; the space is often lost on the way.
    if text in _DASHES:
        exact = line.rstrip("\r") == "-- "
        return Kind.SIGNATURE if exact else Kind.DASHES
    if len(text) > 120:
        return None
    folded = text.lstrip(_BEFORE_SENT).casefold()
    begins = folded.startswith(_SENT_FROM.get(folded[:2], ()))
    ends = folded.rstrip(")>]*_.").endswith(FROM_SENT)
    if not (begins or ends):
        return None
    if len(folded.split()) > 14:
        return None
    sure = folded.startswith(SENT_FROM_MY) or any(name in folded for name in DEVICES)
    if sure:
        return Kind.SIGNATURE
    return Kind.SIGNATURE_MAYBE if begins and len(folded.split()) <= 8 else None


def _heads_list_footer(texts: Sequence[str], index: int) -> bool:
    if len(texts[index]) < 20 or texts[index][0] not in "_-":
        return False
    below = " ".join(texts[index + 1 : index + 4]).casefold()
    return any(phrase in below for phrase in LIST_FOOTER)
