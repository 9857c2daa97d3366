"""The text of a mail, as its reader sees it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.mime import parse
from noinfra.mail.text import MAX_TEXT, Bodies, bodies, unflow

HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n"


def multipart(subtype: bytes, *parts: bytes) -> bytes:
    boundary = b"b%d" % len(b"".join(parts))
    lines = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    head = b"Content-Type: multipart/%b; boundary=%b\r\n\r\n" % (subtype, boundary)
    return head + lines + b"--%b--" % boundary


def read(octets: bytes) -> Bodies:
    return bodies(octets, parse(octets))


class BodyTests(SynchronousTestCase):
    def check(self, octets: bytes, text: str | None, html: str | None) -> None:
        self.assertEqual(read(octets), Bodies(text=text, html=html))

    def test_single(self) -> None:
        """A message of one part is that text; HTML is never given as text."""
        self.check(b"\r\nhi\r\n", "hi\n", None)
        self.check(HTML + b"<p>hi", None, "<p>hi")
        self.check(b"Content-Type: text/markdown\r\n\r\n*hi*", "*hi*", None)
        self.check(b"Content-Type: application/pdf\r\n\r\nx", None, None)
        self.check(b"", "", None)

    def test_alternative(self) -> None:
        """An alternative has one text in two forms."""
        self.check(multipart(b"alternative", b"\r\nhi", HTML + b"<p>hi"), "hi", "<p>hi")
        related = multipart(
            b"related", HTML + b"<p>", b"Content-Type: image/png\r\n\r\nx"
        )
        self.check(multipart(b"alternative", b"\r\nhi", related), "hi", "<p>")

    def test_mixed(self) -> None:
        """Several texts are joined; the HTML has the plain ones among them, escaped."""
        file = b"Content-Type: a/b\r\n\r\nx"
        self.check(multipart(b"mixed", b"\r\none", file, b"\r\ntwo"), "one\ntwo", None)
        self.check(
            multipart(
                b"mixed",
                multipart(b"alternative", b"\r\nhi", HTML + b"<p>hi"),
                b"\r\na<b",
            ),
            "hi\na<b",
            "<p>hi\n<pre>a&lt;b</pre>",
        )

    def test_attached(self) -> None:
        """A text that is attached, or named after the first, is not the message's."""
        attached = b"Content-Disposition: attachment\r\n\r\nno"
        named = b"Content-Type: text/plain; name=n.txt\r\n\r\nno"
        self.check(multipart(b"mixed", b"\r\nyes", attached, named), "yes", None)
        self.check(multipart(b"mixed", named), "no", None)
        self.check(attached, None, None)

    def test_forwarded(self) -> None:
        """The text of a message within is not this message's."""
        inner = b"Content-Type: message/rfc822\r\n\r\n\r\ninner"
        self.check(multipart(b"mixed", b"\r\nouter", inner), "outer", None)

    def test_signed(self) -> None:
        """What is signed is read."""
        signature = b"Content-Type: application/pgp-signature\r\n\r\nx"
        self.check(multipart(b"signed", b"\r\nhi", signature), "hi", None)

    def test_no_boundary(self) -> None:
        """A multipart in which no part is found is read as text."""
        self.check(b"Content-Type: multipart/mixed\r\n\r\nhi", "hi", None)

    def test_charsets(self) -> None:
        """The label decides, then the HTML's own, then what the octets look like."""
        meta = b"Content-Type: text/html\r\n\r\n<meta charset='koi8-r'>"
        self.check(meta + "да".encode("koi8-r"), None, "<meta charset='koi8-r'>да")
        self.check(b"Content-Type: text/plain\r\n\r\ncaf\xe9", "café", None)

    def test_line_ends(self) -> None:
        """All line ends become LF."""
        self.check(b"\r\na\r\nb\nc\rd", "a\nb\nc\nd", None)

    def test_bounded(self) -> None:
        """Text is cut at its bound."""
        octets = (
            b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
            + "ä".encode() * 3 * MAX_TEXT
        )
        self.assertEqual(read(octets).text, "ä" * MAX_TEXT)

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.sampled_from([b"--b\r\n", b"--b--", b"Content-Type: ", b"text/html", b"multipart/alternative; boundary=b",
                             b"; format=flowed; delsp=yes", b"; charset=utf-16", b"\r\n", b"\0", b"> x \n", b"\xff"])
        ).map(b"".join)
    )  # fmt: skip
    def test_total(self, octets: bytes) -> None:
        """Any octets have bodies that can be stored."""
        found = read(octets)
        for text in (found.text, found.html):
            self.assertNotIn("\0", (text or "").encode().decode())


class FlowedTests(SynchronousTestCase):
    def test_paragraphs(self) -> None:
        """Lines that end in a blank go on; quotes flow within their depth."""
        for text, expected in (
            ("a \nb \nc\nd", "a b c\nd"),
            ("> a \n> b\n>> c \nd", "> a b\n>> c \nd"),
            (" >not a quote\n  indented", ">not a quote\n indented"),
            ("a\n-- \nsig \nned", "a\n-- \nsig ned"),
            ("a \n-- \nb", "a \n-- \nb"),
            ("\n\n", "\n\n"),
            (">\n> x", ">\n> x"),
        ):
            self.assertEqual(unflow(text), expected, text)
        self.assertEqual(unflow("日 \n本", delsp=True), "日本")

    def test_parameter(self) -> None:
        """format=flowed is undone for plain text alone."""
        flowed = b"Content-Type: text/plain; format=Flowed; delsp=Yes\r\n\r\na \r\nb"
        self.assertEqual(read(flowed).text, "ab")
        self.assertEqual(read(b"Content-Type: text/plain\r\n\r\na \r\nb").text, "a \nb")
