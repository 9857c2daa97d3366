"""Mail by SMTP submission: who may send as whom, what is stored, and what is told."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Email

import msgspec
from attrs import evolve

from noinfra.app.access import PERMISSIONS, Access
from noinfra.app.bootstrap import Bootstrap
from noinfra.app.directory import Directory
from noinfra.app.filer import Filer
from noinfra.app.homes import Homes
from noinfra.app.inboxes import Inboxes
from noinfra.app.keys import Keys
from noinfra.app.letters import Letters
from noinfra.app.mailbox_access import Logins
from noinfra.app.notify import Notifier
from noinfra.app.passwords import Passwords
from noinfra.app.receive import Receive
from noinfra.app.release import Release
from noinfra.app.requests import CreateInbox, InboxById, KeyById, UpdateInbox
from noinfra.app.seal import Seal
from noinfra.app.signing import Signing
from noinfra.app.submit import Sender, Submit
from noinfra.errors import (
    BadContent,
    Forbidden,
    InboxSuspended,
    NoSuchInbox,
    Refusal,
    Unauthenticated,
)
from noinfra.model import Attempt, Client, Forward, Message, Transaction
from noinfra.store.messages import Messages
from noinfra.store.queue import Claimed, Queue, Settlement, settle
from noinfra.store.tenants import Customers
from tests.postgres import DatabaseTest

DOMAIN = "agents.example"
MINE = f"me@{DOMAIN}"
LIFETIME = timedelta(days=5)
CLIENT = Client(
    address="192.0.2.1", helo="laptop", protocol="ESMTPSA", tls="TLSv1.3 CIPHER"
)


def mail(*fields: str, body: str = "hi\r\n") -> bytes:
    """A mail with these fields."""
    return ("".join(f"{one}\r\n" for one in fields) + "\r\n" + body).encode()


def parts(email: Email) -> list[Email]:
    """What a mail or a part of one is made of."""
    return [one for one in email.get_payload() if isinstance(one, Email)]


class SubmitTest(DatabaseTest):
    """An inbox, me@, another, other@, and a key of their customer."""

    async def setUp(self) -> None:
        await super().setUp()
        self.time = datetime(2026, 1, 31, 12, tzinfo=UTC)
        directory = Directory(
            database=self.database,
            domains=frozenset((DOMAIN,)),
            postmaster=f"postmaster@{DOMAIN}",
        )
        homes, filer = Homes(directory), Filer(self.database)
        self.letters = Letters(self.database)
        passwords = Passwords(self.database)
        self.inboxes = Inboxes(self.database, directory, homes, DOMAIN, passwords)
        self.keys = Keys(self.database, directory)
        await Bootstrap(self.database, self.inboxes, self.keys).prepare(
            f"postmaster@{DOMAIN}"
        )
        oldest = await Customers(self.database.single(None)).oldest()
        assert oldest is not None
        self.customer_id = oldest
        self.access = Access(
            key_id="key_test",
            customer_id=oldest,
            deployment_id=None,
            inbox_id=None,
            permissions=PERMISSIONS,
        )
        for name in ("me", "other"):
            await self.inboxes.create(self.access, CreateInbox(username=name))
        self.homes = homes
        self.passwords = Passwords(self.database)
        self.receive = Receive(
            directory=directory, filer=filer, hostname="mx.example", hops=50
        )
        self.submit = Submit(
            logins=Logins(self.database, self.keys, homes, self.passwords),
            directory=directory,
            release=Release(
                filer=filer,
                signing=Signing(self.database, Seal(bytes(32))),
                lifetime=LIFETIME,
                now=lambda: self.time,
            ),
            hostname="mx.example",
            now=lambda: self.time,
        )
        self.key = await self.keys.make(name="all", customer_id=oldest)
        self.sender = await self.submit.log_in(MINE, self.key.secret)

    async def refused(
        self, wanted: type[Refusal], trying: Awaitable[object]
    ) -> Refusal:
        """The refusal that something ends with."""
        with self.assertRaises(wanted) as caught:
            await trying
        refusal: Refusal = caught.exception
        return refusal

    async def send(
        self,
        octets: bytes,
        *rcpt_to: Forward,
        mail_from: str = MINE,
        ret: str | None = None,
        envid: str | None = None,
    ) -> Message:
        """What the store has of a mail that was submitted."""
        transaction = Transaction(
            client=CLIENT,
            mail_from=mail_from,
            rcpt_to=rcpt_to or (Forward(path="a@example.net"),),
            ret=ret,
            envid=envid,
        )
        await self.sender.begin(transaction)
        for forward in transaction.rcpt_to:
            await self.sender.accept(transaction, forward)
        receipt = await self.sender.submit(transaction, octets)
        self.assertEqual(receipt.message_ids, (receipt.queue_id,))
        home = await self.homes.of(self.access, MINE)
        return await self.letters.message(home, receipt.queue_id)

    async def stored(self, message: Message) -> tuple[bytes, Email]:
        """The octets, and what another reader makes of them."""
        octets = await self.letters.octets(message)
        return octets, message_from_bytes(octets)


class LoginTests(SubmitTest):
    async def test_any_case(self) -> None:
        """The address may be written in any case."""
        await self.submit.log_in("Me@Agents.Example", self.key.secret)

    async def test_bad(self) -> None:
        """A wrong secret, inbox or form is refused."""
        for address, secret in (
            (MINE, "wrong"),
            (MINE, ""),
            (f"none@{DOMAIN}", self.key.secret),
            ("", self.key.secret),
            ("a b@c", self.key.secret),
            (MINE, "\0"),
        ):
            await self.refused(Unauthenticated, self.submit.log_in(address, secret))

    async def test_password(self) -> None:
        """The inbox's own password serves as well, until it is changed."""
        home = await self.homes.of(self.access, MINE)
        password = await self.passwords.rotate(home)
        self.sender = await self.submit.log_in(MINE, password.secret)
        message = await self.send(mail(f"From: {MINE}"))
        self.assertEqual(message.key_id, password.password_id)
        await self.passwords.rotate(home)
        await self.refused(Unauthenticated, self.send(mail(f"From: {MINE}")))
        await self.refused(Unauthenticated, self.submit.log_in(MINE, password.secret))

    async def test_confined(self) -> None:
        """A key that is confined to another inbox is as good as none."""
        other = await self.inboxes.get(
            self.access, InboxById(inbox_id=f"other@{DOMAIN}")
        )
        key = await self.keys.make(
            name="other", customer_id=self.customer_id, inbox_id=other.inbox_id
        )
        await self.submit.log_in(f"other@{DOMAIN}", key.secret)
        await self.refused(Unauthenticated, self.submit.log_in(MINE, key.secret))

    async def test_permission(self) -> None:
        """A key without messages:send is told what it lacks."""
        key = await self.keys.make(
            name="reader",
            customer_id=self.customer_id,
            permissions=frozenset({"messages:read"}),
        )
        refusal = await self.refused(Forbidden, self.submit.log_in(MINE, key.secret))
        self.assertIn("messages:send", refusal.text)

    async def test_revoked(self) -> None:
        """A key that is revoked begins no mail, and ends the one that it began."""
        transaction = Transaction(
            client=CLIENT, mail_from=MINE, rcpt_to=(Forward(path="a@example.net"),)
        )
        await self.sender.begin(transaction)
        await self.keys.revoke(self.access, KeyById(key_id=self.key.key.key_id))
        await self.refused(Unauthenticated, self.sender.begin(transaction))
        octets = mail(f"From: {MINE}")
        await self.refused(Unauthenticated, self.sender.submit(transaction, octets))

    async def test_deleted(self) -> None:
        """Where the inbox has gone, nothing is begun."""
        await self.inboxes.delete(self.access, InboxById(inbox_id=MINE))
        transaction = Transaction(client=CLIENT, mail_from=MINE)
        await self.refused(Unauthenticated, self.sender.begin(transaction))


