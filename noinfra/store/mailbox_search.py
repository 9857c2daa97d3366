r"""SEARCH, SORT and THREAD as one statement over a folder.

A string is looked for anywhere in a word, as RFC 3501, 6.4.4 has it. The full-text
index of a content knows English stems: it finds "mail" for "mailing" and not for
"email", and skips common words, so it cannot even narrow down what is to be read.
Strings are therefore compared with what was derived at arrival: the decoded subject,
people and text. The header section is read off the octets only for a field that is not
kept by itself, and by TEXT. A body is the text that a reader sees, of HTML its text.

Case is that of ASCII where the string has no other letters, which is much faster.
"""

from __future__ import annotations

import re
from datetime import date, datetime

from attrs import define, frozen

from noinfra.mail.imap_keywords import (
    FLAGGED,
    SEEN,
    STARRED,
    UNREAD,
    label_of,
    system_flag,
)
from noinfra.mail.imap_search import (
    All,
    And,
    Arrived,
    Body,
    EmailId,
    Flag,
    Header,
    Key,
    Modseq,
    Not,
    Or,
    Saved,
    SentOn,
    Size,
    Text,
    ThreadId,
    Uids,
    Within,
)
from noinfra.store.database import Statements
from noinfra.store.parameters import storable

# Of a header section so much is searched, as so much of it is kept elsewhere.
_HEADER = 262144
# PostgreSQL's integers.
_LARGEST = 2**63 - 1

# The header section: NUL and what is not ASCII as a backslash and three digits.
_RAW = f"""encode(substring(octets from 1 for
    least((parts->0->>'b')::int, {_HEADER})), 'escape')"""
# Unfolded, with a line break before each field.
_FIELDS = rf"E'\n' || regexp_replace({_RAW}, E'\r?\n([ \t])', '\1', 'g')"

# RFC 3501, 6.4.4: the day that the Date field names, disregarding time and zone. It is
# the first string of the envelope. Without one that can be read, the day of arrival.
_MONTHS = "{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}"
_SENT_ON = rf"""coalesce((
    select found[3]::int * 10000 + found[1]::int
        + 100 * array_position('{_MONTHS}'::text[], lower(found[2]))
    from regexp_match(
        encode(substring(envelope from 1 for 64), 'escape'),
        '^\("[^"0-9]*(\d{{1,2}})[ -]+([A-Za-z]{{3}})[a-z]*[ -]+(\d{{4}})'
    ) as found
), to_char(coalesce(sent_at, received_at), 'YYYYMMDD')::int)"""

_PEOPLE = {"from": "from_", "to": "to_", "cc": "cc", "bcc": "bcc"}


@frozen(kw_only=True)
class Sortable:
    """What SORT and THREAD compare; people are the first of each field.

    A group has no people in it, or not first; its name is in the envelope alone.
    """

    uid: int
    modseq: int
    subject: str
    from_: str | None
    to_: str | None
    cc: str | None
    size: int
    sent_at: datetime
    received_at: datetime
    rfc_message_id: str | None
    in_reply_to: str | None
    reference_ids: list[str]
    envelope: bytes | None


