"""Who may connect, and how a server comes to rest."""

# ruff: noqa: D102 (the settings are described where they are declared)

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

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
from noinfra.fronts.visitors import NoRoom, Visitors, network_of


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
    """All connections of one server, on however many ports."""

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
        self._visitors = Visitors[Conversation](settings, clock)

    @abstractmethod
    def conversation(self, address: str) -> Conversation:
        """A new one, with the client at this address."""

    def buildProtocol(self, addr: IAddress | None) -> Conversation | TurnedAway:
        """A conversation, or a few words to who cannot have one."""
        peer = plain_address(str(getattr(addr, "host", "")))
        network = network_of(peer)
        no_room = self._visitors.refusal(network)
        if no_room is not None:
            refusal = _refusal(no_room)
            MailLog(peer).turned_away(refusal)
            return TurnedAway(refusal)
        conversation = self.conversation(peer)
        self._visitors.add(conversation, network)
        return conversation

    @property
    def stopping(self) -> bool:
        """Nobody may stay longer than for what was begun."""
        return self._visitors.stopping

    def released(self, conversation: Conversation) -> None:
        """A connection is gone, with all that was at work for it."""
        self._visitors.remove(conversation)

    async def stop(self, deadline: float) -> None:
        """Take no more mail, and wait until what was begun is done.

        Stop listening first.

        :param deadline: seconds after which we wait for nobody.
        """
        await self._visitors.see_out(deadline)


def _refusal(no_room: NoRoom) -> Closing:
    if no_room is NoRoom.STOPPING:
        return Stopping(no_room.value)
    return TooManyConnections(no_room.value)


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
