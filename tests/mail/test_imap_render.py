"""What we send: strings that survive, texts that cannot break out, BODY of a structure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.imap.names import encode_name
from noinfra.mail.imap.render import (
    astring,
    date_time,
    literal,
    mailbox,
    nstring,
    string,
    text,
    utf8_string,
)
from noinfra.mail.imap.scanner import Scanner
from noinfra.mail.imap.structure import CC, TO, basic_body, leading_group
from noinfra.mail.mime import parse
from noinfra.mail.structure import bodystructure, envelope
from tests.mail.test_mime import MIXED, PIECES

OCTETS = st.binary(max_size=40).map(lambda octets: octets.replace(b"\0", b""))


class StringTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=400)
    @given(OCTETS)
    def test_there_and_back(self, octets: bytes) -> None:
        """Our own scanner reads what we write, whole."""
        for form in (string, astring):
            scanner = Scanner(form(octets))
            self.assertEqual(scanner.astring(), octets)
            self.assertTrue(scanner.ended)
        scanner = Scanner(nstring(octets) + b" " + nstring(None))
        self.assertEqual(scanner.nstring(), octets)
        scanner.space()
        self.assertIsNone(scanner.nstring())

    @settings(deadline=None, max_examples=200)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def test_mailbox(self, name: str) -> None:
        """A mailbox name comes back, in either encoding."""
        if "\0" in name or name.upper().split("/")[0] == "INBOX":
            return
        scanner = Scanner(mailbox(name))
        self.assertEqual(scanner.astring(), encode_name(name))
        self.assertTrue(scanner.ended)

    @settings(deadline=None, max_examples=300)
    @given(st.text(max_size=60))
    def test_text(self, words: str) -> None:
        """Whatever a refusal says, it is one line, of ASCII, and no response code."""
        shown = text(words)
        self.assertTrue(shown)
        self.assertTrue(shown.decode("ascii").isprintable())
        self.assertFalse(shown.startswith(b"["))

    def test_forms(self) -> None:
        """Each string has the shortest form that holds it."""
        for octets, shown in (
            (b"", b'""'),
            (b"a", b'"a"'),
            (b'a"\\', b'"a\\"\\\\"'),
            (b"a\r\nb", b"{4}\r\na\r\nb"),
            (b"\xff", b"{1}\r\n\xff"),
        ):
            self.assertEqual(string(octets), shown)
        self.assertEqual(astring(b"NIL"), b'"NIL"')
        self.assertEqual(astring(b"abc"), b"abc")
        self.assertEqual(literal(b"abc"), b"{3}\r\nabc")
        self.assertEqual(utf8_string("ä\0"), b"{2}\r\n\xc3\xa4")
        self.assertEqual(mailbox("ä"), b'"&AOQ-"')
        self.assertEqual(mailbox("ä", utf8=True), '"ä"'.encode())

    def test_date_time(self) -> None:
        """Dates are in UTC, their day of two digits, whatever the locale."""
        moment = datetime(2026, 7, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(date_time(moment), b'"30-Jun-2026 23:02:03 +0000"')
        self.assertEqual(Scanner(date_time(moment)).date_time(), moment.astimezone(UTC))


class BodyTests(SynchronousTestCase):
    def check(self, octets: bytes) -> None:
        message = parse(octets)
        self.assertEqual(
            basic_body(bodystructure(message)), bodystructure(message, extended=False)
        )

    def test_mixed(self) -> None:
        """BODY is BODYSTRUCTURE without its extensions."""
        self.check(MIXED)
        self.check(b"Content-Type: message/rfc822\r\n\r\n" + MIXED)
        self.check(b"")

    @settings(deadline=None, max_examples=300)
    @given(PIECES)
    def test_anything(self, octets: bytes) -> None:
        """So it is for any mail."""
        self.check(octets)


class GroupTests(SynchronousTestCase):
    def group(self, value: str, field: int = TO) -> bytes | None:
        """The group that To or Cc begins with."""
        name = "Cc" if field == CC else "To"
        header = f'From: "a (b" <x@y.z>\r\nSubject: ) "(\r\n{name}: {value}\r\n\r\n'
        return leading_group(envelope(parse(header.encode())), field)

    def test_group(self) -> None:
        """A field that begins with a group tells its name, whatever it is."""
        self.assertEqual(self.group("undisclosed:;"), b"undisclosed")
        self.assertEqual(self.group('"a \\" b": x@y.z;'), b'a " b')
        self.assertEqual(self.group("ä: x@y.z, c@d.e;", CC), "ä".encode())

    def test_none(self) -> None:
        """Addresses are none, nor is nothing, nor a group further on."""
        for value in ("x@y.z", "x", "N <x@y.z>", "", "x@y.z, g: y@y.z;", "<>"):
            self.assertIsNone(self.group(value), value)
        self.assertIsNone(leading_group(envelope(parse(b"Cc: g:;\r\n\r\n")), TO))

    @settings(deadline=None, max_examples=300)
    @given(PIECES)
    def test_anything(self, octets: bytes) -> None:
        """Any mail's envelope can be asked."""
        for field in (TO, CC):
            leading_group(envelope(parse(octets)), field)
