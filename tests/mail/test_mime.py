"""The parts of a mail, by offset."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import Address, Mailbox
from noinfra.mail.bodies import body_parts
from noinfra.mail.mime import (
    MAX_DEPTH,
    MAX_PARTS,
    Message,
    Part,
    attachments,
    body_octets,
    decoded,
    index,
    parse,
    section,
)
from noinfra.mail.part import safe_filename
from tests.pace import within

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")))

#: What hostile and broken mail is made of.
PIECES = st.lists(
    st.sampled_from(
        [
            MIXED,
            b"Content-Type: multipart/digest; boundary=c\r\n",
            b"Content-Type: message/rfc822\r\n\r\n",
            b"Content-Type: text/html; charset=utf-7\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Content-Disposition: attachment; filename*0*=utf-8''%2e%00\r\n",
            b"From: =?utf-8?q?\xff?= <a@b>, g:;\r\n",
            b'Subject: "\\\xc3\xa9{3}\r\n',
            b"--b\r\n",
            b"--b\n",
            b"--b--\r\n",
            b"--c \r\n",
            b"--bb\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"YQ==",
            b"=\r\n",
            b"\0\x80",
            b" ",
            b"text",
        ]
    )
).map(b"".join)


def types(message: Message) -> list[tuple[str, str]]:
    return [(part.path, part.content_type) for part in message.parts]


def problems(octets: bytes, message: Message) -> Iterator[str]:
    """Where the parts do not cover the octets in order.

    A part is its header, then its body; the children of a part lie in its body, one after
    the other; between two children of a multipart stands one boundary line. So header,
    preamble, children with the lines between them, and epilogue make up the octets.
    """
    if (message.root.header_start, message.root.end) != (0, len(octets)):
        yield "the root is not the whole"
    for part in message.parts:
        at = part.body_start
        if not part.header_start <= at <= part.end:
            yield f"{part.path} is out of order"
        for child in part.children:
            between = octets[at : child.header_start]
            if child.header_start < at or child.end > part.end:
                yield f"{child.path} overlaps"
            elif child is not part.children[0] and not re.fullmatch(
                rb"(?:\r?\n)?--[^\n]*\n?", between
            ):
                yield f"{between!r} is lost"
            at = child.end


class StructureTests(SynchronousTestCase):
    def test_single(self) -> None:
        """A message of one part has it as "1"; no header at all is plain text."""
        for octets in (b"Content-Type: text/plain\r\n\r\nx", b"x\r\n", b""):
            self.assertEqual(types(parse(octets)), [("1", "text/plain")])

    def test_numbers(self) -> None:
        """Parts are numbered as IMAP wants, messages within messages too."""
        inner = (
            b"Subject: in\r\n"
            + MIXED.replace(b"=b", b"=c")
            + b"--c\r\n\r\n1\r\n--c\r\n\r\n2\r\n--c--"
        )
        octets = (
            MIXED + b"--b\r\n\r\ntext\r\n"
            b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n"
            b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n"
        )
        message = parse(octets)
        self.assertEqual(
            types(message),
            [
                ("", "multipart/mixed"),
                ("1", "text/plain"),
                ("2", "message/rfc822"),
                ("2.TEXT", "multipart/mixed"),
                ("2.1", "text/plain"),
                ("2.2", "text/plain"),
                ("3", "message/rfc822"),
                ("3.1", "text/plain"),
            ],
        )
        self.assertEqual(message.defects, ())
        part = message.part("2")
        assert part is not None
        self.assertEqual(body_octets(octets, part), inner)

    def test_bodies_are_exact(self) -> None:
        """The line break before a boundary is the boundary's, with CR or without."""
        for eol in (b"\r\n", b"\n"):
            octets = eol.join(
                [b"Content-Type: multipart/mixed; boundary=b", b"", b"preamble", b"--b",
                 b"", b"one", b"", b"--b \t", b"Content-Type: text/html", b"", b"--b",
                 b"--b--", b"epilogue", b"--b", b"", b"not a part"]
            )  # fmt: skip
            message = parse(octets)
            self.assertEqual(
                [body_octets(octets, part) for part in message.root.children],
                [b"one" + eol, b"", b""],
            )

    def test_boundary_names(self) -> None:
        """A boundary may begin with another, hold odd characters, or lack its blanks."""
        nested = (
            MIXED + b'--b\r\nContent-Type: multipart/mixed; boundary="bb"\r\n\r\n'
            b"--bb\r\n\r\n1\r\n--bb--\r\n--b\r\n\r\n2\r\n--b--\r\n"
        )
        self.assertEqual(
            [path for path, _ in types(parse(nested))], ["", "1", "1.1", "2"]
        )
        for name, line in (
            (b"'()+_,-./:=? x", b"'()+_,-./:=? x"),
            (b"a  ", b"a"),
            (b"\xc3\xa9", b"\xc3\xa9"),
        ):
            octets = (
                b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n\r\n1'
                % (name, line)
            )
            self.assertEqual([path for path, _ in types(parse(octets))], ["", "1"])

    def test_boundary_lines(self) -> None:
        """Lines with more than the boundary count only where there is no clean one."""
        octets = MIXED + b"--b junk\r\n\r\none\r\n"
        self.assertEqual([path for path, _ in types(parse(octets))], ["", "1"])
        octets = MIXED + b"--b\r\n\r\none\r\n--b junk\r\n\r\ntwo\r\n--b--"
        self.assertEqual([path for path, _ in types(parse(octets))], ["", "1"])

    def test_open_multipart(self) -> None:
        """Without a closing boundary the last part ends with the octets, or the parent."""
        self.assertEqual(
            body_octets(o := MIXED + b"--b\r\n\r\none", parse(o).root.children[0]),
            b"one",
        )
        octets = (
            MIXED + b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
            b"--c\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--"
        )
        message = parse(octets)
        self.assertEqual([path for path, _ in types(message)], ["", "1", "1.1", "2"])
        self.assertEqual(
            [body_octets(octets, message.parts[n]) for n in (2, 3)], [b"one", b"two"]
        )

    def test_no_part(self) -> None:
        """A multipart without a part is a leaf, read as text, and a defect."""
        for octets in (
            MIXED + b"hello",
            b"Content-Type: multipart/mixed\r\n\r\nhello",
            MIXED + b"--b--\r\n",
        ):
            message = parse(octets)
            self.assertEqual(types(message), [("1", "multipart/mixed")])
            self.assertEqual(message.defects, ("1: a multipart without a part",))

    def test_digest(self) -> None:
        """The parts of a digest are messages when they do not say otherwise."""
        octets = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b--"
        self.assertEqual(
            [kind for _, kind in types(parse(octets))],
            ["multipart/digest", "message/rfc822", "text/plain"],
        )

    def test_encoded_message(self) -> None:
        """A message/rfc822 that is encoded is a leaf; decoded() gives the message."""
        inner = b"Subject: x\r\n\r\ny"
        octets = (
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + b64encode(inner)
        )
        message = parse(octets)
        self.assertEqual(types(message), [("1", "message/rfc822")])
        self.assertEqual(decoded(octets, message.root), inner)

    @settings(deadline=None, max_examples=500)
    @given(st.binary(max_size=200) | PIECES)
    def test_total(self, octets: bytes) -> None:
        """Any octets are a message, whose parts cover them in order."""
        message = parse(octets)
        self.assertEqual(list(problems(octets, message)), [])
        self.assertEqual(len({part.path for part in message.parts}), len(message.parts))
        text = json.dumps(index(message), ensure_ascii=False)
        text.encode()
        self.assertNotIn("\\u0000", json.dumps(index(message)))
        for part in message.parts:
            decoded(octets, part)


