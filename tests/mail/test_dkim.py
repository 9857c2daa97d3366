"""DKIM signatures, held against a verifier that we did not write."""

from base64 import b64decode
from datetime import UTC, datetime
from hashlib import sha256

import dkim
from dkim.canonicalization import Relaxed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.dkim import (
    PIECE,
    BodyHash,
    Signer,
    SigningKey,
    dns_record,
    generate_ed25519,
    generate_rsa,
    sign,
    split_header,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RSA = Signer(generate_rsa("rsa", 1024))
ED = Signer(generate_ed25519("ed"))
HEADER = (
    b"From: Alice <alice@example.org>\r\n"
    b"To: bob@example.net,\r\n\tcarol@example.net\r\n"
    b"Subject:  a   subject \r\n that\tgoes on \r\n"
    b"Date: Mon, 1 Jun 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
)


def txt(name: bytes, timeout: int = 5) -> bytes | None:
    """The DNS that holds both keys."""
    zone = {f"{one.key.selector}._domainkey.example.org.": one.key for one in (RSA, ED)}
    key = zone.get(name.decode())
    return dns_record(key).encode() if key else None


def verified(octets: bytes) -> list[bool]:
    """What dkimpy says of each signature in a message."""
    number = octets.count(b"DKIM-Signature:")
    return [dkim.DKIM(octets).verify(one, dnsfunc=txt) for one in range(number)]


def in_pieces(body: bytes, size: int) -> bytes:
    """The hash of a body handed over in pieces of one size."""
    hashing = BodyHash()
    for start in range(0, len(body), size):
        hashing.update(body[start : start + size])
    return hashing.digest()


def by_dkimpy(body: bytes) -> bytes:
    """The hash of the body as dkimpy has it, with the final line end of RFC 5321."""
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    return sha256(Relaxed.canonicalize_body(body)).digest()


class BodyHashTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=400)
    @given(
        st.lists(
            st.sampled_from(
                [b" ", b"\t", b"\r\n", b"\r", b"\n", b"a", b"  ", b"\0", b"word"]
            ),
            max_size=40,
        ).map(b"".join),
        st.integers(1, 9),
    )
    @example(b"", 1)
    @example(b"x \r", 1)
    @example(b" ", 1)
    def test_same_as_dkimpy(self, body: bytes, size: int) -> None:
        """In pieces of any size the hash is the one of dkimpy's canonical body."""
        self.assertEqual(in_pieces(body, size), by_dkimpy(body))

    def test_large(self) -> None:
        """Blanks and line ends across the border of an inner piece are settled."""
        for gap in (b" \t\r\n", b"\r\n\r\n", b"\r", b" ", b"\t"):
            for shift in range(-5, 3):
                body = b"a" * (PIECE + shift) + gap + b"b\r\n \r\n"
                self.assertEqual(in_pieces(body, len(body)), by_dkimpy(body))

    def test_many_empty_lines(self) -> None:
        """Megabytes of empty lines are one pass, wherever they stand."""
        body = b"\r\n" * 1_000_000
        self.assertEqual(in_pieces(body, PIECE), by_dkimpy(b""))
        self.assertEqual(in_pieces(body + b"x", PIECE), by_dkimpy(body + b"x"))


