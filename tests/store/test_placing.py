"""Mail into folders: UIDs, threads, duplicates, and what happens at once."""

from __future__ import annotations

from itertools import permutations
from random import Random

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from noinfra.errors import NotFound
from noinfra.store.contents import Contents, store_spooled
from noinfra.store.failures import ForeignKeyViolation, UniqueViolation
from noinfra.store.filing import Filing, Idempotency
from noinfra.store.inboxes import Inboxes
from noinfra.store.placing import file
from tests.postgres import reactor
from tests.store.mailstore import MailStoreTest, filing, new_content


class OrderTests(MailStoreTest):
    """UIDs and modseqs (RFC 3501, 2.3.1.1; RFC 7162)."""

    async def test_ascend(self) -> None:
        """UIDs and modseqs ascend in each folder, in a batch and over several."""
        for folders in (["INBOX", "Sent", "INBOX"], ["Sent"], ["INBOX", "INBOX"]):
            filed = await self.file(*(filing(self.one, folder=f) for f in folders))
            self.assertEqual(len(filed), len(folders))
        for folder, n in (("INBOX", 4), ("Sent", 2)):
            rows = await self.rows(
                """
                select uid, message.modseq, uidnext, folder.modseq
                from message join folder using (folder_id)
                where folder_id = %(folder_id)s order by message_id
                """,
                folder_id=self.one.folders[folder],
            )
            uids = [row[0] for row in rows]
            modseqs = [row[1] for row in rows]
            self.assertEqual(uids, list(range(1, n + 1)))
            self.assertEqual(modseqs, sorted({*modseqs}))
            self.assertEqual(rows[-1][2:], (n + 1, modseqs[-1]))

    async def test_filed(self) -> None:
        """What is answered is what is stored."""
        filed = await self.file(filing(self.one), filing(self.one))
        for one in filed:
            row = await self.rows(
                "select thread_id, uid, modseq from message where message_id = %(id)s",
                id=one.message_id,
            )
            self.assertEqual(row, [(one.thread_id, one.uid, one.modseq)])
        self.assertEqual(await self.file(), [])

    async def test_events(self) -> None:
        """Each message has its event, in order, with its thread."""
        filed = await self.file(*(filing(self.one) for _ in range(3)))
        rows = await self.rows(
            "select message_id, thread_id, data::json->>'threadId', type"
            " from event order by txid, seq"
        )
        self.assertEqual(
            rows,
            [
                (one.message_id, one.thread_id, one.thread_id, "message.received")
                for one in filed
            ],
        )

    async def test_several_recipients_one_content(self) -> None:
        """Several copies are one content for each customer."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        foreign = await self.inbox("cus_2", "three@noinfra.example")
        octets = b"Subject: the same\r\n\r\n"
        await self.file(
            *(filing(born, octets=octets) for born in (self.one, other, foreign))
        )
        await self.file(filing(self.one, octets=octets))
        rows = await self.rows(
            "select customer_id, count(distinct content_id), count(*) from message"
            " group by customer_id order by customer_id"
        )
        self.assertEqual(rows, [("cus_1", 1, 3), ("cus_2", 1, 1)])
        self.assertEqual(await self.value("select count(*) from content"), 2)

    async def test_inbox_gone(self) -> None:
        """If an inbox of a batch is gone, nothing of the batch is filed."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        async with self.database.tenant("cus_1") as tx:
            await Inboxes(tx).remove(await Inboxes(tx).retire(inbox_id=other.inbox_id))
        with self.assertRaises(NotFound):
            await self.file(filing(self.one), filing(other))
        self.assertEqual(await self.rows("select message_id from message"), [])
        self.assertEqual((await self.file(filing(self.one)))[0].uid, 1)

    async def test_deleted_while_we_wait(self) -> None:
        """Mail that waits for an inbox being deleted is refused, and not filed."""
        async with self.database.tenant("cus_1") as tx:
            await Inboxes(tx).remove(
                await Inboxes(tx).retire(inbox_id=self.one.inbox_id)
            )
            waiting = Deferred.fromCoroutine(self.file(filing(self.one)))
            await deferLater(reactor(), 0.1)
            self.assertFalse(waiting.called)
        await self.assertFailure(waiting, NotFound)

    async def test_idempotency_key_taken(self) -> None:
        """A key that was used undoes the batch."""
        key = Idempotency(scope="s", idempotency_key="k", request=b"r")
        await self.file(evolve(filing(self.one), idempotency=key))
        with self.assertRaises(UniqueViolation) as caught:
            await self.file(filing(self.one), evolve(filing(self.one), idempotency=key))
        self.assertEqual(caught.exception.constraint, "idempotency_key")
        self.assertEqual(await self.value("select count(*) from message"), 1)


