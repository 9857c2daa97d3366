"""How many connections there may be, and who may use which.

A place is the right to one connection to one destination. It is held by who delivers,
or rests with its connection until the next one comes or time is up. At the limit for
all, places that rest elsewhere are given up first, then destinations take turns.
"""

from collections import OrderedDict, deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from noinfra.net.smtp import SmtpClient


class Place:
    """The right to one connection.

    :ivar client: the connection, once there is one that may be used.
    """

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.client: SmtpClient | None = None
        self.ends: IDelayedCall | None = None


class _Destination:
    """What there is of places to one destination, and who waits for one."""

    def __init__(self) -> None:
        self.taken = 0
        self.resting: list[Place] = []
        self.waiting: deque[Deferred[Place]] = deque()


class Closing(Exception):
    """There are no more places: the daemon stops."""


class Places:
    """All places there are."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        limit: int,
        limit_of_destination: int,
        messages: int,
        idle: float,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._limit_of_destination = limit_of_destination
        self._messages = messages
        self._idle = idle
        self._taken = 0
        self._destinations: dict[str, _Destination] = {}
        # Insertion order is age.
        self._resting: OrderedDict[Place, None] = OrderedDict()
        # Destinations with somebody waiting and room of their own.
        self._in_turn: OrderedDict[str, None] = OrderedDict()
        self._handed: deque[tuple[Deferred[Place], Place]] = deque()
        self._handing = False
        self._closing = False

    async def take(self, name: str) -> Place:
        """A place, with a resting connection if there is one; it must be given back.

        :raises Closing: there will be none.
        """
        if self._closing:
            raise Closing
        destination = self._destinations.setdefault(name, _Destination())
        if destination.resting:
            return self._woken(destination.resting[-1])
        waiting: Deferred[Place] = Deferred()
        destination.waiting.append(waiting)
        self._enlist(name)
        self._grant()
        return await waiting

    def give_back(self, place: Place) -> None:
        """Hand the place on, or let it rest if its connection can be used again."""
        client = place.client
        if client is not None and not self._kept(client):
            place.client = client = None
        if client is not None and (waiting := self._next(place.destination)):
            self._hand(place, waiting)
        elif client is None:
            self._free(place)
        else:
            self._rest(place)

    def close(self) -> None:
        """Give no more places, and take leave where nothing is under way."""
        self._closing = True
        for name, destination in list(self._destinations.items()):
            while destination.waiting:
                if waiting := self._next(name):
                    waiting.errback(Closing())
        for place in list(self._resting):
            self._end(place)

    def _kept(self, client: SmtpClient) -> bool:
        """Whether the connection may be used again; if not, it takes leave."""
        if client.ended is not None:
            return False
        if self._closing or client.served >= self._messages:
            Deferred.fromCoroutine(client.quit())
            return False
        return True

    def _next(self, name: str) -> Deferred[Place] | None:
        """Who has waited longest, and still does."""
        waiting = self._destinations[name].waiting
        while waiting:
            first = waiting.popleft()
            if not first.called:
                return first
        return None

    def _rest(self, place: Place) -> None:
        self._resting[place] = None
        self._destinations[place.destination].resting.append(place)
        place.ends = self._clock.callLater(self._idle, self._end, place)
        self._grant()

    def _woken(self, place: Place) -> Place:
        if place.ends is not None and place.ends.active():
            place.ends.cancel()
        del self._resting[place]
        self._destinations[place.destination].resting.remove(place)
        if place.client is not None and place.client.ended is not None:
            place.client = None
        return place

    def _end(self, place: Place) -> None:
        """Give up a place that rests."""
        client = self._woken(place).client
        self._free(place)
        if client is not None:
            Deferred.fromCoroutine(client.quit())

    def _free(self, place: Place) -> None:
        self._destinations[place.destination].taken -= 1
        self._taken -= 1
        self._enlist(place.destination)
        self._grant()

    def _enlist(self, name: str) -> None:
        """Let a destination have its turn if it can use it; forget it if it is done."""
        destination = self._destinations[name]
        if destination.waiting and destination.taken < self._limit_of_destination:
            self._in_turn.setdefault(name)
        elif not destination.waiting and not destination.taken:
            del self._destinations[name]

    def _grant(self) -> None:
        while self._in_turn and (self._taken < self._limit or self._resting):
            if self._taken >= self._limit:
                # It comes back here, with room.
                self._end(next(iter(self._resting)))
                continue
            name, _ = self._in_turn.popitem(last=False)
            waiting = self._next(name)
            if waiting is not None:
                self._destinations[name].taken += 1
                self._taken += 1
            self._enlist(name)
            if waiting is not None:
                self._hand(Place(name), waiting)

    def _hand(self, place: Place, waiting: Deferred[Place]) -> None:
        """Let who waits go on; that may give back a place before this returns.

        Those places are handed on here in turn and not from within each other, or a
        thousand messages for a host that is shunned would be a thousand calls deep.
        """
        self._handed.append((waiting, place))
        if self._handing:
            return
        self._handing = True
        try:
            while self._handed:
                waiting, place = self._handed.popleft()
                if waiting.called:
                    # Called off while it was its turn.
                    self.give_back(place)
                else:
                    waiting.callback(place)
        finally:
            self._handing = False
