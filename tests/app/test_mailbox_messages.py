"""The messages of a folder: fetched, flagged, copied, moved, expunged, put there."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.internet.defer import Deferred, gatherResults

from noinfra.app import mailbox_messages as module
from noinfra.app.mailbox_append import Appended
from noinfra.app.mailbox_messages import MailboxMessages, Slice
from noinfra.app.requests import SendMessage, UpdateMessage
from noinfra.errors import Conflict, NotFound
from noinfra.store.database import Database
from tests.app.mailbox import MailboxTest
from tests.app.world import mail


class FetchTests(MailboxTest):
    async def test_rows(self) -> None:
        """What is prepared at arrival is there to be sent."""
        await self.append(
            mail("Hi", message_id="a@example.com"), flags=["\\Seen", "\\Draft", "x y"]
        )
        (row,) = await self.fetch(
            "INBOX", "internaldate", "envelope", "bodystructure", "parts", "preview"
        )
        self.assertEqual(row.flags, b"(\\Draft \\Seen x=20y)")
        assert row.envelope and row.bodystructure and row.parts and row.internaldate
        self.assertIn(b"<a@example.com>", row.envelope)
        self.assertTrue(row.bodystructure.startswith(b'("text" "plain"'))
        self.assertRegex(
            row.internaldate, rb'\A"\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d \+0000"\Z'
        )
        self.assertEqual(row.preview, "Hello.")
        self.assertIsNone(row.savedate)
        self.assertTrue(row.thread_id.startswith("thr_"))

    async def test_pages(self) -> None:
        """A large folder comes in pages, and what is gone is left out."""
        self.patch(module, "_PAGE", 3)
        await self.append(*[mail() for _ in range(8)], flags=["\\Deleted"])
        folder_id = await self.folder_id()
        await self.mail.expunge(self.who, folder_id, [4, 5, 6])
        pages = [
            [row.uid for row in page]
            async for page in self.mail.rows(
                self.who, folder_id, range(1, 9), frozenset()
            )
        ]
        self.assertEqual(pages, [[1, 2, 3], [7, 8]])

    async def test_slices(self) -> None:
        """Octets come in order, whole, and in bounded pieces."""
        self.patch(module, "_OCTETS", 1000)
        sent = [mail(body="x" * n) for n in (10, 3000, 20, 0)]
        await self.append(*sent)
        rows = await self.fetch()
        slices = [Slice(row.content_id, 0, row.size) for row in rows]
        slices.append(Slice(rows[0].content_id, 5, 3))
        slices.append(Slice(rows[0].content_id, 10**6, 10))
        slices.append(Slice(rows[0].content_id, 0, 0))
        got: dict[int, list[bytes]] = {}
        async for number, piece in self.mail.slices(self.who, slices):
            got.setdefault(number, []).append(piece)
            self.assertLessEqual(len(piece), 1000)
        self.assertEqual(list(got), list(range(len(slices))))
        self.assertEqual([b"".join(got[n]) for n in range(4)], sent)
        self.assertEqual([got[4], got[5], got[6]], [[sent[0][5:8]], [b""], [b""]])

    async def test_slices_of_others(self) -> None:
        """Another customer's octets are not there."""
        await self.append(mail())
        (row,) = await self.fetch()
        slices = [Slice(row.content_id, 0, 10)]
        self.assertEqual(
            [one async for one in self.mail.slices(self.stranger, slices)], []
        )


class StoreTests(MailboxTest):
    async def setUp(self) -> None:
        await super().setUp()
        for _ in range(3):
            await self.receive(mail())

    async def test_add_remove_replace(self) -> None:
        """Flags and keywords change as STORE says; the server's own labels stay."""
        stored = await self.store([1, 2], "add", "\\seen", "\\Flagged", "$Forwarded")
        self.assertEqual(
            [(row.uid, row.flags, row.changed) for row in stored.rows],
            [(uid, b"(\\Flagged \\Seen $Forwarded)", True) for uid in (1, 2)],
        )
        await self.store([2], "remove", "\\Seen", "$Forwarded", "\\Deleted")
        await self.store([3], "replace", "\\Answered", "todo")
        self.assertEqual(
            await self.flags(),
            {
                1: b"(\\Flagged \\Seen $Forwarded)",
                2: b"(\\Flagged)",
                3: b"(\\Answered todo)",
            },
        )
        first, second, third = await self.listed(self.agent)
        self.assertEqual(first.labels, ["$Forwarded", "received", "starred"])
        self.assertEqual(second.labels, ["received", "starred", "unread"])
        self.assertEqual(third.labels, ["received", "todo", "unread"])
        self.assertEqual(await self.counted(), [])

    async def test_no_change(self) -> None:
        """What is so already gets no modseq and no event, and is told all the same."""
        await self.store([1], "add", "\\Seen")
        before = await self.told()
        modseq = (await self.opened()).mailbox.modseq
        stored = await self.store([1], "add", "\\Seen")
        self.assertEqual([row.changed for row in stored.rows], [False])
        self.assertEqual((await self.opened()).mailbox.modseq, modseq)
        self.assertEqual(await self.told(), before)

    async def test_ignored(self) -> None:
        """Flags that no client may set are passed over."""
        await self.store(
            [1], "replace", "\\Recent", "unread", "sent", "\\Nonsense", "a" * 200
        )
        self.assertEqual((await self.flags())[1], b"()")

    async def test_unchanged_since(self) -> None:
        """A conditional STORE leaves alone what changed meanwhile (RFC 7162, 3.1.3)."""
        modseq = (await self.opened()).mailbox.modseq
        await self.store([2], "add", "theirs")
        stored = await self.store([1, 2, 3], "add", "mine", unchanged_since=modseq)
        self.assertEqual([row.uid for row in stored.rows], [1, 3])
        self.assertEqual(stored.modified, [2])
        flags = await self.flags()
        self.assertEqual((flags[1], flags[2]), (b"(mine)", b"(theirs)"))

    async def test_events(self) -> None:
        """Whoever reads the log hears what a person did in a mail client."""
        await self.store([1], "add", "\\Seen", "todo")
        await self.store([1], "add", "\\Answered")
        rows = await self.rows(
            "select type, data from event where type like 'message.%%.updated'"
            " order by txid, seq"
        )
        self.assertEqual(
            [row[0] for row in rows],
            ["message.labels.updated", "message.flags.updated"],
        )
        self.assertIn('"added" : ["todo"]', rows[0][1])
        self.assertIn('"removed" : ["unread"]', rows[0][1])

    async def test_modseqs(self) -> None:
        """Each message has a modseq of its own, in the order of UIDs."""
        stored = await self.store([1, 2, 3], "add", "x")
        modseqs = [row.modseq for row in stored.rows]
        self.assertEqual(modseqs, sorted(set(modseqs)))
        self.assertEqual(modseqs[-1], (await self.opened()).mailbox.modseq)

    async def test_transactions(self) -> None:
        """Very many messages are changed in several transactions, and all are told."""
        self.patch(module, "_MARKED", 2)
        stored = await self.store([1, 2, 3], "add", "x")
        self.assertEqual([row.uid for row in stored.rows], [1, 2, 3])

    async def test_most_labels(self) -> None:
        """A message does not take any number of keywords."""
        await self.store([1], "add", *[f"k{n}" for n in range(80)])
        before = (await self.flags())[1]
        stored = await self.store([1], "add", *[f"l{n}" for n in range(80)])
        self.assertEqual(stored.rows[0].flags, before)

    async def test_gone(self) -> None:
        """What is not there is not told of."""
        stored = await self.store([3, 4, 5], "add", "x")
        self.assertEqual([row.uid for row in stored.rows], [3])
        self.assertEqual((await self.store([], "add", "x")).rows, [])


