"""Folders: listed, made, renamed, dropped, opened, followed."""

from __future__ import annotations

from noinfra.app import mailboxes as module
from noinfra.app.requests import DeleteMessage, UpdateMessage
from noinfra.errors import Conflict, Forbidden, Invalid, NotFound
from noinfra.store.mailboxes import Folders
from tests.app.mailbox import MailboxTest
from tests.app.world import mail, until


class FolderTests(MailboxTest):
    async def names(self) -> list[str]:
        return [one.name for one in await self.mailboxes.list(self.who)]

    async def test_born_with(self) -> None:
        """An inbox has the folders of RFC 6154, INBOX first."""
        listed = await self.mailboxes.list(self.who)
        self.assertEqual(
            [(one.name, one.special_use) for one in listed],
            [
                ("INBOX", None),
                ("Archive", "\\Archive"),
                ("Drafts", "\\Drafts"),
                ("Sent", "\\Sent"),
                ("Spam", "\\Junk"),
                ("Trash", "\\Trash"),
            ],
        )

    async def test_counts(self) -> None:
        """The list tells what STATUS does, without asking for each folder."""
        for _ in range(3):
            await self.receive(mail(body="x" * 100))
        await self.store([2], "add", "\\Seen", "\\Deleted")
        inbox = (await self.mailboxes.list(self.who))[0]
        size = sum(row.size for row in await self.fetch())
        self.assertEqual((inbox.messages, inbox.unseen, inbox.deleted), (3, 2, 1))
        self.assertEqual(inbox.octets, size)
        self.assertEqual(inbox.uidnext, 4)
        quota = await self.mailboxes.quota(self.who)
        self.assertEqual((quota.messages, quota.octets), (3, size))

    async def test_create(self) -> None:
        """A folder is made with those above it, which have children then."""
        made = await self.mailboxes.create(self.who, "work/2026/bills")
        self.assertEqual((made.name, made.messages), ("work/2026/bills", 0))
        listed = {one.name: one for one in await self.mailboxes.list(self.who)}
        self.assertTrue(listed["work"].selectable and listed["work"].has_children)
        self.assertFalse(listed["work/2026/bills"].has_children)
        self.assertEqual(await self.told("folder.created"), ["folder.created"] * 3)

    async def test_names(self) -> None:
        """What cannot be a name is refused, and INBOX is the same in any case."""
        for name in ("", "/a", "a//b", "a\rb", "a%b", "x" * 251, "a/" * 25 + "b"):
            with self.assertRaises(Invalid):
                await self.mailboxes.create(self.who, name)
        with self.assertRaises(Conflict):
            await self.mailboxes.create(self.who, "inbox")
        await self.mailboxes.create(self.who, "inbox/below/")
        self.assertIn("INBOX/below", await self.names())

    async def test_taken(self) -> None:
        """A name that is there is not made again."""
        await self.mailboxes.create(self.who, "mine")
        with self.assertRaises(Conflict):
            await self.mailboxes.create(self.who, "mine")

    async def test_rename(self) -> None:
        """What is below goes along, with its UIDs; what is to be above is made."""
        await self.mailboxes.create(self.who, "a/b")
        await self.append(mail(), name="a/b")
        before = await self.opened("a/b")
        await self.mailboxes.rename(self.who, "a", "new/place")
        after = await self.opened("new/place/b")
        self.assertEqual(after.uids, before.uids)
        self.assertEqual(after.mailbox.mailbox_id, before.mailbox.mailbox_id)
        self.assertNotIn("a", await self.names())
        self.assertIn("new", await self.names())

    async def test_rename_refused(self) -> None:
        """Not below itself, not onto another, not what is the inbox's own."""
        for name in ("a", "b"):
            await self.mailboxes.create(self.who, name)
        for old, new, refusal in (
            ("a", "a/c", Invalid),
            ("a", "b", Conflict),
            ("a", "Sent", Conflict),
            ("Sent", "c", Forbidden),
            ("none", "c", NotFound),
        ):
            with self.assertRaises(refusal):
                await self.mailboxes.rename(self.who, old, new)

    async def test_rename_inbox(self) -> None:
        """INBOX stays, empty, and what it held is in the new folder."""
        for _ in range(2):
            await self.receive(mail())
        await self.mailboxes.rename(self.who, "INBOX", "old")
        self.assertEqual(list((await self.opened()).uids), [])
        self.assertEqual(list((await self.opened("old")).uids), [1, 2])
        self.assertEqual(await self.counted(), [])

    async def test_delete(self) -> None:
        """A folder goes with its mail; its name leads on to those below."""
        await self.mailboxes.create(self.who, "a/b")
        await self.append(mail(), mail(), name="a")
        await self.mailboxes.delete(self.who, "a")
        listed = {one.name: one for one in await self.mailboxes.list(self.who)}
        self.assertFalse(listed["a"].selectable)
        self.assertTrue(listed["a"].has_children)
        with self.assertRaises(NotFound):
            await self.opened("a")
        self.assertEqual(await self.told("message.deleted"), ["message.deleted"] * 2)
        self.assertEqual(await self.value("select count(*) from thread"), 0)
        with self.assertRaises(Forbidden):
            await self.mailboxes.delete(self.who, "inbox")

    async def test_uidvalidity(self) -> None:
        """A name that is used again means other messages (RFC 3501, 2.3.1.1)."""
        validities = set()
        for _ in range(3):
            made = await self.mailboxes.create(self.who, "again")
            validities.add(made.uidvalidity)
            await self.mailboxes.delete(self.who, "again")
        self.assertEqual(len(validities), 3)

    async def test_subscriptions(self) -> None:
        """A subscription outlives its folder, and finds it again."""
        await self.mailboxes.create(self.who, "list")
        await self.mailboxes.subscribe(self.who, "list")
        await self.mailboxes.subscribe(self.who, "not/there")
        await self.mailboxes.delete(self.who, "list")
        listed = {one.name: one for one in await self.mailboxes.list(self.who)}
        self.assertTrue(listed["list"].subscribed)
        self.assertFalse(listed["list"].selectable)
        self.assertTrue(listed["not/there"].subscribed)
        await self.mailboxes.create(self.who, "list")
        self.assertTrue((await self.mailboxes.get(self.who, "list")).subscribed)
        for name in ("list", "not/there"):
            await self.mailboxes.unsubscribe(self.who, name)
        listed = {one.name: one for one in await self.mailboxes.list(self.who)}
        self.assertNotIn("not/there", listed)
        self.assertFalse(listed["list"].subscribed)

    async def test_read_only(self) -> None:
        """A key that may only read changes nothing."""
        await self.receive(mail())
        folder_id = await self.folder_id()
        for change in (
            self.mailboxes.create(self.reader, "x"),
            self.mailboxes.rename(self.reader, "x", "y"),
            self.mailboxes.delete(self.reader, "x"),
            self.mailboxes.subscribe(self.reader, "x"),
            self.mailboxes.unsubscribe(self.reader, "x"),
            self.mail.store(self.reader, folder_id, [1], mode="add", flags=["\\Seen"]),
            self.mail.copy(self.reader, folder_id, [1], "Archive"),
            self.mail.move(self.reader, folder_id, [1], "Archive"),
            self.mail.expunge(self.reader, folder_id, None),
            self.appending.append(self.reader, "INBOX", []),
        ):
            with self.assertRaises(Forbidden):
                await change
        self.assertEqual(await self.flags(), {1: b"()"})

    async def test_strangers(self) -> None:
        """Nobody reaches another's folder, by its name or its number."""
        await self.receive(mail())
        folder_id = await self.folder_id()
        self.assertEqual(
            [
                page
                async for page in self.mail.rows(
                    self.stranger, folder_id, [1], frozenset()
                )
            ],
            [],
        )
        for attempt in (
            self.mailboxes.changes(self.stranger, folder_id, 0),
            self.mail.store(self.stranger, folder_id, [1], mode="add", flags=["x"]),
            self.mail.copy(self.stranger, folder_id, [1], "INBOX"),
            self.mail.move(self.stranger, folder_id, [1], "INBOX"),
            self.mail.expunge(self.stranger, folder_id, None),
        ):
            with self.assertRaises(NotFound):
                await attempt

    async def test_open(self) -> None:
        """A folder opens with its UIDs and the first that was not seen."""
        for _ in range(4):
            await self.receive(mail())
        await self.store([1, 2], "add", "\\Seen")
        snapshot = await self.opened()
        self.assertEqual(list(snapshot.uids), [1, 2, 3, 4])
        self.assertEqual(snapshot.first_unseen, 3)
        await self.store([1, 2, 3, 4], "add", "\\Seen")
        self.assertIsNone((await self.opened()).first_unseen)


