"""Mail that an agent sends: who gets it, what it says, and what is refused."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import dkim
from attrs import evolve
from twisted.internet.defer import gatherResults

from noinfra.app.access import Access
from noinfra.app.requests import (
    ForwardMessage,
    NewAttachment,
    ReplyAllToMessage,
    ReplyToMessage,
    ReplyToThread,
    SendMessage,
    UpdateInbox,
)
from noinfra.app.seal import Seal
from noinfra.app.send import Sent
from noinfra.app.signing import Signing
from noinfra.errors import (
    IdempotencyMismatch,
    InboxSuspended,
    Invalid,
    NotFound,
    Refusal,
    TooLarge,
    TooManyRecipients,
)
from noinfra.model import Message
from tests.app.world import DOMAIN, AppTest, header_of, mail, started

FILE = NewAttachment(filename="a.pdf", content=b"%PDF", content_type="application/pdf")


class SendTest(AppTest):
    """A sender."""

    async def send(self, *to: str, by: Access | None = None, **more: Any) -> Sent:
        """A mail of the agent's."""
        known = {"inbox_id": self.agent.inbox_id, "to": list(to), "text": "Hi."}
        return await self.sending.send(
            by or self.ours, SendMessage(**{**known, **more})
        )

    async def parsed(self, sent: Sent) -> EmailMessage:
        """The mail as it is stored, read by others' software."""
        octets = await self.octets(sent.message.message_id)
        return email.message_from_bytes(octets, policy=email.policy.default)

    async def recipients(self, sent: Sent) -> list[str]:
        """Who gets a copy."""
        letter = await self.letter(sent.message.message_id)
        return sorted(one.rcpt_to for one in letter.deliveries)

    async def answer(self, original: Message, **more: Any) -> Sent:
        """A reply to a message."""
        request = ReplyToMessage(
            inbox_id=self.agent.inbox_id,
            message_id=original.message_id,
            text="Yes.",
            **more,
        )
        return await self.sending.reply(self.ours, request)

    async def answer_all(self, original: Message, **more: Any) -> Sent:
        """A reply to all."""
        request = ReplyAllToMessage(
            inbox_id=self.agent.inbox_id,
            message_id=original.message_id,
            text="Yes.",
            **more,
        )
        return await self.sending.reply_all(self.ours, request)


class NewMailTests(SendTest):
    """A new mail."""

    async def test_recipients(self) -> None:
        """To and Cc are in the header, Bcc is not; everyone has one delivery."""
        sent = await self.send(
            "Ada <ada@example.com>",
            "bob@example.com",
            cc=["cleo@example.com", "Ada again <ada@EXAMPLE.com>"],
            bcc=["dan@example.net", "bob@example.com"],
            subject="Grüße",
        )
        message = await self.parsed(sent)
        self.assertEqual(message["To"], "Ada <ada@example.com>, bob@example.com")
        self.assertEqual(message["Subject"], "Grüße")
        self.assertEqual(message["From"], self.agent.address)
        octets = await self.octets(sent.message.message_id)
        self.assertNotIn(b"dan@", octets)
        self.assertIsNone(header_of(octets, "Bcc"))
        self.assertEqual(
            await self.recipients(sent),
            [
                "ada@example.com",
                "bob@example.com",
                "cleo@example.com",
                "dan@example.net",
            ],
        )
        stored = sent.message
        self.assertEqual(json.loads(stored.bcc), ["dan@example.net", "bob@example.com"])
        self.assertEqual((stored.folder, stored.labels), ("Sent", ["sent"]))
        self.assertEqual((stored.direction, stored.state), ("outbound", "queued"))
        self.assertEqual(stored.mail_from, self.agent.address)
        self.assertTrue(sent.created)

    async def test_bodies(self) -> None:
        """Text, HTML, files and the caller's own fields."""
        sent = await self.send(
            "ada@example.com",
            html="<p>Hi.",
            attachments=[FILE],
            headers={"X-Task": "7"},
            labels=["outreach"],
            auto_submitted="auto-generated",
            reply_to=["r@example.com"],
        )
        message = await self.parsed(sent)
        self.assertEqual(message["X-Task"], "7")
        self.assertEqual(message["Auto-Submitted"], "auto-generated")
        self.assertEqual(message["Reply-To"], "r@example.com")
        (file,) = message.iter_attachments()
        self.assertEqual(file.get_filename(), "a.pdf")
        self.assertEqual(file.get_content(), b"%PDF")
        self.assertEqual(sent.message.labels, ["outreach", "sent"])
        (told,) = json.loads(sent.message.attachments)
        self.assertEqual((told["filename"], told["size"]), ("a.pdf", 4))

    async def test_only_bcc(self) -> None:
        """Bcc alone will do, and nobody is named."""
        sent = await self.send(bcc=["ada@example.com"])
        self.assertEqual(await self.recipients(sent), ["ada@example.com"])
        self.assertNotIn(b"ada@", await self.octets(sent.message.message_id))

    async def test_display_name(self) -> None:
        """From bears the inbox's name."""
        await self.inboxes.update(
            self.ours,
            UpdateInbox(inbox_id=self.agent.inbox_id, display_name="Ägent, the"),
        )
        message = await self.parsed(await self.send("ada@example.com"))
        self.assertEqual(message["From"].addresses[0].display_name, "Ägent, the")

    async def test_unusual_domains(self) -> None:
        """Each destination is a domain as the DNS has it."""
        sent = await self.send("a@Bücher.example", "b@xn--bcher-kva.EXAMPLE")
        rows = await self.rows(
            "select distinct destination from delivery where message_id = %(id)s",
            id=sent.message.message_id,
        )
        self.assertEqual(rows, [("xn--bcher-kva.example",)])


class RefusedTests(SendTest):
    """What is refused, before anything is stored."""

    async def refused(self, kind: type[Refusal], *to: str, **more: Any) -> Refusal:
        """The refusal; nothing is stored."""
        refusal: Refusal = await self.assertFailure(
            started(self.send(*to, **more)), kind
        )
        self.assertEqual(await self.value("select count(*) from message"), 0)
        self.assertEqual(await self.value("select count(*) from delivery"), 0)
        return refusal

    async def test_recipients(self) -> None:
        """Nobody; too many; what is no address, with its place."""
        await self.refused(Invalid)
        many = [f"a{n}@example.com" for n in range(51)]
        await self.refused(TooManyRecipients, *many)
        await self.refused(TooManyRecipients, *many[:20], cc=many[20:40], bcc=many[40:])
        await self.refused(Invalid, "ada@")
        refusal = await self.refused(Invalid, "a@b.example", cc=["a@b.example", "x y"])
        self.assertEqual(refusal.details["field"], "cc[1]")
        await self.refused(Invalid, "a@b.example, c@d.example")
        await self.refused(Invalid, "a@" + "x" * 300)

    async def test_fifty(self) -> None:
        """Fifty are taken; one who is named twice counts once."""
        many = [f"a{n}@example.com" for n in range(50)]
        sent = await self.send(*many, cc=many)
        self.assertEqual(len(await self.recipients(sent)), 50)

    async def test_size(self) -> None:
        """Larger than others take."""
        file = NewAttachment(filename="a", content=b"x" * 2_000_001)
        await self.refused(TooLarge, "a@example.com", attachments=[file])
        file = NewAttachment(filename="a", content=b"x" * 1_600_000)
        await self.refused(TooLarge, "a@example.com", attachments=[file])
        await self.refused(TooLarge, "a@example.com", text="ä" * 1_900_000)

    async def test_injection(self) -> None:
        """No field of the caller's gets a line of its own into the header."""
        evil = "x\r\nBcc: evil@example.net"
        cases: list[dict[str, Any]] = []
        for text in (evil, evil.replace("\r", ""), evil.replace("\n", ""), "x\0y"):
            cases += [
                {"subject": text},
                {"to": [f'"{text}" <a@b.example>']},
                {"to": [f"{text}@b.example"]},
                {"cc": [f"{text} <a@b.example>"]},
                {"bcc": [f"a@b.example\r\n {text}"]},
                {"reply_to": [f'"{text}" <a@b.example>']},
                {"headers": {"X-A": text}},
                {"headers": {text: "x"}},
                {"headers": {"X-A:": "x"}},
                {"attachments": [NewAttachment(filename=text, content=b"")]},
                {
                    "attachments": [
                        NewAttachment(filename="a", content=b"", content_type=text)
                    ]
                },
                {
                    "attachments": [
                        NewAttachment(filename="a", content=b"", content_id=text)
                    ]
                },
            ]
        for case in cases:
            try:
                sent = await self.send(*case.pop("to", ["a@b.example"]), **case)
            except Invalid:
                continue
            message = await self.parsed(sent)
            self.assertIsNone(message["Bcc"], case)
            self.assertNotIn("evil@example.net", await self.recipients(sent), case)

    async def test_made_for_you(self) -> None:
        """Fields that we make are not the caller's to set."""
        for name in ("From", "bcc", "DKIM-Signature", "Message-ID", "Content-Type"):
            refusal = await self.refused(Invalid, "a@example.com", headers={name: "x"})
            self.assertEqual(str(refusal.details["field"]).lower(), name.lower())

    async def test_labels(self) -> None:
        """The server's own labels."""
        for label in ("sent", "received"):
            await self.refused(Invalid, "a@example.com", labels=[label])

    async def test_suspended(self) -> None:
        """A suspended or archived inbox sends nothing."""
        for status in ("suspended", "archived"):
            request: Any = {"inbox_id": self.agent.inbox_id, "status": status}
            await self.inboxes.update(self.ours, UpdateInbox(**request))
            await self.refused(InboxSuspended, "a@example.com")

    async def test_scope(self) -> None:
        """Another's inbox is not there."""
        await self.refused(NotFound, "a@example.com", by=self.theirs)
        narrow = evolve(self.ours, inbox_id="inb_other")
        await self.refused(NotFound, "a@example.com", by=narrow)

    async def test_display_name(self) -> None:
        """A name that cannot stand in a header is refused where it is set."""
        for name in ("a\r\nb", "a\0b"):
            request = UpdateInbox(inbox_id=self.agent.inbox_id, display_name=name)
            await self.assertFailure(
                started(self.inboxes.update(self.ours, request)), Invalid
            )


