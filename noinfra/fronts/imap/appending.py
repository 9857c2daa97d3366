"""APPEND: mail from the client, through a spool, and refused before it comes.

RFC 9051, 6.3.12; RFC 3502 (MULTIAPPEND), 7888 (LITERAL+), 7889 (APPENDLIMIT).

What we will not take is refused while the client waits for our word. A literal that
does not wait is read to its end, so that we know where the next command begins, but not
kept.
"""

from __future__ import annotations

from attrs import frozen

from noinfra.app.mailbox_append import Appended
from noinfra.errors import NotFound, Refusal, TemporaryFailure, TooLarge
from noinfra.fronts.imap.conversation import GO_ON
from noinfra.fronts.imap.entering import Code
from noinfra.fronts.imap.fetching import Fetching
from noinfra.fronts.imap.refusals import Bad, Cancelled, FarTooLarge, TryCreate
from noinfra.fronts.smtp.spool import Spool
from noinfra.mail.imap.append import (
    Announced,
    AppendPiece,
    announced,
    append_goes_on,
    append_mailbox,
    append_piece,
)
from noinfra.mail.imap.parse import Head, parse_head
from noinfra.mail.imap.scanner import ImapSyntaxError
from noinfra.mail.imap.sets import render_numbers

# For all of the mail of one command.
DATA = 3600.0
# Up to so many times the limit we read to the end, to say NO where the client listens.
PATIENCE = 4
MOST = 1000


@frozen
class Incoming:
    """One message in the spool."""

    piece: AppendPiece
    start: int
    size: int


class Session(Fetching):
    """A connection with all its commands."""

    def _takes_literals(self, octets: bytes) -> bool:
        if self._identity is None:
            return False
        try:
            head = parse_head(octets)
        except ImapSyntaxError:
            return False
        if head.verb != "APPEND":
            return False
        # The first literal may be the mailbox's name.
        rest = head.rest.lstrip(b" ")
        return not rest.startswith(b"{") or b"\r\n" in rest

    async def _do(self, head: Head) -> Code:
        if head.verb == "APPEND":
            return await self._append(head)
        return await super()._do(head)

    async def _append(self, head: Head) -> Code:
        literal, self._announcement = self._announcement, None
        if literal is None:
            raise Bad("APPEND wants a mailbox, and the message as a literal.")
        until = self._server.clock.seconds() + DATA
        try:
            self._need_writing()
            name, rest = append_mailbox(head.rest[: -literal.length], utf8=self._utf8)
            await self._check_target(name)
        except (ImapSyntaxError, Refusal):
            await self._skip(literal, until)
            raise
        spool = Spool(self._server.storage)
        try:
            incoming = await self._gather(literal, rest, spool, until)
            return await self._file(name, incoming, await _octets(spool))
        finally:
            spool.close()

    async def _check_target(self, name: str) -> None:
        try:
            found = await self._server.mail.mailboxes.get(self._who, name)
        except NotFound as error:
            raise TryCreate(error.text) from error
        if not found.selectable:
            raise TryCreate(f"There is no mailbox {name} yet.")

    async def _gather(
        self, literal: Announced, rest: bytes, spool: Spool, until: float
    ) -> list[Incoming]:
        """Messages up to the end of the command."""
        incoming: list[Incoming] = []
        following: Announced | None = literal
        while following is not None:
            try:
                piece = append_piece(rest)
                self._check_room(following, spool, len(incoming))
            except (ImapSyntaxError, Refusal):
                await self._skip(following, until)
                raise
            incoming.append(Incoming(piece, spool.size, following.size))
            await self._spool(following, spool, until)
            line = append_goes_on(await self._line(until), piece)
            following = announced(line)
            rest = line[: -following.length] if following else line
        if rest.strip(b" "):
            raise Bad("Behind a message APPEND wants its end, or another message.")
        if not all(one.size for one in incoming):
            # RFC 3502, 6.3.11: a client cannot take its command back otherwise.
            raise Cancelled("A message without octets takes the whole APPEND back.")
        return incoming

    def _check_room(self, literal: Announced, spool: Spool, count: int) -> None:
        limit = self._server.settings.append_limit
        if literal.size > limit:
            raise TooLarge(f"A message has at most {limit} octets here.")
        if spool.size + literal.size > limit or count >= MOST:
            raise TooLarge(
                f"One APPEND takes at most {limit} octets in {MOST} messages; send the"
                " rest in another."
            )

    async def _spool(self, literal: Announced, spool: Spool, until: float) -> None:
        """Read a message into the spool."""
        if literal.waits:
            self._say(GO_ON)
        left = literal.size
        try:
            while left:
                octets = await self._some(left, until)
                left -= len(octets)
                spool.write(octets)
        except OSError as error:
            await self._discard(left, until)
            raise TemporaryFailure(
                f"We cannot keep the message now ({error.strerror})."
            ) from error

    async def _some(self, most: int, until: float) -> bytes:
        """The next octets, at least one."""
        while not (octets := self._reader.literal(most)):
            stalled = self._server.clock.seconds() + self._server.settings.stall
            await self._more(min(stalled, until))
        return octets

    async def _discard(self, size: int, until: float) -> None:
        while size:
            size -= len(await self._some(size, until))

    async def _skip(self, literal: Announced | None, until: float) -> None:
        """Read to the end of a command that is refused; what waits will not come."""
        most = PATIENCE * self._server.settings.append_limit
        while literal is not None and not literal.waits:
            if literal.size > most:
                raise FarTooLarge("This is far more than we take. Closing.")
            most -= literal.size
            await self._discard(literal.size, until)
            literal = announced(await self._line(until))

    async def _file(self, name: str, incoming: list[Incoming], octets: bytes) -> Code:
        messages = [
            Appended(
                octets=octets[one.start : one.start + one.size],
                flags=one.piece.flags,
                internaldate=one.piece.date,
            )
            for one in incoming
        ]
        try:
            filed = await self._server.mail.appending.append(self._who, name, messages)
        except NotFound as error:
            raise TryCreate(error.text) from error
        # RFC 9051, 7.1: APPENDUID.
        return b"APPENDUID %d %b" % (filed.uidvalidity, render_numbers(filed.uids))


async def _octets(spool: Spool) -> bytes:
    try:
        return await spool.read()
    except OSError as error:
        raise TemporaryFailure(
            f"We cannot read the message back ({error.strerror})."
        ) from error
