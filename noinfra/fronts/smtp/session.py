"""An SMTP session: what the commands mean that all our SMTP ports have in common.

A command's method answers with the reply, at once or later, or raises the refusal. What
a port does with a sender, a recipient and a mail is its own: `edge` takes mail for our
domains, `noinfra.fronts.submission` takes mail from those who have logged in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from noinfra.errors import TooManyRecipients
from noinfra.fronts.smtp import parameters
from noinfra.fronts.smtp.conversation import DATA, Conversation
from noinfra.fronts.smtp.intake import PATIENCE, Intake
from noinfra.fronts.smtp.refusals import (
    BadArguments,
    BadSequence,
    FarTooLarge,
    Injected,
    NotOffered,
    TooManyTransactions,
)
from noinfra.fronts.smtp.reply import reply
from noinfra.fronts.smtp.wire import Disconnected
from noinfra.mail.trace import protocol
from noinfra.model import Client, Forward, Receipt, Transaction

if TYPE_CHECKING:
    from noinfra.fronts.smtp.factory import SmtpFactory

# Begun transactions; then a client has to connect anew, and its limits count afresh.
TRANSACTIONS = 1000

OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
CHUNK_OK = reply(250, "2.0.0", "Chunk OK")
GO_AHEAD = reply(354, "", "End data with <CRLF>.<CRLF>")
BYE = reply(221, "2.0.0", "Bye")
# RFC 5321, 3.5.3: neither confirmed nor denied, since that would help who guesses.
CANNOT_VERIFY = reply(252, "2.5.0", "Cannot VRFY, but will take mail and try")
COMMANDS = "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT"


class Session(Conversation, ABC):
    """One connection.

    :cvar taken: what the reply to a mail says has become of it.
    :cvar offers_auth: whether EHLO ever offers AUTH, and MAIL has its parameter.
    """

    taken: ClassVar[str]
    offers_auth: ClassVar[bool] = False

    def __init__(self, server: SmtpFactory, address: str) -> None:
        super().__init__(server, address)
        self._client: Client | None = None
        self._extended = False
        self._transactions = 0
        self._intake: Intake | None = None
        self._data_until = 0.0
        self._bare_lf = False

    # ----------------------------------------------------------------------------------
    # What is a port's own, beside MAIL and AUTH

    @abstractmethod
    async def _accept(self, transaction: Transaction, forward: Forward) -> None:
        """Take the forward-path as one more recipient.

        :raises Refusal: no, and why.
        """

    @abstractmethod
    async def _take(self, transaction: Transaction, octets: bytes) -> Receipt:
        """Take the mail; it is on disk once this returns.

        :raises Refusal: no, and why.
        """

    # ----------------------------------------------------------------------------------
    # Session

    def extensions(self) -> dict[bytes, list[bytes] | None]:
        """What EHLO offers."""
        offered: dict[bytes, list[bytes] | None] = {
            b"PIPELINING": None,
            b"SIZE": [b"%d" % self._server.settings.size_limit],
            b"8BITMIME": None,
            b"SMTPUTF8": None,
            b"ENHANCEDSTATUSCODES": None,
            b"DSN": None,
            b"CHUNKING": None,
        }
        if self.canStartTLS and not self.startedTLS:
            offered[b"STARTTLS"] = None
        return offered

    def do_EHLO(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.1."""
        self._introduce(rest, extended=True)
        lines = [self._server.hostname.encode("ascii")]
        lines += self.listExtensions().split(b"\n")
        said = [b"250-%s\r\n" % line for line in lines[:-1]]
        return b"".join([*said, b"250 %s\r\n" % lines[-1]])

    def do_HELO(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.1; RFC 3848 has no name for HELO inside TLS."""
        self._introduce(rest, extended=False)
        return reply(250, "", self._server.hostname)

    def _introduce(self, rest: bytes, *, extended: bool) -> None:
        helo = parameters.helo(rest)
        self._reset()
        self._extended = extended
        self._client = Client(
            address=self._address,
            helo=helo,
            protocol=self._protocol(utf8=False),
            tls=self._tls,
        )

    def _protocol(self, *, utf8: bool) -> str:
        return protocol(
            extended=self._extended or utf8,
            tls=self._tls is not None,
            authenticated=self.authenticated,
            utf8=utf8,
        )

    async def do_STARTTLS(self, rest: bytes) -> bytes:
        """RFC 3207, 4."""
        if rest:
            raise BadArguments("STARTTLS stands alone.")
        if self.startedTLS:
            raise BadSequence("TLS is on already.")
        if not self.canStartTLS or self._server.tls is None:
            raise NotOffered("TLS is not offered here.")
        if self._reader:
            raise Injected("Wait for our reply to STARTTLS before you go on. Closing.")
        await self._secure(self._server.tls)
        self._client = None
        return b""

    def do_NOOP(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.9."""
        return OK

    def do_RSET(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.5."""
        if rest:
            raise BadArguments("RSET stands alone.")
        self._reset()
        return OK

    def do_VRFY(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.6 and 7.3."""
        if not rest:
            raise BadArguments("Write VRFY and an address.")
        return CANNOT_VERIFY

    def do_EXPN(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.7: optional, and useful to spammers above all."""
        raise NotOffered("EXPN is not offered here.")

    def do_HELP(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.8."""
        return reply(214, "2.0.0", COMMANDS + " AUTH" * self.offers_auth)

    def do_QUIT(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.10."""
        if rest:
            raise BadArguments("QUIT stands alone.")
        self._say(BYE)
        self._close()
        return b""

    # ----------------------------------------------------------------------------------
    # Mail transaction

    def _begun(self, rest: bytes) -> Transaction:
        """The transaction that MAIL begins (RFC 5321, 4.1.1.2)."""
        client = self._client
        if client is None:
            raise BadSequence("Say EHLO first.")
        if self._transaction is not None:
            raise BadSequence("There is a sender already; RSET begins anew.")
        if self._transactions >= TRANSACTIONS:
            raise TooManyTransactions("That was enough for one connection. Closing.")
        mail = parameters.mail_from(
            rest, self._server.settings.size_limit, auth=self.offers_auth
        )
        self._transactions += 1
        return Transaction(
            client=evolve(client, protocol=self._protocol(utf8=mail.smtputf8)),
            mail_from=mail.path,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envid=mail.envid,
        )

    async def do_RCPT(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.3."""
        transaction = self._transaction
        if transaction is None:
            raise BadSequence("Say MAIL first.")
        if self._intake is not None:
            raise BadSequence("The data has begun; finish it, or RSET.")
        forward = parameters.rcpt_to(rest, transaction.smtputf8)
        limit = self._server.settings.recipients
        if len(transaction.rcpt_to) >= limit:
            raise TooManyRecipients(
                f"One mail has at most {limit} recipients; send the rest another."
            )
        await self._accept(transaction, forward)
        recipients = (*transaction.rcpt_to, forward)
        self._transaction = evolve(transaction, rcpt_to=recipients)
        return RECIPIENT_OK

    async def do_DATA(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.4."""
        if rest:
            raise BadArguments("DATA stands alone.")
        transaction = self._with_recipients()
        if self._intake is not None:
            raise BadSequence("The data comes by BDAT already (RFC 3030, 2).")
        intake = self._open_intake()
        self._say(GO_AHEAD)
        self._reader.start_data()
        while True:
            intake.add(self._reader.data())
            if self._reader.ended:
                return await self._receive(transaction, intake)
            await self._progress(self._data_until)

    async def do_BDAT(self, rest: bytes) -> bytes:
        """RFC 3030, 2: a chunk is read to its end, whatever becomes of it."""
        size, last = parameters.chunk(rest)
        limit = self._server.settings.size_limit
        if size > PATIENCE * limit:
            raise FarTooLarge(f"A message has at most {limit} octets. Closing.")
        if self._transaction is None or not self._transaction.rcpt_to:
            await self._skip(size)
        transaction = self._with_recipients()
        intake = self._intake or self._open_intake()
        while size:
            octets = self._reader.chunk(size)
            size -= len(octets)
            intake.add(octets)
            if size:
                await self._progress(self._data_until)
        if last:
            return await self._receive(transaction, intake)
        if (refusal := intake.refusal) is not None:
            self._reset()
            raise refusal
        return CHUNK_OK

    def _with_recipients(self) -> Transaction:
        """The transaction, when it has come as far as to its data."""
        if self._transaction is None:
            raise BadSequence("Say MAIL first.")
        if not self._transaction.rcpt_to:
            raise BadSequence("There is no recipient yet.")
        return self._transaction

    def _open_intake(self) -> Intake:
        settings = self._server.settings
        self._data_until = self._server.clock.seconds() + DATA
        self._intake = Intake(self._server.storage, settings.size_limit, self._bare_lf)
        return self._intake

    async def _skip(self, size: int) -> None:
        """Read a chunk that belongs to no mail."""
        until = self._server.clock.seconds() + DATA
        while size := size - len(self._reader.chunk(size)):
            await self._progress(until)

    async def _receive(self, transaction: Transaction, intake: Intake) -> bytes:
        """The data has ended: hand the mail on, and answer when it is on disk."""
        try:
            octets = await intake.octets()
            if self._lost:
                raise Disconnected
            receipt = await self._take(transaction, octets)
        finally:
            self._reset()
        self._errors = 0
        self._log.received(transaction, receipt, len(octets))
        if self._lost:
            self._log.unheard(receipt)
        return reply(250, "2.0.0", f"{self.taken} as {receipt.queue_id}")

    def _in_data(self) -> bool:
        return self._intake is not None

    def _reset(self) -> None:
        super()._reset()
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.close()