class FieldTests(SynchronousTestCase):
    def test_part(self) -> None:
        """What a part says of itself."""
        octets = (
            b'Content-Type: IMAGE/Png; Name="=?utf-8?q?caf=C3=A9.png?="\r\nContent-ID: <i@x>\r\n'
            b"Content-Transfer-Encoding: Base64 (x)\r\nContent-Disposition: INLINE; size=3\r\n"
            b"Content-Description: =?utf-8?q?a_b?=\r\nContent-Language: de, en\r\n"
            b"Content-Location: http://x.example/\r\n a\r\nContent-MD5: Q2hlY2s=\r\n\r\nYWJj\r\n"
        )
        part = parse(octets).root
        self.assertEqual(
            (part.content_type, part.filename, part.content_id, part.encoding, part.disposition,
             part.disposition_parameters, part.description, part.language, part.location,
             part.md5, part.size, part.is_inline),
            ("image/png", "café.png", "i@x", "base64", "inline", {"size": "3"}, "a b",
             ("de", "en"), "http://x.example/a", "Q2hlY2s=", 6, True),
        )  # fmt: skip
        self.assertEqual(decoded(octets, part), b"abc")

    def test_lines(self) -> None:
        """Lines of text are counted, a last one without its end too."""
        for body, lines in (
            (b"", 0),
            (b"a", 1),
            (b"a\r\n", 1),
            (b"a\r\nb", 2),
            (b"\n\n", 2),
        ):
            self.assertEqual(parse(b"A: b\r\n\r\n" + body).root.lines, lines)

    def test_filenames(self) -> None:
        """Names have no path, control or hidden mark, and bounded length."""
        for name, safe in (
            ("../../etc/passwd", "passwd"),
            ("C:\\dir\\a.txt", "a.txt"),
            ("a\r\nb\0.txt", "ab.txt"),
            ("invoice\u202egpj.exe", "invoicegpj.exe"),
            (".signature", ".signature"),
            ("..", None),
            ("dir/", None),
            ("", None),
        ):
            self.assertEqual(safe_filename(name), safe)
        long = safe_filename("x" * 500 + ".pdf")
        assert long is not None
        self.assertEqual((len(long), long[-5:]), (200, "x.pdf"))

    def test_message(self) -> None:
        """The fields of the header, decoded."""
        message = parse(
            b"From: =?utf-8?q?Zo=C3=AB?= <z@x.example>\r\nTo: a@x.example, b@x.example\r\n"
            b"Subject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\nMessage-ID: <1@x>\r\n"
            b"In-Reply-To: <0@x>\r\nReferences: <r@x>\r\n <0@x>\r\n"
            b"Date: Mon, 1 Jun 2026 10:00:00 +0000\r\n\r\n"
        )
        self.assertEqual(
            message.from_,
            (Mailbox(name="Zoë", address=Address(local="z", domain="x.example")),),
        )
        self.assertEqual(
            [str(one) for one in message.to], ["a@x.example", "b@x.example"]
        )
        self.assertEqual((message.subject, message.message_id), ("ab", "1@x"))
        self.assertEqual(
            (message.in_reply_to, message.references), (("0@x",), ("r@x", "0@x"))
        )
        assert message.date is not None
        self.assertEqual(message.date.isoformat(), "2026-06-01T10:00:00+00:00")
        self.assertEqual(
            (message.cc, message.bcc, message.sender, message.reply_to),
            ((), (), (), ()),
        )

    def test_duplicates(self) -> None:
        """Of a field that may stand once the first counts, and a defect is noted."""
        message = parse(
            b"From: a@x.example\r\nfrom: b@x.example\r\nReceived: x\r\nReceived: y\r\n\r\n"
        )
        self.assertEqual([str(one) for one in message.from_], ["a@x.example"])
        self.assertEqual(message.defects, ("more than one from",))
        self.assertEqual(len(message.all("RECEIVED")), 2)


