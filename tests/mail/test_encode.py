"""Header fields as they go out, read back by the standard library and by our reader."""

from email import message_from_bytes
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.policy import SMTPUTF8
from time import perf_counter
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import Address, Mailbox, parse_address_list
from noinfra.mail.encode import (
    LINE,
    MAX_TEXT,
    ComposeError,
    check_field_name,
    encoded_words,
    fold,
    ids_field,
    mailboxes_field,
    neutral,
    parameter_words,
    parameters_field,
    text_field,
)
from noinfra.mail.header import decode_words, message_ids, parse_parameters, unfold
from tests.pace import within

#: Text that a caller may give: no controls, no surrogates, tabs apart.
TEXT = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\x85"
    ),
    max_size=120,
)
CONTROLS = "\r\n\0\x0b\x1f\x7f\x85\u2028\ud800"


def value(field: bytes) -> bytes:
    """What stands after the colon; the field's form is checked on the way."""
    assert field.endswith(b"\r\n") and b"\r\n\r\n" not in field
    lines = field[:-2].split(b"\r\n")
    for number, line in enumerate(lines):
        assert b"\r" not in line and b"\n" not in line and line.strip()
        assert number == 0 or line[:1] in b" \t"
        assert len(line) <= (76 if b"=?utf-8?" in line else 998)
    return field.partition(b":")[2]


def std(field: bytes) -> EmailMessage:
    """The field as the standard library reads it."""
    return message_from_bytes(field + b"\r\n", policy=SMTPUTF8)


class TextTests(SynchronousTestCase):
    def test_ascii(self) -> None:
        """ASCII stays as it is; long lines break at blanks."""
        self.assertEqual(text_field("Subject", "a b"), b"Subject: a b\r\n")
        field = text_field("Subject", "word " * 40 + "end")
        self.assertLessEqual(max(map(len, field.split(b"\r\n"))), LINE)
        self.assertEqual(unfold(value(field)), b"word " * 40 + b"end")

    def test_encoded(self) -> None:
        """Only what needs it is encoded, by what is shorter."""
        self.assertEqual(
            text_field("Subject", "Re: Cafés au lait"),
            b"Subject: Re: =?utf-8?q?Caf=C3=A9s?= au lait\r\n",
        )
        self.assertIn(b"?b?", text_field("Subject", "件名についてのご相談"))
        self.assertIn(b"?q?", text_field("Subject", "=?utf-8?q?not_mine?="))

    def test_utf8(self) -> None:
        """A header that may be UTF-8 is."""
        field = text_field("Subject", "Café", utf8=True)
        self.assertEqual(field, "Subject: Café\r\n".encode())

    @settings(deadline=None, max_examples=300)
    @given(TEXT, st.booleans())
    def test_round_trip(self, text: str, utf8: bool) -> None:
        """Our reader and the standard library's get back what went in."""
        field = text_field("Subject", text, utf8=utf8)
        self.assertEqual(decode_words(unfold(value(field))), text)
        if not utf8:
            self.assertTrue(field.isascii())
            self.assertEqual(std(field)["Subject"], text)

    @settings(deadline=None, max_examples=100)
    @given(st.text(min_size=1, max_size=300).filter(neutral))
    def test_words(self, text: str) -> None:
        """Encoded words are short, and hold whole characters each."""
        for word in encoded_words(neutral(text)):
            self.assertLessEqual(len(word), 75)
            self.assertNotIn(
                "\ufffd", decode_words(word).replace("\ufffd", "", text.count("\ufffd"))
            )

    def test_unbroken(self) -> None:
        """A URL of a thousand characters is encoded rather than broken or refused."""
        url = "https://example.org/" + "a" * 1500
        field = text_field("X-Url", url)
        self.assertEqual(decode_words(unfold(value(field))), url)

    def test_refused(self) -> None:
        """Controls are refused, by the name of the field."""
        for control in CONTROLS:
            error = self.assertRaises(
                ComposeError, text_field, "Subject", f"a{control}b"
            )
            self.assertIn("Subject", str(error))
            self.assertEqual(error.field, "Subject")
        self.assertEqual(text_field("Subject", "a\tb"), b"Subject: a\tb\r\n")

    def test_long(self) -> None:
        """A very long value is refused; one that is made to be slow to fold is not slow."""
        self.assertRaises(ComposeError, text_field, "X-A", "a" * (MAX_TEXT + 1))
        for piece in (" ", "\t", "a ", "=?", "é ", "a é "):
            began = perf_counter()
            text_field("X-A", (piece * MAX_TEXT)[:MAX_TEXT])
            self.assertLess(perf_counter() - began, within(2), piece)

    def test_neutral(self) -> None:
        """What others wrote is made to fit instead."""
        self.assertEqual(neutral("a\r\nBcc: b\0c\u2028d "), "a Bcc: b c d")

    def test_names(self) -> None:
        """A header's name holds neither blanks nor colons nor letters beyond ASCII."""
        for name in ("", "a b", "a:", "é", "a\r\nb", "a" * 77):
            self.assertRaises(ComposeError, check_field_name, "headers", name)
        self.assertEqual(check_field_name("headers", "X-A_b"), "X-A_b")

    def test_too_long(self) -> None:
        """A structured word that fits no line is refused."""
        self.assertRaises(ComposeError, fold, "X", ["a" * 999])


class AddressTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Names are atoms, quoted strings or encoded words, as they need."""
        for name, written in (
            ("", "a@example.org"),
            ("Alice Adams", "Alice Adams <a@example.org>"),
            ('A. "B" C\\', '"A. \\"B\\" C\\\\" <a@example.org>'),
            ("Adams, Alice", '"Adams, Alice" <a@example.org>'),
            ("Zoë Zander", "=?utf-8?q?Zo=C3=AB_Zander?= <a@example.org>"),
            ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <a@example.org>"),
        ):
            mailbox = Mailbox(
                name=name, address=Address(local="a", domain="example.org")
            )
            self.assertEqual(
                mailboxes_field("To", [mailbox]), f"To: {written}\r\n".encode()
            )

    def test_domains(self) -> None:
        """A domain goes as A-labels, unless the local part makes the header UTF-8."""
        for local, written in (
            ("a", b"To: a@xn--bcher-kva.example\r\n"),
            ("é", "To: é@bücher.example\r\n".encode()),
        ):
            mailbox = Mailbox(
                name="", address=Address(local=local, domain="bücher.example")
            )
            self.assertEqual(mailboxes_field("To", [mailbox]), written)

    def test_refused(self) -> None:
        """Nothing in an address can end the field or leave its brackets."""
        for address in (
            Address(local="a\r\nBcc: b", domain="example.org"),
            Address(local="a", domain="example.org\r\nBcc: b"),
            Address(local="a", domain="example.org>, <b@example.net"),
            Address(local="a", domain=""),
        ):
            mailbox = Mailbox(name="", address=address)
            self.assertRaises(ComposeError, mailboxes_field, "To", [mailbox])
        for control in CONTROLS:
            mailbox = Mailbox(
                name=f"a{control}b", address=Address(local="a", domain="example.org")
            )
            self.assertRaises(ComposeError, mailboxes_field, "To", [mailbox])

    @settings(deadline=None, max_examples=200)
    @given(st.lists(TEXT.map(neutral), min_size=1, max_size=12), st.booleans())
    def test_round_trip(self, names: list[str], utf8: bool) -> None:
        """Every name and address of a list comes back, and no other."""
        mailboxes = [
            Mailbox(
                name=name, address=Address(local=f"a.{number}", domain="example.org")
            )
            for number, name in enumerate(names)
        ]
        field = mailboxes_field("To", mailboxes, utf8=utf8)
        self.assertEqual(list(parse_address_list(value(field).decode())), mailboxes)
        if not utf8:
            header = cast(AddressHeader, std(field)["To"])
            self.assertEqual(
                [one.addr_spec for one in header.addresses],
                [str(one.address) for one in mailboxes],
            )

    def test_many(self) -> None:
        """A thousand recipients make a thousand short lines."""
        mailboxes = [
            Mailbox(name="", address=Address(local=f"user{n}", domain="example.org"))
            for n in range(1000)
        ]
        field = mailboxes_field("To", mailboxes)
        self.assertLessEqual(max(map(len, field.split(b"\r\n"))), LINE)


class ParameterTests(SynchronousTestCase):
    def field(self, name: str) -> bytes:
        words = parameter_words("filename", "filename", name)
        return parameters_field("Content-Disposition", "attachment", [words])

    def test_examples(self) -> None:
        """A token, a quoted string, or RFC 2231."""
        for name, written in (
            ("a.txt", "filename=a.txt"),
            ("a b.txt", 'filename="a b.txt"'),
            ('a"b', 'filename="a\\"b"'),
            ("é.txt", "filename*=utf-8''%C3%A9.txt"),
            ("", 'filename=""'),
            ("*", 'filename="*"'),
        ):
            self.assertEqual(
                self.field(name),
                f"Content-Disposition: attachment; {written}\r\n".encode(),
            )

    @settings(deadline=None, max_examples=200)
    @given(TEXT)
    def test_round_trip(self, name: str) -> None:
        """Our reader and the standard library's get back the file's name."""
        field = self.field(name)
        self.assertLessEqual(max(map(len, field.split(b"\r\n"))), LINE)
        self.assertEqual(parse_parameters(value(field))[1]["filename"], name)
        if name == neutral(name) != "":
            self.assertEqual(std(field).get_filename(), name)

    def test_long(self) -> None:
        """A name of a thousand characters goes in numbered pieces."""
        for name in ("é%" * 500, "a" * 1000):
            field = self.field(name)
            self.assertLessEqual(max(map(len, field.split(b"\r\n"))), LINE)
            self.assertEqual(std(field).get_filename(), name)

    def test_refused(self) -> None:
        """A file's name cannot end the field."""
        for control in CONTROLS:
            self.assertRaises(ComposeError, self.field, f"a{control}b")


class IdTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """Identifiers come back without their brackets, folded as they may be."""
        ids = tuple(f"{number}.{'x' * 40}@example.org" for number in range(20))
        field = ids_field("References", ids)
        self.assertLessEqual(max(map(len, field.split(b"\r\n"))), LINE)
        self.assertEqual(message_ids(value(field)), ids)
