"""A conversation in IMAP: one command after the other, without their meaning.

A coroutine a connection reads a whole command with its literals, does what it says, and
only then looks at the next. So pipelined commands are answered in order, however long
the use case thinks.
"""

from __future__ import annotations

from abc import abstractmethod
from secrets import token_hex
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from noinfra.errors import Refusal
from noinfra.fronts.imap.answers import refused
from noinfra.fronts.imap.connection import WE_STOP, Connection
from noinfra.fronts.imap.refusals import (
    Bad,
    Closing,
    FarTooLarge,
    LiteralRefused,
    NotOffered,
    ServerBug,
    Stopping,
    TooManyErrors,
)
from noinfra.fronts.smtp.wire import Disconnected
from noinfra.mail.imap.append import Announced, announced
from noinfra.mail.imap.parse import Head, parse_head, tag_of
from noinfra.mail.imap.scanner import ImapSyntaxError, NoMailboxName

if TYPE_CHECKING:
    from noinfra.fronts.imap.factory import ImapFactory

# The octets of a command before login: RFC 7888, 5 has literals of 4096 for LITERAL-.
SMALL = 8192
# What is no command, until the connection is closed: before login, and after.
ERRORS = (10, 200)
# Commands from one client until others have their turn.
STREAK = 200

GO_ON = b"+ Go on\r\n"


class Conversation(Connection):
    """One connection's commands; a subclass does what they say."""

    def __init__(self, server: ImapFactory, address: str) -> None:
        super().__init__(server, address)
        self._errors = 0
        self._tokens = float(server.settings.burst)
        self._refilled = server.clock.seconds()
        # The literal that a command of its own takes: APPEND's mail.
        self._announcement: Announced | None = None

    # ----------------------------------------------------------------------------------
    # For the subclass

    @abstractmethod
    def _greeting(self) -> bytes:
        """What we say first."""

    @abstractmethod
    async def _perform(self, head: Head) -> bytes:
        """Do a command.

        :returns: what we say at its end.
        """

    @abstractmethod
    def _logged_in(self) -> bool:
        """Whether we know whose client this is."""

    @abstractmethod
    def _takes_literals(self, octets: bytes) -> bool:
        """Whether the command itself reads the literal that is announced next."""

    # ----------------------------------------------------------------------------------
    # One command after the other

    async def _serve(self) -> None:
        self._say(self._greeting())
        try:
            while not self._closing:
                await self._next()
        except Disconnected:
            return

    async def _next(self) -> None:
        """One command, from its line to its end."""
        if self._streak >= STREAK:
            await self._let_others()
        if self._server.stopping:
            self._end(Stopping(WE_STOP))
            return
        tag, verb = b"*", "?"
        try:
            octets = await self._command()
            tag = tag_of(octets) or b"*"
            head = parse_head(octets)
            verb = head.verb
            await self._ration()
            self._say(await self._perform(head))
        except NoMailboxName as error:
            # RFC 5530: CANNOT, such as for a name that the server does not take.
            self._refuse(tag, verb, NotOffered(str(error)))
        except ImapSyntaxError as error:
            self._refuse(tag, verb, Bad(str(error)))
        except Refusal as refusal:
            self._refuse(tag, verb, refusal)
        except Disconnected:
            raise
        except Exception:
            self._fail(tag, verb)
        self._announcement = None
        self._streak += 1
        if self._clogged and not self._closing:
            await self._read()

    def _refuse(self, tag: bytes, verb: str, refusal: Refusal) -> None:
        if self._midway:
            self._abort()
            return
        if isinstance(refusal, Closing):
            self._end(refusal)
            return
        if isinstance(refusal, LiteralRefused):
            tag = refusal.tag or tag
        self._log.refused(verb, refusal)
        self._say(refused(tag, refusal))
        self._errors += isinstance(refusal, Bad)
        if self._errors >= ERRORS[self._logged_in()]:
            self._end(TooManyErrors("That was too much that is no IMAP. Closing."))

    def _fail(self, tag: bytes, verb: str) -> None:
        incident = token_hex(4)
        self._log.failed(verb, incident, Failure())
        if self._midway:
            self._abort()
            return
        self._say(refused(tag, ServerBug(f"Our error, incident {incident}.")))

    # ----------------------------------------------------------------------------------
    # One command

    async def _command(self) -> bytes:
        """A whole command, its literals in place, but for APPEND's mail."""
        until = self._deadline()
        line = await self._line(until)
        octets = bytearray(line)
        literals = 0
        while (literal := announced(line)) is not None:
            # Mail is the first literal, or the second behind a mailbox's name. Looking
            # at all that came for each of thousands would take quadratic time.
            if literals < 2 and self._takes_literals(bytes(octets)):
                self._announcement = literal
                break
            self._invite(literal, octets)
            octets += b"\r\n" + await self._octets(literal.size, until)
            line = await self._line(until)
            octets += line
            literals += 1
        return bytes(octets)

    def _invite(self, literal: Announced, octets: bytearray) -> None:
        """Have the client send a literal, or refuse it.

        :param octets: what has come of the command.
        :raises LiteralRefused: it waits for our word, and will not come.
        :raises FarTooLarge: it comes, whatever we say.
        """
        limit = self._server.settings.command_limit if self._logged_in() else SMALL
        room = limit - len(octets)
        if literal.size > room:
            words = f"There is room for {max(room, 0)} octets in this literal."
            if not literal.waits:
                raise FarTooLarge(f"{words} Closing.")
            raise LiteralRefused(words, tag_of(bytes(octets)))
        if literal.waits:
            self._say(GO_ON)

    def _deadline(self) -> float:
        """Until when a command may take; a line an octet a minute is no line."""
        now, settings = self._server.clock.seconds(), self._server.settings
        if not self._logged_in():
            return min(now + settings.idle, self._opened + settings.login_time)
        return now + settings.idle

    async def _ration(self) -> None:
        """Make those wait who send commands faster than is good for all."""
        now, settings = self._server.clock.seconds(), self._server.settings
        earned = (now - self._refilled) * settings.rate
        self._tokens = min(self._tokens + earned, float(settings.burst)) - 1
        self._refilled = now
        if self._tokens < 0:
            await self._pause(-self._tokens / settings.rate)
