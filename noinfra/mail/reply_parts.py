"""Which lines of a mail are new, when it is known what each line is.

The rules, and where the known libraries differ, our choice:

- Quotes and signatures at the end go. A mail of nothing else has no new text.
- What follows an introduction or a block of header fields is the quoted mail, to the
  end; if it has quote marks, only as far as these go: below them, the writer goes on.
- Answers between two quotes or more need these to be understood, so all of it stays. A
  single quote goes, unless it came without introduction: then the writer chose it.
- A forward with words of the writer is cut as a reply is; without, it is the message.
- Signatures are dropped: the "-- " ones (RFC 3676, 4.3), those of devices and mailing
  lists. "Regards, Ann" stays, for these are words that somebody wrote.
"""

import re
from collections.abc import Sequence
from enum import Enum

from attrs import frozen

from noinfra.mail.reply_lines import Kind, plain

_SIGNATURE_LINES = {
    Kind.SIGNATURE: 30,
    Kind.DASHES: 12,
    Kind.SIGNATURE_MAYBE: 0,
    Kind.FOOTER: 0,
}
_SIGNATURE_SPAN = 60
_WRAPPED = 60

_BLANK = frozenset({Kind.EMPTY, Kind.RULE})
_STARTS_QUOTED_MAIL = frozenset({Kind.INTRODUCTION, Kind.ORIGINAL, Kind.FORWARDED})
_BETWEEN = _STARTS_QUOTED_MAIL | _BLANK
_ENDS_SIGNATURE = _STARTS_QUOTED_MAIL | {Kind.QUOTE}
_SIGNS = frozenset(_SIGNATURE_LINES)
_NOT_OWN = _ENDS_SIGNATURE | _SIGNS
_LINK = re.compile(r"[<(\[]?https?://")
# "-Ann Smith", and neither "-1" nor "- item" nor "-v".
_DASHED_NAME = re.compile(r"-[^\W\d_]\w+(?: [^\W\d_][\w.]*){0,2}")


class Whose(Enum):
    """What a part of the mail is to the reader of the reply."""

    OWN = "own"
    QUOTE = "quote"
    CHOSEN_QUOTE = "chosen quote"
    NOISE = "noise"


_QUOTES = (Whose.QUOTE, Whose.CHOSEN_QUOTE)


@frozen
class Part:
    """Lines from start up to end that belong together."""

    whose: Whose
    start: int
    end: int


def new_lines(
    lines: Sequence[str], kinds: Sequence[Kind], *, choosable: bool = True
) -> list[bool]:
    """For each line, whether it is new.

    choosable says whether a quote without introduction may be the writer's choice: in
    text it is made by typing ">", in HTML quotes are mostly made by programs.
    """
    parts = _parts(lines, kinds, choosable)
    stay = {Whose.OWN, Whose.CHOSEN_QUOTE}
    if _answers_between(parts, kinds):
        stay.add(Whose.QUOTE)
    while parts and not _has_text(parts[-1], kinds):
        parts.pop()
    kept = [False] * len(lines)
    for part in parts:
        if part.whose in stay:
            kept[part.start : part.end] = [True] * (part.end - part.start)
    _trim(lines, kinds, kept)
    return kept


def _answers_between(parts: Sequence[Part], kinds: Sequence[Kind]) -> bool:
    quotes = [n for n, part in enumerate(parts) if part.whose in _QUOTES]
    return bool(quotes) and any(
        _has_text(part, kinds) for part in parts[quotes[0] : quotes[-1]]
    )


def _has_text(part: Part, kinds: Sequence[Kind]) -> bool:
    if part.whose is not Whose.OWN:
        return False
    return not _BLANK.issuperset(kinds[part.start : part.end])


def _parts(lines: Sequence[str], kinds: Sequence[Kind], choosable: bool) -> list[Part]:
    parts: list[Part] = []
    own_text = False
    index = 0
    while index < len(kinds):
        part = _part_at(lines, kinds, index, own_text, choosable)
        own_text = own_text or _has_text(part, kinds)
        parts.append(part)
        index = part.end
    return parts


