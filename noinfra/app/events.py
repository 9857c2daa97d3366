"""The log of events as callers read it: by pages, or live from a cursor.

One tail a process reads the log on, woken by NOTIFY, and hands each event to the
subscriptions that want it; a subscription that begins further back reads up to the tail
by itself first. Whoever only wants to know that something happened to an inbox, as a
mail client's session does, watches it, which costs an entry in a dictionary. Without
either nothing is read at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Set

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from noinfra.app.access import Access
from noinfra.app.homes import Homes
from noinfra.app.ids import decode_number, encode_number
from noinfra.app.listing import Listing
from noinfra.app.requests import EventFilter, ListEvents
from noinfra.errors import Invalid, NotFound, TemporaryFailure
from noinfra.model import Event
from noinfra.store.database import Database
from noinfra.store.events import START, Position, Wanted
from noinfra.store.events import Events as EventTable
from noinfra.store.keys import Keys

_PAGE = 500
# Events that a subscription may be behind the tail before it counts as too slow.
_BACKLOG = 2000
# How soon to look again for an event that an older transaction still hides, in seconds.
_HIDDEN = 0.02
_PREFIX = "evt_"
_REVOKED = "The key was revoked."


class SlowReader(Exception):
    """The reader takes events more slowly than they happen; it may come back."""


class Ended(Exception):
    """The subscription is over: its key was revoked, or we stop."""


def event_id(event: Event) -> str:
    """The id of an event, which is its place in the log."""
    return _PREFIX + encode_number(event.txid) + encode_number(event.seq)


def cursor_of(position: Position) -> str:
    """The id that an event at this position would have."""
    return _PREFIX + encode_number(position.txid) + encode_number(position.seq)


def position_of(cursor: str) -> Position:
    """The place in the log that an event's id names.

    :raises Invalid: it is no event's id.
    """
    digits = cursor.removeprefix(_PREFIX)
    txid, seq = decode_number(digits[:13]), decode_number(digits[13:])
    if not cursor.startswith(_PREFIX) or txid is None or seq is None:
        raise Invalid(f"{cursor} is no event's id.", field="after")
    return Position(txid, seq)


def matches(wanted: Wanted, event: Event) -> bool:
    """Whether a reader wants the event; as the store's own filter does."""
    return (
        wanted.customer_id in (None, event.customer_id)
        and wanted.deployment_id in (None, event.deployment_id)
        and wanted.agent_id in (None, event.agent_id)
        and wanted.inbox_id in (None, event.inbox_id)
        and wanted.thread_id in (None, event.thread_id)
        and (not wanted.types or any(_is_type(one, event) for one in wanted.types))
    )


def _is_type(pattern: str, event: Event) -> bool:
    if pattern.endswith("*"):
        return event.type.startswith(pattern[:-1])
    return event.type == pattern


@define(eq=False)
class Subscription:
    """A reader's place in the log. Ask for one batch at a time."""

    _log: EventLog
    key_id: str
    wanted: Wanted
    position: Position
    _backlog: deque[Event] = field(factory=deque)
    _live: bool = False
    _over: Exception | None = None
    _waiting: Deferred[None] | None = None

    async def next_batch(self) -> Sequence[Event]:
        """The next events, at least one, as soon as there are some.

        :raises SlowReader: too many have gathered since the last call.
        :raises Ended: there will be no more.
        :raises TemporaryFailure: the log cannot be read now.
        """
        while True:
            if self._over is not None:
                raise self._over
            if not self._live:
                batch: Sequence[Event] = []
                try:
                    batch = await self._replay()
                except TemporaryFailure:
                    # Closed meanwhile, perhaps with the database: then that is told.
                    if self._over is None:
                        raise
                if self._over is not None:
                    raise self._over
            elif self._backlog:
                batch = list(self._backlog)
                self._backlog.clear()
            else:
                self._waiting = Deferred()
                await self._waiting
                continue
            if batch:
                self.position = Position(batch[-1].txid, batch[-1].seq)
                return batch

    @property
    def cursor(self) -> str:
        """Where to begin again, should this reader be cut off."""
        return cursor_of(self.position)

    def refilter(self, wanted: Wanted, after: Position | None) -> None:
        """Want other events from here on, or from further back."""
        if after is not None:
            self.position = after
        elif self._live and not self._backlog:
            # All that the old filter let through has been taken.
            self.position = max(self.position, self._log.tail)
        self._log.leave(self)
        self._backlog.clear()
        self._live = False
        self.wanted = wanted
        self._wake()

    def close(self) -> None:
        """Take no more."""
        self.end(Ended("The subscription was closed."))

    def end(self, why: Exception) -> None:
        """Have the reader told, at its next call or now."""
        self._log.close(self)
        self._backlog.clear()
        self._over = self._over or why
        self._wake()

    def offer(self, event: Event) -> None:
        """An event from the tail, if it was not read from the log before."""
        if _place(event) <= self.position:
            return
        if len(self._backlog) >= _BACKLOG:
            self.end(SlowReader(f"More than {_BACKLOG} events behind."))
            return
        self._backlog.append(event)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def _replay(self) -> Sequence[Event]:
        """Read up to the tail.

        Joined first, then read once more: what happens between is in the backlog, or in
        what was read, or in both.
        """
        wanted = self.wanted
        found = await self._log.read(self.position, wanted)
        if self._over is not None or wanted is not self.wanted or found:
            return found if wanted is self.wanted else []
        await self._log.join(self)
        found = await self._log.read(self.position, wanted)
        if self._over is not None or wanted is not self.wanted or len(found) >= _PAGE:
            # Over, or once more: what is offered meanwhile is read then.
            self._log.leave(self)
            self._backlog.clear()
            return found if self._over is None and wanted is self.wanted else []
        self._live = True
        if found:
            self.position = _place(found[-1])
        while self._backlog and _place(self._backlog[0]) <= self.position:
            self._backlog.popleft()
        # What was hidden just now may have been told of before we listened.
        self._log.wake()
        return found


def _place(event: Event) -> Position:
    return Position(event.txid, event.seq)


@define(eq=False)
class EventLog:
    """The use cases of events, and the tail that live readers share."""

    _logger = Logger()

    database: Database
    homes: Homes
    clock: IReactorTime
    _tail: Position | None = None
    # Those that follow the tail; and all that were begun and not closed.
    _subscriptions: set[Subscription] = field(factory=set)
    _open: set[Subscription] = field(factory=set)
    _revoked: set[str] = field(factory=set)
    # By inbox: whom to call.
    _watchers: dict[str, dict[object, Callable[[], None]]] = field(factory=dict)
    _reading: bool = False
    _again: bool = False
    _later: IDelayedCall | None = None

    async def list(self, access: Access, request: ListEvents) -> Listing[Event]:
        """Events after a cursor, oldest first."""
        wanted = await self.wanted(access, request)
        start = request.after if request.cursor is None else request.cursor
        found = await EventTable(self.database.single(access.customer_id)).after(
            START if start is None else position_of(start), wanted, request.limit + 1
        )
        items = found[: request.limit]
        more = len(found) > request.limit
        return Listing(items=items, next_cursor=event_id(items[-1]) if more else None)

    async def subscribe(
        self, access: Access, request: EventFilter, after: str | None = None
    ) -> Subscription:
        """Follow the log from an event, or from now.

        It is to be closed, or it stays in memory until its key is revoked.

        :raises Invalid: the cursor is no event's id.
        """
        wanted = await self.wanted(access, request)
        position = position_of(after) if after else await self.end()
        subscription = Subscription(self, access.key_id, wanted, position)
        self._open.add(subscription)
        if access.key_id in self._revoked:
            # While we were looking up what it may see.
            subscription.end(Ended(_REVOKED))
        return subscription

    async def wanted(self, access: Access, request: EventFilter) -> Wanted:
        """What a caller may see of what it asks for.

        :raises NotFound: it asks for something beyond its bounds.
        """
        inbox_id = request.inbox_id
        if inbox_id is not None:
            inbox_id = (await self.homes.of(access, inbox_id)).inbox_id
        bound = access.deployment_id
        if bound is not None and request.deployment_id not in (None, bound):
            raise NotFound(f"There is no deployment {request.deployment_id}.")
        return Wanted(
            customer_id=access.filter_customer(request.customer_id),
            deployment_id=request.deployment_id or bound,
            agent_id=request.agent_id,
            inbox_id=inbox_id or access.inbox_id,
            thread_id=request.thread_id,
            types=tuple(request.types),
        )

    async def end(self) -> Position:
        """Where the log ends now."""
        return await EventTable(self.database.single(None)).end()

    async def read(self, position: Position, wanted: Wanted) -> Sequence[Event]:
        """A page of the log, for a subscription that is behind."""
        return await EventTable(self.database.single(wanted.customer_id)).after(
            position, wanted, _PAGE
        )

    async def join(self, subscription: Subscription) -> None:
        """Hand the subscription what comes from now on."""
        await self._begin()
        self._subscriptions.add(subscription)

    async def _begin(self) -> None:
        if self._tail is None:
            end = await self.end()
            if self._tail is None:
                self._tail = end

    async def watch(
        self, inbox_id: str, callback: Callable[[], None]
    ) -> Callable[[], None]:
        """Be called when something happens to an inbox; gives what ends it.

        However much happens at once makes one call. What was committed before this
        returns may be missed: read after it.
        """
        mark = object()
        self._watchers.setdefault(inbox_id, {})[mark] = callback

        def unwatch() -> None:
            watching = self._watchers.get(inbox_id, {})
            watching.pop(mark, None)
            if not watching:
                self._watchers.pop(inbox_id, None)
            self._rest()

        try:
            await self._begin()
        except BaseException:
            unwatch()
            raise
        return unwatch

    def leave(self, subscription: Subscription) -> None:
        """Hand it nothing more; with the last one gone, the tail rests."""
        self._subscriptions.discard(subscription)
        self._rest()

    def _rest(self) -> None:
        if not self._subscriptions and not self._watchers:
            self._tail = None

    def close(self, subscription: Subscription) -> None:
        """Forget it."""
        self.leave(subscription)
        self._open.discard(subscription)

    @property
    def tail(self) -> Position:
        """How far the log has been read for those that follow it."""
        return self._tail or START

    def revoked(self, key_id: str) -> None:
        """End the subscriptions of a key."""
        self._revoked.add(key_id)
        self._end_all(key_id)

    def _end_all(self, key_id: str) -> None:
        for one in [s for s in self._open if s.key_id == key_id]:
            one.end(Ended(_REVOKED))

    def missed(self) -> None:
        """Notifications may have been lost: read on, and ask after the keys in use."""
        self.wake()
        Deferred.fromCoroutine(self._ask_after_keys())

    async def _ask_after_keys(self) -> None:
        in_use = sorted({one.key_id for one in self._open})
        try:
            ended = await Keys(self.database.single(None)).ended(in_use)
        except Exception:
            self._logger.failure("could not look for keys that were revoked")
            # Their readers come back with the cursors that they have.
            ended = in_use
        for key_id in ended:
            self._end_all(key_id)

    def wake(self) -> None:
        """Something was written: read on. Many wakes make one reading."""
        if self._tail is None:
            return
        if self._reading:
            self._again = True
            return
        self._reading = True
        Deferred.fromCoroutine(self._read_on())

    def stop(self) -> None:
        """End all subscriptions."""
        for one in list(self._open):
            one.end(Ended("The server stops."))
        if self._later is not None and self._later.active():
            self._later.cancel()

    async def _read_on(self) -> None:
        try:
            self._again = True
            while self._again and self._tail is not None:
                self._again = False
                await self._read_page()
        except Exception:
            # When we stop nobody reads any more, and the database may be gone.
            if self._tail is not None:
                self._logger.failure("the log could not be read on")
                self._look_again(1.0)
        finally:
            self._reading = False

    async def _read_page(self) -> None:
        tail = self._tail
        if tail is None:
            return
        table = EventTable(self.database.single(None))
        found = await table.after(tail, _EVERYTHING, _PAGE)
        if found and self._tail is not None:
            self._tail = _place(found[-1])
            for event in found:
                for one in [s for s in self._subscriptions if matches(s.wanted, event)]:
                    one.offer(event)
            self._call({event.inbox_id for event in found if event.inbox_id})
        if len(found) >= _PAGE:
            self._again = True
        elif self._tail is not None and await table.behind(self._tail):
            self._look_again(_HIDDEN)

    def _call(self, inbox_ids: Set[str]) -> None:
        for inbox_id in inbox_ids & self._watchers.keys():
            for callback in list(self._watchers[inbox_id].values()):
                callback()

    def _look_again(self, seconds: float) -> None:
        if self._tail is not None and (self._later is None or not self._later.active()):
            self._later = self.clock.callLater(seconds, self.wake)


_EVERYTHING = Wanted()
