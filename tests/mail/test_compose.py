"""Composed messages, read back by the standard library and by our own parser."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from time import perf_counter

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import Address, Mailbox
from noinfra.mail.compose import (
    MAX_REFERENCES,
    STRUCTURAL,
    Attachment,
    Composition,
    compose,
    compose_pieces,
    forwarded,
    needs_smtputf8,
    new_message_id,
    trim_references,
)
from noinfra.mail.encode import ComposeError
from noinfra.mail.mime import decoded, parse
from tests.pace import within

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ALICE = Mailbox(name="Alice", address=Address(local="alice", domain="example.org"))
BOB = Mailbox(name="Böb, B.", address=Address(local="bob", domain="example.net"))
PLAIN = Composition(
    from_=ALICE, to=(BOB,), message_id="1@example.org", date=NOON, text="Hello\n"
)
IMAGE = Attachment(
    filename="é a.png",
    content_type="image/png",
    content=bytes(range(256)),
    content_id="img1",
    inline=True,
)
FILE = Attachment(filename="a.bin", content_type="application/x-y", content=b"\0" * 99)
INJECTIONS = ("a\r\nBcc: x@y", "a\nb", "a\rb", "a\0b", "a\x1bb")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
LINE = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=80
).map(lambda text: " ".join(text.split()))


def std(octets: bytes) -> EmailMessage:
    """The message as the standard library reads it, after a look at its lines."""
    assert octets.isascii()
    lines = octets.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    read = message_from_bytes(octets, policy=SMTP)
    for part in read.walk():
        assert not part.defects, part.defects
    return read


def shape(octets: bytes) -> str:
    """The tree of types, such as mixed(plain,png), the same by both parsers."""

    def by_std(part: MIMEPart) -> str:
        inner = ",".join(map(by_std, part.iter_parts()))
        return part.get_content_subtype() + (f"({inner})" if inner else "")

    return by_std(std(octets))


def wired(text: str) -> str:
    """Text as it comes back: LF line ends, the last line ended."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text + "\n" if text and not text.endswith("\n") else text


class StructureTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A text alone is one part, readable as it is."""
        self.assertEqual(
            compose(evolve(PLAIN, subject="Grüße", cc=(ALICE,))),
            b"Date: Mon, 01 Jun 2026 12:00:00 +0000\r\n"
            b"From: Alice <alice@example.org>\r\n"
            b"To: =?utf-8?b?QsO2YiwgQi4=?= <bob@example.net>\r\n"
            b"Cc: Alice <alice@example.org>\r\n"
            b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
            b"Message-ID: <1@example.org>\r\n"
            b"MIME-Version: 1.0\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: 7bit\r\n"
            b"\r\nHello\r\n",
        )

    def test_shapes(self) -> None:
        """Each container is there only where it is needed."""
        both = evolve(PLAIN, html="<p>Hello")
        only = evolve(PLAIN, text=None, html="<p>Hello")
        for composition, expected in (
            (PLAIN, "plain"),
            (evolve(PLAIN, text=None), "plain"),
            (only, "html"),
            (both, "alternative(plain,html)"),
            (evolve(only, attachments=(IMAGE,)), "related(html,png)"),
            (
                evolve(both, attachments=(FILE, IMAGE)),
                "mixed(alternative(plain,related(html,png)),x-y)",
            ),
            (evolve(PLAIN, attachments=(IMAGE,)), "mixed(plain,png)"),
        ):
            octets = compose(composition)
            self.assertEqual(shape(octets), expected)
            ours = parse(octets)
            self.assertEqual(ours.defects, ())
            types = [part.subtype for part in ours.parts]
            self.assertEqual(
                types, expected.replace("(", ",").replace(")", "").split(",")
            )

    def test_no_recipients(self) -> None:
        """With Bcc alone the header says no more than that."""
        octets = compose(evolve(PLAIN, to=()))
        self.assertIn(b"\r\nTo: undisclosed-recipients:;\r\n", octets)

    def test_sender(self) -> None:
        """Sender stands only where it is not the author."""
        self.assertNotIn(b"Sender", compose(evolve(PLAIN, sender=ALICE)))
        self.assertIn(b"\r\nSender: =?utf-8?", compose(evolve(PLAIN, sender=BOB)))

    def test_deterministic(self) -> None:
        """The same composition gives the same octets, another id other boundaries."""
        composition = evolve(PLAIN, html="x", attachments=(FILE,))
        self.assertEqual(compose(composition), compose(composition))
        other = evolve(composition, message_id="2@example.org")
        self.assertNotEqual(
            compose(composition).rpartition(b"--=_")[2],
            compose(other).rpartition(b"--=_")[2],
        )

    def test_boundary_in_content(self) -> None:
        """A text that holds the boundary gets another boundary."""
        composition = evolve(PLAIN, attachments=(FILE,))
        boundary = parse(compose(composition)).root.parameters["boundary"]
        hostile = evolve(composition, text=f"--{boundary}\n\nforged\n--{boundary}--\n")
        octets = compose(hostile)
        self.assertEqual(shape(octets), "mixed(plain,x-y)")
        self.assertNotEqual(parse(octets).root.parameters["boundary"], boundary)

    def test_forwarded_whole(self) -> None:
        """A message goes within a message as it is, or as a file where it is not 7bit."""
        inner = compose(evolve(PLAIN, subject="Inner", html="x"))
        octets = compose(evolve(PLAIN, attachments=(forwarded(inner, "In\r\nner"),)))
        self.assertEqual(shape(octets), "mixed(plain,rfc822(alternative(plain,html)))")
        self.assertIn(inner, octets)
        self.assertIn(b'filename="In ner.eml"', octets)
        raw = "Subject: é\r\n\r\né".encode()
        octets = compose(evolve(PLAIN, attachments=(forwarded(raw, ""),)))
        part = parse(octets).parts[-1]
        self.assertEqual(part.content_type, "application/octet-stream")
        self.assertEqual(decoded(octets, part), raw)

    def test_list_fields(self) -> None:
        """List-Unsubscribe by URI and by one click (RFC 8058)."""
        uris = ("https://example.org/u?x=1,2", "mailto:u@example.org")
        octets = compose(evolve(PLAIN, list_unsubscribe=uris, one_click=True))
        self.assertIn(
            b"\r\nList-Unsubscribe: <https://example.org/u?x=1,2>,"
            b" <mailto:u@example.org>\r\n"
            b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
            octets,
        )
        mail_only = evolve(PLAIN, list_unsubscribe=uris[1:], one_click=True)
        self.assertRaises(ComposeError, compose, mail_only)


class IdentityTests(SynchronousTestCase):
    def test_message_id(self) -> None:
        """An identifier is made of chance and the domain."""
        self.assertEqual(
            new_message_id("a.example", b"\1" * 16), f"{'01' * 16}@a.example"
        )
        self.assertRaises(ValueError, new_message_id, "a.example", b"\1" * 15)

    def test_references(self) -> None:
        """The root and the latest references are kept, within a bound."""
        many = tuple(f"{number}@{'x' * 50}.example" for number in range(500))
        kept = trim_references(many)
        self.assertEqual((kept[0], kept[-1]), (many[0], many[-1]))
        self.assertLess(sum(map(len, kept)), MAX_REFERENCES + 1)
        octets = compose(evolve(PLAIN, references=many, in_reply_to=many[-1]))
        self.assertEqual(parse(octets).references, kept)
        self.assertEqual(parse(octets).in_reply_to, many[-1:])

    def test_odd_references(self) -> None:
        """What other software made and no header can hold is left out."""
        self.assertEqual(
            trim_references(["a b@c", "a\r\n", "", "a>", "x@y", "x@y"]), ("x@y",)
        )
        self.assertNotIn(b"In-Reply-To", compose(evolve(PLAIN, in_reply_to="a b")))


class RefusalTests(SynchronousTestCase):
    def refused(self, composition: Composition, field: str) -> None:
        error = self.assertRaises(ComposeError, compose, composition)
        self.assertEqual(error.field, field)
        # Before the first piece, that is.
        self.assertRaises(ComposeError, compose_pieces, composition)

    def test_injection(self) -> None:
        """No value that a caller gives can end its field."""
        for bad in INJECTIONS:
            mailbox = evolve(ALICE, name=bad)
            self.refused(evolve(PLAIN, from_=mailbox), "From")
            self.refused(evolve(PLAIN, to=(mailbox,)), "To")
            self.refused(evolve(PLAIN, subject=bad), "Subject")
            self.refused(evolve(PLAIN, message_id=bad), "Message-ID")
            self.refused(evolve(PLAIN, headers=((bad, "x"),)), "headers")
            self.refused(evolve(PLAIN, headers=(("X-A", bad),)), "X-A")
            self.refused(evolve(PLAIN, auto_submitted=bad), "Auto-Submitted")
            self.refused(
                evolve(PLAIN, list_unsubscribe=(f"https:{bad}",)), "List-Unsubscribe"
            )
            for attachment, field in (
                (evolve(IMAGE, filename=bad), "filename"),
                (evolve(IMAGE, content_type=f"image/{bad}"), "contentType"),
                (evolve(IMAGE, content_type=f'a/b; c="{bad}"'), "contentType"),
                (evolve(IMAGE, content_id=bad), "contentId"),
            ):
                self.refused(evolve(PLAIN, html="x", attachments=(attachment,)), field)

    def test_structural(self) -> None:
        """A caller's header cannot replace or repeat one that we make."""
        for name in (*STRUCTURAL, "BCC", "content-type", "Content-Foo", "Resent-To"):
            self.refused(evolve(PLAIN, headers=((name, "x"),)), name)
        twice = evolve(
            PLAIN, auto_submitted="auto-replied", headers=(("auto-submitted", "no"),)
        )
        self.refused(twice, "auto-submitted")

    def test_content_types(self) -> None:
        """A file cannot pose as a container, nor have a broken type."""
        for bad in (
            "multipart/mixed",
            "message/partial",
            "image",
            "",
            "a/b; c",
            'a/b; c="',
        ):
            attachment = evolve(FILE, content_type=bad)
            self.refused(evolve(PLAIN, attachments=(attachment,)), "contentType")

    def test_half_character(self) -> None:
        """Half a surrogate pair cannot be sent."""
        self.refused(evolve(PLAIN, text="\ud800"), "text")

    def test_naive_date(self) -> None:
        """A date without a zone is refused."""
        self.refused(evolve(PLAIN, date=NOON.replace(tzinfo=None)), "Date")


