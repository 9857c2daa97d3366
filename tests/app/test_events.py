"""The log of events: every event once and in order, whoever is slow."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from noinfra.app import events as module
from noinfra.app.access import Access
from noinfra.app.events import (
    Ended,
    EventLog,
    SlowReader,
    Subscription,
    cursor_of,
    event_id,
    position_of,
)
from noinfra.app.requests import CreateKey, EventFilter, KeyById, ListEvents
from noinfra.errors import Invalid, NotFound
from noinfra.model import Event
from noinfra.store.events import START, Events, Position, Wanted
from tests.app.world import ROOT, AppTest, mail, started, until
from tests.postgres import administer, reactor


def names(events: list[Event]) -> list[str]:
    """What tests tell events apart by."""
    return [event.type for event in events]


class LogTest(AppTest):
    """A log with nothing in it but what the test writes."""

    connections = 12

    async def setUp(self) -> None:
        await super().setUp()
        await self.rows("delete from event returning 1")
        self.read: list[Event] = []

    async def add(
        self, *types: str, pause: float = 0.0, fail: bool = False, **ids: Any
    ) -> None:
        """Events of one transaction, which takes its time to commit."""
        known = {"customer_id": str(self.ours.customer_id), "data": {}}
        try:
            async with self.database.system() as tx:
                for type_ in types:
                    await Events(tx).add(type_, **{**known, **ids})
                if pause:
                    await deferLater(reactor(), pause)
                if fail:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return

    async def hear(self) -> None:
        """Wake the log as the daemon does."""
        await self.listen(
            {
                "noinfra_event": lambda _: self.log.wake(),
                "noinfra_key": self.log.revoked,
            }
        )

    async def subscribe(
        self, access: Access = ROOT, after: str | None = None, **conditions: Any
    ) -> Subscription:
        """A reader, closed in the end."""
        subscription = await self.log.subscribe(
            access, EventFilter(**conditions), after
        )
        self.addCleanup(subscription.close)
        return subscription

    def follow(self, subscription: Subscription, pause: float = 0) -> Deferred[Any]:
        """Read on and on; what was read is in ``read``."""

        async def run() -> Exception:
            while True:
                try:
                    self.read.extend(await subscription.next_batch())
                except (Ended, SlowReader) as over:
                    return over
                if pause:
                    await deferLater(reactor(), pause)

        return started(run())

    def has_read(self, count: int) -> bool:
        """Whether so many have been read."""
        return len(self.read) == count

    def assert_in_order(self, events: list[Event]) -> None:
        """Each once, by place."""
        places = [(one.txid, one.seq) for one in events]
        self.assertEqual(places, sorted(set(places)))


class CursorTests(LogTest):
    """Ids of events are places in the log."""

    async def test_round_trip(self) -> None:
        """An id names its place; ids sort as places do."""
        random = Random(1)
        places = [
            Position(random.getrandbits(40), random.getrandbits(50)) for _ in range(50)
        ]
        for place in places:
            self.assertEqual(position_of(cursor_of(place)), place)
        self.assertEqual(
            sorted(map(cursor_of, places)), [cursor_of(one) for one in sorted(places)]
        )

    async def test_foreign(self) -> None:
        """What is no event's id is refused, by name."""
        whole = cursor_of(Position(1, 2))
        for cursor in (
            "",
            "evt_",
            "x",
            whole[:-1],
            whole + "0",
            whole[1:],
            whole[:-1] + "é",
        ):
            with self.assertRaises(Invalid) as caught:
                position_of(cursor)
            self.assertEqual(caught.exception.details["field"], "after")


