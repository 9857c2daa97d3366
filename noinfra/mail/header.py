"""Header fields: found by offset, unfolded, and read (RFC 5322).

Everything here is total: a field that breaks its grammar yields the most that a reader
could make of it. Each pattern is possessive or bounded, so that time is linear in the
length of the field, whatever it holds.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from noinfra.mail.charset import decode
from noinfra.mail.parameters import comment_end, parse_parameters, split_parameters
from noinfra.mail.words import decode_words, one_line, unfold

__all__ = [
    "Field",
    "decode_text",
    "decode_words",
    "message_ids",
    "one_line",
    "parse_date",
    "parse_fields",
    "parse_parameters",
    "read_text",
    "split_parameters",
    "unfold",
]

MAX_FIELDS = 1000
MAX_FIELD_OCTETS = 128 * 1024
MAX_MESSAGE_IDS = 500

# RFC 5322, 3.6.8, with white space before the colon (4.5.8): name, then folded lines.
_FIELD = re.compile(
    rb"([!-9;-~]++)[ \t]*+:((?:[^\n]*+\n[ \t])*+[^\n]*+)(?:\n|\Z)", re.DOTALL
)
_INDENTED = re.compile(rb"[ \t]++" + _FIELD.pattern, re.DOTALL)
_MBOX_LINE = re.compile(rb">?From [ \t]*+[^\s:][^\n]*+(?:\n|\Z)")
_HEADER_END = re.compile(rb"\n\r?\n")


class Field(NamedTuple):
    """One header field: its name as written, and all between its colon and line end.

    The value is raw and still folded. octets[start:end] is the whole field with its
    last line break, as DKIM and IMAP's HEADER.FIELDS want it. It is a tuple because
    there are twenty in each mail, and one is made in a fifth of the time.
    """

    name: str
    value: bytes
    start: int
    end: int


def parse_fields(
    octets: bytes, start: int, end: int, *, limit: int = MAX_FIELDS
) -> tuple[tuple[Field, ...], int, tuple[str, ...]]:
    """The fields of octets[start:end], where the body begins, and what was wrong.

    Past the limit fields are not kept, and a longer value than MAX_FIELD_OCTETS is cut.
    A line that is no field is stepped over where a field follows; else the body begins
    there.
    """
    fields: list[Field] = []
    defects: list[str] = []
    at = start
    mbox = _MBOX_LINE.match(octets, at, end)
    if mbox is not None:
        at = mbox.end()
    while at < end:
        match = _FIELD.match(octets, at, end)
        if match is None and at == start:
            # A first line that is indented cannot continue another.
            match = _INDENTED.match(octets, at, end)
        if match is None:
            blank = _blank_line(octets, at, end)
            if blank is not None:
                return tuple(fields), blank, tuple(defects)
            line_end = _line_end(octets, at, end)
            if not fields or _FIELD.match(octets, line_end, end) is None:
                defects.append("the header ends without an empty line")
                return tuple(fields), at, tuple(defects)
            defects.append("a line of the header is no field")
            at = line_end
        elif len(fields) >= limit:
            defects.append(f"fields beyond the first {limit}")
            beyond = _HEADER_END.search(octets, at - 1, end)
            body = end if beyond is None else beyond.end()
            return tuple(fields), body, tuple(defects)
        else:
            at = match.end()
            fields.append(_field(match, defects))
    return tuple(fields), end, tuple(defects)


def _field(match: re.Match[bytes], defects: list[str]) -> Field:
    name, value = match.groups()
    if len(value) > MAX_FIELD_OCTETS:
        defects.append(f"a field longer than {MAX_FIELD_OCTETS} octets was cut")
        value = value[:MAX_FIELD_OCTETS]
    if value[-1:] == b"\r":
        value = value[:-1]
    return Field(name.decode("ascii"), value, match.start(1), match.end())


def _blank_line(octets: bytes, at: int, end: int) -> int | None:
    """Where the line after an empty one begins, if at is an empty one."""
    if octets.startswith(b"\r\n", at, end):
        return at + 2
    return at + 1 if octets.startswith(b"\n", at, end) else None


def _line_end(octets: bytes, at: int, end: int) -> int:
    newline = octets.find(b"\n", at, end)
    return end if newline < 0 else newline + 1


def decode_text(field: Field) -> str:
    """What an unstructured field says, such as Subject, on one line."""
    return read_text(field.value)


def read_text(value: bytes) -> str:
    """The same of its value alone."""
    return decode_words(unfold(value)).strip()


_BRACKETED = re.compile(r"<([^<>]{1,2000})>")
_BARE_ID = re.compile(r"[^\s<>,;()]{1,998}")
_BLANKS = re.compile(r"\s+")


def message_ids(value: bytes | str) -> tuple[str, ...]:
    """The message-ids of a field, in order, each once, without the angle brackets.

    White space that folding put into one is taken out. Where no brackets stand at all,
    the words with an @ are taken. Of a longer list, the first and the last ones are
    kept, which are the root of a conversation and its newest messages.
    """
    if isinstance(value, bytes):
        value = decode(unfold(value), "utf-8")[0]
    found = _BRACKETED.findall(value)
    if not found and "<" not in value:
        found = [word for word in _BARE_ID.findall(value) if "@" in word]
    cleaned = (one_line(_BLANKS.sub("", identifier)) for identifier in found)
    ids = tuple(dict.fromkeys(filter(None, cleaned)))
    if len(ids) > MAX_MESSAGE_IDS:
        ids = (ids[0], *ids[1 - MAX_MESSAGE_IDS :])
    return ids


_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
# RFC 5322, 4.3; the military zones there mean nothing, so they are +0000.
_ZONES = {
    "edt": -4,
    "est": -5,
    "cdt": -5,
    "cst": -6,
    "mdt": -6,
    "mst": -7,
    "pdt": -7,
    "pst": -8,
    "cet": 1,
    "cest": 2,
    "mez": 1,
    "mesz": 2,
    "bst": 1,
    "eet": 2,
    "eest": 3,
    "msk": 3,
    "jst": 9,
}
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d)(?:\.\d{1,9})?)?"
_ZONE = r"(?:\s*(?P<zone>[+-]\d{1,2}:?\d\d|[A-Za-z]{1,5}))?"
_DATES = (
    # RFC 5322, 3.3
    re.compile(
        r"(?:[A-Za-z]{1,12}\.?\s*,?\s*)?(?P<day>\d{1,2})[\s-]+(?P<month>[A-Za-z]{3})[a-z.]*"
        r"[\s,-]+(?P<year>\d{2,4})(?:[\s,]+" + _TIME + _ZONE + ")?"
    ),
    # asctime, as old Unix mailers wrote it
    re.compile(
        r"(?:[A-Za-z]{1,12}\.?\s*,?\s*)?(?P<month>[A-Za-z]{3})[a-z.]*\s+(?P<day>\d{1,2}),?"
        r"\s+" + _TIME + _ZONE + r"\s+(?P<year>\d{4})"
    ),
    # ISO 8601
    re.compile(
        r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?:[T\s]+" + _TIME + _ZONE + ")?"
    ),
)


# RFC 5322, 3.3, with no oddity but the comment that names the zone again.
_USUAL_DATE = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(?P<day>[0-9]{1,2}) (?P<month>[A-Z][a-z]{2}) "
    r"(?P<year>[0-9]{4}) (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2}) "
    r"(?P<zone>[+-][0-9]{4})(?: \([A-Z]{1,5}\))?"
)


def parse_date(value: bytes | str) -> datetime | None:
    """The moment that a Date field names, in UTC, or None when it names none."""
    if isinstance(value, bytes):
        value = decode(unfold(value), "utf-8")[0]
    usual = _USUAL_DATE.fullmatch(value)
    if usual is not None:
        return _moment(usual)
    text = _without_comments(value[:200]).strip()
    for pattern in _DATES:
        match = pattern.match(text)
        if match is not None:
            return _moment(match)
    return None


def _without_comments(text: str) -> str:
    while (at := text.find("(")) >= 0:
        text = text[:at] + " " + text[comment_end(text, at) :]
    return text


def _moment(match: re.Match[str]) -> datetime | None:
    month = match["month"].lower()
    number = int(month) if month.isdigit() else _MONTHS.find(month) // 4 + 1
    try:
        local = datetime(
            _full_year(match["year"]),
            number,
            int(match["day"]),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            min(int(match["second"] or 0), 59),  # a leap second
            tzinfo=timezone(_offset(match["zone"] or "")),
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _full_year(year: str) -> int:
    """RFC 5322, 4.3: two digits are 1950 to 2049, three count from 1900."""
    number = int(year)
    if len(year) == 2:
        return number + (2000 if number < 50 else 1900)
    return number + 1900 if len(year) == 3 else number


def _offset(zone: str) -> timedelta:
    if zone[:1] not in ("+", "-"):
        return timedelta(hours=_ZONES.get(zone.lower(), 0))
    digits = zone[1:].replace(":", "").rjust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset
