"""Status notifications: written and read back, xtext, complaints, prose."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from time import perf_counter

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import Address, Mailbox
from noinfra.mail.dsn import (
    Notification,
    Recipient,
    compose_dsn,
    utf8_xtext_decode,
    utf8_xtext_encode,
    xtext_decode,
    xtext_encode,
)
from noinfra.mail.mime import parse
from noinfra.mail.outcome import Outcome, is_hard, status_of
from noinfra.mail.report import Complaint, Report, read, read_complaint
from tests.pace import within

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BOB = Address(local="bob", domain="example.net")
FAILED = Recipient(
    address=BOB,
    action="failed",
    status="5.1.1",
    original_recipient="rfc822;robert@example.net",
    remote_mta="mx.example.net",
    diagnostic="550 5.1.1 <bob@example.net>: no such\r\nBcc: user",
    last_attempt=NOON,
)
NOTIFICATION = Notification(
    from_=Mailbox(
        name="Mail Delivery",
        address=Address(local="mailer-daemon", domain="noinfra.example"),
    ),
    to=Address(local="alice", domain="noinfra.example"),
    message_id="d1@noinfra.example",
    date=NOON,
    reporting_mta="mail.noinfra.example",
    recipients=[FAILED],
    original=b"Message-ID: <m1@noinfra.example>\r\nSubject: Hi\r\n\r\nBody text\r\n",
    original_id="m1@noinfra.example",
    full=False,
    envelope_id="QQ314159",
    arrival_date=NOON,
)


def written(notification: Notification) -> bytes:
    """A notification, after a look at its form by the standard library."""
    octets = compose_dsn(notification)
    assert b"\r\nBcc:" not in octets
    assert octets.isascii() or not notification.original.isascii()
    read = message_from_bytes(octets, policy=SMTP)
    assert not any(part.defects for part in read.walk())
    assert read.get_content_type() == "multipart/report"
    assert read.get_param("report-type") == "delivery-status"
    assert read["Auto-Submitted"] == "auto-replied"
    return octets


def read_back(notification: Notification) -> Report:
    """What we read of a notification that we wrote."""
    octets = written(notification)
    report = read(octets, parse(octets))
    assert report is not None
    return report


def prose(*lines: str, sender: str = "MAILER-DAEMON@mx.example.org") -> Report | None:
    """What we read of a notice of one part."""
    header = [f"From: {sender}", "To: alice@example.com", "Subject: failure notice", ""]
    octets = "\r\n".join([*header, *lines, ""]).encode()
    return read(octets, parse(octets))


class WritingTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """All that a failure says is read back."""
        self.assertEqual(
            read_back(NOTIFICATION),
            Report(
                recipients=(
                    Outcome(
                        address="bob@example.net",
                        action="failed",
                        status="5.1.1",
                        diagnostic="550 5.1.1 <bob@example.net>: no such Bcc: user",
                        remote_mta="mx.example.net",
                        original="robert@example.net",
                    ),
                ),
                original_message_id="m1@noinfra.example",
                envelope_id="QQ314159",
                reporting_mta="mail.noinfra.example",
                standard=True,
            ),
        )

    def test_returned(self) -> None:
        """RET decides whether the message or its header alone comes back."""
        self.assertNotIn(b"Body text", written(NOTIFICATION))
        self.assertIn(b"Body text", written(evolve(NOTIFICATION, full=True)))
        eight = evolve(
            NOTIFICATION, original="X: é\r\nMessage-ID: <e@x>\r\n\r\né".encode()
        )
        for full in (True, False):
            report = read_back(evolve(eight, full=full))
            self.assertEqual(report.original_message_id, "e@x")

    def test_for_people(self) -> None:
        """The text names the recipient, the reply, and what to do."""
        text = message_from_bytes(written(NOTIFICATION), policy=SMTP).get_body(
            ("plain",)
        )
        assert text is not None
        said = text.get_content().replace("\r\n", "\n")
        self.assertIn("<bob@example.net>\n    mx.example.net said: 550 5.1.1", said)
        self.assertIn("Check the address for mistakes", said)

    def test_thread(self) -> None:
        """The notification belongs to the thread of the message that it is about."""
        message = parse(written(NOTIFICATION))
        self.assertEqual(message.references, ("m1@noinfra.example",))
        self.assertEqual(message.in_reply_to, ("m1@noinfra.example",))

    def test_delayed(self) -> None:
        """A delay says until when delivery is tried, and is soft."""
        delayed = evolve(
            FAILED,
            action="delayed",
            status="4.4.1",
            will_retry_until=NOON,
            diagnostic=None,
        )
        octets = written(evolve(NOTIFICATION, recipients=[delayed]))
        self.assertIn(b"\r\nSubject: Your message is delayed\r\n", octets)
        self.assertIn(b"Will-Retry-Until: Mon, 01 Jun 2026 12:00:00 +0000\r\n", octets)
        report = read(octets, parse(octets))
        assert report is not None
        self.assertEqual(report.recipients[0].kind, "soft")

    def test_several(self) -> None:
        """Recipients of different fates are told apart; a success is no failure."""
        done = evolve(FAILED, action="delivered", status="2.0.0", diagnostic=None)
        report = read_back(evolve(NOTIFICATION, recipients=[done, FAILED]))
        self.assertEqual([one.kind for one in report.recipients], [None, "hard"])
        octets = written(evolve(NOTIFICATION, recipients=[done, FAILED]))
        self.assertIn(b"\r\nSubject: Your message was not delivered\r\n", octets)

    def test_internationalised(self) -> None:
        """An address beyond ASCII is written in ASCII (RFC 6533) and read back."""
        address = Address(local="žofie", domain="bücher.example")
        there = evolve(FAILED, address=address)
        octets = written(evolve(NOTIFICATION, recipients=[there]))
        self.assertIn(
            b"Final-Recipient: utf-8; \\x{17E}ofie@b\\x{FC}cher.example\r\n", octets
        )
        report = read(octets, parse(octets))
        assert report is not None
        self.assertEqual(report.recipients[0].address, "žofie@bücher.example")

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=2000))
    def test_hostile_reply(self, reply: str) -> None:
        """Whatever a server replied, the notification stays one with one recipient."""
        hostile = evolve(FAILED, diagnostic=reply, remote_mta=reply, status="5.0.0")
        report = read_back(evolve(NOTIFICATION, recipients=[hostile]))
        self.assertEqual(
            [one.address for one in report.recipients], ["bob@example.net"]
        )


class XtextTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters(max_codepoint=126), max_size=60))
    def test_round_trip(self, text: str) -> None:
        """ASCII survives xtext."""
        self.assertEqual(xtext_decode(xtext_encode(text)), text)

    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
    def test_utf8_round_trip(self, text: str) -> None:
        """Any text survives the xtext of RFC 6533, which is ASCII."""
        encoded = utf8_xtext_encode(text)
        self.assertTrue(encoded.isascii())
        self.assertEqual(utf8_xtext_decode(encoded), text)

    def test_examples(self) -> None:
        """Blanks, plus and equals signs are written in hexadecimal."""
        self.assertEqual(xtext_encode("a+b=c d"), "a+2Bb+3Dc+20d")
        for wrong in ("a+2b", "a b", "a=b", "a+", "+FF", "é"):
            self.assertRaises(ValueError, xtext_decode, wrong)
        for wrong in ("a b", "\\x{110000}", "\\x{D800}", "\\y"):
            self.assertRaises(ValueError, utf8_xtext_decode, wrong)


class ProseTests(SynchronousTestCase):
    def test_qmail(self) -> None:
        """The form of qmail, with the original below."""
        report = prose(
            "Hi. I wasn't able to deliver your message to the following addresses.",
            "",
            "<bob@example.net>:",
            "192.0.2.1 does not like recipient.",
            "Remote host said: 550 5.1.1 No such user",
            "",
            "<carol@example.net>:",
            "Mailbox full. (#4.2.2)",
            "",
            "--- Below this line is a copy of the message.",
            "",
            "Message-ID: <m1@example.com>",
            "To: dave@example.net",
        )
        assert report is not None
        self.assertEqual(
            [(one.address, one.status, one.kind) for one in report.recipients],
            [
                ("bob@example.net", "5.1.1", "hard"),
                ("carol@example.net", "4.2.2", "soft"),
            ],
        )
        self.assertEqual(report.original_message_id, "m1@example.com")
        self.assertFalse(report.standard)

    def test_words_only(self) -> None:
        """Without any code, the words tell; those of an address do not."""
        for words, status, kind in (
            ("user unknown", "5.1.1", "hard"),
            ("Mailbox is full", "5.2.2", "soft"),
            ("Host not found", "5.1.2", "hard"),
            ("retry timeout exceeded", "5.4.7", "soft"),
            ("something else", "5.0.0", "soft"),
        ):
            report = prose(
                "Could not be delivered:", "", f"<spam@example.net>: {words}"
            )
            assert report is not None
            outcome = report.recipients[0]
            self.assertEqual((outcome.status, outcome.kind), (status, kind), words)

    def test_not_by_a_person(self) -> None:
        """A person who writes about a failure sends no report."""
        self.assertIsNone(
            prose("<bob@example.net>: user unknown", sender="Dave <dave@example.org>")
        )

    def test_no_recipient(self) -> None:
        """A notice that names nobody is none that we can use."""
        self.assertIsNone(prose("Your message could not be delivered."))

    def test_ordinary(self) -> None:
        """An ordinary mail is neither a report nor a complaint."""
        octets = b"From: a@example.org\r\nSubject: error report\r\n\r\nb@c.example failed\r\n"
        self.assertIsNone(read(octets, parse(octets)))
        self.assertIsNone(read_complaint(octets, parse(octets)))

    def test_hostile(self) -> None:
        """Texts made to be slow to read are read as fast as others."""
        for piece in (
            "deliver", "a@", "a@b.c ", "failed to ", "user ", "-- copy of ", "5.1.1 ", "<",
            "mailbox ", "550 ", " \t", "Final-Recipient: rfc822;a@b\n\n", "exceed", "[",
        ):  # fmt: skip
            began = perf_counter()
            prose("could not be delivered", piece * 20_000)
            self.assertLess(perf_counter() - began, within(2), piece)

    @settings(deadline=None, max_examples=150)
    @given(st.binary(max_size=600))
    def test_total(self, octets: bytes) -> None:
        """Any octets behind a report's header are read without an error."""
        for header in (
            b"From: mailer-daemon@x\r\nSubject: failure notice\r\n\r\n",
            b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822;a@b\r\n",
            b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n",
        ):
            message = parse(header + octets)
            read(header + octets, message)
            read_complaint(header + octets, message)