class DuplicateTests(MailStoreTest):
    """A receipt that was given before (RFC 5321, 4.1.1.4)."""

    async def test_in_one_batch_and_the_next(self) -> None:
        """The second of a receipt is not filed, and the first is named."""
        first, second = await self.file(
            filing(self.one, receipt=b"r"), filing(self.one, receipt=b"r")
        )
        (third,) = await self.file(filing(self.one, receipt=b"r"))
        self.assertEqual(
            [one.duplicate for one in (first, second, third)], [False, True, True]
        )
        self.assertEqual({second.message_id, third.message_id}, {first.message_id})
        self.assertEqual(await self.value("select count(*) from message"), 1)
        self.assertEqual(await self.value("select count(*) from event"), 1)

    async def test_neighbours(self) -> None:
        """A duplicate among others keeps none of them, and UIDs still ascend."""
        await self.file(filing(self.one, receipt=b"r"))
        filed = await self.file(
            filing(self.one), filing(self.one, receipt=b"r"), filing(self.one)
        )
        self.assertEqual([one.duplicate for one in filed], [False, True, False])
        self.assertLess(filed[0].uid, filed[2].uid)
        (after,) = await self.file(filing(self.one))
        self.assertLess(filed[2].uid, after.uid)

    async def test_elsewhere(self) -> None:
        """Another inbox has receipts of its own."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        filed = await self.file(
            filing(self.one, receipt=b"r"), filing(other, receipt=b"r")
        )
        self.assertEqual([one.duplicate for one in filed], [False, False])


class ThreadTests(MailStoreTest):
    """Conversations, by References and In-Reply-To."""

    async def test_reply(self) -> None:
        """A reply joins; another with the same subject does not."""
        await self.file(filing(self.one, "a@x", subject="Invoice"))
        await self.file(
            filing(self.one, "b@x", references=["a@x"], subject="Re: Invoice"),
            filing(self.one, "c@y", subject="Re: Invoice"),
        )
        self.assertEqual(await self.threads(), [{"a@x", "b@x"}, {"c@y"}])

    async def test_every_order(self) -> None:
        """Whatever the order and the batches, a conversation is one thread."""
        chain = [("a", []), ("b", ["a"]), ("c", ["a", "b"]), ("d", ["c"])]
        random = Random(7)
        for order in permutations(chain):
            cut = random.randint(0, 4)
            born = await self.inbox("cus_1", f"{random.random()}@noinfra.example")
            for batch in (order[:cut], order[cut:]):
                filed = await self.file(
                    *(filing(born, one, references=above) for one, above in batch)
                )
                self.assertEqual(len(filed), len(batch))
            rows = await self.rows(
                "select thread_id, message_count from thread"
                " where inbox_id = %(inbox_id)s",
                inbox_id=born.inbox_id,
            )
            self.assertEqual([row[1] for row in rows], [4], (order, cut))
            held = await self.rows(
                "select distinct thread_id from message where inbox_id = %(inbox_id)s"
                " union select thread_id from thread_reference"
                " where inbox_id = %(inbox_id)s",
                inbox_id=born.inbox_id,
            )
            self.assertEqual(held, [(rows[0][0],)])

    async def test_parent_between(self) -> None:
        """Two threads become one when the mail that links them comes, and this is told."""
        await self.file(filing(self.one, "root@x"))
        (reply,) = await self.file(filing(self.one, "leaf@x", references=["mid@x"]))
        (middle,) = await self.file(filing(self.one, "mid@x", references=["root@x"]))
        self.assertEqual(await self.threads(), [{"root@x", "leaf@x", "mid@x"}])
        told = await self.rows(
            "select thread_id, data->>'absorbedThreadId' from event"
            " where type = 'thread.updated'"
        )
        self.assertEqual(told, [(middle.thread_id, reply.thread_id)])

    async def test_answer_names_the_thread_in_the_end(self) -> None:
        """What is absorbed within a batch is answered with the thread that absorbed it."""
        await self.file(filing(self.one, "root@x"))
        filed = await self.file(
            filing(self.one, "leaf@x", references=["mid@x"]),
            filing(self.one, "mid@x", references=["root@x"]),
        )
        self.assertEqual(filed[0].thread_id, filed[1].thread_id)
        self.assertEqual(len(await self.threads()), 1)

    async def test_known_message_id(self) -> None:
        """Mail that bears a Message-ID that we have cannot join two threads."""
        await self.file(filing(self.one, "a@x"), filing(self.one, "b@x"))
        await self.file(filing(self.one, "a@x", references=["b@x"]))
        rows = await self.rows("select message_count from thread order by 1")
        self.assertEqual(rows, [(1,), (2,)])

    async def test_prepared_message_id(self) -> None:
        """Nor can two mails: one that names the other in a thread, and that other."""
        for prepare in (
            filing(self.one, "s@z", references=["a@x", "t@z"]),
            filing(self.one, "a@x", references=["t@z"]),
        ):
            await self.file(filing(self.one, "a@x"), filing(self.one, "b@x"))
            await self.file(prepare)
            await self.file(filing(self.one, "t@z", references=["b@x"]))
            counts = await self.rows(
                "select count(distinct thread_id) from message"
                " where rfc_message_id in ('a@x', 'b@x')"
            )
            self.assertEqual(counts, [(2,)])
            await self.rows(
                "delete from message; delete from thread; "
                "delete from thread_reference; select 1"
            )

    async def test_inboxes_are_apart(self) -> None:
        """The same Message-ID in another inbox is another thread."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        await self.file(filing(self.one, "a@x"))
        filed = await self.file(
            filing(other, "b@x", references=["a@x"]),
            filing(self.one, "b@x", references=["a@x"]),
        )
        self.assertNotEqual(filed[0].thread_id, filed[1].thread_id)

    async def test_no_message_id(self) -> None:
        """Mail without a Message-ID has a thread of its own, or that of its parent."""
        await self.file(filing(self.one, "a@x"))
        filed = await self.file(
            filing(self.one), filing(self.one), filing(self.one, references=["a@x"])
        )
        self.assertEqual(len({one.thread_id for one in filed}), 3)
        self.assertEqual(await self.value("select count(*) from thread"), 3)


