"""Mail that comes in: for whom, how it is stored, and what is refused."""

from __future__ import annotations

import json
from typing import Any, Literal

from twisted.internet.defer import Deferred, gatherResults

from noinfra.app.requests import (
    CreateAgent,
    InboxById,
    ListThreads,
    UpdateAgent,
    UpdateInbox,
)
from noinfra.errors import (
    InboxSuspended,
    Invalid,
    MailLoop,
    NoSuchInbox,
    Refusal,
    RelayDenied,
    TemporaryFailure,
)
from noinfra.model import Forward
from tests.app.world import DOMAIN, ROOT, AppTest, header_of, mail, started, transaction


class AcceptsTests(AppTest):
    """What RCPT is answered (RFC 5321, 3.3)."""

    async def accepts(self, path: str) -> type[Refusal] | None:
        """The refusal, if there is one."""
        asked = transaction(path)
        try:
            await self.receiving.accepts(asked, Forward(path=path))
        except Refusal as refusal:
            return type(refusal)
        return None

    async def test_paths(self) -> None:
        """Ours, with a tag, in any case; of nobody; elsewhere; nonsense."""
        await self.inbox(ROOT, "postmaster2", customer_id=self.ours.customer_id)
        for path, expected in (
            (f"agent@{DOMAIN}", None),
            (f"AGENT@{DOMAIN.upper()}", None),
            (f"agent+news@{DOMAIN}", None),
            (f"agent+@{DOMAIN}", None),
            (f"nobody@{DOMAIN}", NoSuchInbox),
            (f"nobody+news@{DOMAIN}", NoSuchInbox),
            (f"+news@{DOMAIN}", NoSuchInbox),
            ("agent@example.com", RelayDenied),
            (f"agent@mail.{DOMAIN}", RelayDenied),
            (f"@{DOMAIN}", Invalid),
            ("agent", Invalid),
            (f'"agent"@{DOMAIN}', None),
        ):
            self.assertEqual(await self.accepts(path), expected, path)

    async def test_states(self) -> None:
        """Suspended is 450, archived and deleted 550 5.1.1, at once."""
        cases: list[tuple[Literal["active", "suspended", "archived"], Any]] = [
            ("suspended", InboxSuspended),
            ("archived", NoSuchInbox),
            ("active", None),
        ]
        for status, expected in cases:
            await self.inboxes.update(
                ROOT, UpdateInbox(inbox_id=self.agent.inbox_id, status=status)
            )
            self.assertEqual(await self.accepts(self.agent.address), expected)
        self.assertEqual(InboxSuspended.smtp, "450 4.2.1")
        self.assertEqual(NoSuchInbox.smtp, "550 5.1.1")
        await self.inboxes.delete(ROOT, InboxById(inbox_id=self.agent.inbox_id))
        self.assertEqual(await self.accepts(self.agent.address), NoSuchInbox)

    async def test_suspended_agent(self) -> None:
        """An agent's inboxes are suspended with it."""
        made = await self.agents.create(
            self.ours, CreateAgent(name="a", default_inbox_username="worker")
        )
        self.assertIsNone(await self.accepts(f"worker@{DOMAIN}"))
        await self.agents.update(
            self.ours, UpdateAgent(agent_id=made.agent.agent_id, status="suspended")
        )
        self.assertEqual(await self.accepts(f"worker@{DOMAIN}"), InboxSuspended)

    async def test_postmaster(self) -> None:
        """Postmaster and abuse reach the operator's inbox (RFC 5321, 4.5.1; RFC 2142)."""
        self.assertEqual(await self.accepts("postmaster"), NoSuchInbox)
        async with self.database.system() as tx:
            await self.inboxes.add(
                tx,
                customer_id=str(self.ours.customer_id),
                deployment_id=await self.deployment_of(self.ours),
                agent_id=None,
                address=f"postmaster@{DOMAIN}",
                display_name=None,
                metadata={},
            )
        for path in (
            "postmaster",
            "PostMaster",
            f"POSTMASTER@{DOMAIN}",
            f"abuse@{DOMAIN}",
            f"abuse+x@{DOMAIN}",
        ):
            self.assertIsNone(await self.accepts(path), path)
        await self.inboxes.update(
            ROOT, UpdateInbox(inbox_id=f"postmaster@{DOMAIN}", status="suspended")
        )
        self.assertIsNone(await self.accepts("postmaster"))
        receipt = await self.receive(mail(), "postmaster")
        self.assertEqual(len(receipt.message_ids), 1)


