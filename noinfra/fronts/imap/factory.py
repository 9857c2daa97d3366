"""Who may connect to IMAP, and how all comes to rest."""

from __future__ import annotations

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
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.smtp.wire import plain_address
from noinfra.fronts.visitors import NoRoom, Visitors, network_of


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
        self._visitors = Visitors[Connection](settings, clock)

    def buildProtocol(self, addr: IAddress | None) -> Session | TurnedAway:
        """A session, or a few words to who cannot have one."""
        peer = plain_address(str(getattr(addr, "host", "")))
        network = network_of(peer)
        no_room = self._visitors.refusal(network)
        if no_room is not None:
            refusal = _refusal(no_room)
            MailLog(peer).turned_away(refusal)
            return TurnedAway(refusal)
        session = Session(self, peer)
        self._visitors.add(session, network)
        return session

    @property
    def stopping(self) -> bool:
        """Nobody may stay longer than for what was begun."""
        return self._visitors.stopping

    def released(self, session: Connection) -> None:
        """A connection is gone, with all that was at work for it."""
        self._visitors.remove(session)

    def recheck(self, credential_id: str = "") -> None:
        """A key or a password has changed, or any may have: end what it had opened."""
        for session in self._visitors:
            if isinstance(session, Session) and session.used(credential_id):
                Deferred.fromCoroutine(session.recheck()).addErrback(
                    MailLog("-").not_rechecked
                )

    async def stop(self, deadline: float) -> None:
        """Have all clients go; those in the midst of a command after it.

        Stop listening first.

        :param deadline: seconds after which we wait for nobody.
        """
        await self._visitors.see_out(deadline)


def _refusal(no_room: NoRoom) -> Closing:
    if no_room is NoRoom.STOPPING:
        return Stopping(no_room.value)
    return TooManyConnections(no_room.value)


class TurnedAway(Protocol):
    """A connection that we take only to say why not (RFC 9051, 7.1.5)."""

    def __init__(self, refusal: Closing) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        """Say it, and go."""
        if self.transport is not None:
            self.transport.write(bye(self._refusal))
            self.transport.loseConnection()
