"""Header fields, encoded words, parameters, identifiers and dates."""

from datetime import UTC, datetime
from email.header import Header
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.header import (
    MAX_FIELD_OCTETS,
    MAX_FIELDS,
    MAX_MESSAGE_IDS,
    decode_text,
    decode_words,
    message_ids,
    parse_date,
    parse_fields,
    parse_parameters,
    split_parameters,
    unfold,
)
from tests.pace import within

PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")))


class FieldTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Values are raw and folded; offsets cover the field and its line break."""
        octets = b"A: one\r\n two\r\nb :x\n\r\nbody"
        fields, body, defects = parse_fields(octets, 0, len(octets))
        self.assertEqual(
            [(one.name, one.value, octets[one.start : one.end]) for one in fields],
            [("A", b" one\r\n two", b"A: one\r\n two\r\n"), ("b", b"x", b"b :x\n")],
        )
        self.assertEqual((octets[body:], defects), (b"body", ()))
        self.assertEqual(unfold(fields[0].value), b"one two")

    def test_no_empty_line(self) -> None:
        """A line that is no field begins the body, unless a field follows it."""
        for octets, names, rest in (
            (b"A: 1\r\nhello\r\nworld\r\n", ["A"], b"hello\r\nworld\r\n"),
            (b"A: 1\r\njunk\r\nB: 2\r\n\r\nx", ["A", "B"], b"x"),
            (b"just text\r\n", [], b"just text\r\n"),
            (b" A: 1\r\nB: 2\r\n\r\nx", ["A", "B"], b"x"),
            (b"From joe Mon Jan  1\nA: 1\n\nx", ["A"], b"x"),
            (b"From : a@b\r\n\r\nx", ["From"], b"x"),
            (b"A: 1", ["A"], b""),
            (b"\r\nbody", [], b"body"),
            (b"", [], b""),
        ):
            fields, body, _ = parse_fields(octets, 0, len(octets))
            self.assertEqual(
                ([one.name for one in fields], octets[body:]), (names, rest)
            )

    def test_bounds(self) -> None:
        """Fields beyond the limit are left out, long ones cut; the body is still found."""
        octets = b"A: b\r\n" * (MAX_FIELDS + 9) + b"\r\nbody"
        fields, body, defects = parse_fields(octets, 0, len(octets))
        self.assertEqual((len(fields), octets[body:]), (MAX_FIELDS, b"body"))
        self.assertEqual(len(defects), 1)
        octets = b"A: " + b"b" * 2 * MAX_FIELD_OCTETS + b"\r\n\r\nbody"
        [field], body, defects = parse_fields(octets, 0, len(octets))
        self.assertEqual((len(field.value), octets[body:]), (MAX_FIELD_OCTETS, b"body"))
        self.assertEqual(len(defects), 1)

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.sampled_from([b"A", b":", b"\r", b"\n", b" ", b"\0", b"\xe9"])))
    def test_total(self, pieces: list[bytes]) -> None:
        """Any octets have a header and a body; the fields lie in order in the header."""
        octets = b"".join(pieces)
        fields, body, _ = parse_fields(octets, 0, len(octets))
        edges = [0, *(edge for one in fields for edge in (one.start, one.end)), body]
        self.assertEqual(edges, sorted(edges))
        self.assertLessEqual(body, len(octets))
        for field in fields:
            self.assertNotIn("\n", decode_text(field))


class WordTests(SynchronousTestCase):
    def test_words(self) -> None:
        """Encoded words as they are, and as mailers spell them."""
        for value, text in (
            ("=?utf-8?B?4pyT?= x", "✓ x"),
            ("=?UTF-8?q?=E2=82?= =?utf-8?Q?=AC?=", "€"),
            ("=?utf-8?b?w6?= =?utf-8?b?k=?=", "é"),
            ("=?us-ascii?Q?a?==?iso-8859-1*en?q?=e9?=", "aé"),
            ("=?utf-8?Q?a?=\r\n =?utf-8?Q?b?= c", "ab c"),
            ("=?utf-8?Q?How are you??=", "How are you?"),
            ("=?utf-8?Q??=z", "z"),
            ("=?utf-8?Q?=41?=", "A"),
            ('"=?utf-8?q?x?="', '"x"'),
            ("=?x?q? broken =?utf-8?q?ok?=", "=?x?q? broken ok"),
            ("=?nonsense?q?caf=C3=A9?=", "café"),
            ("a =?b c?=", "a =?b c?="),
            (b"caf\xc3\xa9", "café"),
            (b"caf\xe9", "café"),
        ):
            self.assertEqual(decode_words(value), text)

    def test_no_injection(self) -> None:
        """What is encoded cannot become a line break or NUL."""
        self.assertEqual(decode_words("=?utf-8?q?a=0D=0ABcc:=00x?="), "a Bcc:x")

    @settings(deadline=None, max_examples=200)
    @given(PRINTABLE, st.sampled_from(["utf-8", "iso-2022-jp", "koi8-r"]))
    def test_round_trip(self, text: str, charset: str) -> None:
        """What the standard library encodes is read back."""
        try:
            text.encode(charset)
        except UnicodeEncodeError:
            charset = "utf-8"
        if "=?" not in text:
            encoded = Header(text, charset, maxlinelen=60).encode()
            self.assertEqual(
                decode_words(unfold(encoded.encode())).strip(), text.strip()
            )

    @settings(deadline=None, max_examples=300)
    @given(st.text() | st.lists(st.sampled_from(["=?", "?=", "utf-7", "?q?", "?b?", "=00", " ", "+2D0-"])).map("".join))  # fmt: skip
    def test_total(self, value: str) -> None:
        """Any value gives one storable line."""
        text = decode_words(value)
        text.encode()
        self.assertFalse(set("\r\n\0") & set(text))


class ParameterTests(SynchronousTestCase):
    def test_parameters(self) -> None:
        """Parameters as the RFCs have them, and as mailers break them."""
        for value, expected in (
            (
                "Text/Plain; Charset=us-ascii (plain)",
                ("text/plain", {"charset": "us-ascii"}),
            ),
            ("text / html; (c(omm)ent) charset=x", ("text/html", {"charset": "x"})),
            ("a/b;; c=d ;", ("a/b", {"c": "d"})),
            ('a/b c="d"', ("a/b", {"c": "d"})),
            ("a/b; c=d e=f", ("a/b", {"c": "d", "e": "f"})),
            ("a/b; c=1; c=2", ("a/b", {"c": "1"})),
            ('a; n="x\\"y;z"', ("a", {"n": 'x"y;z'})),
            ('a; n="C:\\dir\\f.txt"', ("a", {"n": "C:\\dir\\f.txt"})),
            ('a; n="foo"bar".pdf"; m=3', ("a", {"n": 'foo"bar".pdf', "m": "3"})),
            ('a; n="open; m=3', ("a", {"n": "open", "m": "3"})),
            ("a; n=my file (1).pdf", ("a", {"n": "my file (1).pdf"})),
            ('; n="x"', ("", {"n": "x"})),
            ("n=x", ("", {"n": "x"})),
            ("", ("", {})),
        ):
            self.assertEqual(parse_parameters(value), expected, value)

    def test_encoded(self) -> None:
        """RFC 2231 wins over the plain name; RFC 2047 in quotes is read too."""
        for value, name in (
            ("a; n*=utf-8'en'caf%C3%A9", "café"),
            ("a; n*0*=utf-8''a%C3; n*1*=%A9; n*2=\"%41\"", "aé%41"),
            ("a; n*1=b; n*0=a", "ab"),
            ("a; n=plain; n*=iso-8859-1''%E9", "é"),
            ("a; n*=no%20charset", "no charset"),
            ('a; n="=?utf-8?Q?caf=C3=A9?="', "café"),
            (b"a; n=caf\xe9", "café"),
            (b'a; n="folded\r\n name"', "folded name"),
        ):
            self.assertEqual(parse_parameters(value)[1], {"n": name}, value)

    def test_raw(self) -> None:
        """split_parameters leaves sections and words as they are."""
        self.assertEqual(
            split_parameters("A/B; n*0*=utf-8''%41; M=x"),
            ("A/B", (("n*0*", "utf-8''%41"), ("m", "x"))),
        )

    @settings(deadline=None, max_examples=300)
    @given(
        st.text()
        | st.lists(st.sampled_from([*";=\"\\()*' %0ab\r\n", "=?"])).map("".join)
    )
    def test_total(self, value: str) -> None:
        """Any value has parameters that can be stored."""
        _, parameters = parse_parameters(value)
        for text in parameters.values():
            text.encode()
            self.assertFalse(set("\r\n\0") & set(text))

    @settings(deadline=None, max_examples=500)
    @given(
        st.sampled_from(["text/plain", "A/b", "inline", "text", "a/", "/", "a=b"]),
        st.sampled_from(["", ";", "; ", ";\t", " ;", ",", "; (c) "]),
        st.sampled_from(["", "charset=", "N=", "n*0*=", "n ="]),
        st.sampled_from(
            ["utf-8", '"a b"', '"a\\"b"', '"a', "a=b", "a b", "", '""', "ä"]
        ),
    )
    def test_usual(self, head: str, gap: str, name: str, text: str) -> None:
        """A field of the usual form says what it does with a blank at its end."""
        value = head + gap + name + text
        self.assertEqual(split_parameters(value), split_parameters(f"{value} "))


class IdentifierTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """Ids come without brackets, each once, folded ones joined."""
        self.assertEqual(message_ids("<a@b>\r\n <c@\r\n d> junk <a@b>"), ("a@b", "c@d"))
        self.assertEqual(message_ids("a@b, c@d"), ("a@b", "c@d"))
        self.assertEqual(message_ids("Your message of Monday"), ())
        self.assertEqual(message_ids("<>"), ())

    def test_bounded(self) -> None:
        """Of a long list the root and the newest are kept."""
        ids = message_ids(" ".join(f"<{n}@x>" for n in range(MAX_MESSAGE_IDS + 99)))
        self.assertEqual((len(ids), ids[0], ids[-1]), (MAX_MESSAGE_IDS, "0@x", f"{MAX_MESSAGE_IDS + 98}@x"))  # fmt: skip


class DateTests(SynchronousTestCase):
    def test_dates(self) -> None:
        """The forms of four decades, in UTC."""
        for value, expected in (
            ("Mon, 01 Jun 2026 10:00:00 +0200", (2026, 6, 1, 8, 0, 0)),
            ("1 Jun 2026 10:00 -0330 (NST (St. John's))", (2026, 6, 1, 13, 30, 0)),
            ("Wed, 11 Feb 98 11:51 CST", (1998, 2, 11, 17, 51, 0)),
            ("Thu, 1 Jan 04 00:00:00 GMT", (2004, 1, 1, 0, 0, 0)),
            ("1 Jan 104 00:00:00 Z", (2004, 1, 1, 0, 0, 0)),
            ("Fri Nov 21 09:55:06 1997", (1997, 11, 21, 9, 55, 6)),
            ("Sat Sep 22 18:27:27 EDT 2012", (2012, 9, 22, 22, 27, 27)),
            ("2020-01-02T03:04:05+01:00", (2020, 1, 2, 2, 4, 5)),
            ("Sat, 31 Dec 2016 23:59:60 +0000", (2016, 12, 31, 23, 59, 59)),
        ):
            self.assertEqual(parse_date(value), datetime(*expected, tzinfo=UTC), value)

    def test_garbage(self) -> None:
        """What names no moment is None."""
        for value in ("", "yesterday", "31 Feb 2020 10:00", "1 Foo 2020 1:00", "99 Jan 2020 99:99",
                      "1 Jan 0001 00:00 +2300", "1 Jan 2020 00:00 +9999", "(" * 100):  # fmt: skip
            self.assertIsNone(parse_date(value), value)

    @settings(deadline=None, max_examples=500)
    @given(
        st.tuples(
            st.sampled_from(["Mon, ", "mon, ", "", "Mon "]),
            st.sampled_from(["1", "01", "31", "99"]),
            st.sampled_from(["Jan", "Feb", "feb", "Foo", "Dec"]),
            st.sampled_from(["2024", "0001", "9999", "24"]),
            st.sampled_from(["10:11:12", "23:59:60", "99:99:99", "10:11"]),
            st.sampled_from(["+0000", "-0330", "+9999", "-2300", "GMT"]),
            st.sampled_from(["", " (UTC)", " (a (b))", " x"]),
        )
    )
    def test_usual(self, words: tuple[str, ...]) -> None:
        """A date of the usual form is the moment that it is with wider blanks."""
        value = "{}{} {} {} {} {}{}".format(*words)
        self.assertEqual(parse_date(value), parse_date(value.replace(" ", "  ")))

    @settings(deadline=None, max_examples=300)
    @given(st.text(st.sampled_from("0123456789 :+-,()JanfebT")))
    def test_total(self, value: str) -> None:
        """Any text is a moment in UTC or None."""
        moment = parse_date(value)
        self.assertTrue(moment is None or moment.tzinfo is UTC)


class LinearTests(SynchronousTestCase):
    def test_linear(self) -> None:
        """Hostile values take time in proportion to their length."""
        for unit in (
            "=?", "=?a?q?x", "=?a?q?=", "=?utf-8?b?YQ==?= ", ";", '"', 'a="', 'a="\\"', "(", "()",
            "a=", "a;", " ", '\\"', "a ", "/", "a*1*=b;", '="', "<", "<a@b>", "a@b ", "1 Jan ", ". ",
        ):  # fmt: skip
            value = unit * (500_000 // len(unit))
            started = perf_counter()
            decode_words(value)
            parse_parameters(value)
            message_ids(value)
            parse_date(value)
            self.assertLess(perf_counter() - started, within(3), unit)
