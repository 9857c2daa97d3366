"""Who may connect to IMAP, and how all comes to rest."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from noinfra.config import ImapSettings
from noinfra.fronts.imap.answers import bye
from noinfra.fronts.imap.appending import Session
from noinfra.fronts.imap.connection import Connection
from noinfra.fronts.imap.mail import Mail
from noinfra.fronts.imap.maillog import MailLog
from noinfra.fronts.imap.refusals import Closing, Stopping, TooManyConnections
from noinfra.fronts.logins import BadLogins
from noinfra.fronts.smtp.factory import network_of
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.smtp.wire import plain_address


class ImapFactory(ServerFactory):
    """All IMAP connections of a process.

    Listen with it for STARTTLS, and with its `in_tls` where TLS comes first.
    """

    noisy = False

    def __init__(
        self,
        *,
        mail: Mail,
        settings: ImapSettings,
        hostname: str,
        storage: Storage,
        clock: IReactorTime,
        tls: IOpenSSLServerConnectionCreator,
        bad_logins: BadLogins,
    ) -> None:
        self.mail = mail
        self.settings = settings
        self.hostname = hostname
        self.storage = storage
        self.clock = clock
        self.tls = tls
        self.bad_logins = bad_logins
        self.in_tls: IProtocolFactory = TLSMemoryBIOFactory(
            tls, isClient=False, wrappedFactory=self, clock=clock
        )
        self.stopping = False
        self._open: dict[Connection, str] = {}
        self._by_network: Counter[str] = Counter()
        self._at_rest: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Session | TurnedAway:
        """A session, or a few words to who cannot have one."""
        peer = plain_address(str(getattr(addr, "host", "")))
        network = network_of(peer)
        refusal = self._refusal(network)
        if refusal is not None:
            MailLog(peer).turned_away(refusal)
            return TurnedAway(refusal)
        session = Session(self, peer)
        self._open[session] = network
        self._by_network[network] += 1
        return session

    def _refusal(self, network: str) -> Closing | None:
        if self.stopping:
            return Stopping("We stop for a while; come again.")
        if len(self._open) >= self.settings.connections:
            return TooManyConnections("Too many connections; come again.")
        if self._by_network[network] >= self.settings.connections_per_address:
            return TooManyConnections("Too many connections from you; come again.")
        return None

    def released(self, session: Connection) -> None:
        """A connection is gone, with all that was at work for it."""
        network = self._open.pop(session)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
        if not self._open and self._at_rest is not None:
            at_rest, self._at_rest = self._at_rest, None
            at_rest.callback(None)

    def recheck(self, credential_id: str = "") -> None:
        """A key or a password has changed, or any may have: end what it had opened."""
        for session in tuple(self._open):
            if isinstance(session, Session) and session.used(credential_id):
                Deferred.fromCoroutine(session.recheck()).addErrback(
                    MailLog("-").not_rechecked
                )

    async def stop(self, deadline: float) -> None:
        """Have all clients go; those in the midst of a command after it.

        Stop listening first.

        :param deadline: seconds after which we wait for nobody.
        """
        self.stopping = True
        if not self._open:
            return
        self._at_rest = at_rest = Deferred[None]()
        late = self.clock.callLater(deadline, self._give_up)
        for session in tuple(self._open):
            session.stop()
        await at_rest
        if late.active():
            late.cancel()

    def _give_up(self) -> None:
        at_rest, self._at_rest = self._at_rest, None
        for session in tuple(self._open):
            session.abort()
        if at_rest is not None:
            at_rest.callback(None)


class TurnedAway(Protocol):
    """A connection that we take only to say why not (RFC 9051, 7.1.5)."""

    def __init__(self, refusal: Closing) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        """Say it, and go."""
        if self.transport is not None:
            self.transport.write(bye(self._refusal))
            self.transport.loseConnection()