class SignTests(SynchronousTestCase):
    def check(self, message: bytes) -> bytes:
        """Both signatures of a message are valid; return them."""
        fields = sign(message, "example.org", [RSA, ED], now=NOON)
        self.assertEqual(verified(fields + message), [True, True])
        return fields

    def test_bodies(self) -> None:
        """Bodies with every quirk are signed so that dkimpy accepts them."""
        for body in (
            b"",
            b"\r\n",
            b"\r\n\r\n",
            b"plain\r\n",
            b"trailing  \t \r\n blanks \r\n\r\n \r\n",
            b"\ttabs\tand\t runs   of blanks\r\n",
            b"no line end",
            b"8 bit: \xe9\xff\r\n",
        ):
            self.check(HEADER + b"\r\n" + body)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.sampled_from([b" ", b"\t", b"\r\n", b"\xe9", b"a", b"=", b";", b":"]),
            max_size=30,
        ).map(b"".join),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    )
    def test_any(self, body: bytes, subject: str) -> None:
        """Any body and subject give a signature that dkimpy accepts."""
        field = b"X-A: b\r\nSubject:" + subject.encode() + b"\r\n"
        self.check(field + HEADER + b"\r\n" + body + b"\r\n")

    def test_no_body(self) -> None:
        """A message that ends with its header is signed as one with an empty body."""
        self.check(HEADER)

    def test_survives_transit(self) -> None:
        """Refolded header fields and blanks at line ends do not break it."""
        message = HEADER + b"\r\none\r\ntwo\r\n"
        fields = self.check(message)
        refolded = message.replace(b",\r\n\tcarol", b", carol")
        self.assertEqual(verified(fields + refolded), [True, True])
        padded = message.replace(b"one", b"one  ") + b"\r\n\r\n"
        self.assertEqual(verified(fields + padded), [True, True])

    def test_added_fields(self) -> None:
        """A second From or Subject breaks the signature; a trace field does not."""
        message = HEADER + b"\r\nbody\r\n"
        fields = self.check(message)
        traced = b"Received: by example.net\r\n" + fields + message
        self.assertEqual(verified(traced), [True, True])
        for added in (b"From: m@example.net\r\n", b"Cc: m@example.net\r\n"):
            self.assertEqual(verified(fields + added + message), [False, False])

    def test_repeated_fields(self) -> None:
        """Fields that occur more than once are signed from the lowest up."""
        self.check(
            b"To: first@example.net\r\nTo: 2nd@example.net\r\n" + HEADER + b"\r\nx"
        )

    def test_changed_body(self) -> None:
        """Another body does not verify."""
        message = HEADER + b"\r\nbody\r\n"
        fields = self.check(message)
        changed = fields + message.replace(b"body", b"Body")
        self.assertEqual([dkim.verify(changed, dnsfunc=txt)], [False])

    def test_lines(self) -> None:
        """No line of the fields is longer than 78 octets."""
        fields = self.check(HEADER + b"\r\n")
        self.assertLessEqual(max(map(len, fields.split(b"\r\n"))), 78)
        self.assertTrue(fields.endswith(b"\r\n"))

    def test_hashed_before(self) -> None:
        """A body hash that was taken in pieces gives the same signature."""
        message = HEADER + b"\r\nbody \r\n"
        hashing = BodyHash()
        hashing.update(split_header(message)[1])
        self.assertEqual(
            sign(message, "example.org", [RSA], now=NOON, body_hash=hashing.digest()),
            sign(message, "example.org", [RSA], now=NOON),
        )

    def test_not_a_domain(self) -> None:
        """A domain or selector that could break out of its tag is refused."""
        self.assertRaises(ValueError, sign, HEADER, "a.b; l=0", [RSA], now=NOON)
        self.assertRaises(ValueError, generate_ed25519, "s\r\nBcc: x")


class KeyTests(SynchronousTestCase):
    def test_records(self) -> None:
        """A record names the key's type; Ed25519 gives the bare 32 octets."""
        self.assertTrue(dns_record(RSA.key).startswith("v=DKIM1; k=rsa; p=MI"))
        record = dns_record(ED.key)
        self.assertTrue(record.startswith("v=DKIM1; k=ed25519; p="))
        self.assertEqual(len(b64decode(record.rpartition("p=")[2])), 32)

    def test_ed25519_by_nacl(self) -> None:
        """PyNaCl accepts what we sign with the key that the record holds."""
        public = VerifyKey(b64decode(dns_record(ED.key).rpartition("p=")[2]))
        public.verify(sha256(b"octets").digest(), ED.sign(b"octets"))

    def test_default_size(self) -> None:
        """An RSA key has 2048 bits unless told otherwise."""
        self.assertGreater(len(dns_record(generate_rsa("s"))), 390)

    def test_wrong_algorithm(self) -> None:
        """A key stored under another algorithm is refused when it is read."""
        mixed = SigningKey(
            selector="s", algorithm="rsa-sha256", private_pem=ED.key.private_pem
        )
        self.assertRaises(ValueError, Signer, mixed)

    def test_secret_in_no_repr(self) -> None:
        """The private part does not show in a log."""
        self.assertNotIn("PRIVATE", repr(RSA))