class AddressTests(SubmitTest):
    async def begin(self, mail_from: str, sender: Sender | None = None) -> None:
        transaction = Transaction(client=CLIENT, mail_from=mail_from)
        await (sender or self.sender).begin(transaction)

    async def test_reverse_path(self) -> None:
        """MAIL has the inbox's own address, or a subaddress of it, in any case."""
        for mail_from in (MINE, f"Me+News@{DOMAIN}", f"ME@{DOMAIN.upper()}"):
            await self.begin(mail_from)
        for mail_from in (
            *("", f"other@{DOMAIN}", "me@example.net", f"none@{DOMAIN}"),
            *(f"postmaster@{DOMAIN}", f"other+me@{DOMAIN}", "postmaster@example.net"),
        ):
            refusal = await self.refused(Forbidden, self.begin(mail_from))
            self.assertEqual(refusal.smtp, "550 5.7.1")

    async def test_inbox_within(self) -> None:
        """A subaddress that is somebody's own address is that inbox's alone."""
        async with self.database.system() as tx:
            inbox = await self.inboxes.get(self.access, InboxById(inbox_id=MINE))
            await self.inboxes.add(
                tx,
                customer_id=self.customer_id,
                deployment_id=inbox.deployment_id,
                agent_id=None,
                address=f"me+vip@{DOMAIN}",
                display_name=None,
                metadata={},
            )
        await self.refused(Forbidden, self.begin(f"me+vip@{DOMAIN}"))

    async def test_roles(self) -> None:
        """The operator's inbox sends as postmaster and abuse, of our domains alone."""
        sender = await self.submit.log_in(f"postmaster@{DOMAIN}", self.key.secret)
        for name in ("postmaster", "abuse"):
            await self.begin(f"{name}@{DOMAIN}", sender)
            trying = self.begin(f"{name}@example.net", sender)
            await self.refused(Forbidden, trying)

    async def test_suspended(self) -> None:
        """An inbox that is suspended sends nothing; the client may try later."""
        await self.inboxes.update(
            self.access, UpdateInbox(inbox_id=MINE, status="suspended")
        )
        refusal = await self.refused(InboxSuspended, self.begin(MINE))
        self.assertEqual(refusal.smtp, "450 4.2.1")

    async def test_authors(self) -> None:
        """Each address in From and Sender is the inbox's own."""
        for fields in (
            [f"From: {MINE}"],
            [f'From: "Me, myself" <Me+x@{DOMAIN}>, {MINE}'],
            [f"From:\r\n =?utf-8?q?M=C3=A9?= <{MINE}>", f"Sender: {MINE}"],
            [f"from: Mé <{MINE}>"],
        ):
            await self.send(mail(*fields))
        for fields in (
            [f"From: other@{DOMAIN}"],
            [f"From: {MINE}, ceo@example.net"],
            [f"From: {MINE}", "Sender: ceo@example.net"],
            [f"From: {MINE}", f"Sender: {MINE}, a@example.net"],
            [f"From: {MINE}@example.net"],
            ["From: me@-"],
        ):
            octets = mail(*fields)
            with self.assertRaises((Forbidden, BadContent), msg=str(fields)) as caught:
                await self.send(octets)
            self.assertIn(caught.exception.smtp, ("550 5.7.1", "554 5.6.0"))

    async def test_unsound(self) -> None:
        """A header that readers would read in different ways is refused."""
        for octets in (
            mail("Subject: x"),
            mail("From:"),
            mail("From: undisclosed:;"),
            mail("From: me"),
            mail(f"From: ceo@example.net <{MINE}>"),
            mail(f"From: <ceo@example.net> <{MINE}>"),
            mail(f"From: {MINE}", "From: ceo@example.net"),
            mail(f"From: {MINE}", "Sender: a@b.example", f"Sender: {MINE}"),
            mail(f"From: {MINE}", "Subject: a", "subject: b"),
            mail(f"From: {MINE}", "no field", "From: ceo@example.net"),
            mail(f"From: {MINE}\0"),
            mail("From ceo@example.net Mon", f"From: {MINE}"),
            mail(f" From: {MINE}"),
            mail(f"From : {MINE}"),
            b"",
            b"hello\r\n",
            b"\r\n" + mail(f"From: {MINE}"),
        ):
            refusal = await self.refused(BadContent, self.send(octets))
            self.assertEqual(refusal.smtp, "554 5.6.0")

    async def test_recipients(self) -> None:
        """Nobody of ours is refused at once; the rest is for the queue to find out."""
        transaction = Transaction(client=CLIENT, mail_from=MINE)
        await self.inboxes.update(
            self.access, UpdateInbox(inbox_id=f"other@{DOMAIN}", status="suspended")
        )
        for path in (
            f"Other+x@{DOMAIN}",
            "Postmaster",
            "x@example.net",
            "é@bü.example",
        ):
            await self.sender.accept(transaction, Forward(path=path))
        trying = self.sender.accept(transaction, Forward(path=f"none@{DOMAIN}"))
        self.assertEqual((await self.refused(NoSuchInbox, trying)).smtp, "550 5.1.1")


