"""The way out, on a clock that the test moves."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app import settling
from noinfra.app.deliver import Deliver
from noinfra.app.localdelivery import LocalDelivery
from noinfra.app.notify import Notifier
from noinfra.app.requests import SendMessage, UpdateInbox
from noinfra.app.settling import Schedule, Settler
from noinfra.boundaries import Envelope, Outcome, Relay
from noinfra.errors import NotFound, TemporaryFailure
from noinfra.store.queue import Queue
from tests.app.world import DOMAIN, ROOT, AppTest, header_of, started, until
from tests.fakes.relay import MemoryRelay
from tests.postgres import reactor

SCHEDULE = Schedule(
    first=timedelta(minutes=5), longest=timedelta(hours=4), chance=lambda: 0.5
)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class ScheduleTests(SynchronousTestCase):
    """When to try again (RFC 5321, 4.5.4.1)."""

    def minutes(self, attempts: int, chance: float = 0.5) -> float:
        """After so many attempts."""
        schedule = evolve(SCHEDULE, chance=lambda: chance)
        return (schedule.next_attempt(attempts, NOON) - NOON).total_seconds() / 60

    def test_doubles(self) -> None:
        """After five minutes, then twice as late each time, at most four hours."""
        self.assertEqual(
            [self.minutes(n) for n in range(8)], [5, 10, 20, 40, 80, 160, 240, 240]
        )
        self.assertEqual(self.minutes(10**6), 240)

    @given(st.integers(0, 100), st.floats(0, 1))
    def test_jitter(self, attempts: int, chance: float) -> None:
        """At most a tenth sooner or later."""
        exact = self.minutes(attempts)
        self.assertLessEqual(abs(self.minutes(attempts, chance) - exact), exact / 9.9)


class SlowRelay:
    """Delivers when the test says so."""

    def __init__(self) -> None:
        self.inner = MemoryRelay()
        self.waiting: list[Deferred[None]] = []

    async def deliver(self, domain: str, envelope: Envelope) -> tuple[Outcome, ...]:
        go: Deferred[None] = Deferred()
        self.waiting.append(go)
        await go
        return await self.inner.deliver(domain, envelope)


class BrokenRelay:
    """Has a bug."""

    async def deliver(self, domain: str, envelope: Envelope) -> tuple[Outcome, ...]:
        raise ZeroDivisionError


_relays: list[type[Relay]] = [SlowRelay, BrokenRelay]


class DeliverTest(AppTest):
    """A worker, and a sender."""

    connections = 6

    async def setUp(self) -> None:
        await super().setUp()
        self.clock = Clock()
        self.relay = MemoryRelay()

    def worker(
        self,
        relay: Relay | None = None,
        *,
        lease: str = "me",
        paused: bool = False,
        now: datetime | None = None,
    ) -> Deliver:
        """A worker, stopped in the end."""
        moment = (lambda: now) if now else (lambda: datetime.now(UTC))
        worker = Deliver(
            database=self.database,
            directory=self.directory,
            relay=relay or self.relay,
            local=LocalDelivery(self.receiving),
            settler=Settler(self.database, lease),
            notifier=Notifier(
                self.database, self.receiving, f"postmaster@{DOMAIN}", now=moment
            ),
            schedule=SCHEDULE,
            clock=self.clock,
            lease=lease,
            paused=paused,
            now=moment,
        )
        self.addCleanup(lambda: started(self._stop(worker)))
        return worker

    async def _stop(self, worker: Deliver) -> None:
        stopping = started(worker.stop())
        while not stopping.called:
            self.clock.advance(11)
            await deferLater(reactor(), 0.01)
        await stopping

    async def idle(self, worker: Deliver) -> None:
        """Wait until the worker has nothing to do but sleep."""
        await until(lambda: worker._claiming is None and not worker._held)
        await worker.settler.flush()

    async def run_once(self, worker: Deliver | None = None) -> Deliver:
        """Start, and wait until nothing is due."""
        worker = worker or self.worker()
        await worker.start()
        await self.idle(worker)
        return worker

    async def send(self, *to: str, **more: Any) -> str:
        """A mail of the agent's; its id."""
        request = SendMessage(
            inbox_id=self.agent.inbox_id, to=list(to), subject="Hi", text="Hi.", **more
        )
        return (await self.sending.send(self.ours, request)).message.message_id

    async def statuses(self, message_id: str) -> dict[str, tuple[str, int | None]]:
        """Of each recipient the status and the last code."""
        letter = await self.letter(message_id)
        return {one.rcpt_to: (one.status, one.code) for one in letter.deliveries}

    async def due_now(self) -> None:
        """Whatever waits is due."""
        await self.rows(
            "update delivery set due_at = now() where status = 'deferred' returning 1"
        )