class ReplyTests(SendTest):
    """Answers."""

    async def test_headers(self) -> None:
        """In-Reply-To and References (RFC 5322, 3.6.4), Re:, and the thread."""
        original = await self.received(
            mail("Invoice", message_id="2@x", header="References: <0@x> <1@x>\r\n")
        )
        sent = await self.answer(original)
        octets = await self.octets(sent.message.message_id)
        self.assertEqual(header_of(octets, "In-Reply-To"), "<2@x>")
        self.assertEqual(header_of(octets, "References"), "<0@x> <1@x> <2@x>")
        self.assertEqual(header_of(octets, "Subject"), "Re: Invoice")
        self.assertEqual(sent.message.thread_id, original.thread_id)
        again = await self.answer(await self.received(mail("Re: Invoice")))
        self.assertEqual(again.message.subject, "Re: Invoice")

    async def test_odd_message_id(self) -> None:
        """An answer joins its thread, also where the original's id fits no header."""
        for id_ in ("a b@x", "ä@x", "x" * 1200):
            original = await self.received(mail(message_id=id_))
            sent = await self.answer(original)
            self.assertEqual(sent.message.thread_id, original.thread_id, id_)

    async def test_who(self) -> None:
        """Reply-To before From; To, where the caller says so."""
        plain = await self.received(mail())
        other = await self.received(
            mail(header="Reply-To: list@example.com, b@example.com\r\n")
        )
        for original, more, expected in (
            (plain, {}, ["ada@example.com"]),
            (other, {}, ["b@example.com", "list@example.com"]),
            (other, {"to": ["c@example.com"]}, ["c@example.com"]),
            (plain, {"cc": ["d@example.com"]}, ["ada@example.com", "d@example.com"]),
        ):
            sent = await self.answer(original, **more)
            self.assertEqual(await self.recipients(sent), expected)

    async def test_all(self) -> None:
        """The sender in To, the others in Cc, ourselves under no tag, each once."""
        original = await self.received(
            mail(
                to=f"Agent <AGENT@{DOMAIN}>, agent+tag@{DOMAIN}, bob@example.com,"
                " ada@EXAMPLE.com",
                header="Cc: cleo@example.com, Bob <bob@example.com>\r\n",
            )
        )
        sent = await self.answer_all(original, cc=["dan@example.com"])
        message = await self.parsed(sent)
        self.assertEqual(message["To"], "Ada <ada@example.com>")
        self.assertEqual(
            message["Cc"], "bob@example.com, cleo@example.com, dan@example.com"
        )
        self.assertEqual(len(await self.recipients(sent)), 4)

    async def test_own_mail(self) -> None:
        """An answer to our own mail goes where that went."""
        first = await self.send("ada@example.com", cc=["bob@example.com"], subject="S")
        sent = await self.answer(first.message)
        self.assertEqual(await self.recipients(sent), ["ada@example.com"])
        self.assertEqual(sent.message.thread_id, first.message.thread_id)
        sent = await self.answer_all(first.message)
        self.assertEqual(
            await self.recipients(sent), ["ada@example.com", "bob@example.com"]
        )

    async def test_nobody_to_answer(self) -> None:
        """A mail whose people cannot be written to has no answer, but has one to others."""
        for from_ in ("root", "<@>", "a@" + "x" * 70 + ".example", "a@-.example", ""):
            original = await self.received(mail(from_=from_))
            await self.assertFailure(started(self.answer(original)), Invalid)
            await self.assertFailure(started(self.answer_all(original)), Invalid)
            sent = await self.answer(original, to=["ada@example.com"])
            self.assertEqual(await self.recipients(sent), ["ada@example.com"])

    async def test_thread(self) -> None:
        """An answer to a thread answers its newest message."""
        first = await self.received(mail(message_id="1@x"))
        await self.received(
            mail(
                message_id="2@x",
                from_="bob@example.com",
                to=f"agent@{DOMAIN}, cleo@example.com",
                header="In-Reply-To: <1@x>\r\n",
            )
        )
        for reply_all, expected in (
            (False, ["bob@example.com"]),
            (True, ["bob@example.com", "cleo@example.com"]),
        ):
            request = ReplyToThread(
                inbox_id=self.agent.inbox_id,
                thread_id=first.thread_id,
                text="Yes.",
                reply_all=reply_all,
            )
            if reply_all:
                await self.rows(
                    "delete from delivery where message_id in"
                    " (select message_id from message where direction = 'outbound')"
                    " returning 1"
                )
                await self.rows(
                    "delete from message where direction = 'outbound' returning 1"
                )
            sent = await self.sending.reply_to_thread(self.ours, request)
            self.assertEqual(await self.recipients(sent), expected)
            octets = await self.octets(sent.message.message_id)
            self.assertEqual(header_of(octets, "In-Reply-To"), "<2@x>")
        missing = ReplyToThread(inbox_id=self.agent.inbox_id, thread_id="thr_x")
        await self.assertFailure(
            started(self.sending.reply_to_thread(self.ours, missing)), NotFound
        )

    async def test_scope(self) -> None:
        """A message of another inbox cannot be answered."""
        await self.receive(mail(), self.other.address)
        (theirs,) = await self.listed(self.other)
        await self.assertFailure(started(self.answer(theirs)), NotFound)


