"""Messages and threads of an inbox: listed, labelled, moved, deleted."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from noinfra.store.contents import Contents
from noinfra.store.database import Statements
from noinfra.store.filing import Filing
from noinfra.store.messages import (
    Messages,
    Selection,
    delete,
    lock_inbox,
    move,
    relabel,
)
from noinfra.store.threads import Threads, ThreadSummary
from tests.store.mailstore import Born, MailStoreTest, filing

T = TypeVar("T")
EVERYTHING = Selection(
    inbox_id="",
    labels=[],
    direction=None,
    folder=None,
    hidden=[],
    thread_id=None,
    tag=None,
    people=None,
    subject=None,
    below=None,
    above=None,
    unread=None,
    has_attachment=None,
    ascending=True,
    limit=100,
)


class MessageTest(MailStoreTest):
    async def some(self, *filings: Filing) -> list[str]:
        """File some mail; the ids."""
        return [one.message_id for one in await self.file(*filings)]

    async def change(
        self,
        *,
        message_id: str | None = None,
        thread_id: str | None = None,
        add: list[str] | None = None,
        remove: list[str] | None = None,
        born: Born | None = None,
    ) -> list[str]:
        """Relabel, as the owner."""
        born = born or self.one
        async with self.database.tenant(born.customer_id) as tx:
            await lock_inbox(tx, born.inbox_id)
            return await relabel(
                tx,
                born.inbox_id,
                message_id=message_id,
                thread_id=thread_id,
                add=add or [],
                remove=remove or [],
            )

    async def delete(self, ids: list[str], born: Born | None = None) -> int:
        """Delete for good, as the owner."""
        born = born or self.one
        async with self.database.tenant(born.customer_id) as tx:
            await lock_inbox(tx, born.inbox_id)
            return await delete(tx, born.inbox_id, ids)

    async def move(self, ids: list[str], folder: str) -> int:
        """Move, as the owner."""
        async with self.database.tenant("cus_1") as tx:
            await lock_inbox(tx, self.one.inbox_id)
            return await move(tx, self.one.inbox_id, ids, folder)

    async def types(self) -> list[object]:
        """The types of the events since mail was filed."""
        rows = await self.rows(
            "select type from event where type <> 'message.received' order by txid, seq"
        )
        return [row[0] for row in rows]


class _Planning(Statements):
    """Finds nothing, but how PostgreSQL would look for it."""

    def __init__(self, on: Statements) -> None:
        self._on = on
        self.plan = ""

    async def many(self, cls: type[T], sql: str, /, **parameters: object) -> list[T]:
        explained = sql.replace("select", "explain select", 1)
        rows = await self._on.rows(explained, **parameters)
        self.plan = "\n".join(str(row[0]) for row in rows)
        return []

    async def _run(self, sql: str, parameters: dict[str, object]) -> Any:
        raise NotImplementedError("It only plans.")


class SelectTests(MessageTest):
    """What a list holds."""

    async def ids(self, **conditions: Any) -> list[str]:
        """The ids that a selection of the inbox gives."""
        selection = evolve(EVERYTHING, inbox_id=self.one.inbox_id, **conditions)
        single = self.database.single("cus_1")
        return [one.message_id for one in await Messages(single).select(selection)]

    async def test_conditions(self) -> None:
        """Each condition alone, and none."""
        ids = await self.some(
            filing(self.one, subject="50% off_er"),
            evolve(filing(self.one), tag="news", labels=["received", "a", "b"]),
            filing(self.one, folder="Trash", labels=["a"]),
            filing(self.one, to=["bob@example.com"], folder="Sent", labels=["sent"]),
            evolve(filing(self.one), attachments='[{"id": "att_1"}]'),
        )
        other = await self.inbox("cus_1", "two@noinfra.example")
        await self.some(filing(other))
        cases: list[tuple[dict[str, object], list[int]]] = [
            ({}, [0, 1, 2, 3, 4]),
            ({"labels": ["a"]}, [1, 2]),
            ({"labels": ["b", "a"]}, [1]),
            ({"labels": ["'; drop table message; --"]}, []),
            ({"direction": "outbound"}, [3]),
            ({"folder": "Trash"}, [2]),
            ({"folder": "Nowhere"}, []),
            ({"folder": "Trash", "hidden": ["Trash"]}, []),
            ({"hidden": ["Trash", "Spam"]}, [0, 1, 3, 4]),
            ({"tag": "news"}, [1]),
            ({"people": "ADA@"}, [0, 1, 2, 3, 4]),
            ({"people": "ad_"}, []),
            ({"subject": "50% OFF_"}, [0]),
            ({"subject": "%"}, [0]),
            ({"unread": True}, [0, 4]),
            ({"unread": False}, [1, 2, 3]),
            ({"has_attachment": True}, [4]),
            ({"above": ids[1]}, [2, 3, 4]),
            ({"below": ids[1]}, [0]),
            ({"ascending": False}, [4, 3, 2, 1, 0]),
            ({"limit": 2}, [0, 1]),
        ]
        for conditions, expected in cases:
            found = await self.ids(**conditions)
            self.assertEqual(found, [ids[n] for n in expected], conditions)

    async def test_no_sorting(self) -> None:
        """No page sorts the inbox, even while PostgreSQL knows nothing of the table."""
        await self.some(*[filing(self.one) for _ in range(30)])
        for conditions in ({}, {"ascending": False}, {"hidden": ["Spam"]}):
            selection = evolve(EVERYTHING, inbox_id=self.one.inbox_id, **conditions)
            planning = _Planning(self.database.single("cus_1"))
            await Messages(planning).select(evolve(selection, limit=10))
            self.assertIn("Index Scan", planning.plan)
            self.assertNotIn("Sort", planning.plan)

    async def test_letter(self) -> None:
        """A letter has the header section of its octets, and its bodies."""
        octets = b"Subject: x\r\nFrom: a@b.example\r\n\r\nBody\r\n\r\n"
        (message_id,) = await self.some(filing(self.one, octets=octets))
        on = Messages(self.database.single("cus_1"))
        stored = await on.letter(self.one.inbox_id, message_id)
        assert stored is not None
        self.assertEqual(stored.header, b"Subject: x\r\nFrom: a@b.example\r\n")
        self.assertEqual(stored.folder, "INBOX")
        self.assertIsNone(await on.letter("inb_other", message_id))
        (one,) = await on.letters(
            self.one.inbox_id, stored.thread_id, above=None, limit=9
        )
        self.assertEqual(one.text, stored.text)


class RelabelTests(MessageTest):
    """Labels, which IMAP sees as keywords."""

    async def test_changed_only(self) -> None:
        """Only what changes has a new modseq and an event."""
        ids = await self.some(
            filing(self.one, "a@x", labels=["unread"]),
            filing(self.one, "b@x", references=["a@x"], labels=["seen", "unread"]),
            filing(self.one, "c@x", references=["a@x"], labels=["seen"]),
        )
        message = await Messages(self.database.single("cus_1")).get(
            self.one.inbox_id, ids[0]
        )
        assert message is not None
        changed = await self.change(
            thread_id=message.thread_id, add=["seen"], remove=["unread", "never"]
        )
        self.assertEqual(sorted(changed), ids[:2])
        rows = await self.rows(
            "select labels, message.modseq, folder.modseq from message"
            " join folder using (folder_id) order by message_id"
        )
        self.assertEqual([row[0] for row in rows], [["seen"]] * 3)
        self.assertEqual([row[1] for row in rows], [5, 6, 4])
        self.assertEqual(rows[0][2], 6)
        events = await self.rows(
            "select message_id, data->'labels' from event"
            " where type = 'message.labels.updated' order by seq"
        )
        self.assertEqual(sorted(events), [(ids[0], '["seen"]'), (ids[1], '["seen"]')])
        self.assertEqual(await self.change(message_id=ids[2], add=["seen"]), [])
        self.assertEqual(len(await self.types()), 2)

    async def test_several_folders(self) -> None:
        """Each folder counts for itself."""
        await self.some(
            filing(self.one, "a@x"),
            filing(self.one, "b@x", references=["a@x"], folder="Sent"),
        )
        thread_id = await self.value("select thread_id from thread")
        await self.change(thread_id=str(thread_id), add=["x"])
        rows = await self.rows(
            "select message.modseq = folder.modseq from message"
            " join folder using (folder_id)"
        )
        self.assertEqual(rows, [(True,), (True,)])

    async def test_other_inbox(self) -> None:
        """A message is not found through another inbox."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        (message_id,) = await self.some(filing(self.one))
        self.assertEqual(
            await self.change(message_id=message_id, add=["x"], born=other), []
        )

    async def test_at_once(self) -> None:
        """Changes at once beside mail that comes: no modseq is given twice."""
        ids = await self.some(*(filing(self.one) for _ in range(8)))
        work = [self.change(message_id=one, add=[f"l{n}"]) for one in ids for n in "ab"]
        beside = [self.file(filing(self.one)) for _ in range(8)]
        running: list[Deferred[Any]] = [
            Deferred.fromCoroutine(one) for one in (*work, *beside)
        ]
        await gatherResults(running)
        rows = await self.rows("select modseq from message")
        self.assertEqual(len({row[0] for row in rows}), 16)
        labels = await self.rows(
            "select labels @> '{la,lb}' from message where message_id = any(%(ids)s)",
            ids=ids,
        )
        self.assertEqual(labels, [(True,)] * 8)