class ListTests(LogTest):
    """Pages."""

    async def test_pages(self) -> None:
        """Pages join without gap or double, whatever their size."""
        await self.add(*(f"a.{n}" for n in range(5)))
        await self.add(*(f"b.{n}" for n in range(4)))
        for limit in (1, 2, 4, 9, 10):
            found: list[Event] = []
            cursor = None
            while True:
                page = await self.log.list(
                    self.ours, ListEvents(limit=limit, cursor=cursor)
                )
                found += page.items
                cursor = page.next_cursor
                if cursor is None:
                    break
            self.assertEqual(len(found), 9)
            self.assert_in_order(found)
            after = event_id(found[3])
            page = await self.log.list(self.ours, ListEvents(after=after))
            self.assertEqual(page.items, found[4:])

    async def test_filters(self) -> None:
        """By what an event is about, and by its type, whole or by its beginning."""
        await self.add("a.x", inbox_id=self.agent.inbox_id, thread_id="thr_1")
        await self.add("a.y", deployment_id="dep", agent_id="agt")
        await self.add("b.x", customer_id=str(self.theirs.customer_id))
        for conditions, expected in (
            ({}, ["a.x", "a.y", "b.x"]),
            ({"customer_id": self.ours.customer_id}, ["a.x", "a.y"]),
            ({"inbox_id": self.agent.address}, ["a.x"]),
            ({"thread_id": "thr_1"}, ["a.x"]),
            ({"deployment_id": "dep"}, ["a.y"]),
            ({"agent_id": "agt"}, ["a.y"]),
            ({"types": ["a.*"]}, ["a.x", "a.y"]),
            ({"types": ["*.x"]}, []),
            ({"types": ["a.x", "b.*"]}, ["a.x", "b.x"]),
            ({"types": ["%"]}, []),
        ):
            request = ListEvents(**conditions)
            page = await self.log.list(ROOT, request)
            self.assertEqual(names(page.items), expected, conditions)
            wanted = await self.log.wanted(ROOT, request)
            self.assertEqual(
                [e.type for e in await self.all() if module.matches(wanted, e)],
                expected,
                "the live filter agrees",
            )

    async def all(self) -> list[Event]:
        """The whole log."""
        return await Events(self.database.single(None)).after(START, Wanted(), 1000)

    async def test_bounds(self) -> None:
        """A key sees no events beyond its bounds, and asking is refused."""
        await self.add("mine", inbox_id=self.agent.inbox_id)
        await self.add("theirs", customer_id=str(self.theirs.customer_id))
        page = await self.log.list(self.ours, ListEvents())
        self.assertEqual(names(page.items), ["mine"])
        for conditions in (
            {"customer_id": self.theirs.customer_id},
            {"inbox_id": self.other.inbox_id},
        ):
            with self.assertRaises(NotFound):
                await self.log.list(self.ours, ListEvents(**conditions))