class StoredTests(SubmitTest):
    async def test_as_sent(self) -> None:
        """The mail is as it was sent, below our fields, and without Bcc."""
        kept = (
            f"Subject: Hi\r\nFrom: Me <{MINE}>\r\nTo: A <a@example.net>,\r\n b@example.net"
            "\r\nDate: Fri, 30 Jan 2026 12:00:00 +0100\r\nMessage-ID: <own@laptop>\r\n"
            "In-Reply-To: <q@example.net>\r\nX-Odd:  two  blanks\r\n"
            'Content-Type: multipart/mixed; boundary="x"\r\n'
        ).encode()
        body = b"\r\npre\r\n--x\r\n\r\none \r\n\r\n--x\r\nA: b\r\n\r\n\xff\0\r\n--x--\r\npost"
        octets = b"Return-Path: <x@y>\r\nBcc: c@example.net,\r\n d@example.net\r\n"
        message = await self.send(
            octets + kept + body,
            *(Forward(path=f"{name}@example.net") for name in "abc"),
            Forward(path="C@EXAMPLE.NET"),
            Forward(path="c@EXAMPLE.net"),
        )
        whole, email = await self.stored(message)
        self.assertTrue(whole.endswith(kept + body))
        ours = whole.removesuffix(kept + body)
        self.assertNotIn(b"\nBcc", ours)
        self.assertEqual(email.keys()[:3], ["DKIM-Signature"] * 2 + ["Received"])
        self.assertEqual(email["Message-ID"], "<own@laptop>")
        self.assertEqual(message.rfc_message_id, "own@laptop")
        self.assertEqual(message.in_reply_to, "q@example.net")
        self.assertEqual(message.sent_at, datetime(2026, 1, 30, 11, tzinfo=UTC))
        self.assertEqual(message.labels, ["sent"])
        self.assertEqual((message.folder, message.direction), ("Sent", "outbound"))
        self.assertEqual(message.key_id, self.key.key.key_id)
        to = msgspec.json.decode(message.to_)
        self.assertEqual(to, ["A <a@example.net>", "b@example.net"])
        # The local part's case is the recipient's own affair; the domain's is not.
        bcc = msgspec.json.decode(message.bcc)
        self.assertEqual(bcc, ["c@example.net", "C@EXAMPLE.NET"])

    async def test_trace(self) -> None:
        """Received tells of the login and of TLS, and of the recipient if it is one."""
        _, email = await self.stored(await self.send(mail(f"From: {MINE}")))
        received = " ".join(str(email["Received"]).split())
        self.assertRegex(
            received,
            r"^from laptop \(\[192\.0\.2\.1\]\) by mx\.example with ESMTPSA id msg_\w+ "
            r"\(TLSv1\.3 CIPHER\) for <a@example\.net>; ",
        )
        two = Forward(path="a@example.net"), Forward(path="hidden@example.net")
        octets, _ = await self.stored(await self.send(mail(f"From: {MINE}"), *two))
        self.assertNotIn(b"hidden", octets)

    async def test_missing(self) -> None:
        """Date and Message-ID are added where they are missing or no good."""
        for fields in ([], ["Message-ID: none"], ["Message-ID:"]):
            message = await self.send(mail(*fields, f"From: {MINE}"))
            _, email = await self.stored(message)
            self.assertRegex(email["Message-ID"], rf"^<[0-9a-f]{{32}}@{DOMAIN}>$")
            self.assertEqual(email["Message-ID"], f"<{message.rfc_message_id}>")
            self.assertEqual(email["Date"], "Sat, 31 Jan 2026 12:00:00 +0000")
            self.assertEqual(len(email.get_all("Message-ID", [])), 1)

    async def test_signed(self) -> None:
        """The signatures are of the domain in From."""
        _, email = await self.stored(await self.send(mail(f"From: {MINE}")))
        for signature in email.get_all("DKIM-Signature", []):
            self.assertIn(f"d={DOMAIN}", "".join(signature.split()))

    async def test_announced(self) -> None:
        """message.queued is written with it."""
        message = await self.send(mail(f"From: {MINE}", "Subject: News"))
        found = await self.database.single(None).rows(
            "select type, data from event where message_id = %(message_id)s",
            message_id=message.message_id,
        )
        ((type_, data),) = found
        self.assertEqual(type_, "message.queued")
        self.assertIn("News", str(data))

    async def test_deliveries(self) -> None:
        """What MAIL and RCPT said of reports goes with each delivery."""
        message = await self.send(
            mail(f"From: {MINE}"),
            Forward(path="a@Example.NET", notify="success,delay", orcpt="rfc822;q@r"),
            Forward(path="b@bücher.example", notify="never"),
            mail_from=f"me+x@{DOMAIN}",
            ret="hdrs",
            envid="e1",
        )
        on = Messages(self.database.single(self.customer_id))
        one, two = sorted(
            await on.deliveries(message.message_id), key=lambda each: each.rcpt_to
        )
        self.assertEqual((one.notify, one.orcpt), ("success,delay", "rfc822;q@r"))
        self.assertEqual((two.notify, two.orcpt), ("never", None))
        self.assertEqual(two.destination, "xn--bcher-kva.example")
        for each in (one, two):
            self.assertTrue(each.wants_dsn)
            self.assertEqual((each.ret, each.envid), ("hdrs", "e1"))
            self.assertEqual(each.mail_from, f"me+x@{DOMAIN}")
            self.assertEqual(each.expires_at, self.time + LIFETIME)

    async def test_large(self) -> None:
        """A mail of some megabytes takes the same way."""
        body = ("x" * 998 + "\r\n") * 1100
        message = await self.send(mail(f"From: {MINE}", body=body))
        octets, _ = await self.stored(message)
        self.assertTrue(octets.endswith(body.encode()))


