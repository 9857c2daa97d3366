"""Who is connected to a server: how many may be, from where, and how all come to leave.

The mail fronts share it. What a visitor is told is each protocol's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from ipaddress import IPv6Address, ip_address
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class VisitorLimits(Protocol):
    """The settings that it goes by."""

    @property
    def connections(self) -> int:
        """How many may be there at once."""

    @property
    def connections_per_address(self) -> int:
        """How many of them from one network."""


class Visitor(Protocol):
    """A connection, with what is at work for it."""

    def stop(self) -> None:
        """Leave: at once between commands, in the midst of one after it."""

    def abort(self) -> None:
        """Leave now."""


V = TypeVar("V", bound=Visitor)


class NoRoom(Enum):
    """Why somebody cannot come in; the value says it."""

    STOPPING = "We stop for a while; come again."
    FULL = "Too many connections; come again."
    YOURS = "Too many connections from you; come again."


class Visitors(Generic[V]):
    """Those who are there.

    A connection counts until it is gone and its last work is done: who drops
    connections cannot have more work done for him than who keeps them.
    """

    def __init__(self, limits: VisitorLimits, clock: IReactorTime) -> None:
        self._limits = limits
        self._clock = clock
        self._there: dict[V, str] = {}
        self._by_network: Counter[str] = Counter()
        self.stopping = False
        self._empty: Deferred[None] | None = None

    def __iter__(self) -> Iterator[V]:
        return iter(tuple(self._there))

    def __len__(self) -> int:
        return len(self._there)

    def refusal(self, network: str) -> NoRoom | None:
        """Why one more from this network cannot come in."""
        if self.stopping:
            return NoRoom.STOPPING
        if len(self._there) >= self._limits.connections:
            return NoRoom.FULL
        if self._by_network[network] >= self._limits.connections_per_address:
            return NoRoom.YOURS
        return None

    def add(self, visitor: V, network: str) -> None:
        """One has come in."""
        self._there[visitor] = network
        self._by_network[network] += 1

    def remove(self, visitor: V) -> None:
        """One has gone, with all that was at work for it."""
        network = self._there.pop(visitor)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
        if not self._there:
            self._tell_empty()

    async def see_out(self, deadline: float) -> None:
        """Let nobody in any more, have all leave, and wait until they have.

        :param deadline: seconds after which we wait for nobody.
        """
        self.stopping = True
        if not self._there:
            return
        self._empty = empty = Deferred[None]()
        late = self._clock.callLater(deadline, self._give_up)
        for visitor in self:
            visitor.stop()
        await empty
        if late.active():
            late.cancel()

    def _give_up(self) -> None:
        empty, self._empty = self._empty, None
        for visitor in self:
            visitor.abort()
        if empty is not None:
            empty.callback(None)

    def _tell_empty(self) -> None:
        empty, self._empty = self._empty, None
        if empty is not None:
            empty.callback(None)


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