class DecodeTests(SynchronousTestCase):
    def decode(self, encoding: bytes, body: bytes) -> bytes:
        octets = b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (encoding, body)
        return decoded(octets, parse(octets).root)

    def test_base64(self) -> None:
        """Base64, and what becomes of it."""
        text = b64encode(b"hello world, hello world")
        for body, expected in (
            (b"aGVs\r\nbG8=\r\n", b"hello"),
            (b"aGVsbG8", b"hello"),
            (b"aGVsbG8==", b"hello"),
            (b"YQ==\r\nYg==\r\n", b"ab"),
            (b"> " + text, b"hello world, hello world"),
            (b"This is, alas, no base64 at all.", b"This is, alas, no base64 at all."),
            (b"", b""),
            (b"====", b""),
        ):
            self.assertEqual(self.decode(b"base64", body), expected, body)

    def test_base64_footer(self) -> None:
        """What a mailing list added after the padding is not decoded."""
        body = b64encode(b"hello" * 40) + b"\r\n-- \r\nfoo mailing list\r\n"
        self.assertEqual(self.decode(b"base64", body), b"hello" * 40)

    def test_quoted_printable(self) -> None:
        """Quoted-printable, with its broken forms left as they are."""
        for body, expected in (
            (b"caf=C3=A9=\r\n!", b"caf\xc3\xa9!"),
            (b"a \t\r\nb=20\r\n", b"a\r\nb \r\n"),
            (b"soft=  \r\nbreak", b"softbreak"),
            (b"1=zz=", b"1=zz"),
            (b"a=e9", b"a\xe9"),
        ):
            self.assertEqual(self.decode(b"quoted-printable", body), expected, body)

    def test_uuencode(self) -> None:
        """The file between begin and end."""
        body = b"junk\r\nbegin 644 a.txt\r\n%:&5L;&\\ \r\n`\r\nend\r\nmore"
        self.assertEqual(self.decode(b"x-uuencode", body), b"hello")
        self.assertEqual(self.decode(b"uuencode", b"nothing"), b"")

    def test_others(self) -> None:
        """What is not encoded, or in no known way, is as it is."""
        for encoding in (b"7bit", b"8BIT", b"binary", b"x-unknown", b""):
            self.assertEqual(self.decode(encoding, b"=41"), b"=41")

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=300))
    def test_base64_total(self, data: bytes) -> None:
        """Base64 comes back; any octets that claim to be it give octets."""
        self.assertEqual(self.decode(b"base64", b64encode(data)), data)
        for encoding in (b"base64", b"quoted-printable", b"x-uue"):
            self.decode(encoding, data)


class ComposedTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=150)
    @given(
        PRINTABLE.filter(lambda text: "=?" not in text),
        PRINTABLE,
        st.lists(st.tuples(st.binary(max_size=200), PRINTABLE), max_size=3),
        st.sampled_from(["\n", "\r\n"]),
    )
    def test_round_trip(
        self, subject: str, text: str, files: list[tuple[bytes, str]], linesep: str
    ) -> None:
        """What the standard library composes is found again."""
        composed = EmailMessage(policy=SMTP.clone(linesep=linesep))
        composed["Subject"] = subject
        composed["To"] = "Ann <ann@example.com>"
        composed.set_content(text)
        composed.add_alternative(f"<p>{text}</p>", subtype="html")
        for data, name in files:
            composed.add_attachment(
                data, maintype="application", subtype="x-test", filename=name
            )
        octets = composed.as_bytes()
        message = parse(octets)
        self.assertEqual(message.defects, ())
        self.assertEqual(message.subject.split(), subject.split())
        self.assertEqual([str(one) for one in message.to], ["Ann <ann@example.com>"])
        shown = body_parts(message)
        self.assertEqual([part.content_type for part in shown.text], ["text/plain"])
        self.assertEqual([part.content_type for part in shown.html], ["text/html"])
        found = [
            (decoded(octets, part), part.filename)
            for part in message.parts
            if part.disposition
        ]
        self.assertEqual([data for data, _ in found], [data for data, _ in files])


