"""SMTP submission: who may send, and what becomes of those who try."""

from __future__ import annotations

from base64 import b64encode
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from noinfra.fronts.logins import MOST, PATIENCE, BadLogins
from noinfra.fronts.sasl import (
    MECHANISMS,
    BadResponse,
    Credentials,
    decoded,
    exchange,
)
from noinfra.fronts.smtp.factory import TurnedAway
from noinfra.fronts.submission.submission import Submission
from noinfra.model import Client, Forward
from tests.fronts.submission import (
    MemorySubmitting,
    connect,
    plain,
    submission_factory,
    talk,
)

LOGIN = b"EHLO c\r\nAUTH PLAIN " + plain() + b"\r\n"
BEGIN = b"MAIL FROM:<agent@example.com>\r\nRCPT TO:<a@example.net>\r\n"
HEAD = LOGIN + BEGIN + b"DATA\r\nFrom: agent@example.com\r\n\r\n"


def last(said: bytes) -> bytes:
    """The last line."""
    return said.split(b"\r\n")[-2]


class MailTests(SynchronousTestCase):
    def test_transaction(self) -> None:
        """What MAIL and RCPT say reaches the use case, and so does the protocol."""
        submitting = MemorySubmitting()
        session, _ = connect(submission_factory(submitting))
        session.dataReceived(
            LOGIN + b"MAIL FROM:<agent@example.com> RET=FULL ENVID=e+2B SMTPUTF8\r\n"
            b"RCPT TO:<a@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y\r\n"
            b"DATA\r\nFrom: me\r\n\r\n.\r\n" + BEGIN + b"DATA\r\nFrom: me\r\n\r\n.\r\n"
        )
        (first, octets), (second, _) = submitting.mails
        self.assertEqual(octets, b"From: me\r\n\r\n")
        self.assertEqual((first.ret, first.envid), ("full", "e+2B"))
        forward = Forward(
            path="a@example.net", notify="success,delay", orcpt="rfc822;x@y"
        )
        self.assertEqual(first.rcpt_to, (forward,))
        # RFC 6531, 4.3; RFC 3848.
        self.assertEqual(first.client.protocol, "UTF8SMTPSA")
        client = Client(address="192.0.2.1", helo="c", protocol="ESMTPSA", tls="TLS")
        self.assertEqual(second.client, client)

    def test_revoked(self) -> None:
        """The next MAIL after the key has ended is refused, until another login."""
        submitting = MemorySubmitting()
        session, transport = connect(submission_factory(submitting))
        session.dataReceived(HEAD + b".\r\n")
        self.assertEqual(last(transport.value()), b"250 2.0.0 Queued as msg_1")
        submitting.revoked = True
        for reply in (b"530 5.7.0 The key was revoked.", b"530 5.7.0 Log in first"):
            session.dataReceived(b"MAIL FROM:<agent@example.com>\r\n")
            self.assertTrue(last(transport.value()).startswith(reply))
        submitting.revoked = False
        session.dataReceived(LOGIN + BEGIN)
        self.assertEqual(last(transport.value()), b"250 2.1.5 Recipient OK")

    def test_left_while_sending(self) -> None:
        """Mail whose sender left before our reply is sent, and the place is free."""
        waiting: Deferred[None] = Deferred()
        submitting = MemorySubmitting()
        factory = submission_factory(submitting, connections=1)
        session, _ = connect(factory)
        session.dataReceived(HEAD)
        submitting.delay = lambda: waiting
        session.dataReceived(b".\r\n")
        session.connectionLost(Failure(ConnectionDone()))
        address = IPv4Address("TCP", "192.0.2.1", 1)
        self.assertIsInstance(factory.buildProtocol(address), TurnedAway)
        waiting.callback(None)
        self.assertEqual(len(submitting.mails), 1)
        self.assertIsInstance(factory.buildProtocol(address), Submission)


class LoginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.submitting = MemorySubmitting()
        self.factory = submission_factory(self.submitting, clock=self.clock)

    def bad(self, session: Submission, address: str = "agent@example.com") -> None:
        session.dataReceived(b"AUTH PLAIN " + plain(address, "wrong") + b"\r\n")

    def connect(self, peer: str = "192.0.2.1") -> tuple[Submission, StringTransport]:
        session, transport = connect(self.factory, peer)
        session.dataReceived(b"EHLO c\r\n")
        transport.clear()
        return session, transport

    def test_delays(self) -> None:
        """Each bad login is answered later than the one before; the fifth is final."""
        session, transport = self.connect()
        for delay in (0.25, 0.5, 1.0, 2.0):
            transport.clear()
            self.bad(session)
            self.clock.advance(delay * 0.7)
            self.assertEqual(transport.value(), b"")
            self.clock.advance(delay * 0.35)
            self.assertTrue(transport.value().startswith(b"535 5.7.8 "))
        transport.clear()
        self.bad(session)
        self.clock.advance(4.1)
        self.assertTrue(transport.value().startswith(b"421 4.7.0 "))
        self.assertTrue(transport.disconnecting)

    def test_no_right(self) -> None:
        """A good key without the right to send is told so."""
        session, transport = self.connect()
        response = plain("agent@example.com", "reader")
        session.dataReceived(b"AUTH PLAIN " + response + b"\r\n")
        self.clock.advance(0.3)
        self.assertIn(b"lacks the permission messages:send", transport.value())

    def test_cannot_tell(self) -> None:
        """A trouble of ours is no bad login (RFC 4954, 6)."""
        session, transport = self.connect()
        for _ in range(9):
            response = plain("agent@example.com", "later")
            session.dataReceived(b"AUTH PLAIN " + response + b"\r\n")
        self.assertEqual(transport.value().count(b"454 4.7.0 Too many log in"), 9)

    def test_owner(self) -> None:
        """However many guess, from wherever, the right secret works at once."""
        for number in range(300):
            session, _ = self.connect(f"198.51.100.{number % 100}")
            self.bad(session)
        session, transport = self.connect()
        session.dataReceived(b"AUTH PLAIN " + plain() + b"\r\n")
        self.assertTrue(transport.value().startswith(b"235 "))
        # And a wrong one waits long.
        session, transport = self.connect("203.0.113.9")
        self.bad(session)
        self.clock.advance(7.9)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0.2)
        self.assertTrue(transport.value().startswith(b"535 "))

    def test_shut_out(self) -> None:
        """A network with very many is not listened to, but where it was let in."""
        self.factory = submission_factory(
            self.submitting, clock=self.clock, connections_per_address=1000
        )
        session, _ = self.connect()
        session.dataReceived(b"AUTH PLAIN " + plain() + b"\r\n")
        for number in range(PATIENCE):
            session, _ = self.connect()
            self.bad(session, f"{number}@example.com")
        tried = len(self.submitting.tried)
        session, transport = self.connect()
        self.bad(session, "other@example.com")
        self.assertTrue(transport.value().startswith(b"421 4.7.0 "))
        self.assertEqual(len(self.submitting.tried), tried)
        session, transport = self.connect()
        session.dataReceived(b"AUTH PLAIN " + plain() + b"\r\n")
        self.assertTrue(transport.value().startswith(b"235 "))
        # It is forgotten in time.
        self.clock.advance(60)
        session, transport = self.connect()
        self.bad(session, "other@example.com")
        self.assertEqual(len(self.submitting.tried), tried + 2)

    def test_left_while_waiting(self) -> None:
        """Who leaves before the answer holds his place until it was due."""
        factory = submission_factory(self.submitting, clock=self.clock, connections=1)
        session, _ = connect(factory)
        session.dataReceived(b"EHLO c\r\n")
        self.bad(session)
        session.connectionLost(Failure(ConnectionDone()))
        address = IPv4Address("TCP", "192.0.2.1", 1)
        self.assertIsInstance(factory.buildProtocol(address), TurnedAway)
        self.clock.advance(1)
        self.assertIsInstance(factory.buildProtocol(address), Submission)

    def test_silence(self) -> None:
        """Who falls silent within AUTH is sent away as anywhere else."""
        session, transport = self.connect()
        session.dataReceived(b"AUTH LOGIN\r\n")
        self.clock.advance(301)
        self.assertTrue(last(transport.value()).startswith(b"421 4.4.2 "))

    def test_stop(self) -> None:
        """Who is within AUTH when our service stops is sent away."""
        session, transport = self.connect()
        session.dataReceived(b"AUTH LOGIN\r\n")
        Deferred.fromCoroutine(self.factory.stop(1.0))
        self.assertTrue(last(transport.value()).startswith(b"421 4.3.2 "))

    def test_secrets_are_not_shown(self) -> None:
        """Credentials keep their secret out of logs."""
        self.assertNotIn("xyzzy", repr(Credentials(address="a@b", secret="xyzzy")))


class BadLoginsTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """Only so many networks and accounts are remembered, the latest."""
        logins = BadLogins(Clock().seconds)
        for number in range(MOST + 10):
            logins.failed(str(number), str(number))
            logins.succeeded(str(number), "a")
        self.assertEqual(logins.failed("0", "0"), 0.25)
        self.assertEqual(logins.failed(str(MOST), "x"), 0.5)

    def test_forgiven(self) -> None:
        """Bad logins are forgiven one by one."""
        clock = Clock()
        logins = BadLogins(clock.seconds)
        self.assertEqual([logins.failed("n", "A") for _ in "12"], [0.25, 0.5])
        clock.advance(10)
        self.assertEqual(logins.failed("n", "b"), 0.5)
        clock.advance(3600)
        self.assertEqual(logins.failed("m", "a"), 0.25)
        self.assertEqual([logins.failed("m", "a") for _ in range(99)][-1], 8.0)


class SaslTests(SynchronousTestCase):
    @given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=300), min_size=2))
    def test_anything(self, mechanism: str, responses: list[bytes]) -> None:
        """Any responses make credentials with both parts, or are refused."""
        talk = exchange(mechanism)
        next(talk)
        try:
            for response in responses:
                talk.send(response)
        except StopIteration as stop:
            self.assertTrue(stop.value.address and stop.value.secret)
        except BadResponse as error:
            self.assertTrue(str(error).isprintable())

    @given(st.binary(max_size=50))
    def test_base64(self, octets: bytes) -> None:
        """Base64 is read back, and anything else is refused."""
        self.assertEqual(decoded(b64encode(octets)), octets)
        try:
            self.assertEqual(b64encode(decoded(octets)), octets)
        except BadResponse as error:
            self.assertIn("base64", str(error))

    @given(st.text(min_size=1), st.text(min_size=1))
    def test_plain(self, address: str, secret: str) -> None:
        """PLAIN tells address and secret, whatever letters they have."""
        talk = exchange("PLAIN")
        next(talk)
        said = f"\0{address}\0{secret}".encode("utf-8", "replace")
        try:
            talk.send(said)
        except StopIteration as stop:
            self.assertEqual((stop.value.address, stop.value.secret), (address, secret))
        except BadResponse:
            self.assertTrue("\0" in address + secret or len(said) > 767)


SCRAPS = st.sampled_from(
    [
        LOGIN,
        BEGIN,
        b"EHLO c\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN\r\n",
        plain() + b"\r\n",
        plain(secret="wrong") + b"\r\n",
        b"*\r\n",
        b"\r\n",
        b"DATA\r\n",
        b"BDAT 5\r\nab\r\nc",
        b"BDAT 7 LAST\r\nFrom: a",
        b"From: agent@example.com\r\n",
        b".\r\n",
        b"\n.\r\n",
        b"RSET\r\n",
        b"\0",
        b"\n",
        b"x" * 2100,
    ]
)


class SegmentTests(SynchronousTestCase):
    def test_smuggling(self) -> None:
        """Nothing but CRLF.CRLF ends the data; what a bare line end hides is refused."""
        inner = BEGIN + b"DATA\r\nFrom: agent@example.com\r\n\r\nhid\r\n"
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"):
            probe = HEAD + b"one" + end + inner + b".\r\n"
            for pieces in ([probe], [probe[at : at + 1] for at in range(len(probe))]):
                said, mails = talk(pieces)
                self.assertEqual(mails, [], end)
                self.assertEqual(said.count(b"354 "), 1, end)
                self.assertTrue(last(said).startswith(b"550 5.6.0 "), end)

    def test_bare_line_in_auth(self) -> None:
        """A response with a bare LF closes the connection, and what follows is lost."""
        said, mails = talk(b"EHLO c\r\nAUTH LOGIN\r\nYQ==\n" + LOGIN + HEAD + b".\r\n")
        self.assertEqual(mails, [])
        self.assertTrue(last(said).startswith(b"500 5.5.2 "))

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(SCRAPS | st.binary(max_size=20), max_size=30).map(b"".join),
        st.lists(st.integers(0, 5000), max_size=40),
        st.booleans(),
    )
    def test_cuts(self, octets: bytes, places: list[int], head: bool) -> None:
        """Any octets get the same replies and send the same mail in any cut."""
        octets = HEAD + octets if head else octets
        edges = [0, *sorted({at % (len(octets) + 1) for at in places}), len(octets)]
        pieces = [octets[a:b] for a, b in pairwise(edges) if a < b]
        whole = talk(octets)
        self.assertEqual(talk(pieces), whole)
        self.assertRegex(whole[0], rb"\A(?:[2-5][0-9][0-9][ -][ -~]*\r\n)+\Z")
