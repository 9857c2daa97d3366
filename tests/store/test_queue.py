"""The outbound queue: claims, leases, settlements, destinations in trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from noinfra.model import Attempt
from noinfra.store.queue import (
    Claimed,
    Queue,
    Settlement,
    Trouble,
    remember,
    settle,
)
from tests.store.mailstore import NOON, Born, MailStoreTest, filing


def settled(
    claimed: Claimed, status: str = "delivered", *, host: str | None = "mx.example"
) -> Settlement:
    """A delivery, and what became of it."""
    event = {"delivered": "delivered", "deferred": "deferred", "failed": "bounced"}
    return Settlement(
        claimed=claimed,
        status=status,
        due_at=datetime.now(UTC) + timedelta(hours=1),
        event_type=f"message.{event[status]}",
        event_data={"recipient": claimed.rcpt_to},
        attempts=[
            Attempt(
                delivery_id=claimed.delivery_id,
                rcpt_to=claimed.rcpt_to,
                started_at=NOON,
                finished_at=NOON,
                remote_host=host,
                remote_address="192.0.2.1",
                code=250,
                enhanced="2.0.0",
                response="said",
                tls=None,
            )
        ],
    )


class QueueTest(MailStoreTest):
    """A queue, and holders of leases."""

    connections = 6

    async def send(self, *to: str, born: Born | None = None) -> str:
        """One message that leaves for these addresses."""
        (filed,) = await self.file(filing(born or self.one, folder="Sent", to=to))
        return filed.message_id

    async def backlog(self, destination: str, n: int) -> None:
        """Many messages for one destination, each older than the next."""
        message_id = await self.send(f"first@{destination}")
        await self.rows(
            """
            insert into delivery (delivery_id, customer_id, inbox_id, message_id,
                mail_from, rcpt_to, destination, due_at, expires_at)
            select 'dlv_' || destination || n, customer_id, inbox_id, message_id,
                mail_from, n || '@' || destination, destination,
                due_at + n * interval '1 millisecond', now() + interval '5 days'
            from delivery, generate_series(2, %(n)s) as n
            where message_id = %(message_id)s returning 1
            """,
            n=n,
            message_id=message_id,
        )

    @property
    def queue(self) -> Queue:
        """As the worker has it."""
        return Queue(self.database.single(None))

    async def claim(
        self,
        lease: str = "me",
        *,
        held: Mapping[str, int] | None = None,
        each: int = 100,
        limit: int = 400,
        seconds: float = 90,
    ) -> list[Claimed]:
        """What a holder gets."""
        return await self.queue.claim(
            lease, seconds=seconds, held=held or {}, each=each, limit=limit
        )

    async def settle(self, *settlements: Settlement, lease: str = "me") -> int:
        """As the worker does."""
        async with self.database.system() as tx:
            return await settle(tx, lease, settlements)


class ClaimTests(QueueTest):
    """Who gets what."""

    async def test_once(self) -> None:
        """What one holder has, another does not get, until the lease ends."""
        await self.send("a@x.example", "b@y.example")
        mine = await self.claim("me", seconds=0.2)
        self.assertEqual({one.rcpt_to for one in mine}, {"a@x.example", "b@y.example"})
        self.assertEqual(await self.claim("you"), [])
        due = await self.queue.next_due()
        assert due is not None
        self.assertTrue(0 < due <= 0.2, due)
        await self.rows("select pg_sleep(0.25)")
        yours = await self.claim("you")
        self.assertEqual(len(yours), 2)

    async def test_at_once(self) -> None:
        """Holders that claim at once never get the same; together they get all."""
        for n in range(6):
            await self.backlog(f"d{n}.example", 30)
        taken: list[str] = []

        async def work(lease: str) -> None:
            idle = 0
            while idle < 20:
                claimed = await self.claim(lease, each=10, limit=15)
                idle = 0 if claimed else idle + 1
                taken.extend(one.delivery_id for one in claimed)

        await gatherResults(
            [Deferred.fromCoroutine(work(f"holder {n}")) for n in range(3)]
        )
        self.assertEqual(len(taken), 180)
        self.assertEqual(len(set(taken)), 180)

    async def test_oldest_first(self) -> None:
        """Of a destination the oldest, and of each no more than asked."""
        await self.backlog("x.example", 20)
        claimed = await self.claim(each=3)
        self.assertEqual(
            sorted(one.rcpt_to for one in claimed),
            ["2@x.example", "3@x.example", "first@x.example"],
        )
        claimed = await self.claim(each=5, held={"x.example": 3})
        self.assertEqual(
            sorted(one.rcpt_to for one in claimed), ["4@x.example", "5@x.example"]
        )
        self.assertEqual(await self.claim(each=5, held={"x.example": 5}), [])

    async def test_long_backlogs(self) -> None:
        """Destinations take turns: long backlogs keep nobody else waiting."""
        for n in range(6):
            await self.backlog(f"a{n}.example", 60)
        await self.send("one@z.example", "two@z.example")
        claimed = await self.claim(each=50, limit=40)
        counts = Counter(one.destination for one in claimed)
        self.assertEqual(counts["z.example"], 2)
        self.assertEqual(sum(counts.values()), 40)
        self.assertLessEqual(max(counts.values()) - min(counts.values()), 5)

    async def test_room_for_one(self) -> None:
        """Where there is room for one more, it is for who has nothing in hand."""
        for n in range(4):
            await self.backlog(f"a{n}.example", 40)
        await self.send("one@z.example")
        held = {f"a{n}.example": 20 for n in range(4)}
        (one,) = await self.claim(each=100, limit=1, held=held)
        self.assertEqual(one.destination, "z.example")

    async def test_not_due(self) -> None:
        """What is not due is not taken, and when it will be is known."""
        await self.send("a@x.example")
        self.assertIsNotNone(await self.queue.next_due())
        await self.rows(
            "update delivery set due_at = now() + interval '1 hour' returning 1"
        )
        self.assertEqual(await self.claim(), [])
        due = await self.queue.next_due()
        assert due is not None
        self.assertTrue(3590 < due <= 3600, due)

    async def test_nothing(self) -> None:
        """An empty queue."""
        self.assertEqual(await self.claim(), [])
        self.assertIsNone(await self.queue.next_due())

    async def test_full(self) -> None:
        """What we cannot take is not waited for."""
        await self.send("a@x.example")
        self.assertIsNone(await self.queue.next_due(["x.example"]))


class LeaseTests(QueueTest):
    """Leases: renewed, released, lost."""

    async def test_renewed(self) -> None:
        """A renewed lease ends later; only its holder renews it."""
        await self.send("a@x.example")
        (one,) = await self.claim("me", seconds=0.1)
        await self.queue.renew("you", [one.delivery_id], 90)
        due = await self.queue.next_due()
        assert due is not None
        self.assertLess(due, 1)
        await self.queue.renew("me", [one.delivery_id], 90)
        due = await self.queue.next_due()
        assert due is not None
        self.assertGreater(due, 80)

    async def test_released(self) -> None:
        """What is given back is due at once, for anyone."""
        await self.send("a@x.example", "b@x.example")
        await self.claim("me")
        self.assertEqual(await self.queue.release("you"), 0)
        self.assertEqual(await self.queue.release("me"), 2)
        self.assertEqual(len(await self.claim("you")), 2)

    async def test_lost(self) -> None:
        """Who lost the lease settles nothing: no state, attempt or event."""
        await self.send("a@x.example")
        (mine,) = await self.claim("me", seconds=0)
        (yours,) = await self.claim("you")
        self.assertEqual(mine.delivery_id, yours.delivery_id)
        events = await self.value("select count(*) from event")
        self.assertEqual(await self.settle(settled(mine, "failed")), 0)
        self.assertEqual(await self.value("select count(*) from attempt"), 0)
        self.assertEqual(await self.value("select count(*) from event"), events)
        self.assertEqual(await self.settle(settled(yours), lease="you"), 1)
        self.assertEqual(await self.value("select state from message"), "delivered")

    async def test_twice(self) -> None:
        """A settlement that comes twice counts once."""
        await self.send("a@x.example")
        (one,) = await self.claim()
        self.assertEqual(await self.settle(settled(one)), 1)
        self.assertEqual(await self.settle(settled(one)), 0)
        self.assertEqual(await self.value("select attempts from delivery"), 1)


class SettleTests(QueueTest):
    """What is written of a delivery."""

    async def events(self) -> list[object]:
        """The types of the events of deliveries, in order."""
        rows = await self.rows(
            "select type from event where type <> 'message.received' order by txid, seq"
        )
        return [row[0] for row in rows]

    async def test_states(self) -> None:
        """A message's state is the worst of its deliveries."""
        cases = [
            (["delivered", "delivered"], "delivered"),
            (["delivered", "failed"], "failed"),
            (["delivered", "deferred"], "deferred"),
            (["failed", "deferred"], "deferred"),
            (["delivered"], "queued"),
            (["failed", "failed"], "failed"),
        ]
        for statuses, state in cases:
            message_id = await self.send("a@x.example", "b@x.example")
            claimed = await self.claim()
            self.assertEqual(len(claimed), 2)
            pairs = zip(claimed, statuses, strict=False)
            await self.settle(*(settled(one, status) for one, status in pairs))
            found = await self.value(
                "select state from message where message_id = %(id)s", id=message_id
            )
            self.assertEqual(found, state, statuses)
            await self.queue.release("me")
            await self.rows(
                "update delivery set status = 'failed' where status <> 'failed'"
                " returning 1"
            )

    async def test_events(self) -> None:
        """Each delivery is told of, and that the message was sent, once, after all."""
        await self.send("a@x.example", "b@y.example")
        first, second = await self.claim()
        await self.settle(settled(first), settled(second, "deferred"))
        self.assertEqual(
            sorted(map(str, await self.events())),
            ["message.deferred", "message.delivered"],
        )
        await self.rows("update delivery set due_at = now() returning 1")
        (again,) = await self.claim()
        self.assertEqual(again.attempts, 1)
        await self.settle(settled(again))
        self.assertEqual(
            (await self.events())[2:], ["message.delivered", "message.sent"]
        )
        rows = await self.rows(
            "select thread_id is not null, deployment_id, inbox_id, data->>'state'"
            " from event where type = 'message.sent'"
        )
        self.assertEqual(rows, [(True, "dep_cus_1", self.one.inbox_id, "delivered")])

    async def test_two_processes(self) -> None:
        """Recipients of one message that are settled at once: the state is right."""
        for n in range(10):
            await self.send("a@x.example", "b@y.example", "c@z.example")
            claimed = await self.claim(f"p{n}")
            await gatherResults(
                [
                    Deferred.fromCoroutine(self.settle(settled(one), lease=f"p{n}"))
                    for one in claimed
                ]
            )
        rows = await self.rows("select state, count(*) from message group by state")
        self.assertEqual(rows, [("delivered", 10)])
        self.assertEqual((await self.events()).count("message.sent"), 10)

    async def test_beside_deletion(self) -> None:
        """Messages that are deleted while they are settled: nobody deadlocks."""
        for _ in range(8):
            await self.send("a@x.example", "b@y.example")
        claimed = await self.claim()

        async def delete(message_id: str) -> None:
            async with self.database.system() as tx:
                await tx.statement(
                    "select 1 from inbox where inbox_id = %(id)s for no key update",
                    id=self.one.inbox_id,
                )
                await tx.statement(
                    "delete from message where message_id = %(id)s", id=message_id
                )

        await gatherResults(
            [
                *(Deferred.fromCoroutine(delete(one.message_id)) for one in claimed),
                *(Deferred.fromCoroutine(self._settle_all(one)) for one in claimed),
            ]
        )
        self.assertEqual(await self.rows("select 1 from delivery"), [])

    async def _settle_all(self, one: Claimed) -> None:
        await self.settle(settled(one))

    async def test_what_is_kept(self) -> None:
        """The last attempt shows on the delivery, and each is kept."""
        await self.send("a@x.example")
        (one,) = await self.claim()
        first = settled(one, "deferred")
        last = evolve(first.attempts[0], remote_host="mx2", code=451, response="later")
        await self.settle(evolve(first, attempts=[first.attempts[0], last]))
        rows = await self.rows(
            "select status, attempts, lease, remote_host, code, response, settled_at"
            " from delivery"
        )
        self.assertEqual(rows, [("deferred", 1, None, "mx2", 451, "later", None)])
        self.assertEqual(await self.value("select count(*) from attempt"), 2)

    async def test_no_attempt(self) -> None:
        """What failed without an attempt can be settled too."""
        await self.send("a@x.example")
        (one,) = await self.claim()
        await self.settle(evolve(settled(one, "failed"), attempts=[]))
        self.assertEqual(await self.value("select status from delivery"), "failed")


