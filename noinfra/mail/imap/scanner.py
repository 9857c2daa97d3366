"""A command's octets, taken from left to right (RFC 9051, 9; RFC 3501, 9).

Literals stand in the octets as they came, announcement and all, so that nothing has to
be cut up before its meaning is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

from noinfra.mail.imap.names import BadName, decode_name

T = TypeVar("T")

# RFC 9051, 9: number64 has 63 bits, number and nz-number 32.
MAX_NUMBER = (1 << 32) - 1
MAX_NUMBER64 = (1 << 63) - 1

ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
PATTERN = re.compile(rb'[^\x00-\x20\x7f(){"\\]+')
TAG = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\]+')
WORD = re.compile(rb"[A-Za-z][A-Za-z0-9.\-=]*")
NUMBER = re.compile(rb"[0-9]+")
QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]++|\\["\\])*+)"')
ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
LITERAL = re.compile(rb"~?\{([0-9]{1,10})\+?\}\r\n")

# RFC 9051, 9: date-time; the day may be padded with a blank.
DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) '
    rb'([+-])([0-9]{2})([0-9]{2})"'
)
DATE = re.compile(rb'"?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})"?')
MONTHS = {
    name: number
    for number, name in enumerate(
        b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1
    )
}


class ImapSyntaxError(ValueError):
    """A command that is not of its syntax; says what was expected instead."""


class NoMailboxName(ImapSyntaxError):
    """A mailbox name that is a string, but not in the encoding of names."""


class Scanner:
    """One command, and how far it has been read."""

    def __init__(self, octets: bytes, *, utf8: bool = False) -> None:
        """Begin at the beginning.

        :param utf8: names are in UTF-8 and not in modified UTF-7 (RFC 6855, 3; RFC
            9051, 5.1).
        """
        self._octets = octets
        self._at = 0
        self._utf8 = utf8

    # ----------------------------------------------------------------------------------
    # Looking

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._octets)

    def follows(self, octets: bytes) -> bool:
        """Whether this comes next; it stays there."""
        return self._octets.startswith(octets, self._at)

    def accept(self, octets: bytes) -> bool:
        """Take this, if it comes next."""
        if not self.follows(octets):
            return False
        self._at += len(octets)
        return True

    def follows_digit(self) -> bool:
        """Whether a digit comes next; it stays there."""
        return NUMBER.match(self._octets, self._at) is not None

    def peek_word(self) -> bytes:
        """The keyword that comes next, in capitals; it stays there."""
        found = WORD.match(self._octets, self._at)
        return found[0].upper() if found else b""

    # ----------------------------------------------------------------------------------
    # Taking

    def expect(self, octets: bytes) -> None:
        """Take this.

        :raises ImapSyntaxError: something else comes next.
        """
        if not self.accept(octets):
            raise self.wrong("a space" if octets == b" " else octets.decode("ascii"))

    def space(self) -> None:
        """Take the one space between two arguments."""
        self.expect(b" ")

    def rest(self) -> bytes:
        """All that is left."""
        octets, self._at = self._octets[self._at :], len(self._octets)
        return octets

    def end(self) -> None:
        """Make sure that nothing is left; blanks at the end are forgiven."""
        if self._octets[self._at :].strip(b" "):
            raise self.wrong("the end of the command")

    def take(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        """What a pattern matches here; what names it in the error."""
        found = pattern.match(self._octets, self._at)
        if found is None:
            raise self.wrong(what)
        self._at = found.end()
        return found

    def atom(self, what: str = "an atom") -> bytes:
        """An atom."""
        return self.take(ATOM, what)[0]

    def tag(self) -> bytes:
        """The tag that a command begins with."""
        return self.take(TAG, "a tag")[0]

    def word(self, what: str = "a keyword") -> bytes:
        """A keyword, in capitals."""
        return self.take(WORD, what)[0].upper()

    def number(self, *, most: int = MAX_NUMBER, least: int = 0) -> int:
        """A number."""
        found = self.take(NUMBER, "a number")[0]
        # Python refuses to convert thousands of digits; so do we, earlier.
        value = int(found) if len(found) <= 20 else most + 1
        if not least <= value <= most:
            raise ImapSyntaxError(f"A number is from {least} to {most} here.")
        return value

    def string(self, what: str = "a string") -> bytes:
        """A quoted string or a literal."""
        if self.follows(b'"'):
            return unquoted(self.take(QUOTED, "a closed quoted string")[1])
        found = self.take(LITERAL, what)
        size = int(found[1])
        octets = self._octets[found.end() : found.end() + size]
        if len(octets) < size:
            raise self.wrong("the octets of the literal")
        if b"\0" in octets:
            raise ImapSyntaxError("A string holds no NUL.")
        self._at = found.end() + size
        return octets

    def astring(self, what: str = "a string") -> bytes:
        """An atom, a quoted string or a literal."""
        found = ASTRING.match(self._octets, self._at)
        if found is None:
            return self.string(what)
        self._at = found.end()
        return found[0]

    def nstring(self, what: str = "a string or NIL") -> bytes | None:
        """A string, or NIL for none."""
        if self.peek_word() == b"NIL":
            self._at += 3
            return None
        return self.string(what)

    def mailbox(self) -> str:
        """The name of a mailbox."""
        return self._name(self.astring("the name of a mailbox"))

    def pattern(self) -> str:
        """The name of a mailbox, perhaps with wildcards (list-mailbox)."""
        found = PATTERN.match(self._octets, self._at)
        if found is None:
            return self._name(self.string("the pattern of a mailbox's name"))
        self._at = found.end()
        try:
            return self._name(found[0])
        except NoMailboxName:
            # No name is written so: the pattern matches none.
            return "\0"

    def _name(self, octets: bytes) -> str:
        try:
            return decode_name(octets, utf8=self._utf8)
        except BadName as error:
            raise NoMailboxName(str(error)) from error

    def flag(self) -> str:
        r"""A flag or keyword, such as ``\Seen`` or ``$Forwarded``."""
        return self.take(FLAG, "a flag")[0].decode("ascii")

    def listed(
        self, item: Callable[[], T], *, most: int, empty: bool = True
    ) -> list[T]:
        """Items between parentheses, a space between each two."""
        self.expect(b"(")
        items: list[T] = []
        if empty and self.accept(b")"):
            return items
        while True:
            items.append(item())
            if len(items) > most:
                raise ImapSyntaxError(f"There are at most {most} of these in a list.")
            if self.accept(b")"):
                return items
            self.space()

    def flags(self) -> tuple[str, ...]:
        """Flags between parentheses."""
        return tuple(self.listed(self.flag, most=1000))

    def date_time(self) -> datetime:
        """A date-time, in UTC."""
        found = self.take(DATE_TIME, 'a date-time as "17-Jul-2026 02:44:25 +0200"')
        day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        try:
            zone = timezone(-offset if sign == b"-" else offset)
            moment = datetime(
                *(int(year), MONTHS[month.lower()], int(day)),
                # RFC 9051 takes a leap second; the clock of the mail has none.
                *(int(hour), int(minute), min(int(second), 59)),
                tzinfo=zone,
            )
            return moment.astimezone(UTC)
        except (ValueError, KeyError, OverflowError) as error:
            raise ImapSyntaxError("There is no such date.") from error

    def date(self) -> date:
        """A date, with quotes or without."""
        day, month, year = self.take(DATE, "a date as 1-Feb-2026").groups()
        try:
            return date(int(year), MONTHS[month.lower()], int(day))
        except (ValueError, KeyError) as error:
            raise ImapSyntaxError("There is no such date.") from error

    def wrong(self, expected: str) -> ImapSyntaxError:
        """What to raise when something else was expected."""
        if self.ended:
            return ImapSyntaxError(f"Expected {expected}, but the command ends.")
        found = self._octets[self._at : self._at + 20].split(b"\r")[0]
        shown = found.decode("ascii", "replace").encode("ascii", "replace").decode()
        return ImapSyntaxError(
            f"Expected {expected} at octet {self._at + 1}, found {shown!r}."
        )


def unquoted(octets: bytes) -> bytes:
    r"""The inside of a quoted string without its backslashes."""
    return ESCAPED.sub(rb"\1", octets) if b"\\" in octets else octets
