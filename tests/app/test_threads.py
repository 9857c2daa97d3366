"""Messages and threads, as callers read, label and delete them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import noinfra.store.messages
from noinfra.app.access import Access
from noinfra.app.requests import (
    AttachmentById,
    DeleteMessage,
    GetThread,
    ListMessages,
    ListThreads,
    MessageById,
    ThreadById,
    UpdateMessage,
    UpdateThread,
)
from noinfra.app.upkeep import Upkeep
from noinfra.errors import Invalid, NotFound
from noinfra.model import Message
from tests.app.world import AppTest, mail, started


class MessageTests(AppTest):
    """One message, and lists of them."""

    def by_id(self, message: Message) -> dict[str, Any]:
        """As a request names it."""
        return {"inbox_id": self.agent.inbox_id, "message_id": message.message_id}

    async def test_pages(self) -> None:
        """Pages join, both ways, and may begin and end at a time."""
        for _ in range(7):
            await self.receive(mail())
        whole = [one.message_id for one in await self.listed(self.agent)]
        for ascending in (True, False):
            found: list[str] = []
            cursor = None
            while True:
                page = await self.messages.list(
                    self.ours,
                    ListMessages(
                        inbox_id=self.agent.inbox_id,
                        ascending=ascending,
                        limit=3,
                        cursor=cursor,
                    ),
                )
                found += [one.message_id for one in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            self.assertEqual(found, whole if ascending else whole[::-1])
        now = datetime.now(UTC)
        self.assertEqual(
            await self.listed(self.agent, before=now - timedelta(hours=1)), []
        )
        self.assertEqual(
            len(await self.listed(self.agent, after=now - timedelta(hours=1))), 7
        )
        naive = ListMessages(
            inbox_id=self.agent.inbox_id, after=now.replace(tzinfo=None)
        )
        await self.assertFailure(started(self.messages.list(self.ours, naive)), Invalid)

    async def test_deleted(self) -> None:
        """To Trash, out of the list; from there for good, and its content goes."""
        message = await self.received(mail())
        await self.messages.delete(self.ours, DeleteMessage(**self.by_id(message)))
        self.assertEqual(await self.listed(self.agent), [])
        (trashed,) = await self.listed(self.agent, include_trash=True)
        self.assertEqual(trashed.folder, "Trash")
        self.assertEqual(len(await self.listed(self.agent, folder="Trash")), 1)
        await self.messages.delete(self.ours, DeleteMessage(**self.by_id(message)))
        await self.assertFailure(
            started(self.messages.get(self.ours, MessageById(**self.by_id(message)))),
            NotFound,
        )
        await self.rows(
            "update unused_content set since = now() - interval '2 hours' returning 1"
        )
        await Upkeep(self.database).run()
        self.assertEqual(await self.value("select count(*) from content"), 0)
        other = await self.received(mail())
        await self.messages.delete(
            self.ours, DeleteMessage(**self.by_id(other), permanent=True)
        )
        self.assertEqual(await self.listed(self.agent, include_trash=True), [])

    async def test_labelled(self) -> None:
        """Labels come and go; not the server's own, nor one both ways."""
        message = await self.received(mail())
        updated = await self.messages.update(
            self.ours,
            UpdateMessage(
                **self.by_id(message), add_labels=["done"], remove_labels=["unread"]
            ),
        )
        self.assertEqual(updated.labels, ["done", "received"])
        self.assertGreater(updated.modseq, message.modseq)
        refused: list[dict[str, Any]] = [
            {"add_labels": ["sent"]},
            {"remove_labels": ["received"]},
            {"add_labels": ["x"], "remove_labels": ["x"]},
        ]
        for more in refused:
            request = UpdateMessage(**self.by_id(message), **more)
            await self.assertFailure(
                started(self.messages.update(self.ours, request)), Invalid
            )

    async def test_octets(self) -> None:
        """The raw mail and its files, whole and in slices."""
        octets = mail(
            header="Content-Type: multipart/mixed; boundary=b\r\n",
            body="--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf; name=a.pdf"
            "\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--b\r\n"
            "Content-Disposition: attachment; filename=b.txt\r\n\r\nplain\r\n--b--\r\n",
        )
        message = await self.received(octets)
        raw = await self.messages.raw(self.ours, MessageById(**self.by_id(message)))
        whole = b"".join([piece async for piece in raw.pieces()])
        self.assertTrue(whole.endswith(octets))
        self.assertEqual(raw.size, len(whole))
        sliced = b"".join([piece async for piece in raw.pieces(5, 25)])
        self.assertEqual(sliced, whole[5:25])
        for id_, content in (("att_2", b"%PDF"), ("att_3", b"plain")):
            file = await self.messages.attachment(
                self.ours, AttachmentById(**self.by_id(message), attachment_id=id_)
            )
            self.assertEqual(
                b"".join([piece async for piece in file.pieces()]), content
            )
        for id_ in ("att_1", "att_9", "x", "att_", "att_2-1"):
            request = AttachmentById(**self.by_id(message), attachment_id=id_)
            await self.assertFailure(
                started(self.messages.attachment(self.ours, request)), NotFound
            )

    async def test_scope(self) -> None:
        """Another's message is not there, by whatever inbox it is asked for."""
        message = await self.received(mail())
        for by, inbox_id in (
            (self.theirs, self.agent.inbox_id),
            (self.theirs, self.other.inbox_id),
            (self.ours, self.other.inbox_id),
        ):
            ids: dict[str, Any] = {
                "inbox_id": inbox_id,
                "message_id": message.message_id,
            }
            for call in (
                self.messages.get(by, MessageById(**ids)),
                self.messages.raw(by, MessageById(**ids)),
                self.messages.attachment(
                    by, AttachmentById(**ids, attachment_id="att_1")
                ),
                self.messages.update(by, UpdateMessage(**ids, add_labels=["x"])),
                self.messages.delete(by, DeleteMessage(**ids, permanent=True)),
            ):
                await self.assertFailure(started(call), NotFound)
        self.assertEqual(len(await self.listed(self.agent)), 1)


