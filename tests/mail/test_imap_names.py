"""Mailbox names in modified UTF-7 and in UTF-8, and the patterns of LIST."""

from __future__ import annotations

import re
import time
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.imap.listing import Pattern, parents
from noinfra.mail.imap.names import (
    BadName,
    decode_name,
    encode_name,
)
from tests.pace import within

# RFC 3501, 5.1.3, has the first two.
KNOWN = {
    "~peter/mail/台北/日本語": b"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
    "Hi Mom -☺-!": b"Hi Mom -&Jjo--!",
    "A & B": b"A &- B",
    "Entwürfe": b"Entw&APw-rfe",
    "&&": b"&-&-",
    "😀": b"&2D3eAA-",
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SMALL = st.text("a/b*%", max_size=8)


class NameTests(SynchronousTestCase):
    def test_known(self) -> None:
        """Names as others write them."""
        for name, octets in KNOWN.items():
            self.assertEqual(encode_name(name), octets)
            self.assertEqual(decode_name(octets), name)

    @settings(deadline=None, max_examples=300)
    @given(NAMES)
    def test_there_and_back(self, name: str) -> None:
        """A name survives either encoding, in its normal form."""
        normal = unicodedata.normalize("NFC", name)
        if normal.upper().split("/")[0] == "INBOX":
            return
        self.assertEqual(decode_name(encode_name(name)), normal)
        self.assertEqual(decode_name(encode_name(name, utf8=True), utf8=True), normal)
        self.assertTrue(encode_name(name).isascii())

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=30))
    def test_anything(self, octets: bytes) -> None:
        """Any octets are a name, or refused."""
        for utf8 in (False, True):
            try:
                decode_name(octets, utf8=utf8).encode("utf-8")
            except BadName:
                continue

    def test_wrong(self) -> None:
        """Half a shift, and shifts that are no UTF-16, are no names."""
        for octets in (b"&", b"a&b", b"&AP", b"&AP-", b"&2D0-", b"\xff", b"&!-"):
            with self.assertRaises(BadName, msg=repr(octets)):
                decode_name(octets)

    def test_inbox(self) -> None:
        """INBOX has no case; names that only begin so have one."""
        self.assertEqual(decode_name(b"iNBoX"), "INBOX")
        self.assertEqual(decode_name(b"inbox/a"), "INBOX/a")
        self.assertEqual(decode_name(b"inboxes"), "inboxes")


class PatternTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=500)
    @given(SMALL, st.text("a/b", max_size=8))
    def test_model(self, pattern: str, name: str) -> None:
        """A pattern means what a regular expression of it means."""
        expression = "".join({"*": ".*", "%": "[^/]*"}.get(c, c) for c in pattern)
        expected = re.fullmatch(expression, name) is not None
        self.assertEqual(Pattern(pattern).matches(name), expected)

    def test_hostile(self) -> None:
        """Many wildcards cost no more than few."""
        start = time.perf_counter()
        pattern = Pattern("*a%" * 300 + "b")
        for _ in range(100):
            self.assertFalse(pattern.matches("a/" * 250))
        self.assertLess(time.perf_counter() - start, within(2.0))

    def test_inbox(self) -> None:
        """INBOX is found in any case, and nothing else is."""
        self.assertTrue(Pattern("inbox").matches("INBOX"))
        self.assertFalse(Pattern("sent").matches("Sent"))

    def test_parents(self) -> None:
        """The names above one."""
        self.assertEqual(parents("a/b/c"), ["a/b", "a"])
        self.assertEqual(parents("a"), [])
