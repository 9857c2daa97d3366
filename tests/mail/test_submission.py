"""What a server does to a mail that is handed in: pure, on any octets."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.submission import Submitted, Unfit, submitted
from noinfra.mail.trace import header_end

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCRAPS = st.sampled_from(
    [
        b"From: a@b.example\r\n",
        b"from : <a@b.example>\r\n",
        b"From: c@d.example <a@b.example>\r\n",
        b"Sender: a@b.example\r\n",
        b"Bcc: x@y.example,\r\n z@y.example\r\n",
        b"Return-Path: <x@y.example>\r\n",
        b"To: t@y.example\r\n",
        b"Message-ID: <1@b.example>\r\n",
        b"Date: Sat, 31 Jan 2026 12:00:00 +0000\r\n",
        b"Resent-Bcc: q@y.example\r\n",
        b" folded\r\n",
        b"no field\r\n",
        b"\r\n",
        b"\0",
        b"=?utf-8?q?",
        b'"',
        b"(",
    ]
)


def prepare(octets: bytes) -> Submitted:
    return submitted(octets, date=NOON, message_id="new@b.example")


def unfit(octets: bytes) -> str:
    """Why it is."""
    try:
        prepare(octets)
    except Unfit as error:
        return str(error)
    raise AssertionError(f"{octets!r} is fit")


class SubmittedTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """A mail that has all of it stays as it is."""
        octets = (
            b"From: A <a@b.example>\r\nDate: now\r\nMessage-ID: <1@b.example>\r\n"
            b"To: t@y.example\r\nCC: \r\n\r\nBcc: not a field\r\n"
        )
        ready = prepare(octets)
        self.assertEqual(ready.octets, octets)
        self.assertEqual(list(map(str, ready.authors)), ["a@b.example"])
        self.assertEqual((ready.sender, len(ready.recipients)), ((), 1))

    def test_completed(self) -> None:
        """What is missing stands before all that was sent; Bcc is gone, folds and all."""
        ready = prepare(b"BCC: x@y.example,\r\n\tz@y.example\r\nFrom: a@b.example\r\n")
        self.assertEqual(
            ready.octets,
            b"Message-ID: <new@b.example>\r\n"
            b"Date: Sat, 31 Jan 2026 12:00:00 +0000\r\nFrom: a@b.example\r\n",
        )

    def test_names(self) -> None:
        """A name may hold an @ where it is quoted, encoded or a comment."""
        for value in (
            '"c@d.example" <a@b.example>',
            '"c\\"@d.example" <a@b.example>',
            "a@b.example (c@d.example)",
            "=?utf-8?q?c=40d=2Eexample?= <a@b.example>",
            "Doe, Jane <a@b.example>",
        ):
            ready = prepare(f"From: {value}\r\n\r\n".encode())
            self.assertEqual(list(map(str, ready.authors)), ["a@b.example"], value)

    def test_where(self) -> None:
        """The text tells the line that is wrong."""
        self.assertIn("Line 3 ", unfit(b"From: a@b.example\r\nA: b\r\nno\r\n\r\n"))
        self.assertIn("more than one Subject", unfit(b"Subject: a\r\nSubject: b\r\n"))
        self.assertIn("no From", unfit(b"\r\nFrom: a@b.example\r\n"))

    @settings(deadline=None, max_examples=500)
    @given(st.lists(SCRAPS | st.binary(max_size=9), max_size=12).map(b"".join))
    def test_anything(self, octets: bytes) -> None:
        """Any octets are refused, or are a mail that other readers read alike."""
        octets = (
            octets.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
        )
        try:
            ready = prepare(octets)
        except Unfit as error:
            self.assertTrue(str(error).isprintable())
            return
        email = message_from_bytes(ready.octets)
        for name in ("From", "Date", "Message-ID"):
            self.assertEqual(len(email.get_all(name, [])), 1, name)
        self.assertIsNone(email["Bcc"])
        self.assertIsNone(email["Return-Path"])
        self.assertEqual(len(ready.authors), str(email["From"]).count("@b.example"))
        body = octets[header_end(octets) :]
        self.assertTrue(ready.octets.endswith(body))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=200))
    def test_octets(self, octets: bytes) -> None:
        """Octets of any kind raise nothing but what is told."""
        for head in (b"", b"From: ", b"From: a@b.example\r\n"):
            try:
                prepare(head + octets)
            except Unfit as error:
                self.assertTrue(str(error).isprintable())