class LiveTests(LogTest):
    """Subscriptions."""

    async def test_slow_writers(self) -> None:
        """An older transaction that commits later costs nobody an event."""
        await self.hear()
        following = self.follow(await self.subscribe())
        slow = started(self.add("slow.1", "slow.2", pause=0.3))
        await deferLater(reactor(), 0.05)
        await self.add("fast.1")
        await self.add("fast.2")
        await deferLater(reactor(), 0.1)
        self.assertEqual(self.read, [], "nothing that others may come before")
        await slow
        await until(lambda: len(self.read) >= 4)
        self.assertEqual(names(self.read), ["slow.1", "slow.2", "fast.1", "fast.2"])
        self.assertFalse(following.called)

    async def test_older_transaction_ends_in_silence(self) -> None:
        """What an older transaction hid comes also when that one fails, or only reads."""
        await self.hear()
        self.follow(await self.subscribe())
        for n in range(3):
            slow = started(self.add("never", pause=0.15, fail=True))
            await deferLater(reactor(), 0.05)
            await self.add("hidden")
            await slow
            await until(partial(self.has_read, n + 1))
        self.assertEqual(names(self.read), ["hidden"] * 3)

    async def test_many_writers_and_readers(self) -> None:
        """Every event exactly once and in order, to readers from anywhere in the log."""
        await self.hear()
        self.patch(module, "_PAGE", 7)
        random = Random(11)
        read: list[list[Event]] = []

        async def write(n: int) -> None:
            for k in range(8):
                await self.add(
                    f"{n}.{k}.a",
                    f"{n}.{k}.b",
                    pause=random.choice((0, 0, 0.01, 0.05)),
                    fail=random.random() < 0.2,
                )

        async def reader(after: str | None) -> None:
            subscription = await self.subscribe(after=after)
            mine: list[Event] = []
            read.append(mine)
            while not (mine and mine[-1].type == "end"):
                mine.extend(await subscription.next_batch())

        cursors = [cursor_of(START)]
        writing = gatherResults([started(write(n)) for n in range(6)])
        readers = []
        while not writing.called:
            readers.append(started(reader(random.choice(cursors))))
            await deferLater(reactor(), 0.03)
            page = await self.log.list(ROOT, ListEvents(limit=1000))
            cursors += [event_id(one) for one in page.items[-1:]]
        await self.add("end")
        await gatherResults(readers)
        whole = (await self.log.list(ROOT, ListEvents(limit=1000))).items
        self.assert_in_order(whole)
        for mine in read:
            start = whole.index(mine[0])
            self.assertEqual(mine, whole[start:])
        self.assertEqual(read[0], whole)

    async def test_from_now(self) -> None:
        """Without a cursor only what comes after; the cursor is where to come back."""
        await self.hear()
        await self.add("before")
        subscription = await self.subscribe()
        self.follow(subscription)
        await deferLater(reactor(), 0.05)
        await self.add("after")
        await until(lambda: self.read)
        self.assertEqual(names(self.read), ["after"])
        self.assertEqual(subscription.cursor, event_id(self.read[0]))

    async def test_told_before_we_listened(self) -> None:
        """What was announced while the reader joined, and was hidden then, comes too."""
        subscription = await self.subscribe()
        slow = started(self.add("slow", pause=0.2))
        await deferLater(reactor(), 0.05)
        await self.add("fast")
        # Nobody wakes this log: the notifications have passed.
        self.follow(subscription)
        await slow
        await until(lambda: len(self.read) == 2)
        self.assertEqual(names(self.read), ["slow", "fast"])

    async def test_read_twice_while_joining(self) -> None:
        """What was read from the log on joining is not offered by the tail again."""
        first = await self.subscribe()
        self.follow(first)
        await deferLater(reactor(), 0.05)
        await self.add("x")
        # The second reads x itself, and the tail comes to it only now.
        second = await self.subscribe(after=cursor_of(START))
        self.assertEqual(names(list(await second.next_batch())), ["x"])
        again = started(second.next_batch())
        await deferLater(reactor(), 0.05)
        self.log.wake()
        await deferLater(reactor(), 0.05)
        self.assertFalse(again.called)
        await self.add("y")
        self.log.wake()
        self.assertEqual(names(list(await again)), ["y"])
        await until(lambda: len(self.read) == 2)
        self.assertEqual(names(self.read), ["x", "y"])

    async def test_filters(self) -> None:
        """Each reader gets what it wants, and no other customer's."""
        await self.hear()
        theirs = await self.subscribe(self.theirs)
        some = await self.subscribe(self.ours, types=["a.*"])
        both = [started(theirs.next_batch()), started(some.next_batch())]
        await deferLater(reactor(), 0.05)
        await self.add("b.1", "a.1")
        await self.add("a.2", customer_id=str(self.theirs.customer_id))
        found = await gatherResults(both)
        self.assertEqual([names(one) for one in found], [["a.2"], ["a.1"]])

    async def test_refilter(self) -> None:
        """Another filter holds from here on, or from further back."""
        await self.hear()
        subscription = await self.subscribe(types=["a"])
        self.follow(subscription)
        await deferLater(reactor(), 0.05)
        await self.add("b")
        await self.add("a")
        await until(lambda: self.read)
        await self.add("b")
        tail = self.log.tail
        await until(lambda: self.log.tail > tail)
        subscription.refilter(Wanted(types=("b",)), None)
        await deferLater(reactor(), 0.05)
        await self.add("b", "a")
        await until(lambda: len(self.read) == 2)
        self.assertEqual(names(self.read), ["a", "b"])
        subscription.refilter(Wanted(types=("b",)), START)
        await until(lambda: len(self.read) == 5)
        self.assertEqual(names(self.read), ["a", "b", "b", "b", "b"])

    async def test_slow_reader(self) -> None:
        """Who takes too long is told so; the cursor leads back to where it was."""
        self.patch(module, "_BACKLOG", 5)
        await self.hear()
        subscription = await self.subscribe()
        waiting = started(subscription.next_batch())
        await deferLater(reactor(), 0.05)
        await self.add("first")
        await waiting
        await self.add(*(f"{n}" for n in range(10)))
        await until(lambda: subscription not in self.log._subscriptions)
        await self.assertFailure(started(subscription.next_batch()), SlowReader)
        again = await self.subscribe(after=subscription.cursor)
        self.assertEqual(len(await again.next_batch()), 10)

    async def test_closed(self) -> None:
        """A closed reader ends, wherever it is, and nothing of it stays."""
        reading = await self.subscribe(after=cursor_of(START))
        ends = [self.follow(reading)]
        reading.close()
        joining = await self.subscribe()
        ends.append(self.follow(joining))
        await deferLater(reactor(), 0)
        joining.close()
        live = await self.subscribe()
        ends.append(self.follow(live))
        await deferLater(reactor(), 0.1)
        live.close()
        for over in await gatherResults(ends):
            self.assertIsInstance(over, Ended)
        await deferLater(reactor(), 0.05)
        self.assertEqual(self.log._subscriptions, set())
        self.assertEqual(self.log._open, set())

    async def test_stop(self) -> None:
        """A stop ends them all."""
        end = self.follow(await self.subscribe())
        self.log.stop()
        self.assertIsInstance(await end, Ended)

    async def test_no_readers(self) -> None:
        """Without readers nothing is read."""
        self.log.wake()
        self.assertFalse(self.log._reading)