class CarryTests(DeliverTest):
    """What goes to whom."""

    async def test_destinations(self) -> None:
        """One envelope for each destination, with all its recipients and the octets."""
        message_id = await self.send(
            "a@x.example", "b@x.example", "c@y.example", cc=["d@X.example"]
        )
        await self.run_once()
        self.assertEqual(
            sorted(
                (one.domain, sorted(r.address for r in one.envelope.rcpt_to))
                for one in self.relay.sent
            ),
            [
                ("x.example", ["a@x.example", "b@x.example", "d@X.example"]),
                ("y.example", ["c@y.example"]),
            ],
        )
        stored = await self.octets(message_id)
        for one in self.relay.sent:
            self.assertEqual(one.octets, stored)
            self.assertEqual(one.envelope.mail_from, self.agent.address)
        letter = await self.letter(message_id)
        self.assertEqual(letter.message.state, "delivered")
        self.assertEqual(len(letter.attempts), 4)

    async def test_messages_apart(self) -> None:
        """Two messages for one destination are two envelopes."""
        await self.send("a@x.example")
        await self.send("a@x.example")
        await self.run_once()
        self.assertEqual(len(self.relay.sent), 2)

    async def test_outcomes(self) -> None:
        """Each recipient has its own end; the events tell."""
        self.relay = MemoryRelay(
            replies={
                "bad@x.example": "550 5.1.1 Nobody here.",
                "later@x.example": "451 4.7.1 Later.",
            }
        )
        message_id = await self.send(
            "good@x.example", "bad@x.example", "later@x.example"
        )
        await self.run_once()
        self.assertEqual(
            await self.statuses(message_id),
            {
                "good@x.example": ("delivered", 250),
                "bad@x.example": ("failed", 550),
                "later@x.example": ("deferred", 451),
            },
        )
        rows = await self.rows(
            "select type, data->>'recipient', data->>'kind', data->>'code'"
            " from event where type like 'message.%%' and type <> 'message.queued'"
            " order by type"
        )
        self.assertEqual(
            rows,
            [
                ("message.bounced", "bad@x.example", "hard", "550"),
                ("message.deferred", "later@x.example", None, "451"),
                ("message.delivered", "good@x.example", None, "250"),
            ],
        )

    async def test_expired(self) -> None:
        """What could not be delivered in five days has failed."""
        self.relay = MemoryRelay(replies={"a@x.example": "451 4.7.1 Later."})
        message_id = await self.send("a@x.example")
        worker = await self.run_once(
            self.worker(now=datetime.now(UTC) + timedelta(days=5, hours=1))
        )
        self.assertEqual(
            await self.statuses(message_id), {"a@x.example": ("failed", 451)}
        )
        ((kind, expired),) = await self.rows(
            "select data->>'kind', data->>'expired' from event"
            " where type = 'message.bounced'"
        )
        self.assertEqual((kind, expired), ("soft", "true"))
        await self.due_now()
        worker.wake()
        await self.idle(worker)
        self.assertEqual(len(self.relay.sent), 1)

    async def test_next_attempt(self) -> None:
        """Deferred mail is due by the schedule, and never after its time is over."""
        self.relay = MemoryRelay(replies={"a@x.example": "451 4.7.1 Later."})
        await self.send("a@x.example")
        worker = await self.run_once()
        for attempts, minutes in ((1, 5), (2, 10), (3, 20)):
            seconds = await self.value(
                "select extract(epoch from due_at - now())::float from delivery"
            )
            self.assertLess(abs(seconds - minutes * 60), 5)
            self.assertEqual(
                await self.value("select attempts from delivery"), attempts
            )
            await self.due_now()
            worker.wake()
            await self.idle(worker)
        await self.rows(
            "update delivery set expires_at = now() + interval '1 minute' returning 1"
        )
        await self.due_now()
        worker.wake()
        await self.idle(worker)
        self.assertTrue(await self.value("select due_at = expires_at from delivery"))

    async def test_large(self) -> None:
        """A large mail goes in pieces, as it is stored."""
        message_id = await self.send("a@x.example", html="<p>" + "x" * 1_200_000)
        await self.run_once()
        (sent,) = self.relay.sent
        self.assertNotIsInstance(sent.envelope.octets, bytes)
        self.assertEqual(sent.octets, await self.octets(message_id))

    async def test_many(self) -> None:
        """More than is held at once goes out all the same, each once."""
        destinations = [f"d{n}.example" for n in range(3)]
        message_id = await self.send("first@d0.example")
        await self.rows(
            """
            insert into delivery (delivery_id, customer_id, inbox_id, message_id,
                mail_from, rcpt_to, destination, due_at, expires_at)
            select delivery_id || n, customer_id, inbox_id, message_id, mail_from,
                n || '@' || name, name, now(), expires_at
            from delivery, generate_series(1, 700) as n,
                lateral (select (%(names)s::text[])[1 + n %% 3] as name) as to_
            where message_id = %(message_id)s returning 1
            """,
            names=destinations,
            message_id=message_id,
        )
        await self.run_once()
        sent = [r.address for one in self.relay.sent for r in one.envelope.rcpt_to]
        self.assertEqual(len(sent), 701)
        self.assertEqual(len(set(sent)), 701)

    async def test_bug_of_ours(self) -> None:
        """What fails within us is deferred like any failure, and not tried for ever."""
        message_id = await self.send("a@x.example")
        await self.run_once(self.worker(BrokenRelay()))
        self.assertEqual(
            await self.statuses(message_id), {"a@x.example": ("deferred", 451)}
        )
        self.assertEqual(await self.rows("select 1 from destination"), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DestinationTests(DeliverTest):
    """Destinations in trouble."""

    async def test_left_alone(self) -> None:
        """A destination that cannot be reached is left alone; a good turn clears it."""
        replies: dict[str, str] = {"a@x.example": "connection timed out"}
        self.relay = MemoryRelay(replies=replies)
        await self.send("a@x.example")
        worker = await self.run_once()
        await self.send("b@x.example")
        worker.wake()
        await self.idle(worker)
        self.assertEqual(len(self.relay.sent), 1)
        await self.rows("update destination set paused_until = now() returning 1")
        worker.wake()
        await self.idle(worker)
        self.assertEqual(len(self.relay.sent), 2)
        self.assertEqual(await self.value("select failures from destination"), 0)

    async def test_no_storm(self) -> None:
        """While all that is due waits for a paused destination, the worker sleeps."""
        self.relay = MemoryRelay(replies={"a@x.example": "connection timed out"})
        await self.send("a@x.example")
        worker = await self.run_once()
        await self.send("b@x.example")
        worker.wake()
        await self.idle(worker)
        assert worker._later is not None
        self.assertGreater(worker._later.getTime() - self.clock.seconds(), 20)


class LocalTests(DeliverTest):
    """Mail from one of our inboxes to another."""

    async def test_delivered(self) -> None:
        """It arrives without a socket, and joins what is to be joined there."""
        message_id = await self.send(self.other.address, f"other+tag@{DOMAIN}")
        await self.run_once()
        self.assertEqual(self.relay.sent, [])
        arrived = await self.listed(self.other)
        self.assertEqual(sorted(str(one.tag) for one in arrived), ["None", "tag"])
        stored = await self.octets(message_id)
        got = await self.octets(arrived[0].message_id)
        self.assertTrue(got.endswith(stored))
        self.assertEqual(header_of(got, "Return-Path"), f"<{self.agent.address}>")
        self.assertEqual((await self.letter(message_id)).message.state, "delivered")

    async def test_refused(self) -> None:
        """Nobody has the address: failed, as a server would say; suspended: later."""
        await self.inboxes.update(
            ROOT, UpdateInbox(inbox_id=self.other.inbox_id, status="suspended")
        )
        message_id = await self.send(f"nobody@{DOMAIN}", self.other.address)
        worker = await self.run_once()
        self.assertEqual(
            await self.statuses(message_id),
            {
                f"nobody@{DOMAIN}": ("failed", 550),
                self.other.address: ("deferred", 450),
            },
        )
        letter = await self.letter(message_id)
        self.assertEqual(
            sorted(str(one.enhanced) for one in letter.attempts), ["4.2.1", "5.1.1"]
        )
        await self.inboxes.update(
            ROOT, UpdateInbox(inbox_id=self.other.inbox_id, status="active")
        )
        await self.due_now()
        worker.wake()
        await self.idle(worker)
        self.assertEqual(len(await self.listed(self.other)), 1)

    async def test_to_itself(self) -> None:
        """What an inbox sends to itself is there twice, in one thread."""
        await self.send(self.agent.address)
        await self.run_once()
        sent, got = await self.listed(self.agent)
        self.assertEqual((sent.folder, got.folder), ("Sent", "INBOX"))
        self.assertEqual(sent.thread_id, got.thread_id)

    async def test_large(self) -> None:
        """Also a large one."""
        message_id = await self.send(self.other.address, html="<p>" + "x" * 700_000)
        await self.run_once()
        (got,) = await self.listed(self.other)
        self.assertTrue(
            (await self.octets(got.message_id)).endswith(await self.octets(message_id))
        )

    async def test_settled_late(self) -> None:
        """Filed but not settled before a crash: filed once all the same."""
        await self.send(self.other.address)
        worker = self.worker()
        claim = await self.rows("select delivery_id from delivery")
        (claimed,) = await Queue(self.database.single(None)).claim(
            "dead", seconds=0, held={}, each=9, limit=9
        )
        self.assertEqual(claimed.delivery_id, claim[0][0])
        await worker.local.deliver([claimed], await self.octets(claimed.message_id))
        await self.run_once(worker)
        self.assertEqual(len(await self.listed(self.other)), 1)
        self.assertEqual(await self.value("select status from delivery"), "delivered")


class HolderTests(DeliverTest):
    """Starts, stops, crashes, and two at once."""

    async def test_paused(self) -> None:
        """A paused worker takes nothing."""
        await self.send("a@x.example")
        worker = self.worker(paused=True)
        await worker.start()
        worker.wake()
        await deferLater(reactor(), 0.05)
        self.assertEqual(self.relay.sent, [])
        self.assertEqual(await self.value("select lease from delivery"), None)

    async def test_stop_waits(self) -> None:
        """A stop lets what is under way end, and claims no more."""
        relay = SlowRelay()
        await self.send("a@x.example")
        worker = self.worker(relay)
        await worker.start()
        await until(lambda: relay.waiting)
        stopping = started(worker.stop())
        await self.send("b@x.example")
        worker.wake()
        await deferLater(reactor(), 0.05)
        self.assertFalse(stopping.called)
        relay.waiting[0].callback(None)
        await stopping
        rows = await self.rows("select status, lease from delivery order by rcpt_to")
        self.assertEqual(rows, [("delivered", None), ("queued", None)])

    async def test_stop_gives_back(self) -> None:
        """What takes too long is given back, and who comes next has it at once."""
        relay = SlowRelay()
        await self.send("a@x.example")
        worker = self.worker(relay)
        await worker.start()
        await until(lambda: relay.waiting)
        stopping = started(worker.stop(grace=10))
        await deferLater(reactor(), 0.02)
        self.clock.advance(10)
        await stopping
        await self.run_once(self.worker(lease="you"))
        self.assertEqual(len(self.relay.sent), 1)
        # The first one's late answer changes nothing.
        relay.waiting[0].callback(None)
        await until(lambda: not worker._held)
        self.assertEqual(
            await self.rows("select status, attempts from delivery"), [("delivered", 1)]
        )

    async def test_crash(self) -> None:
        """What a dead holder had is taken up when its lease ends, or when it is back."""
        relay = SlowRelay()
        await self.send("a@x.example")
        dead = self.worker(relay, lease="dead")
        await dead.start()
        await until(lambda: relay.waiting)
        dead._running = False
        other = await self.run_once(self.worker(lease="other"))
        self.assertEqual(self.relay.sent, [])
        await self.rows(
            "update delivery set due_at = now() where lease = 'dead' returning 1"
        )
        other.wake()
        await self.idle(other)
        self.assertEqual(len(self.relay.sent), 1)
        relay.waiting[0].callback(None)
        await until(lambda: not dead._held)

    async def test_crash_and_back(self) -> None:
        """The same holder takes up at once what it had."""
        relay = SlowRelay()
        await self.send("a@x.example")
        dead = self.worker(relay)
        await dead.start()
        await until(lambda: relay.waiting)
        dead._running = False
        await self.run_once(self.worker())
        self.assertEqual(len(self.relay.sent), 1)
        relay.waiting[0].callback(None)
        await until(lambda: not dead._held)

    async def test_two_at_once(self) -> None:
        """Two holders deliver everything, and nothing twice."""
        for n in range(20):
            await self.send(f"a{n}@x{n % 5}.example")
        first, second = self.worker(lease="one"), self.worker(lease="two")
        await first.start()
        await second.start()
        for _ in range(200):
            if len(self.relay.sent) == 20:
                break
            self.clock.advance(0.3)
            await deferLater(reactor(), 0.01)
        await self.idle(first)
        await self.idle(second)
        self.assertEqual(
            len({r.address for s in self.relay.sent for r in s.envelope.rcpt_to}), 20
        )
        self.assertEqual(len(self.relay.sent), 20)

    async def test_renewed(self) -> None:
        """A lease is renewed for as long as it takes."""
        relay = SlowRelay()
        await self.send("a@x.example")
        worker = self.worker(relay)
        await worker.start()
        await until(lambda: relay.waiting)
        await self.rows(
            "update delivery set due_at = now() + interval '1 second' returning 1"
        )
        self.clock.advance(30)
        for _ in range(200):
            left = await self.value(
                "select extract(epoch from due_at - now())::float from delivery"
            )
            if left > 60:
                break
            await deferLater(reactor(), 0.01)
        self.assertGreater(left, 60)
        relay.waiting[0].callback(None)
        await self.idle(worker)

    async def test_clock(self) -> None:
        """What is due later is taken when its time comes, without a word."""
        self.relay = MemoryRelay(replies={"a@x.example": "451 4.7.1 Later."})
        await self.send("a@x.example")
        worker = await self.run_once()
        await self.rows(
            "update delivery set due_at = now() + interval '300 milliseconds' returning 1"
        )
        worker.wake()
        await self.idle(worker)
        assert worker._later is not None
        self.assertLess(worker._later.getTime() - self.clock.seconds(), 0.4)
        await deferLater(reactor(), 0.35)
        self.clock.advance(0.4)
        await until(lambda: len(self.relay.sent) == 2)
        await self.idle(worker)

    async def test_notify(self) -> None:
        """A mail that is sent wakes the worker."""
        worker = await self.run_once()
        await self.listen({"noinfra_due": lambda _: worker.wake()})
        await self.send("a@x.example")
        await until(lambda: self.relay.sent)
        await self.idle(worker)

    async def test_database_away(self) -> None:
        """While the database is away nothing is lost; it is tried again every second."""
        await self.send("a@x.example")
        worker = self.worker()
        original = self.database.single
        away = [True]

        def single(customer_id: str | None) -> Any:
            if away[0] and worker._running:
                raise TemporaryFailure("It is away.")
            return original(customer_id)

        self.patch(type(self.database), "single", lambda _, who: single(who))
        worker._running = True
        worker.wake()
        await until(lambda: worker._claiming is None)
        self.assertEqual(len(self.flushLoggedErrors(TemporaryFailure)), 1)
        away[0] = False
        self.clock.advance(1)
        await until(lambda: self.relay.sent)
        await self.idle(worker)


class PromptTests(DeliverTest):
    """Mail that is carried as soon as it is filed, and not claimed."""

    async def setUp(self) -> None:
        await super().setUp()
        self.slow = SlowRelay()
        self.me = self.worker(self.slow)
        self.sending.release.carrier = self.me

    async def go(self) -> None:
        """Let the relay take what it has been given."""
        await until(lambda: self.slow.waiting)
        while self.slow.waiting:
            self.slow.waiting.pop().callback(None)
        await self.idle(self.me)

    async def known(self) -> None:
        """The worker has brought mail to x.example, by way of the queue."""
        await self.me.start()
        await self.send("first@x.example")
        self.assertEqual(await self.value("select lease from delivery"), None)
        self.me.wake()
        await self.go()

    async def leases(self) -> list[str | None]:
        """Who holds what is not settled, oldest first."""
        rows = await self.rows(
            "select lease from delivery where settled_at is null order by delivery_id"
        )
        return [str(row[0]) if row[0] else None for row in rows]

    async def test_at_once(self) -> None:
        """To a destination that takes mail it goes without being claimed."""
        await self.known()
        message_id = await self.send("a@x.example", "b@x.example")
        self.assertEqual(await self.leases(), ["me", "me"])
        self.assertIsNone(self.me._claiming)
        await self.go()
        sent = self.slow.inner.sent[-1]
        self.assertEqual(sent.octets, await self.octets(message_id))
        self.assertEqual(
            await self.statuses(message_id),
            {"a@x.example": ("delivered", 250), "b@x.example": ("delivered", 250)},
        )
        self.assertEqual(
            await self.rows(
                "select type from event where message_id = %(id)s order by seq",
                id=message_id,
            ),
            [
                ("message.queued",),
                ("message.delivered",),
                ("message.delivered",),
                ("message.sent",),
            ],
        )

    async def test_elsewhere(self) -> None:
        """All of a mail waits its turn where one destination is not known."""
        await self.known()
        await self.send("a@x.example", "b@y.example")
        self.assertEqual(await self.leases(), [None, None])

    async def test_in_trouble(self) -> None:
        """Where a mail had to wait, the next one goes by the queue again."""
        await self.known()
        self.slow.inner = MemoryRelay(replies={"a@x.example": "451 4.3.0 Later."})
        await self.send("a@x.example")
        await self.go()
        await self.send("b@x.example")
        self.assertEqual(await self.leases(), [None, None])

    async def test_stopped(self) -> None:
        """A worker that stops, or is paused, takes nothing."""
        await self.known()
        self.me.paused = True
        await self.send("a@x.example")
        self.me.paused = False
        await self.me.stop()
        await self.send("b@x.example")
        self.assertEqual(await self.leases(), [None, None])

    async def test_room(self) -> None:
        """Beyond what is held at once it waits, and nothing overtakes it."""
        await self.known()
        many = {f"dlv_{n}": "x.example" for n in range(100)}
        self.assertIsNotNone(self.me.expect(1, many))
        self.assertIsNone(self.me.expect(1, {"dlv_more": "x.example"}))
        self.me.forget(many)
        await self.idle(self.me)
        self.assertIsNotNone(self.me.expect(1, {"dlv_more": "x.example"}))
        self.me.forget(["dlv_more"])

    async def test_large(self) -> None:
        """What is large is not kept in memory."""
        await self.known()
        self.assertIsNone(self.me.expect(64 * 1024 + 1, {"dlv_1": "x.example"}))

    async def test_not_filed(self) -> None:
        """What could not be filed is not held."""
        await self.known()
        await self.rows("delete from folder where name = 'Sent' returning 1")
        with self.assertRaises(NotFound):
            await self.send("a@x.example")
        self.assertEqual((self.me._held, dict(self.me._busy)), ({}, {}))

    async def test_crash(self) -> None:
        """What a dead holder had in memory is in the queue once its lease ends."""
        await self.known()
        await self.send("a@x.example")
        self.me._running = False
        other = await self.run_once(self.worker(lease="other"))
        self.assertEqual(self.relay.sent, [])
        await self.rows(
            "update delivery set due_at = now() where lease = 'me' returning 1"
        )
        other.wake()
        await self.idle(other)
        self.assertEqual(len(self.relay.sent), 1)
        # The answer that comes after all changes nothing.
        await self.go()
        self.assertEqual(await self.leases(), [])
        self.assertEqual(await self.value("select max(attempts)::int from delivery"), 1)


class ReportTests(DeliverTest):
    """Delivery status notifications (RFC 3461)."""

    async def report(
        self,
        to: str,
        *,
        notify: str | None = None,
        replies: Mapping[str, str] | None = None,
        **columns: object,
    ) -> list[email.message.EmailMessage]:
        """What the sender gets of a mail that wants reports."""
        self.relay = MemoryRelay(replies=replies or {})
        await self.send(to)
        await self.rows(
            "update delivery set wants_dsn = true, notify = %(notify)s,"
            " ret = %(ret)s, envid = %(envid)s, orcpt = %(orcpt)s"
            " where status = 'queued' returning 1",
            notify=notify,
            ret=columns.get("ret"),
            envid=columns.get("envid"),
            orcpt=columns.get("orcpt"),
        )
        await self.run_once()
        return [
            email.message_from_bytes(
                await self.octets(one.message_id), policy=email.policy.default
            )
            for one in await self.listed(self.agent, direction="inbound")
        ]

    async def test_failed(self) -> None:
        """A failure is told of, in the thread of what failed."""
        (found,) = await self.report(
            "bad@x.example",
            replies={"bad@x.example": "550 5.1.1 Nobody here."},
            ret="HDRS",
            envid="QQ+2B314",
            orcpt="rfc822;Bad@x.example",
        )
        self.assertEqual(found["Return-Path"], "<>")
        self.assertEqual(found.get_content_type(), "multipart/report")
        text = found.as_string()
        for expected in (
            "Action: failed",
            "Status: 5.1.1",
            "Final-Recipient: rfc822; bad@x.example",
            "Original-Recipient: rfc822;Bad@x.example",
            "Original-Envelope-Id: QQ+314",
            "Remote-MTA: dns; mx.x.example",
            "550 Nobody here.",
        ):
            self.assertIn(expected, text)
        sent, told = await self.listed(self.agent)
        self.assertEqual(sent.thread_id, told.thread_id)

    async def test_asked_for(self) -> None:
        """NOTIFY decides; what another server took is relayed, not delivered."""
        bad = {"bad@x.example": "550 5.1.1 No."}
        later = {"later@x.example": "451 4.7.1 Later."}
        for to, notify, replies, action in (
            ("bad@x.example", "NEVER", bad, None),
            ("bad@x.example", "SUCCESS", bad, None),
            ("bad@x.example", "SUCCESS,FAILURE", bad, "failed"),
            ("good@x.example", None, {}, None),
            ("good@x.example", "FAILURE", {}, None),
            ("good@x.example", "SUCCESS", {}, "relayed"),
            (self.other.address, "SUCCESS", {}, "delivered"),
            (f"nobody@{DOMAIN}", None, {}, "failed"),
            ("later@x.example", "FAILURE,DELAY", later, None),
        ):
            found = await self.report(to, notify=notify, replies=replies)
            actions = [
                line.partition(": ")[2]
                for one in found
                for line in one.as_string().splitlines()
                if line.startswith("Action: ")
            ]
            self.assertEqual(actions, [action] if action else [], (to, notify))
            await self.rows("delete from message returning 1")
            await self.rows("delete from destination returning 1")

    async def test_not_wanted(self) -> None:
        """What the API sent is told of by events alone."""
        self.relay = MemoryRelay(replies={"bad@x.example": "550 5.1.1 No."})
        await self.send("bad@x.example")
        await self.run_once()
        self.assertEqual(await self.listed(self.agent, direction="inbound"), [])

    async def test_failing_report(self) -> None:
        """A report that cannot be made does not send the mail again."""

        async def report(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        worker = self.worker()
        self.patch(Notifier, "report", report)
        message_id = await self.send("a@x.example")
        await self.run_once(worker)
        self.assertEqual(
            await self.statuses(message_id), {"a@x.example": ("delivered", 250)}
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SettlerTests(DeliverTest):
    """What is written down."""

    async def test_insists(self) -> None:
        """What the database refuses for the moment is written in the end."""
        original, failures = settling.settle, [TemporaryFailure("no")] * 3

        async def settle(*arguments: Any) -> int:
            if failures:
                raise failures.pop()
            return await original(*arguments)

        self.patch(settling, "settle", settle)
        message_id = await self.send("a@x.example")
        await self.run_once()
        self.assertEqual(
            await self.statuses(message_id), {"a@x.example": ("delivered", 250)}
        )
        self.assertEqual(len(self.relay.sent), 1)