class DestinationTests(QueueTest):
    """Destinations that could not be spoken with."""

    async def trouble(self, *names: str) -> None:
        """They could not be."""
        async with self.database.system() as tx:
            await remember(
                tx,
                [
                    Trouble(
                        destination=name,
                        remote_host=None,
                        code=None,
                        response="timeout",
                    )
                    for name in names
                ],
                [],
            )

    async def pause(self) -> float:
        """For how long we leave x.example alone."""
        found = await self.value(
            "select extract(epoch from paused_until - now())::float from destination"
        )
        return float(str(found))

    async def over(self) -> None:
        """The pause is over."""
        await self.rows("update destination set paused_until = now() returning 1")

    async def test_paused(self) -> None:
        """A destination in trouble is left alone, others are not; then it is tried."""
        await self.send("a@x.example", "b@y.example")
        await self.trouble("x.example")
        (one,) = await self.claim()
        self.assertEqual(one.destination, "y.example")
        due = await self.queue.next_due()
        assert due is not None
        self.assertTrue(25 < due <= 31, due)
        await self.over()
        self.assertEqual(len(await self.claim()), 1)

    async def test_longer_each_time(self) -> None:
        """Half a minute, a minute, two, and at most half an hour."""
        pauses = []
        for _ in range(9):
            await self.trouble("x.example")
            pauses.append(round(await self.pause()))
            await self.over()
        for found, expected in zip(
            pauses, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800], strict=True
        ):
            self.assertLess(abs(found - expected), 3)

    async def test_one_trouble(self) -> None:
        """What was under way together when it went is one trouble, not several."""
        for _ in range(20):
            await self.trouble("x.example")
        self.assertLess(await self.pause(), 31)

    async def test_well(self) -> None:
        """A good turn clears it."""
        await self.trouble("x.example")
        async with self.database.system() as tx:
            await remember(tx, [], ["x.example", "y.example"])
        rows = await self.rows("select failures, paused_until from destination")
        self.assertEqual(rows, [(0, None)])