class AttachmentTests(SynchronousTestCase):
    def build(self, *parts: bytes, subtype: bytes = b"mixed") -> Message:
        return parse(
            MIXED.replace(b"mixed", subtype)
            + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
        )

    def attached(self, message: Message) -> list[str]:
        return [part.path for part in attachments(message)]

    def test_files(self) -> None:
        """Files, named texts after the first, and forwarded messages; not the text."""
        message = self.build(
            b"\r\ntext",
            b"Content-Type: application/pdf; name=a.pdf\r\n\r\nx",
            b"Content-Type: text/plain; name=notes.txt\r\n\r\nx",
            b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nx",
            b"Content-Type: message/rfc822\r\n\r\nContent-Type: application/pdf\r\n\r\nx",
            b"\r\nfooter",
        )
        self.assertEqual(self.attached(message), ["2", "3", "4", "5"])

    def test_inline_images(self) -> None:
        """Images that the text shows are listed, and are inline."""
        message = self.build(
            b"Content-Type: text/html\r\n\r\n<img src=cid:1>",
            b"Content-Type: image/png\r\nContent-ID: <1>\r\n\r\nx",
            subtype=b"related",
        )
        self.assertEqual(
            [(part.path, part.is_inline) for part in attachments(message)],
            [("2", True)],
        )

    def test_signatures(self) -> None:
        """The signatures of PGP and S/MIME are no attachments."""
        for kind in (b"pgp-signature", b"pkcs7-signature"):
            message = self.build(
                b"\r\ntext",
                b"Content-Type: application/%b; name=s\r\n\r\nx" % kind,
                subtype=b"signed",
            )
            self.assertEqual(self.attached(message), [])

    def test_invitation(self) -> None:
        """An invitation beside the text, as an alternative, is listed."""
        message = self.build(
            b"\r\ntext", b"Content-Type: text/html\r\n\r\nx", b"Content-Type: text/calendar\r\n\r\nx",
            subtype=b"alternative",
        )  # fmt: skip
        self.assertEqual(self.attached(message), ["3"])


class IndexTests(SynchronousTestCase):
    OCTETS = (
        MIXED + b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n"
        b'--b\r\nContent-Type: a/b\r\nContent-Disposition: attachment; filename="f"\r\n\r\nx\r\n--b--\r\n'
    )

    def test_entries(self) -> None:
        """The index is JSON, with a flag at attachments and at embedded messages."""
        entries = json.loads(json.dumps(index(parse(self.OCTETS))))
        self.assertEqual([(entry["p"], entry.get("a"), entry.get("m")) for entry in entries],
                         [("", None, None), ("1", None, None), ("2", 1, 1), ("2.1", None, None), ("3", 1, None)])  # fmt: skip
        self.assertEqual(
            (entries[1]["c"], entries[4]["n"], entries[4]["d"]),
            ("utf-8", "f", "attachment"),
        )

    def test_sections(self) -> None:
        """Every IMAP section is a slice of the octets."""
        entries = json.loads(json.dumps(index(parse(self.OCTETS))))
        for name, expected in (
            ("", self.OCTETS),
            ("HEADER", MIXED),
            ("text", self.OCTETS[len(MIXED) :]),
            ("1", b"text"),
            ("1.MIME", b"Content-Type: text/plain; charset=utf-8\r\n\r\n"),
            ("2", b"Subject: in\r\n\r\ninner"),
            ("2.HEADER", b"Subject: in\r\n\r\n"),
            ("2.TEXT", b"inner"),
            ("2.1", b"inner"),
            ("3", b"x"),
        ):
            span = section(entries, name)
            assert span is not None, name
            self.assertEqual(self.OCTETS[slice(*span)], expected, name)
        for name in (
            "4",
            "1.HEADER",
            "1.TEXT",
            "MIME",
            "1.1",
            "x",
            "1.",
            ".1",
            "2.1.TEXT",
        ):
            self.assertIsNone(section(entries, name), name)

    def test_single(self) -> None:
        """Part 1 of a message that is no multipart is its body, with its header as MIME."""
        octets = b"Subject: x\r\n\r\ny"
        entries = index(parse(octets))
        self.assertEqual(section(entries, "1"), section(entries, "TEXT"))
        self.assertEqual(section(entries, "1.MIME"), section(entries, "HEADER"))

    def test_nested_multipart(self) -> None:
        """A section names the parts of a multipart within a message."""
        octets = (
            b"Content-Type: message/rfc822\r\n\r\nA: b\r\n"
            + MIXED
            + b"--b\r\n\r\none\r\n--b--"
        )
        entries = index(parse(octets))
        for name, expected in (
            ("1.1", b"one"),
            ("1.HEADER", b"A: b\r\n" + MIXED),
            ("1.TEXT", b"--b\r\n\r\none\r\n--b--"),
        ):
            span = section(entries, name)
            assert span is not None, name
            self.assertEqual(octets[slice(*span)], expected)