class ReceiveTests(AppTest):
    """What is stored."""

    async def test_fields(self) -> None:
        """A mail's people, subject, text and preview, and its place."""
        message = await self.received(
            mail(
                "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
                message_id="1@example.com",
                header="Cc: Bob <bob@example.com>\r\nReply-To: r@example.com\r\n"
                "References: <0@example.com>\r\nDate: Sat, 31 Jan 2026 12:00:00 +0100\r\n",
            )
        )
        self.assertEqual(message.subject, "Grüße")
        self.assertEqual(json.loads(message.from_), ["Ada <ada@example.com>"])
        self.assertEqual(json.loads(message.to_), [f"agent@{DOMAIN}"])
        self.assertEqual(json.loads(message.cc), ["Bob <bob@example.com>"])
        self.assertEqual(json.loads(message.reply_to), ["r@example.com"])
        self.assertEqual(message.rfc_message_id, "1@example.com")
        self.assertEqual(message.reference_ids, ["0@example.com"])
        self.assertEqual(message.labels, ["received", "unread"])
        self.assertEqual((message.folder, message.uid), ("INBOX", 1))
        self.assertEqual((message.direction, message.state), ("inbound", "received"))
        self.assertEqual(message.preview, "Hello.")
        self.assertEqual(message.mail_from, "ada@example.com")
        self.assertEqual(str(message.sent_at), "2026-01-31 11:00:00+00:00")
        letter = await self.letter(message.message_id)
        self.assertEqual(letter.body.text, "Hello.\r\n".replace("\r\n", "\n"))
        self.assertEqual(letter.headers[0], ("Return-Path", "<ada@example.com>"))

    async def test_trace(self) -> None:
        """Return-Path and Received come first, and the octets follow as they came."""
        octets = mail()
        message = await self.received(octets)
        stored = await self.octets(message.message_id)
        self.assertTrue(stored.endswith(octets))
        self.assertTrue(
            stored.startswith(
                b"Return-Path: <ada@example.com>\r\nReceived: from mx.example.com"
            )
        )
        self.assertEqual(message.size, len(stored))
        told = header_of(stored, "Received") or ""
        self.assertIn(f"for <agent@{DOMAIN}>", told)
        await self.receive(mail(), self.agent.address, self.other.address)
        (newest,) = (await self.listed(self.agent))[1:]
        told = header_of(await self.octets(newest.message_id), "Received") or ""
        self.assertNotIn(" for ", told)

    async def test_null_reverse_path(self) -> None:
        """A notification has an empty Return-Path."""
        message = await self.received(mail(), mail_from="")
        self.assertEqual(
            header_of(await self.octets(message.message_id), "Return-Path"), "<>"
        )

    async def test_event(self) -> None:
        """The event tells of the message what a reader needs to decide."""
        message = await self.received(mail("Invoice"))
        ((type_, thread_id, data),) = await self.rows(
            "select type, thread_id, data from event where message_id = %(id)s",
            id=message.message_id,
        )
        self.assertEqual((type_, thread_id), ("message.received", message.thread_id))
        told = json.loads(data)["message"]
        self.assertEqual(told["id"], message.message_id)
        self.assertEqual(told["threadId"], message.thread_id)
        self.assertEqual(told["subject"], "Invoice")
        self.assertEqual(told["from"], ["Ada <ada@example.com>"])

    async def test_tags(self) -> None:
        """An inbox that is named with two tags has two messages, each with its tag."""
        await self.receive(
            mail(), f"agent+a@{DOMAIN}", f"agent+b@{DOMAIN}", f"Agent+a@{DOMAIN}"
        )
        self.assertEqual(
            # Their ids are of one millisecond: either may come first.
            sorted((one.tag, one.rcpt_to) for one in await self.listed(self.agent)),
            [("a", f"agent+a@{DOMAIN}"), ("b", f"agent+b@{DOMAIN}")],
        )
        self.assertEqual(len(await self.listed(self.agent, tag="a")), 1)

    async def test_inbox_of_whole_address(self) -> None:
        """Quoted, upper case and A-labels lead to the same inbox."""
        await self.receive(mail(), f'"AGENT"@{DOMAIN.upper()}')
        self.assertEqual(len(await self.listed(self.agent)), 1)

    async def test_two_customers(self) -> None:
        """A mail for two customers is stored for each, and each has its own."""
        receipt = await self.receive(mail(), self.agent.address, self.other.address)
        self.assertEqual(len(receipt.message_ids), 2)
        self.assertEqual(await self.value("select count(*) from content"), 2)
        for inbox in (self.agent, self.other):
            self.assertEqual(len(await self.listed(inbox)), 1)

    async def test_odd_octets(self) -> None:
        """Whatever comes is stored as it came, and can be listed and read."""
        for octets in (
            b"",
            b"\r\n",
            b"\n",
            b"no header at all",
            b" indented: x\r\n\r\nbody",
            b"Subject: bare\nFrom: a@b.example\n\nbody\n",
            bytes(range(256)),
            b'From: "a\x00b" <a\x00@b.example>\r\nSubject: \x00\r\n'
            b"Message-ID: <\x00@x>\r\nReferences: <\xed\xa0\x80@y>\r\n\r\n\x00",
            b"From: =?utf-8?q?a=00b?= <a@b.example>, <@>, <a@b@c>\r\nTo: ,,;\r\n\r\n",
            b"Content-Type: text/html\r\n\r\n<p>&#0;&#xd800;\xff<script>",
            b"Content-Type: text/plain; charset=utf-16\r\n\r\n\x00\xd8",
            b"Subject: " + "\N{GRINNING FACE}".encode() * 3000 + b"\r\n\r\n",
            b"Message-ID: <" + b"x" * 5000 + b"@y>\r\n\r\n",
            b"References: " + b"<a@b> " * 3000 + b"\r\n\r\n",
            b"To: " + b"a@b.example, " * 2000 + b"\r\n\r\n",
        ):
            receipt = await self.receive(octets)
            stored = await self.octets(receipt.message_ids[0])
            self.assertTrue(stored.endswith(octets))
            await self.letter(receipt.message_ids[0])
        self.assertEqual(len(await self.listed(self.agent)), 15)
        request = ListThreads(inbox_id=self.agent.inbox_id, limit=100)
        threads = await self.threads.list(self.ours, request)
        self.assertEqual(sum(one.message_count for one in threads.items), 15)

    async def test_many_words(self) -> None:
        """A text of more words than search can hold is stored all the same."""
        hyphened = "-".join(chr(0x10400 + n % 40) * 3 for n in range(60))
        words = " ".join(f"{hyphened}{n}" for n in range(2500))
        for body in (words, "a/b.c-d" * 200_000, " ".join(map(str, range(150_000)))):
            octets = mail(
                body=body, header="Content-Type: text/plain; charset=utf-8\r\n"
            )
            await self.receive(octets)
        self.assertEqual(len(await self.listed(self.agent)), 3)

    async def test_large(self) -> None:
        """A large mail is stored as it came, once for each customer."""
        third = await self.inbox(self.ours, "third")
        body = "\r\n".join("0123456789" * 7 for _ in range(20_000))
        octets = mail(body=body)
        receipt = await self.receive(octets, self.agent.address, third.address)
        for message_id in receipt.message_ids:
            self.assertTrue((await self.octets(message_id)).endswith(octets))
        self.assertEqual(await self.value("select count(*) from content"), 1)
        self.assertEqual(await self.value("select count(*) from spool"), 0)