class MovingTests(MailboxTest):
    async def setUp(self) -> None:
        await super().setUp()
        await self.append(*[mail(f"number {n}") for n in range(4)], flags=["todo"])

    async def test_copy(self) -> None:
        """Copies have flags and dates of what they are copies of, and its thread."""
        copied = await self.mail.copy(
            self.who, await self.folder_id(), [1, 3], "archive"[:0] + "Archive"
        )
        self.assertEqual(copied.pairs, [(1, 1), (3, 2)])
        target = await self.opened("Archive")
        self.assertEqual(copied.uidvalidity, target.mailbox.uidvalidity)
        ours = await self.fetch("INBOX", "internaldate")
        theirs = await self.fetch("Archive", "internaldate")
        self.assertEqual(
            [
                (one.flags, one.internaldate, one.email_id, one.thread_id)
                for one in theirs
            ],
            [
                (one.flags, one.internaldate, one.email_id, one.thread_id)
                for one in (ours[0], ours[2])
            ],
        )
        self.assertEqual(
            await self.rows(
                "select distinct message_count from thread order by message_count"
            ),
            [(1,), (2,)],
        )
        self.assertEqual(await self.told("message.copied"), ["message.copied"] * 2)
        self.assertEqual(await self.counted(), [])

    async def test_no_target(self) -> None:
        """A folder that is not there takes nothing, and the source keeps all."""
        for attempt in (self.mail.copy, self.mail.move):
            with self.assertRaises(NotFound):
                await attempt(self.who, await self.folder_id(), [1], "none")
        self.assertEqual(len((await self.opened()).uids), 4)

    async def test_move(self) -> None:
        """What is moved is gone from where it was, and other sessions hear of it."""
        before = await self.opened()
        moved = await self.mail.move(
            self.who, before.mailbox.folder_id, [2, 4], "Trash"
        )
        self.assertEqual(moved.pairs, [(2, 1), (4, 2)])
        changes = await self.mailboxes.changes(
            self.who, before.mailbox.folder_id, before.mailbox.modseq
        )
        self.assertEqual((changes.changed, changes.vanished), ([], [2, 4]))
        self.assertEqual(await self.told("message.deleted"), ["message.deleted"] * 2)
        self.assertEqual(
            [
                message.folder
                for message in await self.listed(self.agent, folder="Trash")
            ],
            ["Trash"] * 2,
        )
        self.assertEqual(await self.counted(), [])

    async def test_within(self) -> None:
        """To copy or move within a folder gives new UIDs."""
        folder_id = await self.folder_id()
        await self.mail.copy(self.who, folder_id, [1], "INBOX")
        before = await self.opened()
        moved = await self.mail.move(self.who, folder_id, [2, 3], "inbox")
        self.assertEqual(moved.pairs, [(2, 6), (3, 7)])
        self.assertEqual(list((await self.opened()).uids), [1, 4, 5, 6, 7])
        changes = await self.mailboxes.changes(
            self.who, folder_id, before.mailbox.modseq
        )
        self.assertEqual([row.uid for row in changes.changed], [6, 7])
        self.assertEqual(changes.vanished, [2, 3])
        self.assertEqual(await self.counted(), [])

    async def test_expunge(self) -> None:
        r"""What is \Deleted goes, of some UIDs or of all, and nothing else."""
        folder_id = await self.folder_id()
        self.assertEqual(await self.mail.expunge(self.who, folder_id, None), [])
        await self.store([1, 2, 3], "add", "\\Deleted")
        self.patch(module, "_DELETED", 1)
        gone = await self.mail.expunge(self.who, folder_id, [2, 4])
        self.assertEqual(gone, [2])
        self.assertEqual(await self.mail.expunge(self.who, folder_id, None), [1, 3])
        self.assertEqual(list((await self.opened()).uids), [4])
        self.assertEqual(await self.told("message.deleted"), ["message.deleted"] * 3)
        self.assertEqual(await self.counted(), [])

    async def test_on_its_way(self) -> None:
        """Mail that is still to be delivered is not expunged, nor its folder deleted."""
        await self.sending.send(
            self.ours,
            SendMessage(
                inbox_id=self.agent.inbox_id, to=["bob@example.com"], text="Hello"
            ),
        )
        sent = await self.opened("Sent")
        folder_id = sent.mailbox.folder_id
        await self.mail.store(
            self.who, folder_id, sent.uids, mode="add", flags=["\\Deleted"]
        )
        self.assertEqual(await self.mail.expunge(self.who, folder_id, None), [])
        await self.mailboxes.create(self.who, "mine")
        await self.mail.move(self.who, folder_id, sent.uids, "mine")
        with self.assertRaises(Conflict):
            await self.mailboxes.delete(self.who, "mine")
        await self.rows("update delivery set status = 'delivered' returning 1")
        await self.mailboxes.delete(self.who, "mine")


