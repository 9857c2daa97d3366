"""ENVELOPE and BODYSTRUCTURE."""

import re
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.mime import parse
from noinfra.mail.structure import bodystructure, envelope, nstring
from tests.mail.test_mime import MIXED, PIECES

Value: TypeAlias = "bytes | int | list[Value] | None"

_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0\x80-\xff]|\\["\\])*)"')
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_NUMBER = re.compile(rb"\d+")


def read(data: bytes, at: int = 0) -> tuple[Value, int]:
    """One IMAP value, strictly, and where it ends (RFC 3501, 9)."""
    if data.startswith(b"NIL", at):
        return None, at + 3
    if data[at : at + 1] == b"(":
        items: list[Value] = []
        at += 1
        while data[at : at + 1] != b")":
            at += data[at : at + 1] == b" "
            item, at = read(data, at)
            items.append(item)
        return items, at + 1
    if literal := _LITERAL.match(data, at):
        end = literal.end() + int(literal[1])
        if end > len(data) or b"\0" in data[literal.end() : end]:
            raise AssertionError(f"bad literal in {data!r}")
        return data[literal.end() : end], end
    if quoted := _QUOTED.match(data, at):
        return re.sub(rb"\\(.)", rb"\1", quoted[1]), quoted.end()
    if number := _NUMBER.match(data, at):
        return int(number[0]), number.end()
    raise AssertionError(f"no value at {at} of {data!r}")


def whole(data: bytes) -> Value:
    value, end = read(data)
    if end != len(data):
        raise AssertionError(f"more after the value in {data!r}")
    return value


class StringTests(SynchronousTestCase):
    def test_strings(self) -> None:
        """Seven bits are quoted, eight a literal; no line break or NUL is in either."""
        for value, expected in (
            (None, b"NIL"),
            ("", b'""'),
            ('a"b\\c', b'"a\\"b\\\\c"'),
            ("é", b"{2}\r\n\xc3\xa9"),
            (b"\xff", b"{1}\r\n\xff"),
            ("a\r\n)b\0", b'"a )b"'),
            ("é\r\n{9}", b"{6}\r\n\xc3\xa9 {9}"),
        ):
            self.assertEqual(nstring(value), expected)


class EnvelopeTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Values stay encoded, unfolded; sender and reply-to are the author's."""
        message = parse(
            b"Date: Mon, 1 Jun 2026 10:00:00 +0000\r\nSubject: =?utf-8?q?a?=\r\n b\r\n"
            b"From: =?utf-8?q?Zo=C3=AB?= <z@x.example>\r\nReply-To: \r\nTo: a@x.example,\r\n\tB <b@x.example>\r\n"
            b"In-Reply-To: <0@x>\r\nMessage-ID: <1@x>\r\n\r\n"
        )
        author = b'(("=?utf-8?q?Zo=C3=AB?=" NIL "z" "x.example"))'
        self.assertEqual(
            envelope(message),
            b'("Mon, 1 Jun 2026 10:00:00 +0000" "=?utf-8?q?a?= b" ' + b" ".join([author] * 3)
            + b' ((NIL NIL "a" "x.example")("B" NIL "b" "x.example")) NIL NIL "<0@x>" "<1@x>")',
        )  # fmt: skip

    def test_groups(self) -> None:
        """A group opens with its name and closes with NIL."""
        self.assertIn(
            b'((NIL NIL "g" NIL)(NIL NIL "a" "x.example")(NIL NIL NIL NIL))',
            envelope(parse(b"To: g: a@x.example;\r\n\r\n")),
        )

    def test_raw_octets(self) -> None:
        """A header in raw UTF-8 or Latin-1 is sent as it came, in literals."""
        found = envelope(
            parse(b"Subject: caf\xe9\r\nFrom: Zo\xc3\xab <z@x.example>\r\n\r\n")
        )
        self.assertIn(b"{4}\r\ncaf\xe9 ((" + b"{4}\r\nZo\xc3\xab NIL", found)

    def test_empty(self) -> None:
        """What is absent is NIL; what is empty is empty."""
        self.assertEqual(envelope(parse(b"")), b"(" + b" ".join([b"NIL"] * 10) + b")")
        self.assertTrue(envelope(parse(b"Subject:\r\n\r\n")).startswith(b'(NIL "" NIL'))


class BodyStructureTests(SynchronousTestCase):
    def test_text(self) -> None:
        """A text has its lines."""
        message = parse(
            b"Content-Type: text/plain; charset=utf-8\r\nContent-ID: <1>\r\n\r\na\r\nb"
        )
        plain = b'("text" "plain" ("charset" "utf-8") "<1>" NIL "7bit" 4 2'
        self.assertEqual(bodystructure(message), plain + b" NIL NIL NIL NIL)")
        self.assertEqual(bodystructure(message, extended=False), plain + b")")

    def test_multipart(self) -> None:
        """A multipart lists its parts; dispositions keep RFC 2231 sections."""
        octets = MIXED + (
            b"--b\r\n\r\nx\r\n--b\r\nContent-Type: a/b\r\nContent-Language: de, en\r\n"
            b"Content-Disposition: attachment; filename*0*=utf-8''%41; filename*1=\"b c\"\r\n\r\nx\r\n--b--"
        )
        self.assertEqual(
            bodystructure(parse(octets)),
            b'(("text" "plain" NIL NIL NIL "7bit" 1 1 NIL NIL NIL NIL)'
            b'("a" "b" NIL NIL NIL "7bit" 1 NIL ("attachment" ("filename*0*" "utf-8\'\'%41" "filename*1" "b c"))'
            b' ("de" "en") NIL) "mixed" ("boundary" "b") NIL NIL NIL)',
        )

    def test_message(self) -> None:
        """A message/rfc822 has the envelope and structure of what is in it."""
        octets = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n"
        self.assertEqual(
            bodystructure(parse(octets), extended=False),
            b'("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL)'
            b' ("text" "plain" NIL NIL NIL "7bit" 3 1) 3)',
        )

    def test_leaves(self) -> None:
        """What cannot have the form of its type is given as another."""
        encoded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ=="
        self.assertIn(b'("application" "octet-stream"', bodystructure(parse(encoded)))
        self.assertIn(
            b'("text" "plain" ("boundary" "b")', bodystructure(parse(MIXED + b"x"))
        )

    def test_injection(self) -> None:
        """No header value ends a string, a list or a line."""
        octets = (
            b'Subject: a"b) NIL\r\nFrom: "x\\\r\n {3}" <"a\r\n b"@c>\r\n'
            b'Content-Type: text/"plain; x="a\\"b\r\n )"; \xff="\xfe{5}"\r\nContent-ID: \0)\r\n\r\n'
        )
        message = parse(octets)
        whole(envelope(message))
        whole(bodystructure(message))

    @settings(deadline=None, max_examples=500)
    @given(PIECES | st.binary(max_size=100).map(lambda octets: b"Subject: " + octets))
    def test_grammar(self, octets: bytes) -> None:
        """Whatever comes in, what goes out is one well-formed list."""
        message = parse(octets)
        found = whole(envelope(message))
        assert isinstance(found, list)
        self.assertEqual(len(found), 10)
        for extended in (True, False):
            self.assertIsInstance(
                whole(bodystructure(message, extended=extended)), list
            )