class RefusalTests(AppTest):
    """What is not taken, and nothing of it stored."""

    async def refused(self, octets: bytes, *paths: str) -> Refusal:
        """The refusal; nothing is stored."""
        refusal: Refusal = await self.assertFailure(
            started(self.receive(octets, *paths)), Refusal
        )
        self.assertEqual(await self.value("select count(*) from message"), 0)
        return refusal

    async def test_loop(self) -> None:
        """Mail that has passed too many servers goes round (RFC 5321, 6.3)."""
        hop = "Received: from a by b; Sat, 31 Jan 2026 12:00:00 +0000\r\n"
        refusal = await self.refused(mail(header=hop * 30))
        self.assertIsInstance(refusal, MailLoop)
        await self.receive(mail(header=hop * 29))

    async def test_gone_since(self) -> None:
        """All gone is a refusal; of several, those that are there get their mail."""
        refusal = await self.refused(mail(), f"nobody@{DOMAIN}")
        self.assertIsInstance(refusal, NoSuchInbox)
        receipt = await self.receive(mail(), f"nobody@{DOMAIN}", self.agent.address)
        self.assertEqual(len(receipt.message_ids), 1)

    async def test_deleted_in_the_middle(self) -> None:
        """An inbox that goes while its mail is filed costs the others nothing."""
        known = await self.home(self.agent)
        await self.inboxes.delete(ROOT, InboxById(inbox_id=self.agent.inbox_id))
        # As a process that has not heard of it yet.
        self.directory._memory[self.agent.address] = (float("inf"), known)
        receipt = await self.receive(mail(), self.agent.address, self.other.address)
        self.assertEqual(len(receipt.message_ids), 1)
        self.directory._memory[self.agent.address] = (float("inf"), known)
        failing = started(self.receive(mail()))
        await self.assertFailure(failing, NoSuchInbox)

    async def test_suspended_since(self) -> None:
        """One of several that was suspended meanwhile gets what was accepted for it."""
        await self.inboxes.update(
            ROOT, UpdateInbox(inbox_id=self.agent.inbox_id, status="suspended")
        )
        refusal = await self.refused(mail())
        self.assertIsInstance(refusal, InboxSuspended)
        receipt = await self.receive(mail(), self.agent.address, self.other.address)
        self.assertEqual(len(receipt.message_ids), 2)

    async def test_database_away(self) -> None:
        """Without a database it is the peer's turn to try again, and nothing is stored."""
        await self.home(self.agent)
        await self.directory.find(self.agent.address)
        await self.pool.close()
        failing = [started(self.receive(mail())) for _ in range(3)]
        for one in failing:
            refusal = await self.assertFailure(one, TemporaryFailure)
            self.assertTrue(refusal.smtp.startswith("451"))


