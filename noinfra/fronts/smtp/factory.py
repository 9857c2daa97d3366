"""Who may connect to the edge, and how it comes to rest."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, ServerFactory

from noinfra.config import EdgeSettings
from noinfra.fronts.smtp.conversation import Conversation
from noinfra.fronts.smtp.edge import Edge
from noinfra.fronts.smtp.maillog import MailLog
from noinfra.fronts.smtp.receiving import Receiving
from noinfra.fronts.smtp.refusals import Closing, Stopping, TooManyConnections
from noinfra.fronts.smtp.reply import refused
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.smtp.wire import plain_address


class EdgeFactory(ServerFactory):
    """All connections of the edge.

    A connection counts until it is gone and its last mail is received: who drops
    connections cannot have more work done for him than who keeps them.
    """

    noisy = False

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
        self.receiving = receiving
        self.settings = settings
        self.hostname = hostname
        self.storage = storage
        self.clock = clock
        self.tls = tls
        self.stopping = False
        self._open: dict[Conversation, str] = {}
        self._by_network: Counter[str] = Counter()
        self._at_rest: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Edge | TurnedAway:
        """A conversation, or a few words to who cannot have one."""
        peer = plain_address(str(getattr(addr, "host", "")))
        network = network_of(peer)
        refusal = self._refusal(network)
        if refusal is not None:
            MailLog(peer).turned_away(refusal)
            return TurnedAway(refusal)
        edge = Edge(self, peer)
        self._open[edge] = network
        self._by_network[network] += 1
        return edge

    def _refusal(self, network: str) -> Closing | None:
        if self.stopping:
            return Stopping("We stop for a while; come again.")
        if len(self._open) >= self.settings.connections:
            return TooManyConnections("Too many connections; come again.")
        if self._by_network[network] >= self.settings.connections_per_address:
            return TooManyConnections("Too many connections from you; come again.")
        return None

    def released(self, edge: Conversation) -> None:
        """A connection is gone, with all that was at work for it."""
        network = self._open.pop(edge)
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
        for edge in tuple(self._open):
            edge.stop()
        await at_rest
        if late.active():
            late.cancel()

    def _give_up(self) -> None:
        at_rest, self._at_rest = self._at_rest, None
        for edge in tuple(self._open):
            edge.abort()
        if at_rest is not None:
            at_rest.callback(None)


class TurnedAway(Protocol):
    """A connection that we take only to say why not (RFC 5321, 3.1)."""

    def __init__(self, refusal: Closing) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        """Say it, and go."""
        if self.transport is not None:
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
