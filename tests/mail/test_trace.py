"""Trace fields and header surgery."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import Address
from noinfra.mail.mime import parse
from noinfra.mail.trace import (
    add_missing,
    count_received,
    protocol,
    received,
    return_path,
    strip_fields,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def traced(
    helo: str = "client.example.org",
    peer: str = "192.0.2.1",
    peer_name: str | None = "mx.example.org",
    recipient: Address | None = None,
    tls: str | None = None,
    protocol: str = "ESMTP",
) -> bytes:
    """A Received field, unfolded."""
    field = received(
        helo=helo,
        peer=peer,
        peer_name=peer_name,
        by="mail.noinfra.example",
        protocol=protocol,
        session_id="abc1",
        recipient=recipient,
        date=NOON,
        tls=tls,
    )
    lines = field.split(b"\r\n")
    assert lines.pop() == b"" and all(line[:1] == b" " for line in lines[1:])
    assert max(map(len, lines)) <= 998
    return b"".join(lines)


class ReceivedTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """Who, by whom, how, for whom and when, in the order of RFC 5321, 4.4."""
        self.assertEqual(
            traced(
                recipient=Address(local="a", domain="example.net"), tls="TLSv1.3 AES"
            ),
            b"Received: from client.example.org (mx.example.org [192.0.2.1])"
            b" by mail.noinfra.example with ESMTP id abc1 (TLSv1.3 AES)"
            b" for <a@example.net>; Mon, 01 Jun 2026 12:00:00 +0000",
        )

    def test_ipv6_without_name(self) -> None:
        """IPv6 has its tag; a client without a name has its address alone."""
        self.assertIn(
            b" ([IPv6:2001:db8::1]) by", traced(peer="2001:db8::1", peer_name=None)
        )

    def test_internationalised(self) -> None:
        """An address beyond ASCII shows only where the header may be UTF-8."""
        address = Address(local="é", domain="example.net")
        self.assertNotIn(b" for ", traced(recipient=address))
        whole = traced(recipient=address, protocol="UTF8SMTPS")
        self.assertIn(" for <é@example.net>".encode(), whole)

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=300))
    def test_hostile_helo(self, helo: str) -> None:
        """Whatever a client calls itself, the field is one, and nothing is added."""
        field = traced(helo=helo, peer_name=helo)
        self.assertTrue(field.isascii())
        self.assertNotIn(b"\n", field)
        self.assertEqual(field.count(b";"), 1)
        self.assertEqual(field.count(b" by "), 1)

    def test_protocols(self) -> None:
        """RFC 3848 and 6531 name what was used."""
        for flags, name in (
            ((False, False, False, False), "SMTP"),
            ((True, False, False, False), "ESMTP"),
            ((True, True, True, False), "ESMTPSA"),
            ((True, True, False, True), "UTF8SMTPS"),
        ):
            extended, tls, authenticated, utf8 = flags
            self.assertEqual(
                protocol(
                    extended=extended, tls=tls, authenticated=authenticated, utf8=utf8
                ),
                name,
            )

    def test_return_path(self) -> None:
        """The null reverse-path is <>."""
        self.assertEqual(return_path(None), b"Return-Path: <>\r\n")
        self.assertEqual(
            return_path(Address(local="a b", domain="example.org")),
            b'Return-Path: <"a b"@example.org>\r\n',
        )


class HeaderTests(SynchronousTestCase):
    def test_count(self) -> None:
        """Hops are counted in the header only, whatever the case."""
        message = (
            b"Received: a\r\nRECEIVED:\r\n b\r\nX-Received: c\r\n\r\nReceived: d\r\n"
        )
        self.assertEqual(count_received(message), 2)
        self.assertEqual(count_received(b"\r\nReceived: d\r\n"), 0)
        self.assertEqual(count_received(b"X: a\nreceived : b\n\nReceived: d\n"), 1)

    def test_strip(self) -> None:
        """A field goes with its continuation lines; the body and all else stay."""
        message = b"Bcc: a@b,\r\n\tc@d\r\nFrom: x\r\nbcc : e\r\nX-Bcc: keep\r\n\r\nBcc: body\r\n"
        self.assertEqual(
            strip_fields(message, ["Bcc", "Return-Path"]),
            b"From: x\r\nX-Bcc: keep\r\n\r\nBcc: body\r\n",
        )

    def test_strip_nothing(self) -> None:
        """Without such a field the message is the same object."""
        message = b"From: x\r\n\r\n"
        self.assertIs(strip_fields(message, ["Bcc"]), message)

    def test_strip_last_line(self) -> None:
        """A field may be all there is, with or without a line end."""
        self.assertEqual(strip_fields(b"Bcc: x", ["bcc"]), b"")
        self.assertEqual(strip_fields(b"A: b\nBcc: x\n y\n\nz", ["bcc"]), b"A: b\n\nz")

    @settings(deadline=None, max_examples=1000)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"Bcc",
                    b"bCC ",
                    b":",
                    b" ",
                    b"\t",
                    b"\r\n",
                    b"\n",
                    b"a@b.c",
                    b"To: x",
                    b"-",
                ]
            ),
            max_size=20,
        ).map(b"".join)
    )
    def test_no_bcc_left(self, octets: bytes) -> None:
        """However odd the header, our own parser finds no Bcc in what is left of it."""
        self.assertIsNone(parse(strip_fields(octets, ["Bcc"])).first("bcc"))

    def test_add_missing(self) -> None:
        """Date and Message-ID are made where they are missing, and only there."""
        whole = add_missing(b"From: x\r\n\r\nbody", date=NOON, message_id="1@b")
        self.assertEqual(
            whole,
            b"Message-ID: <1@b>\r\nDate: Mon, 01 Jun 2026 12:00:00 +0000\r\n"
            b"From: x\r\n\r\nbody",
        )
        self.assertIs(add_missing(whole, date=NOON, message_id="2@b"), whole)
        self.assertTrue(
            add_missing(b"\r\nbody", date=NOON, message_id="1@b").endswith(
                b"\r\n\r\nbody"
            )
        )