class AtOnceTests(MailStoreTest):
    """Two processes are two connections."""

    connections = 8

    async def test_one_inbox(self) -> None:
        """Many transactions on one inbox neither deadlock nor give a UID twice."""
        await gatherResults(
            [
                Deferred.fromCoroutine(
                    self.file(
                        *(
                            filing(self.one, f"{n}.{k}@x", references=["root@x"])
                            for k in range(3)
                        )
                    )
                )
                for n in range(30)
            ]
        )
        uids = [row[0] for row in await self.rows("select uid from message order by 1")]
        self.assertEqual(uids, list(range(1, 91)))
        self.assertEqual(await self.rows("select message_count from thread"), [(90,)])

    async def test_inboxes_and_contents_crosswise(self) -> None:
        """Transactions that want the same inboxes and contents in another order."""
        other = await self.inbox("cus_1", "two@noinfra.example")
        random = Random(3)

        def batch() -> list[Filing]:
            mail = [
                filing(born, octets=b"content %d" % n)
                for born in (self.one, other)
                for n in range(12)
            ]
            random.shuffle(mail)
            return mail

        await gatherResults(
            [Deferred.fromCoroutine(self.file(*batch())) for _ in range(16)]
        )
        self.assertEqual(await self.value("select count(*) from content"), 12)
        self.assertEqual(await self.value("select count(*) from message"), 16 * 24)

    async def test_contents_of_other_inboxes(self) -> None:
        """Transactions on different inboxes with the same contents, in any order."""
        borns = [await self.inbox("cus_1", f"i{n}@noinfra.example") for n in range(6)]
        random = Random(5)

        async def work(n: int) -> None:
            numbers = list(range(40))
            random.shuffle(numbers)
            await self.file(
                *(filing(borns[n], octets=b"content %d" % k) for k in numbers)
            )

        for _ in range(4):
            await gatherResults([Deferred.fromCoroutine(work(n)) for n in range(6)])
        self.assertEqual(await self.value("select count(*) from content"), 40)

    async def test_receipts(self) -> None:
        """The same receipt in two transactions at once is one message."""
        await gatherResults(
            [
                Deferred.fromCoroutine(self.file(filing(self.one, receipt=b"r")))
                for _ in range(8)
            ]
        )
        self.assertEqual(await self.value("select count(*) from message"), 1)