class Search:
    """Finds messages of a folder."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def uids(
        self, inbox_id: str, folder_id: int, key: Key
    ) -> tuple[list[int], int | None]:
        """The UIDs in ascending order, and the highest modseq among them."""
        where, parameters = compiled(key, folder_id, inbox_id)
        rows = await self._on.rows(
            f"""
            select array_agg(uid), max(modseq) from (
                select uid, message.modseq {where} order by uid
            ) as found
            """,
            **parameters,
        )
        return rows[0][0] or [], rows[0][1]

    async def sortable(
        self, inbox_id: str, folder_id: int, key: Key, *, envelopes: bool = False
    ) -> list[Sortable]:
        """What is found with what it is sorted and threaded by, by ascending UID.

        :param envelopes: with its envelope, which is in another table.
        """
        where, parameters = compiled(key, folder_id, inbox_id)
        envelope = _of_content("envelope") if envelopes else "null::bytea"
        return await self._on.many(
            Sortable,
            f"""
            select uid, message.modseq, subject, from_->>0 as from_,
                to_->>0 as to_, cc->>0 as cc, message.size, received_at,
                coalesce(sent_at, received_at) as sent_at, rfc_message_id, in_reply_to,
                reference_ids, {envelope} as envelope
            {where} order by uid
            """,
            **parameters,
        )


def compiled(key: Key, folder_id: int, inbox_id: str) -> tuple[str, dict[str, object]]:
    """From and where, and their parameters."""
    conditions = _Conditions({"folder_id": folder_id, "inbox_id": inbox_id})
    condition = conditions.of(key)
    return (
        "from message where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s"
        f" and {condition}",
        conditions.parameters,
    )


def _of_content(condition: str) -> str:
    """A column of the message's content, or a condition on it.

    Looked up for each message that has passed so far. As a join it would be planned for
    all contents of the customer, which may be many times those of the folder.
    """
    return (
        f"(select {condition} from content"
        " where content.content_id = message.content_id)"
    )


@define
class _Conditions:
    """Makes a condition of each key, and collects the parameters."""

    parameters: dict[str, object]

    def of(self, key: Key) -> str:
        """The condition of a key."""
        match key:
            case All():
                return "true"
            case And(keys):
                return self._all(keys)
            case Or(one, other):
                return f"({self.of(one)} or {self.of(other)})"
            case Not(Flag(name)) if system_flag(name) == SEEN:
                # As the partial index on unread mail has it.
                return f"'{UNREAD}' = any(labels)"
            case Not(inner):
                # What cannot be known is not so, and its contrary is.
                return f"(({self.of(inner)}) is not true)"
            case Flag(name):
                return self._flag(name)
            case Uids(ranges):
                return self._uids(ranges)
            case Header(name, value):
                return self._header(name.lower(), value)
            case Text(value):
                return self._text(value)
            case Body(value):
                return self._body(value)
            case EmailId(id):
                return self._email_id(id)
            case ThreadId(id):
                return f"thread_id = {self._parameter(storable(id))}"
            case _:
                return self._measure(key)

    def _all(self, keys: tuple[Key, ...]) -> str:
        # What reads octets or text comes last: the rest leaves less to read.
        cheap_first = sorted(keys, key=_cost)
        return f"({' and '.join(map(self.of, cheap_first))})" if keys else "true"

    def _measure(self, key: Key) -> str:
        """A condition on a number or a date."""
        match key:
            case Arrived(before=before, since=since):
                return self._between("received_at", since, before)
            case Saved(before=before, since=since):
                return self._between("coalesce(saved_at, received_at)", since, before)
            case SentOn(before=before, since=since):
                return _of_content(
                    self._bounded(_SENT_ON, _number(since), "<", _number(before))
                )
            case Within(older=older, younger=younger):
                return self._within(older, younger)
            case Size(larger=larger, smaller=smaller):
                more = None if larger is None else larger + 1
                return self._bounded("message.size", more, "<", smaller)
            case Modseq(least):
                return self._bounded("message.modseq", least, "<", None)
            case _:
                raise TypeError(f"{key!r} is no search key.")

    def _parameter(self, value: object) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"

    def _between(self, column: str, since: date | None, before: date | None) -> str:
        # The session's time zone is UTC, and so are the dates that we show.
        conditions = [
            f"{column} {comparison} {self._parameter(day)}::date"
            for comparison, day in ((">=", since), ("<", before))
            if day is not None
        ]
        return f"({' and '.join(conditions)})" if conditions else "true"

    def _bounded(
        self, value: str, least: int | None, below: str, limit: int | None
    ) -> str:
        conditions = [
            f"{value} {comparison} {self._parameter(min(number, _LARGEST))}::bigint"
            for comparison, number in ((">=", least), (below, limit))
            if number is not None
        ]
        return f"({' and '.join(conditions)})" if conditions else "true"

    def _within(self, older: int | None, younger: int | None) -> str:
        # PostgreSQL's intervals end before its dates do.
        conditions = [
            f"received_at {comparison} now() - {self._parameter(min(seconds, 10**10))}"
            " * interval '1 second'"
            for comparison, seconds in (("<=", older), (">", younger))
            if seconds is not None
        ]
        return f"({' and '.join(conditions)})" if conditions else "true"

    def _flag(self, name: str) -> str:
        flag = system_flag(name)
        if flag == SEEN:
            return f"not ('{UNREAD}' = any(labels))"
        if flag == FLAGGED:
            return f"'{STARRED}' = any(labels)"
        if flag is not None:
            # Spelled out, so that the partial index on \Deleted is known to fit.
            return f"'{flag}' = any(flags)"
        label = label_of(name)
        return f"{self._parameter(label)} = any(labels)" if label else "false"

    def _uids(self, ranges: tuple[tuple[int, int], ...]) -> str:
        if not ranges:
            return "false"
        if len(ranges) == 1:
            first, last = map(self._parameter, ranges[0])
            return f"uid between {first} and {last}"
        lows = self._parameter([first for first, _ in ranges])
        highs = self._parameter([last for _, last in ranges])
        multirange = (
            "(select range_agg(int8range(low, high, '[]'))"
            f" from unnest({lows}::bigint[], {highs}::bigint[]) as r (low, high))"
        )
        return f"({multirange}) @> uid"

    def _email_id(self, id: str) -> str:
        found = re.fullmatch(r"c(\d{1,18})", id, re.ASCII)
        return f"content_id = {self._parameter(int(found[1]))}" if found else "false"

    def _contains(self, value: str, needle: str) -> str:
        if needle.isascii():
            wanted = self._parameter(needle.lower())
            return f"""strpos(lower(({value}) collate "C"), {wanted}) > 0"""
        return f"strpos(lower({value}), lower({self._parameter(needle)})) > 0"

    def _body(self, needle: str) -> str:
        if storable(needle) != needle:
            return "false"
        return _of_content(self._contains("content.text", needle))

    def _text(self, needle: str) -> str:
        if storable(needle) != needle:
            return "false"
        conditions = [self._contains("subject", needle)]
        conditions += [self._person(column, needle) for column in _PEOPLE.values()]
        # Last, as it is the slowest: what is written there without decoding.
        said = self._contains("content.text", needle)
        written = self._contains(_RAW, _escaped(needle.lower()))
        conditions.append(_of_content(f"{said} or {written}"))
        return f"({' or '.join(conditions)})"

    def _person(self, column: str, needle: str) -> str:
        # The column is JSON: what is looked for is written as it would be there.
        written = needle.replace("\\", "\\\\").replace('"', '\\"')
        return self._contains(f"{column}::text", written)

    def _header(self, name: str, needle: str) -> str:
        broken = "\r" in needle or "\n" in needle
        if broken or storable(needle) != needle or storable(name) != name:
            return "false"
        if name == "subject" and needle:
            return self._contains("subject", needle)
        if name in _PEOPLE and needle:
            person = self._person(_PEOPLE[name], needle)
            # A group's name, or a comment, is in the field alone.
            return f"({person} or {self._field(name, needle)})"
        if name == "message-id" and (found := re.fullmatch("<([^<>]+)>", needle)):
            known = self._contains("rfc_message_id", found[1])
            unknown = "rfc_message_id is null"
            return f"(({unknown} or {known}) and {self._field(name, needle)})"
        return self._field(name, needle)

    def _field(self, name: str, needle: str) -> str:
        """A field of this name, with the string in its value as it came."""
        pattern = (
            rf"\n{_quoted(_escaped(name))}[ \t]*:[^\n]*{_quoted(_escaped(needle))}"
        )
        return _of_content(f"({_FIELDS}) ~* {self._parameter(pattern)}")


def _cost(key: Key) -> int:
    match key:
        case Text() | Body():
            return 2
        case Header(name, _):
            return 1 if name.lower() == "subject" else 2
        case And(keys):
            return max(map(_cost, keys), default=0)
        case Or(one, other):
            return max(_cost(one), _cost(other))
        case Not(inner):
            return _cost(inner)
        case SentOn():
            return 1
        case _:
            return 0


def _number(day: date | None) -> int | None:
    return None if day is None else day.year * 10000 + day.month * 100 + day.day


def _escaped(text: str) -> str:
    """A text as PostgreSQL's encode(…, 'escape') writes its UTF-8."""
    return "".join(
        chr(octet) if octet < 128 else f"\\{octet:03o}"
        for octet in text.replace("\\", "\\\\").encode("utf-8", "replace")
    )


def _quoted(text: str) -> str:
    """A text as a regular expression that matches it."""
    return re.sub(r"([^A-Za-z0-9])", r"\\\1", text)