class MoveTests(MessageTest):
    """Into another folder (RFC 6851)."""

    async def test_to_trash(self) -> None:
        """A new UID and modseq in the other folder, and an event; twice is nothing."""
        await self.some(filing(self.one, folder="Trash"))
        ids = await self.some(filing(self.one), filing(self.one))
        self.assertEqual(await self.move(ids, "Trash"), 2)
        rows = await self.rows(
            "select uid, name, message.modseq from message join folder using (folder_id)"
            " where message_id = any(%(ids)s) order by message_id",
            ids=ids,
        )
        self.assertEqual([row[:2] for row in rows], [(2, "Trash"), (3, "Trash")])
        self.assertLess(str(rows[0][2]), str(rows[1][2]))
        self.assertEqual(await self.types(), ["message.deleted"] * 2)
        self.assertEqual(await self.move(ids, "Trash"), 0)
        self.assertEqual(await self.move(ids[:1], "INBOX"), 1)
        self.assertEqual((await self.types())[2:], ["message.moved"])
        self.assertEqual(await self.move(ids[:1], "nowhere"), 0)


class DeleteTests(MessageTest):
    """For good."""

    async def test_one_of_a_thread(self) -> None:
        """The thread shrinks; its references stay for replies to come."""
        await self.some(
            filing(self.one, "a@x"), filing(self.one, "b@x", references=["a@x"])
        )
        ids = [
            r[0] for r in await self.rows("select message_id from message order by 1")
        ]
        self.assertEqual(await self.delete([str(ids[1])]), 1)
        self.assertEqual(await self.threads(), [{"a@x"}])
        await self.some(filing(self.one, "c@x", references=["b@x"]))
        self.assertEqual(await self.threads(), [{"a@x", "c@x"}])

    async def test_the_last_of_a_thread(self) -> None:
        """The thread goes with its references; a later reply begins another."""
        ids = await self.some(
            filing(self.one, "a@x"), filing(self.one, "b@x", references=["a@x"])
        )
        self.assertEqual(await self.delete(ids), 2)
        self.assertEqual(await self.rows("select 1 from thread"), [])
        self.assertEqual(await self.rows("select 1 from thread_reference"), [])
        self.assertEqual(await self.types(), ["message.deleted"] * 2)
        await self.some(filing(self.one, "c@x", references=["b@x"]))
        self.assertEqual(await self.threads(), [{"c@x"}])

    async def test_contents(self) -> None:
        """Contents are noted, and swept only when no other message has them."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        octets = b"shared"
        ids = await self.some(
            filing(self.one, octets=octets), filing(other, octets=octets)
        )
        (own,) = await self.some(filing(self.one, octets=b"own"))
        await self.delete([ids[0], own])
        self.assertEqual(await self.value("select count(*) from unused_content"), 2)
        await self.rows(
            "update unused_content set since = now() - interval '2 hours' returning 1"
        )
        await Contents(self.database.single(None)).sweep()
        self.assertEqual(await self.rows("select octets from content"), [(octets,)])

    async def test_deliveries(self) -> None:
        """What had not left yet does not leave."""
        ids = await self.some(filing(self.one, to=["a@example.com", "b@example.com"]))
        await self.delete(ids)
        self.assertEqual(await self.rows("select 1 from delivery"), [])

    async def test_other_inbox(self) -> None:
        """Nothing is deleted through another inbox."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        ids = await self.some(filing(self.one))
        self.assertEqual(await self.delete(ids, other), 0)
        self.assertEqual(await self.value("select count(*) from message"), 1)