def _part_at(
    lines: Sequence[str],
    kinds: Sequence[Kind],
    start: int,
    own_text: bool,
    choosable: bool,
) -> Part:
    kind = kinds[start]
    if kind in _STARTS_QUOTED_MAIL:
        return _quoted_mail(lines, kinds, start, own_text)
    if kind is Kind.QUOTE:
        whose = Whose.CHOSEN_QUOTE if choosable else Whose.QUOTE
        return Part(whose, start, _quote_end(lines, kinds, start))
    if kind in _SIGNS:
        end = _signature_end(kinds, start, own_text)
        return Part(Whose.NOISE if end else Whose.OWN, start, end or start + 1)
    end = next((n for n in range(start, len(kinds)) if kinds[n] in _NOT_OWN), None)
    return Part(Whose.OWN, start, len(kinds) if end is None else end)


def _quoted_mail(
    lines: Sequence[str], kinds: Sequence[Kind], start: int, own_text: bool
) -> Part:
    after = start
    while after < len(kinds) and kinds[after] in _BETWEEN:
        after += 1
    if after < len(kinds) and kinds[after] is Kind.QUOTE:
        return Part(Whose.QUOTE, start, _quote_end(lines, kinds, after))
    if own_text:
        return Part(Whose.QUOTE, start, len(kinds))
    if Kind.ORIGINAL in kinds[start:after] or Kind.FORWARDED in kinds[start:after]:
        return Part(Whose.OWN, start, len(kinds))
    return Part(Whose.NOISE, start, after)


def _quote_end(lines: Sequence[str], kinds: Sequence[Kind], start: int) -> int:
    """Past the last line of the quote that begins at start, and of those within it."""
    end = index = start
    while index < len(kinds):
        if kinds[index] is Kind.QUOTE:
            end = index + 1
        elif not (kinds[index] in _BETWEEN or _is_wrapped(lines, kinds, index)):
            break
        index += 1
    return end


def _is_wrapped(lines: Sequence[str], kinds: Sequence[Kind], index: int) -> bool:
    """Whether the line is the end of the quoted one above it, which was too long."""
    if not 0 < index < len(kinds) - 1 or kinds[index] is not Kind.TEXT:
        return False
    if kinds[index - 1] is not Kind.QUOTE or kinds[index + 1] is not Kind.QUOTE:
        return False
    above, text = plain(lines[index - 1]), plain(lines[index])
    if not above or not text:
        return False
    if _LINK.match(text) or (" " not in text and "://" in above.split()[-1]):
        return True
    return len(above) > _WRAPPED and text[0].islower()


def _signature_end(kinds: Sequence[Kind], start: int, own_text: bool) -> int | None:
    """Past the signature that starts here, or None if it is none."""
    kind = kinds[start]
    alone = start + 1 if kind in (Kind.FOOTER, Kind.SIGNATURE) else None
    allowed = _SIGNATURE_LINES[kind]
    if not own_text or kind is Kind.FOOTER:
        return alone
    below = 0
    for end in range(start + 1, len(kinds)):
        below += kinds[end] is Kind.TEXT
        if below > allowed or end - start > _SIGNATURE_SPAN:
            return alone
        if kinds[end] in _ENDS_SIGNATURE:
            return end
    return len(kinds)


def _trim(lines: Sequence[str], kinds: Sequence[Kind], kept: list[bool]) -> None:
    """Drop what leads over to something dropped, or from it: rules, blank lines."""
    dropped_below = False
    for index in range(len(lines) - 1, -1, -1):
        if not kept[index]:
            dropped_below = True
        elif kinds[index] is Kind.RULE and dropped_below:
            kept[index] = False
        elif kinds[index] is not Kind.EMPTY:
            dropped_below = False
    for index in range(1, len(lines)):
        if kinds[index] is Kind.EMPTY and not kept[index - 1]:
            kept[index] = False
    _trim_name(lines, kinds, kept)


def _trim_name(lines: Sequence[str], kinds: Sequence[Kind], kept: list[bool]) -> None:
    """Drop a last line such as "-Ann"."""
    written = (n for n in range(len(lines) - 1, 1, -1) if kept[n])
    last = next((n for n in written if kinds[n] is not Kind.EMPTY), None)
    if last is None or kinds[last - 1] is not Kind.EMPTY:
        return
    name = plain(lines[last])
    if _DASHED_NAME.fullmatch(name) and name[1].isupper():
        kept[last] = False