class ForwardTests(SendTest):
    """A message sent on."""

    async def forward(self, original: Message, *to: str, **more: Any) -> Sent:
        """Send it on."""
        request = ForwardMessage(
            inbox_id=self.agent.inbox_id,
            message_id=original.message_id,
            to=list(to),
            **more,
        )
        return await self.sending.forward(self.ours, request)

    async def test_files(self) -> None:
        """With its text and its files, and the files of the note."""
        original = await self.received(
            mail(
                "Invoice",
                header="Content-Type: multipart/mixed; boundary=b\r\n",
                body="--b\r\n\r\nThe text.\r\n"
                "--b\r\nContent-Type: application/pdf; name=a.pdf\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n"
                "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n"
                "--b\r\nContent-Type: multipart\r\n\r\nodd\r\n--b--\r\n",
            )
        )
        sent = await self.forward(
            original, "bob@example.com", text="See below.", attachments=[FILE]
        )
        message = await self.parsed(sent)
        self.assertEqual(message["Subject"], "Fwd: Invoice")
        body = message.get_body(("plain",))
        assert body is not None
        text = body.get_content()
        self.assertTrue(text.startswith("See below."))
        self.assertIn("The text.", text)
        self.assertIn("Ada <ada@example.com>", text)
        files = list(message.iter_attachments())
        self.assertEqual(files[0].get_content(), b"%PDF")
        self.assertEqual(files[-1].get_content(), b"%PDF")
        self.assertIn("message/rfc822", [one.get_content_type() for one in files])
        self.assertEqual(await self.recipients(sent), ["bob@example.com"])
        self.assertEqual(sent.message.thread_id, original.thread_id)

    async def test_html(self) -> None:
        """HTML is sent on as HTML, the note escaped."""
        original = await self.received(
            mail(header="Content-Type: text/html\r\n", body="<p>Bold</p>")
        )
        sent = await self.forward(original, "bob@example.com", text="1 < 2")
        body = (await self.parsed(sent)).get_body(("html",))
        assert body is not None
        self.assertIn("1 &lt; 2", body.get_content())
        self.assertIn("Bold", body.get_content())

    async def test_odd(self) -> None:
        """Whatever came can be sent on."""
        for octets in (b"", b"x", bytes(range(256)), b"Subject: \xff\r\n\r\n\xff"):
            original = await self.received(octets)
            await self.forward(original, "bob@example.com")

    async def test_subject(self) -> None:
        """The caller's subject, if there is one."""
        original = await self.received(mail())
        sent = await self.forward(original, "bob@example.com", subject="Look")
        self.assertEqual(sent.message.subject, "Look")


