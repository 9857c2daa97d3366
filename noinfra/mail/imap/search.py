"""SEARCH, SORT and THREAD (RFC 9051, 6.4.4; RFC 5256), read into `imap_search`.

Numbers of messages mean something only in the mailbox that is selected, so whoever
reads a program says what a set of them means there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Literal

from attrs import define, field, frozen

from noinfra.mail.charset import codec_name
from noinfra.mail.imap.scanner import (
    MAX_NUMBER,
    MAX_NUMBER64,
    ImapSyntaxError,
    Scanner,
)
from noinfra.mail.imap.sets import SequenceSet, scan_set
from noinfra.mail.imap_search import (
    SORT_KEYS,
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
    SortKey,
    Text,
    ThreadId,
    Uids,
    Within,
)

# Clients write long chains of OR, one within the other; a stack has its bounds.
MAX_DEPTH = 100
MAX_KEYS = 2000
MAX_SORT_KEYS = 20

RETURN_OPTIONS = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT", b"SAVE"))
ALGORITHMS = (b"REFERENCES", b"ORDEREDSUBJECT")

# What a set of numbers (or, where uid, of UIDs) means in the selected mailbox.
Place = Callable[[SequenceSet, bool], Uids]
Returning = frozenset[bytes]

_FLAGS = {
    name.upper().encode(): f"\\{name}"
    for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen")
}
_HEADERS = {name: name.decode().lower() for name in b"BCC CC FROM SUBJECT TO".split()}
_ARRIVED = frozenset((b"BEFORE", b"ON", b"SINCE"))


class BadCharset(ValueError):
    """A character set that we do not know (RFC 9051, 7.1: BADCHARSET)."""


@frozen(kw_only=True)
class Search:
    """SEARCH and UID SEARCH.

    :ivar returning: the options of RETURN (…); None is without (RFC 4731).
    :ivar modseq: the answer tells the highest modseq (RFC 7162, 3.1.5).
    """

    uid: bool
    returning: Returning | None
    key: Key
    modseq: bool


@frozen(kw_only=True)
class Sort:
    """SORT and UID SORT (RFC 5256, 3)."""

    uid: bool
    returning: Returning | None
    by: tuple[SortKey, ...]
    key: Key
    modseq: bool


@frozen(kw_only=True)
class Thread:
    """THREAD and UID THREAD (RFC 5256, 3)."""

    uid: bool
    algorithm: Literal["REFERENCES", "ORDEREDSUBJECT"]
    key: Key


def scan_search(scanner: Scanner, place: Place, *, uid: bool) -> Search:
    """The arguments of SEARCH."""
    returning = _returning(scanner)
    codec = "utf-8"
    if scanner.peek_word() == b"CHARSET":
        scanner.word()
        scanner.space()
        codec = _charset(scanner)
        scanner.space()
    program = _Program(scanner, place, codec)
    key = program.keys()
    return Search(uid=uid, returning=returning, key=key, modseq=program.modseq)


def scan_sort(scanner: Scanner, place: Place, *, uid: bool) -> Sort:
    """The arguments of SORT."""
    returning = _returning(scanner)
    by = tuple(
        scanner.listed(lambda: _sort_key(scanner), most=MAX_SORT_KEYS, empty=False)
    )
    scanner.space()
    program = _charset_and_program(scanner, place)
    key = program.keys()
    return Sort(uid=uid, returning=returning, by=by, key=key, modseq=program.modseq)


def scan_thread(scanner: Scanner, place: Place, *, uid: bool) -> Thread:
    """The arguments of THREAD."""
    algorithm = scanner.word("REFERENCES or ORDEREDSUBJECT")
    if algorithm not in ALGORITHMS:
        raise ImapSyntaxError("THREAD knows REFERENCES and ORDEREDSUBJECT.")
    scanner.space()
    key = _charset_and_program(scanner, place).keys()
    return Thread(
        uid=uid,
        algorithm="REFERENCES" if algorithm == b"REFERENCES" else "ORDEREDSUBJECT",
        key=key,
    )


def _charset_and_program(scanner: Scanner, place: Place) -> _Program:
    codec = _charset(scanner)
    scanner.space()
    return _Program(scanner, place, codec)


def _returning(scanner: Scanner) -> Returning | None:
    if scanner.peek_word() != b"RETURN":
        return None
    scanner.word()
    scanner.space()
    options = scanner.listed(lambda: scanner.word("a result option"), most=10)
    for option in options:
        if option not in RETURN_OPTIONS:
            raise ImapSyntaxError("RETURN knows MIN, MAX, ALL, COUNT and SAVE.")
    scanner.space()
    # RFC 4731, 3.1: an empty list is ALL.
    return frozenset(options or [b"ALL"])


def _charset(scanner: Scanner) -> str:
    label = scanner.astring("a character set").decode("ascii", "replace")
    codec = codec_name(label)
    if codec is None:
        raise BadCharset("We do not know that character set; UTF-8 is best.")
    return codec


def _sort_key(scanner: Scanner) -> SortKey:
    word = scanner.word("a sort key")
    reverse = word == b"REVERSE"
    if reverse:
        scanner.space()
        word = scanner.word("a sort key")
    name = word.decode("ascii").lower()
    if name not in SORT_KEYS:
        raise ImapSyntaxError(f"SORT knows {', '.join(sorted(SORT_KEYS)).upper()}.")
    return SortKey(name, reverse)


@define
class _Program:
    """Search keys, read one after another; ``modseq`` tells if one was MODSEQ."""

    _scanner: Scanner
    _place: Place
    _codec: str
    modseq: bool = field(default=False, init=False)
    _count: int = field(default=0, init=False)

    def keys(self) -> Key:
        """Keys up to the end."""
        keys = [self._key(1)]
        while self._scanner.accept(b" "):
            keys.append(self._key(1))
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def _key(self, depth: int) -> Key:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_KEYS:
            raise ImapSyntaxError(
                f"A search has at most {MAX_KEYS} keys, {MAX_DEPTH} within each other."
            )
        scanner = self._scanner
        if scanner.follows(b"("):
            inner = scanner.listed(
                lambda: self._key(depth + 1), most=MAX_KEYS, empty=False
            )
            return inner[0] if len(inner) == 1 else And(tuple(inner))
        if scanner.follows_digit() or scanner.follows(b"*") or scanner.follows(b"$"):
            return self._place(scan_set(scanner), False)
        word = scanner.word("a search key")
        if word == b"NOT":
            scanner.space()
            return Not(self._key(depth + 1))
        if word == b"OR":
            scanner.space()
            one = self._key(depth + 1)
            scanner.space()
            return Or(one, self._key(depth + 1))
        return _flag_key(word) or self._argument_key(word)

    def _argument_key(self, word: bytes) -> Key:
        """A key with arguments."""
        scanner = self._scanner
        scanner.space()
        if word in _HEADERS:
            return Header(_HEADERS[word], self._string())
        match word:
            case b"KEYWORD":
                return Flag(scanner.flag())
            case b"UNKEYWORD":
                return Not(Flag(scanner.flag()))
            case b"UID":
                return self._place(scan_set(scanner), True)
            case b"HEADER":
                name = scanner.astring("a field's name").decode("latin-1").lower()
                scanner.space()
                return Header(name, self._string())
            case b"TEXT":
                return Text(self._string())
            case b"BODY":
                return Body(self._string())
            case b"LARGER":
                return Size(larger=scanner.number(most=MAX_NUMBER64))
            case b"SMALLER":
                return Size(smaller=scanner.number(most=MAX_NUMBER64))
            case b"OLDER":
                return Within(older=scanner.number(most=MAX_NUMBER, least=1))
            case b"YOUNGER":
                return Within(younger=scanner.number(most=MAX_NUMBER, least=1))
            case b"MODSEQ":
                return self._modseq()
            case b"EMAILID":
                return EmailId(scanner.astring("an object's id").decode("latin-1"))
            case b"THREADID":
                return ThreadId(scanner.astring("an object's id").decode("latin-1"))
        return self._date_key(word)

    def _date_key(self, word: bytes) -> Key:
        for prefix, cls in ((b"SENT", SentOn), (b"SAVED", Saved), (b"", Arrived)):
            if word.startswith(prefix) and word[len(prefix) :] in _ARRIVED:
                return cls(**_days(word[len(prefix) :], self._scanner.date()))
        shown = word[:40].decode("ascii", "replace")
        raise ImapSyntaxError(f"There is no search key {shown}.")

    def _string(self) -> str:
        octets = self._scanner.astring("a string to look for")
        try:
            text = octets.decode(self._codec)
        except UnicodeError as error:
            raise ImapSyntaxError(
                "The string is not in the character set of the search."
            ) from error
        return text.replace("\0", "")

    def _modseq(self) -> Key:
        """RFC 7162, 3.1.5: one entry's own modseq is not kept; the message's is it."""
        self.modseq = True
        scanner = self._scanner
        if scanner.follows(b'"'):
            scanner.string("the name of an entry")
            scanner.space()
            if scanner.word() not in (b"PRIV", b"SHARED", b"ALL"):
                raise ImapSyntaxError("The type of an entry is priv, shared or all.")
            scanner.space()
        return Modseq(scanner.number(most=MAX_NUMBER64))


def _flag_key(word: bytes) -> Key | None:
    """A key without arguments."""
    if word in _FLAGS:
        return Flag(_FLAGS[word])
    if word.startswith(b"UN") and word[2:] in _FLAGS:
        return Not(Flag(_FLAGS[word[2:]]))
    # Nothing is ever recent: a session that looks must not change what others see.
    if word in (b"NEW", b"RECENT"):
        return Not(All())
    # RFC 8514, 4.4: we always have a save date.
    if word in (b"ALL", b"OLD", b"SAVEDATESUPPORTED"):
        return All()
    return None


def _days(word: bytes, day: date) -> dict[str, date]:
    if word == b"BEFORE":
        return {"before": day}
    if word == b"SINCE":
        return {"since": day}
    try:
        return {"since": day, "before": day + timedelta(days=1)}
    except OverflowError as error:
        raise ImapSyntaxError("There is no day after that one.") from error
