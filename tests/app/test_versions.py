"""The version of an inbox's mail: asked for by many at once, read for all together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, gatherResults

from noinfra.app.requests import InboxById
from noinfra.app.versions import Versions
from noinfra.errors import NotFound, TemporaryFailure
from noinfra.store.database import Database
from tests.app.world import ROOT, AppTest, mail, started
from tests.postgres import reactor


class VersionTests(AppTest):
    """What is told, and to whom."""

    async def setUp(self) -> None:
        await super().setUp()
        self.versions = Versions(self.database, self.messages.homes, reactor())

    async def test_changes(self) -> None:
        """It changes with the inbox's mail, and with no other's."""
        ours = InboxById(inbox_id=self.agent.inbox_id)
        theirs = InboxById(inbox_id=self.other.address)
        before = [await self.versions.of(ROOT, one) for one in (ours, theirs)]
        self.assertNotEqual(before[0], before[1])
        await self.receive(mail())
        after = [await self.versions.of(ROOT, one) for one in (ours, theirs)]
        self.assertNotEqual(before[0], after[0])
        self.assertEqual(before[1], after[1])

    async def test_scope(self) -> None:
        """Nobody hears of an inbox that is not theirs."""
        for access, inbox in ((self.ours, self.other), (self.theirs, self.agent)):
            with self.assertRaises(NotFound):
                await self.versions.of(access, InboxById(inbox_id=inbox.inbox_id))

    async def test_at_once(self) -> None:
        """Each of many hears of their own; who leaves disturbs nobody."""
        ours = InboxById(inbox_id=self.agent.inbox_id)
        theirs = InboxById(inbox_id=self.other.inbox_id)
        asking = [
            started(self.versions.of(ROOT, one))
            for one in (ours, theirs)
            for _ in range(9)
        ]
        leaving = started(self.versions.of(ROOT, ours))
        leaving.cancel()
        await self.assertFailure(leaving, CancelledError)
        told = await gatherResults(asking)
        self.assertEqual([told.count(one) for one in told], [9] * 18)
        self.assertEqual(told[0], await self.versions.of(self.ours, ours))

    async def test_after(self) -> None:
        """Who asks while others are answered hears of what was changed until then."""
        ours = InboxById(inbox_id=self.agent.inbox_id)
        for number in range(10):
            early = started(self.versions.of(ROOT, ours))
            await self.receive(mail(f"{number}"))
            late = await self.versions.of(ROOT, ours)
            await early
            self.assertEqual(late, await self.versions.of(ROOT, ours))

    async def test_failure(self) -> None:
        """When the database is away all are told, and the next one is asked anew."""
        ours = InboxById(inbox_id=self.agent.inbox_id)
        await self.versions.of(ROOT, ours)
        pool = self.new_pool()
        self.versions.database = Database(pool)
        for asked in [started(self.versions.of(ROOT, ours)) for _ in range(3)]:
            await self.assertFailure(asked, TemporaryFailure)
        await pool.start()
        self.assertIsNotNone(await self.versions.of(ROOT, ours))