class ContentTests(MailStoreTest):
    """Large contents, slices, and what is swept."""

    async def store(self, octets: bytes, customer_id: str = "cus_1") -> int:
        contents = Contents(self.database.single(None))
        await contents.spool("s1", octets)
        async with self.database.system() as tx:
            return await store_spooled(tx, customer_id, new_content(octets), "s1")

    async def test_spooled(self) -> None:
        """Octets that went ahead in pieces are those that were sent, and slices of them."""
        octets = Random(1).randbytes(1_300_001)
        content_id = await self.store(octets)
        contents = Contents(self.database.single(None))
        self.assertEqual(await contents.slice(content_id, 0, len(octets) + 5), octets)
        for start, length in ((0, 1), (524_287, 3), (1_300_000, 10), (1_300_001, 1)):
            self.assertEqual(
                await contents.slice(content_id, start, length),
                octets[start : start + length],
            )
        self.assertEqual(await self.value("select count(*) from spool"), 0)
        self.assertEqual(await self.store(octets), content_id)

    async def age(self) -> None:
        await self.rows(
            "update unused_content set since = now() - interval '2 hours' returning 1"
        )

    async def test_sweep(self) -> None:
        """What nobody refers to for an hour goes; what is used stays, and its note goes."""
        unused = await self.store(b"unused" * 10)
        used = await self.store(b"used" * 10)
        fresh = filing(self.one, octets=b"fresh")
        await self.file(evolve(filing(self.one), content=used), fresh)
        contents = Contents(self.database.single(None))
        self.assertEqual(await contents.sweep(), 0)
        await self.age()
        self.assertEqual(await contents.sweep(), 2)
        left = [row[0] for row in await self.rows("select content_id from content")]
        self.assertNotIn(unused, left)
        self.assertIn(used, left)
        self.assertEqual(len(left), 2)
        self.assertEqual(await self.rows("select 1 from unused_content"), [])

    async def test_sweep_beside_filing(self) -> None:
        """A content that is just being taken into use is left alone; nobody waits."""
        await self.store(b"mail")
        await self.age()
        async with self.database.system() as tx:
            await file(tx, [filing(self.one, octets=b"mail")])
            self.assertEqual(await Contents(self.database.single(None)).sweep(), 0)
        self.assertEqual(await self.value("select count(*) from content"), 1)
        self.assertEqual(await Contents(self.database.single(None)).sweep(), 1)
        self.assertEqual(await self.value("select count(*) from content"), 1)

    async def test_sweep_many_times_beside_filing(self) -> None:
        """However they interleave, no message is without its content."""
        contents = Contents(self.database.single(None))

        async def come_and_go(n: int) -> None:
            for k in range(6):
                octets = b"%d" % (n % 2)
                (filed,) = await self.file(filing(self.one, octets=octets))
                await self.rows(
                    "with gone as (delete from message where message_id = %(id)s"
                    " returning content_id, customer_id)"
                    " insert into unused_content (content_id, customer_id, since)"
                    " select content_id, customer_id, now() - interval '2 hours'"
                    " from gone on conflict (content_id) do nothing returning 1",
                    id=filed.message_id if k % 2 else "",
                )
                try:
                    await contents.sweep()
                except ForeignKeyViolation:
                    continue

        await gatherResults([Deferred.fromCoroutine(come_and_go(n)) for n in range(4)])
        self.assertEqual(await self.value("select count(*) from message"), 12)

    async def test_spool_left_behind(self) -> None:
        """Pieces that nobody came back for go after an hour."""
        contents = Contents(self.database.single(None))
        await contents.spool("s", b"x")
        self.assertEqual(await contents.sweep_spool(), 0)
        await self.rows(
            "update spool set created_at = now() - interval '2 hours' returning 1"
        )
        self.assertEqual(await contents.sweep_spool(), 1)
