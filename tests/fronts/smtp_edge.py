"""An edge in memory, and the use case behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from noinfra.config import EdgeSettings
from noinfra.errors import InboxSuspended, NoSuchInbox, RelayDenied
from noinfra.fronts.smtp.edge import Edge
from noinfra.fronts.smtp.factory import EdgeFactory
from noinfra.fronts.smtp.receiving import Receiving
from noinfra.fronts.smtp.spool import Storage
from noinfra.model import Forward, Receipt, Transaction
from tests.fronts.dialogue import connected


@define
class MemoryReceiving:
    """Takes mail for example.com, but for a few; keeps it in memory."""

    mails: list[tuple[Transaction, bytes]] = field(factory=list)
    asked: list[str] = field(factory=list)
    delay: Callable[[], Deferred[None]] = lambda: succeed(None)

    async def accepts(self, transaction: Transaction, forward: Forward) -> None:
        self.asked.append(forward.path)
        await self.delay()
        local, _, domain = forward.path.rpartition("@")
        if local == "bug":
            raise ZeroDivisionError
        if local == "nobody":
            raise NoSuchInbox(f"No inbox {forward.path}.")
        if local == "suspended":
            raise InboxSuspended(f"{forward.path} is suspended.")
        if domain not in ("example.com", "postmaster"):
            raise RelayDenied(f"We do not relay to {domain}.")

    async def receive(self, transaction: Transaction, octets: bytes) -> Receipt:
        await self.delay()
        if octets == b"bug\r\n":
            raise ZeroDivisionError
        self.mails.append((transaction, octets))
        return Receipt(queue_id=f"q{len(self.mails)}", message_ids=())

    @property
    def contents(self) -> list[bytes]:
        """The octets of the mails, in order."""
        return [octets for _, octets in self.mails]


_receiving: type[Receiving] = MemoryReceiving


def edge_factory(
    receiving: Receiving,
    *,
    clock: IReactorTime | None = None,
    tls: IOpenSSLServerConnectionCreator | None = None,
    storage: Storage | None = None,
    **settings: Any,
) -> EdgeFactory:
    """A factory that answers at once, with low limits."""
    limits = {"size_limit": 2000, "recipients": 3, "errors": 50}
    return EdgeFactory(
        receiving=receiving,
        settings=EdgeSettings(**{**limits, **settings}),
        hostname="mx.example",
        storage=storage or Storage(in_thread=maybeDeferred),
        clock=clock or Clock(),
        tls=tls,
    )


def connect(
    factory: EdgeFactory, peer: str = "192.0.2.1"
) -> tuple[Edge, StringTransport]:
    """A connection that has heard the greeting."""
    edge = factory.buildProtocol(IPv4Address("TCP", peer, 40000))
    assert isinstance(edge, Edge)
    return edge, connected(edge, peer)


def talk(octets: bytes | list[bytes], **settings: Any) -> tuple[bytes, list[bytes]]:
    """What the edge says to the octets or pieces, and what it then has received."""
    receiving = MemoryReceiving()
    edge, transport = connect(edge_factory(receiving, **settings))
    for piece in [octets] if isinstance(octets, bytes) else octets:
        edge.dataReceived(piece)
    return transport.value(), receiving.contents