class ThreadPageTests(MessageTest):
    """Threads, by their newest message."""

    async def page(self, **conditions: Any) -> list[ThreadSummary]:
        known: dict[str, Any] = {
            "labels": [],
            "below": None,
            "above": None,
            "ascending": False,
            "limit": 10,
        }
        on = Threads(self.database.single("cus_1"))
        return await on.page(self.one.inbox_id, **{**known, **conditions})

    async def test_summary(self) -> None:
        """Labels, people, sizes and counts are those of all messages."""
        await self.some(
            filing(self.one, "a@x", labels=["unread", "x"]),
            evolve(
                filing(self.one, "b@x", references=["a@x"], labels=["y"]),
                from_='["Bob <bob@example.com>", "Ada <ada@example.com>"]',
                preview="Newest",
            ),
        )
        (thread,) = await self.page()
        self.assertEqual(thread.labels, ["unread", "x", "y"])
        self.assertEqual(
            thread.senders, '["Ada <ada@example.com>", "Bob <bob@example.com>"]'
        )
        self.assertEqual(thread.recipients, '["one@noinfra.example"]')
        self.assertEqual(
            (thread.message_count, thread.size, thread.unread, thread.preview),
            (2, 20, 1, "Newest"),
        )
        on = Threads(self.database.single("cus_1"))
        self.assertEqual(await on.get(self.one.inbox_id, thread.thread_id), thread)
        self.assertIsNone(await on.get("inb_other", thread.thread_id))
        self.assertEqual(
            len(await on.message_ids(self.one.inbox_id, thread.thread_id)), 2
        )

    async def test_order_and_bounds(self) -> None:
        """The thread with the newest message comes first; pages join."""
        await self.some(
            filing(self.one, "a@x", labels=["p"]),
            filing(self.one, "b@x", labels=["q"]),
            filing(self.one, "c@x", references=["a@x"], labels=["q"]),
        )
        whole = await self.page()
        self.assertEqual([one.message_count for one in whole], [2, 1])
        first = await self.page(limit=1)
        second = await self.page(below=first[0].last_message_id)
        self.assertEqual([*first, *second], whole)
        self.assertEqual(await self.page(ascending=True), whole[::-1])
        self.assertEqual(await self.page(above=whole[1].last_message_id), whole[:1])
        self.assertEqual(await self.page(labels=["q", "p"]), whole[:1])
        self.assertEqual(await self.page(labels=["q"]), whole)
        self.assertEqual(await self.page(labels=["none"]), [])