class ChangesTests(MailboxTest):
    async def test_api_and_client(self) -> None:
        """What the API changes, a session hears of: flags, arrivals, UIDs that went."""
        for _ in range(3):
            await self.receive(mail())
        seen = await self.opened()
        first, second, third = await self.listed(self.agent)
        await self.messages.update(
            self.ours,
            UpdateMessage(
                inbox_id=self.agent.inbox_id,
                message_id=first.message_id,
                add_labels=["to do"],
                remove_labels=["unread"],
            ),
        )
        for message in (second, third):
            await self.messages.delete(
                self.ours,
                DeleteMessage(
                    inbox_id=self.agent.inbox_id,
                    message_id=message.message_id,
                    permanent=message is third,
                ),
            )
        await self.receive(mail())
        changes = await self.mailboxes.changes(
            self.who, seen.mailbox.folder_id, seen.mailbox.modseq
        )
        self.assertEqual(
            [(row.uid, row.flags) for row in changes.changed],
            [(1, b"(\\Seen to=20do)"), (4, b"()")],
        )
        self.assertEqual(changes.vanished, [2, 3])
        self.assertEqual((changes.uidnext, changes.more), (5, False))
        self.assertTrue(changes.complete)
        again = await self.mailboxes.changes(
            self.who, seen.mailbox.folder_id, changes.modseq
        )
        self.assertEqual((again.changed, again.vanished), ([], []))
        self.assertEqual(again.modseq, changes.modseq)
        self.assertEqual(await self.flags("Trash"), {1: b"()"})
        self.assertEqual(await self.counted(), [])

    async def test_pages(self) -> None:
        """Many changes come in several answers, and none is missed."""
        self.patch(module, "_CHANGES", 2)
        for _ in range(5):
            await self.receive(mail())
        await self.store([1, 2, 3], "add", "\\Deleted")
        await self.mail.expunge(self.who, await self.folder_id(), [2])
        since, changed, vanished = 0, [], []
        more = True
        while more:
            changes = await self.mailboxes.changes(
                self.who, await self.folder_id(), since
            )
            changed += [row.uid for row in changes.changed]
            vanished += changes.vanished
            since, more = changes.modseq, changes.more
        self.assertEqual(changed, [4, 5, 1, 3])
        self.assertEqual(vanished, [2])
        self.assertEqual(since, (await self.opened()).mailbox.modseq)

    async def test_forgotten(self) -> None:
        """What was expunged long ago is forgotten, and a client is told that it is."""
        await self.append(mail(), mail(), flags=["\\Deleted"])
        folder_id = await self.folder_id()
        since = (await self.opened()).mailbox.modseq
        await self.mail.expunge(self.who, folder_id, [1])
        await self.rows(
            "update expunged set expunged_at = now() - interval '2 months' returning 1"
        )
        async with self.database.system() as tx:
            self.assertEqual(await Folders(tx).forget(), 1)
        changes = await self.mailboxes.changes(self.who, folder_id, since)
        self.assertFalse(changes.complete)
        self.assertTrue(
            (await self.mailboxes.changes(self.who, folder_id, changes.modseq)).complete
        )

    async def test_gone(self) -> None:
        """A folder that was deleted under a session is missed by it."""
        made = await self.mailboxes.create(self.who, "mine")
        await self.mailboxes.delete(self.who, "mine")
        with self.assertRaises(NotFound):
            await self.mailboxes.changes(self.who, made.folder_id, 0)

    async def test_watch(self) -> None:
        """Whoever watches is called on a change in the inbox, and in no other."""
        await self.listen({"noinfra_event": lambda _: self.log.wake()})
        calls: list[str] = []
        unwatch = await self.mailboxes.watch(self.who, lambda: calls.append("ours"))
        also = await self.mailboxes.watch(self.who, lambda: calls.append("also"))
        theirs = await self.mailboxes.watch(
            self.stranger, lambda: calls.append("theirs")
        )
        await self.receive(mail())
        await until(lambda: len(calls) >= 2)
        self.assertEqual(set(calls), {"ours", "also"})
        unwatch()
        calls.clear()
        await self.store([1], "add", "\\Answered")
        await until(lambda: calls)
        self.assertEqual(set(calls), {"also"})
        also()
        theirs()