class StatusTests(SynchronousTestCase):
    def test_best(self) -> None:
        """The remote server's code wins, and any over x.0.0; not a host's address."""
        for told, reply, status in (
            ("5.0.0", "550 5.1.1 unknown", "5.1.1"),
            ("5.1.1", "550 5.0.0 what", "5.1.1"),
            ("5.0.0", "550 from 5.1.1.1 and 192.0.2.5", "5.0.0"),
            ("", "421 busy", "4.0.0"),
            ("", "", "5.0.0"),
        ):
            self.assertEqual(status_of(told, reply, delayed=False), status, reply)

    def test_hard(self) -> None:
        """Only what is wrong with the address is hard."""
        for status, reply, hard in (
            ("5.1.1", "", True),
            ("5.1.1", "mailbox full", False),
            ("5.1.8", "sender domain does not exist", False),
            ("5.7.1", "user unknown", False),
            ("5.0.0", "user unknown", True),
            ("5.2.2", "", False),
        ):
            self.assertEqual(is_hard(status, reply), hard, (status, reply))


class ComplaintTests(SynchronousTestCase):
    def test_arf(self) -> None:
        """A report in the Abuse Reporting Format (RFC 5965)."""
        octets = b"\r\n".join(
            [
                b"From: fbl@example.net",
                b"Content-Type: multipart/report; report-type=feedback-report; boundary=b",
                b"",
                b"--b",
                b"Content-Type: text/plain",
                b"",
                b"Spam.",
                b"--b",
                b"Content-Type: message/feedback-report",
                b"",
                b"Feedback-Type: Abuse",
                b"Source-IP: 192.0.2.1",
                b"Original-Rcpt-To: <bob@example.net>",
                b"Reported-Domain: example.org",
                b"--b",
                b"Content-Type: message/rfc822",
                b"",
                b"Message-ID: <m1@example.org>",
                b"",
                b"Buy!",
                b"--b--",
                b"",
            ]
        )
        self.assertEqual(
            read_complaint(octets, parse(octets)),
            Complaint(
                feedback_type="abuse",
                recipients=("bob@example.net",),
                original_message_id="m1@example.org",
                envelope_id=None,
                reported_domains=("example.org",),
                source_ip="192.0.2.1",
            ),
        )