class RevokedTests(LogTest):
    """Keys that end."""

    async def key(self) -> tuple[str, Access]:
        """A new key of ours."""
        made = await self.keys.create(self.ours, CreateKey(name="k", preset="runtime"))
        return made.key.key_id, await self.keys.authenticate(made.secret)

    async def test_live_and_replaying(self) -> None:
        """A key's end ends its readers at once, also those that are still behind."""
        await self.hear()
        key_id, access = await self.key()
        live = self.follow(await self.subscribe(access))
        idle = await self.subscribe(access)
        other = self.follow(await self.subscribe(self.ours))
        await deferLater(reactor(), 0.1)
        await self.keys.revoke(self.ours, KeyById(key_id=key_id))
        self.assertIsInstance(await live, Ended)
        await self.assertFailure(started(idle.next_batch()), Ended)
        late = await self.subscribe(access)
        await self.assertFailure(started(late.next_batch()), Ended)
        self.assertFalse(other.called)

    async def test_while_nobody_listened(self) -> None:
        """A key that was revoked while LISTEN was lost is found out after."""
        await self.hear()
        key_id, access = await self.key()
        live = self.follow(await self.subscribe(access))
        other_id, other_access = await self.key()
        other = self.follow(await self.subscribe(other_access))
        await deferLater(reactor(), 0.1)
        administer(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            f" where datname = '{self.dsn.partition('dbname=')[2].split()[0]}'"
            " and query like 'listen%'"
        )
        await self.rows(
            "update key set revoked_at = now() where key_id = %(id)s returning 1",
            id=key_id,
        )
        await self.rows(
            "insert into event (type, customer_id, data) values ('x', %(id)s, '{}')"
            " returning 1",
            id=self.ours.customer_id,
        )
        self.assertIsInstance(await live, Ended)
        await until(lambda: "x" in names(self.read))
        self.assertFalse(other.called, other_id)


class TwoProcessesTests(LogTest):
    """Two logs on one database."""

    async def test_both_hear(self) -> None:
        """What one process writes, the readers of all hear."""
        await self.hear()
        second = EventLog(self.database, self.log.homes, reactor())
        self.addCleanup(second.stop)
        await self.listen({"noinfra_event": lambda _: second.wake()})
        here, there = (
            await self.subscribe(self.ours),
            await second.subscribe(self.ours, EventFilter()),
        )
        both = [started(one.next_batch()) for one in (here, there)]
        await deferLater(reactor(), 0.05)
        await self.receive(mail())
        found = await gatherResults(both)
        self.assertEqual(found[0], found[1])
        self.assertEqual(names(found[0]), ["message.received"])