class ThreadTests(AppTest):
    """Conversations."""

    async def conversation(self) -> str:
        """Two messages and a stranger's; the thread of the two."""
        first = await self.received(mail("One", message_id="1@x"))
        await self.receive(mail("Other"))
        await self.receive(
            mail("Re: One", message_id="2@x", header="In-Reply-To: <1@x>\r\n")
        )
        return first.thread_id

    def by_id(self, thread_id: str) -> dict[str, Any]:
        """As a request names it."""
        return {"inbox_id": self.agent.inbox_id, "thread_id": thread_id}

    async def test_listed(self) -> None:
        """By the newest message, in pages, with any label of its messages."""
        thread_id = await self.conversation()
        request = ListThreads(inbox_id=self.agent.address, limit=1)
        page = await self.threads.list(self.ours, request)
        self.assertEqual(page.items[0].thread_id, thread_id)
        self.assertEqual(page.items[0].message_count, 2)
        page = await self.threads.list(
            self.ours,
            ListThreads(inbox_id=self.agent.address, cursor=page.next_cursor),
        )
        self.assertEqual([one.subject for one in page.items], ["Other"])
        self.assertIsNone(page.next_cursor)

    async def test_read(self) -> None:
        """With its messages, oldest first."""
        thread_id = await self.conversation()
        found = await self.threads.get(self.ours, GetThread(**self.by_id(thread_id)))
        self.assertEqual(
            [one.message.subject for one in found.messages], ["One", "Re: One"]
        )
        self.assertEqual(found.messages[0].body.text, "Hello.\n")

    async def test_pages(self) -> None:
        """A long thread comes in pages, without a gap and without a double."""
        thread_id = await self.conversation()
        asked = GetThread(**self.by_id(thread_id), limit=1)
        first = await self.threads.get(self.ours, asked)
        self.assertEqual([one.message.subject for one in first.messages], ["One"])
        asked = GetThread(**self.by_id(thread_id), limit=1, cursor=first.next_cursor)
        second = await self.threads.get(self.ours, asked)
        self.assertEqual([one.message.subject for one in second.messages], ["Re: One"])
        self.assertIsNone(second.next_cursor)

    async def test_large_bodies(self) -> None:
        """Bodies that come to megabytes end a page early; none is left out."""
        self.patch(noinfra.store.messages, "_BODIES", 5)
        thread_id = await self.conversation()
        asked = GetThread(**self.by_id(thread_id))
        first = await self.threads.get(self.ours, asked)
        self.assertEqual([one.message.subject for one in first.messages], ["One"])
        asked = GetThread(**self.by_id(thread_id), cursor=first.next_cursor)
        second = await self.threads.get(self.ours, asked)
        self.assertEqual([one.message.subject for one in second.messages], ["Re: One"])
        self.assertIsNone(second.next_cursor)

    async def test_labelled(self) -> None:
        """Labels are put on every message."""
        thread_id = await self.conversation()
        updated = await self.threads.update(
            self.ours,
            UpdateThread(
                **self.by_id(thread_id), add_labels=["done"], remove_labels=["unread"]
            ),
        )
        self.assertEqual(updated.labels, ["done", "received"])
        self.assertEqual(updated.unread, 0)
        self.assertEqual(len(await self.listed(self.agent, labels=["done"])), 2)

    async def test_deleted(self) -> None:
        """For good, with its messages."""
        thread_id = await self.conversation()
        await self.threads.delete(self.ours, ThreadById(**self.by_id(thread_id)))
        self.assertEqual(
            [one.subject for one in await self.listed(self.agent, include_trash=True)],
            ["Other"],
        )
        self.assertEqual(await self.value("select count(*) from thread"), 1)

    async def test_scope(self) -> None:
        """Another's thread is not there, nor one that is none."""
        thread_id = await self.conversation()
        cases: list[tuple[Access, str, str]] = [
            (self.theirs, self.agent.inbox_id, thread_id),
            (self.theirs, self.other.inbox_id, thread_id),
            (self.ours, self.other.inbox_id, thread_id),
            (self.ours, self.agent.inbox_id, "thr_x"),
        ]
        for by, inbox_id, asked in cases:
            for call in (
                self.threads.get(by, GetThread(inbox_id=inbox_id, thread_id=asked)),
                self.threads.update(
                    by, UpdateThread(inbox_id=inbox_id, thread_id=asked)
                ),
                self.threads.delete(by, ThreadById(inbox_id=inbox_id, thread_id=asked)),
            ):
                await self.assertFailure(started(call), NotFound)
        self.assertEqual(await self.value("select count(*) from thread"), 2)
