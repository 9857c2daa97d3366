"""Who may connect, and how a server comes to rest."""

# ruff: noqa: D102 (the settings are described where they are declared)

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol

from noinfra.config import EdgeSettings
from noinfra.fronts.smtp.conversation import Conversation
from noinfra.fronts.smtp.edge import Edge
from noinfra.fronts.smtp.maillog import MailLog
from noinfra.fronts.smtp.receiving import Receiving
from noinfra.fronts.smtp.refusals import Closing, Stopping, TooManyConnections
from noinfra.fronts.smtp.reply import refused
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.smtp.wire import plain_address


class Limits(Protocol):
    """The settings that all SMTP servers have."""

    @property
    def size_limit(self) -> int: ...
    @property
    def recipients(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def connections_per_address(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def idle(self) -> float: ...


class SmtpFactory(ServerFactory, ABC):
    """All connections of one server, on however many ports.

    A connection counts until it is gone and its last mail is received: who drops
    connections cannot have more work done for him than who keeps them.
    """

    noisy = False

    def __init__(
        self,
        *,
        settings: Limits,
        hostname: str,
        storage: Storage,
        clock: IReactorTime,
        tls: IOpenSSLServerConnectionCreator | None = None,
    ) -> None:
        self.settings = settings
        self.hostname = hostname
        self.storage = storage
        self.clock = clock
        self.tls = tls
        self.stopping = False
        self._open: dict[Conversation, str] = {}
        self._by_network: Counter[str] = Counter()
        self._at_rest: Deferred[None] | None = None

    @abstractmethod
    def conversation(self, address: str) -> Conversation:
        """A new one, with the client at this address."""

    def buildProtocol(self, addr: IAddress | None) -> Conversation | TurnedAway:
        """A conversation, or a few words to who cannot have one."""
        peer = plain_address(str(getattr(addr, "host", "")))
        network = network_of(peer)
        refusal = self._refusal(network)
        if refusal is not None:
            MailLog(peer).turned_away(refusal)
            return TurnedAway(refusal)
        conversation = self.conversation(peer)
        self._open[conversation] = network
        self._by_network[network] += 1
        return conversation

    def _refusal(self, network: str) -> Closing | None:
        if self.stopping:
            return Stopping("We stop for a while; come again.")
        if len(self._open) >= self.settings.connections:
            return TooManyConnections("Too many connections; come again.")
        if self._by_network[network] >= self.settings.connections_per_address:
            return TooManyConnections("Too many connections from you; come again.")
        return None

    def released(self, conversation: Conversation) -> None:
        """A connection is gone, with all that was at work for it."""
        network = self._open.pop(conversation)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
        if not self._open and self._at_rest is not None:
            at_rest, self._at_rest = self._at_rest, None
            at_rest.callback(None)

    async def stop(self, deadline: float) -> None:
        """Take no more mail, and wait until what was begun is done.

        Stop listening first. Clients between commands are sent away at once, those in
        the midst of one after it.

        :param deadline: seconds after which we wait for nobody.
        """
        self.stopping = True
        if not self._open:
            return
        self._at_rest = at_rest = Deferred[None]()
        late = self.clock.callLater(deadline, self._give_up)
        for conversation in tuple(self._open):
            conversation.stop()
        await at_rest
        if late.active():
            late.cancel()

    def _give_up(self) -> None:
        at_rest, self._at_rest = self._at_rest, None
        for conversation in tuple(self._open):
            conversation.abort()
        if at_rest is not None:
            at_rest.callback(None)


class EdgeFactory(SmtpFactory):
    """All connections of the edge."""

    settings: EdgeSettings

    def __init__(
        self,
        *,
        receiving: Receiving,
        settings: EdgeSettings,
        hostname: str,
        storage: Storage,
        clock: IReactorTime,
        tls: IOpenSSLServerConnectionCreator | None = None,
    ) -> None:
        super().__init__(
            settings=settings, hostname=hostname, storage=storage, clock=clock, tls=tls
        )
        self.receiving = receiving

    def conversation(self, address: str) -> Edge:
        """A new one, with the client at this address."""
        return Edge(self, address)


class TurnedAway(TwistedProtocol):
    """A connection that we take only to say why not (RFC 5321, 3.1)."""

    def __init__(self, refusal: Closing) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        """Say it, and go; where a handshake would have to come first, just go."""
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self.transport.abortConnection()
        elif self.transport is not None:
            self.transport.write(refused(self._refusal))
            self.transport.loseConnection()


def network_of(address: str) -> str:
    """Whose connections count together: one IPv4 address, or the /64 of one of IPv6.

    A /64 is the least that a site is given (RFC 6177, 2): its addresses cost nothing.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address