class AgainTests(AppTest):
    """The same mail again."""

    RETRIED = "Received: from a by b id 7; Sat, 31 Jan 2026 12:00:00 +0000\r\n"

    async def test_queueing_server(self) -> None:
        """A queueing server's second try is answered like the first, and not filed."""
        octets = mail(header=self.RETRIED)
        first = await self.receive(octets)
        second = await self.receive(octets)
        self.assertEqual(first.message_ids, second.message_ids)
        self.assertEqual(len(await self.listed(self.agent)), 1)
        both = await self.receive(octets, self.agent.address, self.other.address)
        self.assertEqual(both.message_ids[0], first.message_ids[0])
        self.assertEqual(len(await self.listed(self.other)), 1)

    async def test_large(self) -> None:
        """A large mail is recognised too."""
        octets = mail(header=self.RETRIED, body="x" * 400_000)
        first = await self.receive(octets)
        self.assertEqual((await self.receive(octets)).message_ids, first.message_ids)

    async def test_from_a_client(self) -> None:
        """What comes straight from a client is taken as often as it comes."""
        octets = mail()
        await self.receive(octets)
        await self.receive(octets)
        self.assertEqual(len(await self.listed(self.agent)), 2)

    async def test_other_envelope(self) -> None:
        """Another reverse-path, address or octets make another mail."""
        octets = mail(header=self.RETRIED)
        await self.receive(octets)
        await self.receive(octets, mail_from="bob@example.com")
        await self.receive(octets, f"agent+tag@{DOMAIN}")
        await self.receive(octets + b" ")
        self.assertEqual(len(await self.listed(self.agent)), 4)

    async def test_marked(self) -> None:
        """A delivery of our own that comes again is one mail."""
        for mark in (b"dlv_1", b"dlv_1", b"dlv_2"):
            await self.receiving.receive(
                transaction(self.agent.address), mail(message_id="1@x"), mark
            )
        self.assertEqual(len(await self.listed(self.agent)), 2)


class FilerTests(AppTest):
    """Group commit."""

    async def test_together(self) -> None:
        """What comes during one commit goes together in the next."""
        commits = await self.value("select pg_current_xact_id()::text::bigint")
        await gatherResults([started(self.receive(mail())) for _ in range(60)])
        after = await self.value("select pg_current_xact_id()::text::bigint")
        self.assertLess(after - commits, 45)
        uids = [one.uid for one in await self.listed(self.agent)]
        self.assertEqual(sorted(uids), list(range(1, 61)))

    async def test_bad_neighbour(self) -> None:
        """One that cannot be filed is told so, and its neighbours are filed."""
        known = await self.home(self.other)
        await self.inboxes.delete(ROOT, InboxById(inbox_id=self.other.inbox_id))
        self.directory._memory[self.other.address] = (float("inf"), known)
        work: list[Deferred[Any]] = [started(self.receive(mail())) for _ in range(5)]
        bad = started(self.receive(mail(), self.other.address))
        work += [started(self.receive(mail())) for _ in range(5)]
        await self.assertFailure(bad, NoSuchInbox)
        await gatherResults(work)
        self.assertEqual(len(await self.listed(self.agent)), 10)

    async def test_cancelled(self) -> None:
        """Who gives up waiting does not disturb the others."""
        work = [started(self.receive(mail())) for _ in range(10)]
        work[5].addErrback(lambda _: None)
        work[5].cancel()
        await gatherResults(work)
        await self.receive(mail())
        self.assertGreaterEqual(len(await self.listed(self.agent)), 10)