class InternationalTests(SynchronousTestCase):
    def test_domain_only(self) -> None:
        """A domain beyond ASCII does not need SMTPUTF8."""
        address = Address(local="a", domain="bücher.example")
        composition = evolve(PLAIN, to=(Mailbox(name="", address=address),))
        self.assertFalse(needs_smtputf8(composition))
        self.assertIn(b"\r\nTo: a@xn--bcher-kva.example\r\n", compose(composition))

    def test_local_part(self) -> None:
        """A local part beyond ASCII does, and then the header is UTF-8."""
        address = Address(local="žofie", domain="bücher.example")
        composition = evolve(
            PLAIN, subject="Grüße", cc=(Mailbox(name="Žofie", address=address),)
        )
        self.assertTrue(needs_smtputf8(composition))
        octets = compose(composition)
        self.assertIn('\r\nCc: "Žofie" <žofie@bücher.example>\r\n'.encode(), octets)
        self.assertIn("\r\nSubject: Grüße\r\n".encode(), octets)
        self.assertEqual(parse(octets).cc, composition.cc)


class RoundTripTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=150)
    @given(TEXT, TEXT, LINE, LINE, st.binary(max_size=300), LINE)
    def test_all(
        self, text: str, html: str, subject: str, name: str, content: bytes, file: str
    ) -> None:
        """What went in comes out, by the standard library and by our parser."""
        mailbox = evolve(ALICE, name=name)
        octets = compose(
            evolve(
                PLAIN,
                from_=mailbox,
                subject=subject,
                text=text,
                html=html,
                attachments=(
                    evolve(FILE, content=content, filename=file),
                    evolve(IMAGE, content=content),
                ),
                headers=(("X-Own", subject),),
            )
        )
        read = std(octets)
        plain, rich = (read.get_body((kind,)) for kind in ("plain", "html"))
        assert plain is not None and rich is not None
        self.assertEqual(wired(plain.get_content()), wired(text))
        self.assertEqual(wired(rich.get_content()), wired(html))
        self.assertEqual(read["Subject"] or "", subject)
        self.assertEqual(read["X-Own"], subject)
        self.assertEqual(read["From"].addresses[0].addr_spec, "alice@example.org")
        self.assertEqual(list(read.iter_parts())[1].get_content(), content)

        ours = parse(octets)
        self.assertEqual(ours.defects, ())
        self.assertEqual(ours.from_, (mailbox,))
        self.assertEqual(ours.subject, subject)
        found = {part.subtype: decoded(octets, part) for part in ours.parts}
        self.assertEqual(found["plain"].decode(), wired(text).replace("\n", "\r\n"))
        self.assertEqual(found["html"].decode(), wired(html).replace("\n", "\r\n"))
        self.assertEqual(found["x-y"], content)
        self.assertEqual(found["png"], content)
        names = {part.subtype: part.disposition_parameters for part in ours.parts}
        self.assertEqual(names["x-y"].get("filename", ""), file)
        self.assertEqual(names["png"]["filename"], "é a.png")

    def test_encodings(self) -> None:
        """Short ASCII lines stay, long lines and accents are quoted, the rest is base64."""
        for text, encoding in (
            ("Hello\nworld", "7bit"),
            ("a" * 100, "quoted-printable"),
            ("Wörter, die man noch lesen kann", "quoted-printable"),
            ("件名についてのご相談", "base64"),
            ("a\0b and some more text", "quoted-printable"),
        ):
            octets = compose(evolve(PLAIN, text=text))
            self.assertEqual(parse(octets).root.encoding, encoding)
            self.assertEqual(
                decoded(octets, parse(octets).root).decode(),
                f"{text}\n".replace("\n", "\r\n"),
            )

    def test_large(self) -> None:
        """25 MB are composed in well under a second, in small pieces."""
        large = evolve(PLAIN, attachments=(evolve(FILE, content=b"\x7f" * 25_000_000),))
        began = perf_counter()
        sizes = [len(piece) for piece in compose_pieces(large)]
        self.assertLess(perf_counter() - began, within(2))
        self.assertLess(max(sizes), 100_000)