class NotifierTests(SubmitTest):
    """What the sender is told of a delivery, as RFC 3461 and 3464 have it."""

    async def claimed(self, **forward: str) -> Claimed:
        """The delivery of a mail, claimed."""
        await self.send(
            mail(f"From: {MINE}", "Message-ID: <own@laptop>"),
            Forward(path="a@example.net", **forward),
            ret="full",
            envid="e+2B1",
        )
        (claimed,) = await Queue(self.database.single(None)).claim(
            "test", seconds=60, held={}, each=10, limit=10
        )
        self.time = claimed.created_at
        return claimed

    async def told(
        self,
        claimed: Claimed,
        status: str,
        *,
        said: str = "4.2.0",
        here: bool = False,
        passed_on: bool = False,
    ) -> list[Email]:
        """The notifications in the inbox once this has become of it."""
        attempt = Attempt(
            delivery_id=claimed.delivery_id,
            rcpt_to=claimed.rcpt_to,
            started_at=self.time,
            finished_at=self.time,
            remote_host="mx.example.net",
            remote_address=None if here else "192.0.2.9",
            code=int(said[0]) * 100 + 50,
            enhanced=said,
            response="So it is.",
            tls=None,
        )
        done = Settlement(
            claimed=claimed,
            status=status,
            due_at=self.time,
            event_type="message.deferred",
            event_data={},
            attempts=[attempt],
        )
        notifier = Notifier(
            self.database, self.receive, f"postmaster@{DOMAIN}", lambda: self.time
        )
        await notifier.report(done, passed_on=passed_on)
        async with self.database.system() as tx:
            await settle(tx, "test", [done])
            await tx.statement("update delivery set lease = 'test'")
        rows = await self.database.single(None).rows(
            """
            select octets from message join content using (content_id)
            where direction = 'inbound' order by message_id
            """
        )
        return [message_from_bytes(bytes(octets)) for (octets,) in rows]

    def fields(self, report: Email) -> dict[str, str]:
        """The machine's part of a notification: its fields, of both blocks."""
        self.assertEqual(report.get_content_type(), "multipart/report")
        blocks = [dict(block.items()) for block in parts(parts(report)[1])]
        return {name: value for block in blocks for name, value in block.items()}

    async def test_failed(self) -> None:
        """A failure is told to who said nothing of reports, with all that was said."""
        claimed = await self.claimed(orcpt="rfc822;q+40r.example")
        (report,) = await self.told(claimed, "failed", said="5.1.1")
        fields = self.fields(report)
        self.assertEqual(fields["Action"], "failed")
        self.assertEqual(fields["Status"], "5.1.1")
        self.assertEqual(fields["Original-Recipient"], "rfc822;q@r.example")
        self.assertEqual(fields["Final-Recipient"], "rfc822; a@example.net")
        self.assertEqual(fields["Original-Envelope-Id"], "e+1")
        self.assertEqual(fields["Remote-MTA"], "dns; mx.example.net")
        self.assertEqual(fields["Diagnostic-Code"], "smtp; 550 So it is.")
        self.assertEqual(report["Return-Path"], "<>")
        self.assertEqual(report["In-Reply-To"], "<own@laptop>")
        self.assertEqual(report["To"], MINE)
        returned = parts(report)[2]
        self.assertEqual(returned.get_content_type(), "message/rfc822")

    async def test_expired(self) -> None:
        """What was put off until its time was over has failed."""
        claimed = await self.claimed()
        (report,) = await self.told(claimed, "failed", said="4.4.1")
        self.assertEqual(self.fields(report)["Status"], "4.4.7")

    async def test_not_asked(self) -> None:
        """Only what was asked for is told."""
        for notify, status in (
            ("never", "failed"),
            ("success", "failed"),
            ("delay", "failed"),
            ("failure", "delivered"),
            ("never", "delivered"),
        ):
            claimed = await self.claimed(notify=notify)
            self.assertEqual(await self.told(claimed, status), [], (notify, status))
        self.assertEqual(await self.told(await self.claimed(), "delivered"), [])

    async def test_delivered(self) -> None:
        """What we delivered ourselves is delivered."""
        claimed = await self.claimed(notify="success,failure")
        (report,) = await self.told(claimed, "delivered", said="2.0.0", here=True)
        self.assertEqual(self.fields(report)["Action"], "delivered")
        self.assertEqual(self.fields(report)["Status"], "2.0.0")

    async def test_relayed(self) -> None:
        """What a server took that knows no DSN is relayed; one that does tells itself."""
        claimed = await self.claimed(notify="success")
        told = await self.told(claimed, "delivered", said="2.6.0", passed_on=True)
        self.assertEqual(told, [])
        (report,) = await self.told(claimed, "delivered", said="2.6.0")
        self.assertEqual(self.fields(report)["Action"], "relayed")
        self.assertEqual(self.fields(report)["Status"], "2.6.0")

    async def test_delayed(self) -> None:
        """After four hours a delay is told, once, if that was asked for."""
        claimed = await self.claimed(notify="delay")
        begun = self.time
        for hours, count in ((0, 0), (3.9, 0), (4, 1), (6, 1), (30, 1)):
            self.time = begun + timedelta(hours=hours)
            told = await self.told(claimed, "deferred", said="4.7.1")
            self.assertEqual(len(told), count, hours)
        fields = self.fields(told[0])
        self.assertEqual((fields["Action"], fields["Status"]), ("delayed", "4.7.1"))
        self.assertIn("Will-Retry-Until", fields)

    async def test_delay_not_asked(self) -> None:
        """A delay is told to nobody who did not ask."""
        for notify in ({}, {"notify": "failure,success"}):
            claimed = await self.claimed(**notify)
            self.time += timedelta(hours=5)
            self.assertEqual(await self.told(claimed, "deferred"), [])
            self.time -= timedelta(hours=5)

    async def test_api(self) -> None:
        """Mail from the API is told of by events alone."""
        claimed = evolve(await self.claimed(), wants_dsn=False)
        self.assertEqual(await self.told(claimed, "failed", said="5.1.1"), [])
