"""APPEND, in pieces: its literals are mail, and go elsewhere than into memory.

    tag APPEND mailbox [flags] [date] literal [[flags] [date] literal …]

A piece is what stands before a literal (RFC 9051, 6.3.12; RFC 3502 for several).
"""

from __future__ import annotations

import re
from datetime import datetime

from attrs import frozen

from noinfra.mail.imap.scanner import ImapSyntaxError, Scanner

# RFC 7888: with "+" the octets follow at once. RFC 3516: "~", they may hold NUL.
_ANNOUNCED = re.compile(rb"(~?)\{([0-9]+)(\+?)\}\Z")
# However long the number is, the octets behind it are no command. More digits than this
# are more than anybody takes.
_DIGITS = 20


@frozen(kw_only=True)
class Announced:
    """A literal that is announced at the end of a line.

    :ivar waits: the client waits until we tell it to go on.
    :ivar length: of the announcement itself, at the end of the line.
    """

    size: int
    waits: bool
    binary: bool
    length: int


@frozen(kw_only=True)
class AppendPiece:
    """What is said of one message.

    :ivar utf8: it is in UTF8 (…), so that a parenthesis follows (RFC 6855, 4).
    """

    flags: tuple[str, ...]
    date: datetime | None
    utf8: bool


def announced(line: bytes) -> Announced | None:
    """The literal that a line ends with, if it does."""
    found = _ANNOUNCED.search(line)
    if found is None:
        return None
    return Announced(
        size=int(found[2].lstrip(b"0")[:_DIGITS] or b"0"),
        waits=not found[3],
        binary=bool(found[1]),
        length=len(found[0]),
    )


def append_mailbox(octets: bytes, *, utf8: bool = False) -> tuple[str, bytes]:
    """The name of the mailbox, and what stands behind it.

    :param octets: what follows the verb, up to the first message's literal.
    """
    scanner = Scanner(octets, utf8=utf8)
    scanner.space()
    return scanner.mailbox(), scanner.rest()


def append_piece(octets: bytes) -> AppendPiece:
    """What stands between the mailbox, or a message, and the next message's literal."""
    scanner = Scanner(octets)
    scanner.space()
    flags: tuple[str, ...] = ()
    date = None
    if scanner.follows(b"("):
        flags = scanner.flags()
        scanner.space()
    if scanner.follows(b'"'):
        date = scanner.date_time()
        scanner.space()
    utf8 = scanner.peek_word() == b"UTF8"
    if utf8:
        scanner.word()
        scanner.expect(b" (")
    if not scanner.ended:
        raise scanner.wrong("the literal of the message")
    return AppendPiece(flags=flags, date=date, utf8=utf8)


def append_goes_on(line: bytes, piece: AppendPiece) -> bytes:
    """What follows a message, without the parenthesis that closes UTF8 (…).

    :raises ImapSyntaxError: that is missing.
    """
    if not piece.utf8:
        return line
    if not line.startswith(b")"):
        raise ImapSyntaxError("UTF8 ( wants its closing parenthesis.")
    return line[1:]