class IdempotencyTests(SendTest):
    """The same request again."""

    async def test_again(self) -> None:
        """The same key and request send once; the answer is that of the first."""
        first = await self.send("a@example.com", idempotency_key="k")
        again = await self.send("a@example.com", idempotency_key="k")
        self.assertEqual((first.created, again.created), (True, False))
        self.assertEqual(first.message.message_id, again.message.message_id)
        self.assertEqual(await self.value("select count(*) from delivery"), 1)

    async def test_other_request(self) -> None:
        """The key for another request is refused."""
        await self.send("a@example.com", idempotency_key="k")
        await self.assertFailure(
            started(self.send("b@example.com", idempotency_key="k")),
            IdempotencyMismatch,
        )
        await self.send("b@example.com", idempotency_key="k2")

    async def test_other_inbox(self) -> None:
        """Each inbox has keys of its own."""
        second = await self.inbox(self.ours, "second")
        await self.send("a@example.com", idempotency_key="k")
        sent = await self.send(
            "a@example.com", idempotency_key="k", inbox_id=second.inbox_id
        )
        self.assertTrue(sent.created)

    async def test_at_once(self) -> None:
        """The same request many times at once sends once, and nobody fails."""
        sent = await gatherResults(
            [
                started(self.send("a@example.com", idempotency_key="k"))
                for _ in range(12)
            ]
        )
        self.assertEqual(len({one.message.message_id for one in sent}), 1)
        self.assertEqual([one.created for one in sent].count(True), 1)
        self.assertEqual(await self.value("select count(*) from message"), 1)

    async def test_refused(self) -> None:
        """A refused request does not use its key up."""
        await self.assertFailure(
            started(self.send("nonsense", idempotency_key="k")), Invalid
        )
        self.assertTrue((await self.send("a@example.com", idempotency_key="k")).created)


class SigningTests(SendTest):
    """DKIM (RFC 6376, RFC 8463)."""

    async def records(self, signing: Signing) -> Callable[..., bytes | None]:
        """The DNS as it would be published."""
        published = {
            f"{one.name}.": one.text.encode() for one in await signing.records(DOMAIN)
        }

        def txt(name: bytes, timeout: int = 5) -> bytes | None:
            return published.get(name.decode())

        return txt

    async def test_verifies(self) -> None:
        """What is sent verifies by the records, and what arrives here still does."""
        sent = await self.send(
            "a@example.com", subject="Grüße", html="<p>x", attachments=[FILE]
        )
        octets = await self.octets(sent.message.message_id)
        txt = await self.records(self.signing)
        for index in range(2):
            self.assertTrue(dkim.DKIM(octets).verify(index, dnsfunc=txt))
        await self.receive(octets, self.other.address)
        (arrived,) = await self.listed(self.other)
        got = await self.octets(arrived.message_id)
        for index in range(2):
            self.assertTrue(dkim.DKIM(got).verify(index, dnsfunc=txt))
        changed = octets.replace(b"Subject:", b"Subject: x")
        self.assertFalse(dkim.DKIM(changed).verify(0, dnsfunc=txt))

    async def test_two_daemons(self) -> None:
        """Another seal has keys of its own; both are published, and each one's verify."""
        other = Signing(self.database, Seal(b"o" * 32))
        octets = mail(from_=self.agent.address)
        signed = await gatherResults(
            [started(other.sign(octets, DOMAIN)) for _ in range(5)]
        )
        txt = await self.records(self.signing)
        self.assertEqual(len(await self.signing.records(DOMAIN)), 4)
        for one in signed:
            self.assertTrue(dkim.DKIM(one).verify(0, dnsfunc=txt))
        self.assertEqual(await self.value("select count(*) from dkim_key"), 4)

    async def test_failing(self) -> None:
        """If keys cannot be had, everyone who waits is told, and later it works."""
        await self.rows("update dkim_key set sealed = 'x' returning 1")
        signing = Signing(self.database, self.signing.seal)
        failing = [started(signing.sign(mail(), DOMAIN)) for _ in range(3)]
        for one in failing:
            await self.assertFailure(one, Exception)
        await self.rows("delete from dkim_key returning 1")
        self.assertIn(b"DKIM-Signature", await signing.sign(mail(), DOMAIN))