class AppendTests(MailboxTest):
    async def test_append(self) -> None:
        """Octets, date and flags are kept; it is no arrival."""
        octets = mail("Old")
        at = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        result = await self.appending.append(
            self.who,
            "Archive",
            [Appended(octets=octets, flags=["\\Answered", "todo"], internaldate=at)],
        )
        (row,) = await self.fetch("Archive", "internaldate", "savedate")
        self.assertEqual((result.uids, row.uid), ([1], 1))
        self.assertEqual(row.flags, b"(\\Answered todo)")
        self.assertEqual(row.internaldate, b'"03-Feb-2001 04:05:06 +0000"')
        assert row.savedate is not None
        self.assertNotIn(b"2001", row.savedate)
        self.assertEqual(await self.octets(row.message_id), octets)
        self.assertEqual(await self.told("message.received"), [])
        self.assertEqual(await self.told("message.appended"), ["message.appended"])

    async def test_together(self) -> None:
        """Several are filed in their order, in one transaction."""
        self.assertEqual(await self.append(mail("a"), mail("b"), mail("c")), [1, 2, 3])
        self.assertEqual(
            await self.value(
                "select count(distinct txid) from event where type = 'message.appended'"
            ),
            1,
        )

    async def test_same_again(self) -> None:
        """The same octets twice are two messages of one content."""
        octets = mail()
        self.assertEqual(await self.append(octets, octets), [1, 2])
        self.assertEqual(len({row.email_id for row in await self.fetch()}), 1)

    async def test_large(self) -> None:
        """Large mail goes by pieces, and is whole."""
        octets = mail(body="0123456789\r\n" * 100_000)
        await self.append(octets)
        (row,) = await self.fetch()
        got = b""
        async for _, piece in self.mail.slices(
            self.who, [Slice(row.content_id, 0, row.size)]
        ):
            got += piece
        self.assertEqual(got, octets)

    async def test_draft(self) -> None:
        """What comes into Drafts is a draft, in the API too."""
        await self.append(mail("Plan"), name="Drafts", flags=["\\Draft", "\\Seen"])
        self.assertEqual(await self.told("draft.created"), ["draft.created"])
        (message,) = await self.listed(self.agent, folder="Drafts")
        self.assertEqual((message.direction, message.state), ("outbound", "draft"))
        self.assertEqual(await self.flags("Drafts"), {1: b"(\\Draft \\Seen)"})

    async def test_sent_once(self) -> None:
        """A client's copy of what it has just sent is the message that is there."""
        await self.sending.send(
            self.ours,
            SendMessage(
                inbox_id=self.agent.inbox_id, to=["bob@example.com"], text="Hello"
            ),
        )
        (message,) = await self.listed(self.agent, folder="Sent")
        copy = mail(message_id=message.rfc_message_id, from_=self.agent.address)
        self.assertEqual(await self.append(copy, name="Sent", flags=["\\Seen"]), [1])
        self.assertEqual(await self.append(copy, name="Archive"), [1])
        other = mail(from_=self.agent.address)
        self.assertEqual(await self.append(other, copy, name="Sent"), [2, 1])
        self.assertEqual(list((await self.opened("Sent")).uids), [1, 2])

    async def test_no_folder(self) -> None:
        """There is no folder to put it in."""
        with self.assertRaises(NotFound):
            await self.append(mail(), name="none")


class RaceTests(MailboxTest):
    connections = 8

    async def test_two_processes(self) -> None:
        """Commands of two processes at once: counts, UIDs and modseqs hold."""
        pool = self.new_pool(size=6)
        await pool.start()
        theirs = MailboxMessages(Database(pool))
        await self.append(*[mail() for _ in range(12)], flags=["\\Deleted"])
        folder_id = await self.folder_id()
        running = []
        for n in range(1, 7):
            for mail_of in (self.mail, theirs):
                running += [
                    mail_of.store(
                        self.who, folder_id, [n, n + 6], mode="add", flags=[f"k{n}"]
                    ),
                    mail_of.copy(self.who, folder_id, [n], "Archive"),
                    mail_of.move(self.who, folder_id, [n + 3], "Trash"),
                    mail_of.expunge(self.who, folder_id, [n + 6]),
                    self.receive(mail()),
                ]
        await gatherResults([Deferred.fromCoroutine(one) for one in running])
        self.assertEqual(await self.counted(), [])
        for name in ("INBOX", "Archive", "Trash"):
            snapshot = await self.opened(name)
            rows = await self.fetch(name)
            self.assertEqual([row.uid for row in rows], list(snapshot.uids))
            self.assertEqual(len({row.modseq for row in rows}), len(rows))
            changes = await self.mailboxes.changes(
                self.who, snapshot.mailbox.folder_id, 0
            )
            self.assertEqual(
                sorted(row.uid for row in changes.changed), list(snapshot.uids)
            )
            self.assertTrue(set(changes.vanished).isdisjoint(snapshot.uids))

    async def test_api_beside(self) -> None:
        """The API and a client change one message, and both changes hold."""
        await self.receive(mail())
        (message,) = await self.listed(self.agent)
        folder_id = await self.folder_id()
        await gatherResults(
            [
                Deferred.fromCoroutine(one)
                for n in range(10)
                for one in (
                    self.mail.store(
                        self.who, folder_id, [1], mode="add", flags=[f"c{n}"]
                    ),
                    self.messages.update(
                        self.ours,
                        UpdateMessage(
                            inbox_id=self.agent.inbox_id,
                            message_id=message.message_id,
                            add_labels=[f"a{n}"],
                        ),
                    ),
                )
            ]
        )
        (message,) = await self.listed(self.agent)
        wanted = {f"{kind}{n}" for kind in "ac" for n in range(10)}
        self.assertEqual(set(message.labels), wanted | {"received", "unread"})


class AuthorTests(MailboxTest):
    """Mail of authors to whom nothing could be sent."""

    async def test_without_domain(self) -> None:
        """What a client appends is kept, though its author is "root" or nobody."""
        uids = await self.append(b"From: root\r\n\r\nx\r\n", b"From: <>\r\n\r\nx\r\n")
        self.assertEqual(len(uids), 2)
