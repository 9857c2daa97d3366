"""SMTP submission in memory, and the use case behind it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from attrs import define, field
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from noinfra.config import SubmissionSettings
from noinfra.errors import (
    BadContent,
    Forbidden,
    NoSuchInbox,
    TemporaryFailure,
    Unauthenticated,
)
from noinfra.fronts.logins import BadLogins
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.submission.factory import SubmissionFactory
from noinfra.fronts.submission.submission import Submission
from noinfra.fronts.submission.submitting import Submitter, Submitting
from noinfra.model import Forward, Receipt, Transaction

SECRET = "key"


@define
class MemorySubmitting:
    """Knows agent@example.com by the key "key"; keeps what is sent in memory."""

    mails: list[tuple[Transaction, bytes]] = field(factory=list)
    tried: list[tuple[str, str]] = field(factory=list)
    revoked: bool = False
    delay: Callable[[], Deferred[None]] = lambda: succeed(None)

    async def log_in(self, address: str, secret: str) -> MemorySubmitter:
        self.tried.append((address, secret))
        await self.delay()
        if secret == "later":
            raise TemporaryFailure("Too many log in at once; try again soon.")
        if secret == "reader":
            raise Forbidden("The key lacks the permission messages:send.")
        if (address.lower(), secret) != ("agent@example.com", SECRET) or self.revoked:
            raise Unauthenticated("The address and the secret do not go together.")
        return MemorySubmitter(self)

    @property
    def contents(self) -> list[bytes]:
        """The octets of the mails, in order."""
        return [octets for _, octets in self.mails]


@define
class MemorySubmitter:
    """Sends from agent@example.com, to all but nobody."""

    _by: MemorySubmitting

    async def begin(self, transaction: Transaction) -> None:
        await self._by.delay()
        if self._by.revoked:
            raise Unauthenticated("The key was revoked.")
        if transaction.mail_from != "agent@example.com":
            raise Forbidden(f"{transaction.mail_from} is not yours.")

    async def accept(self, transaction: Transaction, forward: Forward) -> None:
        if forward.path.startswith("nobody@"):
            raise NoSuchInbox(f"No inbox {forward.path}.")

    async def submit(self, transaction: Transaction, octets: bytes) -> Receipt:
        await self._by.delay()
        if b"From:" not in octets:
            raise BadContent("The header has no From.")
        self._by.mails.append((transaction, octets))
        queue_id = f"msg_{len(self._by.mails)}"
        return Receipt(queue_id=queue_id, message_ids=(queue_id,))


_submitting: type[Submitting] = MemorySubmitting
_submitter: type[Submitter] = MemorySubmitter


class TlsTransport(StringTransport):
    """A transport as it is once the handshake is done."""

    def getHandle(self) -> object:
        return self


@implementer(IOpenSSLServerConnectionCreator)
class NoTls:
    """TLS that nobody begins."""

    def serverConnectionForTLS(
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> SSL.Connection:
        raise AssertionError("Somebody began TLS.")


def submission_factory(
    submitting: Submitting,
    *,
    clock: IReactorTime | None = None,
    tls: IOpenSSLServerConnectionCreator | None = None,
    **settings: Any,
) -> SubmissionFactory:
    """A factory that answers at once, with low limits."""
    limits = {"size_limit": 2000, "recipients": 3, "errors": 50}
    clock = clock or Clock()
    return SubmissionFactory(
        submitting=submitting,
        bad_logins=BadLogins(clock.seconds),
        settings=SubmissionSettings(**{**limits, **settings}),
        hostname="mx.example",
        storage=Storage(in_thread=maybeDeferred),
        clock=clock,
        tls=tls or NoTls(),
    )


def connect(
    factory: SubmissionFactory, peer: str = "192.0.2.1", *, in_tls: bool = True
) -> tuple[Submission, StringTransport]:
    """A connection that has heard the greeting, with TLS on or not."""
    address = IPv4Address("TCP", peer, 40000)
    session = factory.buildProtocol(address)
    assert isinstance(session, Submission)
    transport = TlsTransport(peerAddress=address)
    session.makeConnection(transport)
    if in_tls:
        session.startedTLS = True
        session.handshakeCompleted()
    return session, transport


def plain(address: str = "agent@example.com", secret: str = SECRET) -> bytes:
    """The response of PLAIN."""
    return b64encode(f"\0{address}\0{secret}".encode())


def talk(octets: bytes | list[bytes], **settings: Any) -> tuple[bytes, list[bytes]]:
    """What the server says to the octets or pieces, and what it then has sent."""
    submitting = MemorySubmitting()
    session, transport = connect(submission_factory(submitting, **settings))
    for piece in [octets] if isinstance(octets, bytes) else octets:
        session.dataReceived(piece)
    return transport.value(), submitting.contents