class HostileTests(SynchronousTestCase):
    def nested(self, depth: int) -> bytes:
        return b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
            for n in range(depth)
        )

    def test_bounds(self) -> None:
        """Nesting and parts stop at their bounds, with a defect."""
        self.assertEqual(len(parse(self.nested(10_000)).parts), MAX_DEPTH + 1)
        self.assertEqual(
            len(parse(b"Content-Type: message/rfc822\r\n\r\n" * 10_000).parts),
            MAX_DEPTH + 1,
        )
        message = parse(octets := MIXED + b"--b\r\n\r\nx\r\n" * 100_000)
        self.assertLessEqual(len(message.parts), MAX_PARTS + 2)
        self.assertIn(f"parts beyond the first {MAX_PARTS}", message.defects)
        self.assertEqual(message.parts[-1].end, len(octets))
        self.assertEqual(list(problems(octets, message)), [])

    def test_linear(self) -> None:
        """Time is in proportion to the octets, whatever they are."""
        million = 1_000_000
        dashes = b'Content-Type: multipart/mixed; boundary="' + b"-" * 60 + b'"\r\n\r\n'
        for name, octets in {
            "semicolons": b"Content-Type: a/b" + b";" * million + b"\r\n\r\n",
            "quotes": b"Content-Type: a/b; c=" + b'"' * million + b"\r\n\r\n",
            "boundaries": MIXED + b"--b\r\n" * 100_000,
            "near boundaries": MIXED + b"--bx\r\n" * 100_000,
            "words": b"Subject: " + b"=?" * 50_000 + b"\r\nFrom: " + b"=?" * 50_000 + b"\r\n\r\n",
            "comments": b"From: " + b"(" * million + b"\r\n\r\n",
            "fields": b"a:\r\n" * 300_000,
            "folds": b"a:" + b"\r\n " * million,
            "no fields": b"x\n" * million,
            "half fields": b"a:\nx\n" * 300_000,
            "carriage returns": b"\r" * million,
            "dashes": dashes + b"-" * 3 * million,
            "lines of dashes": dashes + (b"-" * 61 + b"\n") * 50_000,
            "deep and large": self.nested(MAX_DEPTH - 1) + b"x" * 10 * million,
            "deep and near": self.nested(MAX_DEPTH - 1) + b"\n--b" * 2 * million,
            "fields of parts": MIXED + (b"--b\r\n" + b"a:b\r\n" * 500) * 1200,
            "messages": b"Content-Type: message/rfc822\r\n\r\n" * 28 + b"\n" * 3 * million,
            "long boundary": b"Content-Type: multipart/a; boundary=" + b"ab" * 50_000 + b"\r\n\r\n\n--" + b"ab" * million,
        }.items():  # fmt: skip
            started = perf_counter()
            message = parse(octets)
            _ = (message.subject, message.from_, message.references, index(message))
            self.assertLess(perf_counter() - started, within(3), name)

    def test_quick(self) -> None:
        """An attachment of 5 MB costs a search through its octets, not a line by line read."""
        octets = (
            MIXED
            + b"--b\r\nContent-Type: a/b\r\n\r\n"
            + (b"A" * 76 + b"\r\n") * 64_000
            + b"--b--"
        )
        started = perf_counter()
        parse(octets)
        self.assertLess(perf_counter() - started, within(0.1))

    def test_part_equality(self) -> None:
        """Parsing is pure: the same octets are the same message."""
        octets = MIXED + b"--b\r\n\r\nx\r\n--b--"
        self.assertEqual(parse(octets), parse(bytes(bytearray(octets))))
        self.assertIsInstance(parse(octets).root, Part)
