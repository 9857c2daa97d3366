"""The edge in time: order, patience, limits, and coming to rest."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from noinfra.errors import BadContent, NoSuchInbox
from noinfra.fronts.smtp import conversation, session
from noinfra.fronts.smtp.edge import Edge
from noinfra.fronts.smtp.factory import EdgeFactory, TurnedAway
from noinfra.fronts.smtp.intake import Intake
from noinfra.fronts.smtp.reply import refused, reply
from noinfra.fronts.visitors import network_of
from noinfra.model import Client, Forward
from tests.fronts.dialogue import connected
from tests.fronts.smtp_edge import MemoryReceiving, connect, edge_factory

MAIL = b"MAIL FROM:<a@example.net>\r\n"
RCPT = b"RCPT TO:<agent@example.com>\r\n"


def codes(transport: StringTransport) -> list[str]:
    """The codes of the replies so far, which are forgotten."""
    lines = transport.value().decode("ascii").split("\r\n")[:-1]
    transport.clear()
    return [line.partition(" ")[0] for line in lines if line[3] == " "]


def leave(protocol: Edge) -> None:
    """The client is gone."""
    protocol.connectionLost(Failure(ConnectionDone()))


class Waiting:
    """Decisions that wait until they are released, one after the other."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    def __call__(self) -> Deferred[None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def release(self) -> None:
        self.waiting.pop(0).callback(None)


class PipeliningTests(SynchronousTestCase):
    def test_one_at_a_time(self) -> None:
        """A command is begun when the one before it is answered."""
        waiting = Waiting()
        receiving = MemoryReceiving(delay=waiting)
        protocol, transport = connect(edge_factory(receiving))
        protocol.dataReceived(
            b"EHLO c\r\n"
            + MAIL
            + RCPT
            + RCPT
            + b"DATA\r\nx\r\n.\r\n"
            + MAIL
            + b"QUIT\r\n"
        )
        self.assertEqual(len(receiving.asked), 1)
        self.assertFalse(transport.disconnecting)
        for _ in range(2):
            waiting.release()
        self.assertEqual(receiving.mails, [])
        waiting.release()
        self.assertEqual(receiving.contents, [b"x\r\n"])
        expected = ["220", "250", "250", "250", "250", "354", "250", "250", "221"]
        self.assertEqual(codes(transport), expected)

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.sampled_from([MAIL, RCPT, b"RCPT TO:<nobody@example.com>\r\n", b"RSET\r\n", b"DATA\r\n.\r\n", b"NOOP\r\n", b"BDAT 1 LAST\r\nx"]),
            max_size=25,
        ),
        st.lists(st.integers(0, 3), max_size=60),
    )  # fmt: skip
    def test_order(self, commands: list[bytes], releases: list[int]) -> None:
        """Replies to pipelined commands are those to the same commands one by one."""
        at_once = MemoryReceiving()
        protocol, expected = connect(edge_factory(at_once))
        protocol.dataReceived(b"HELO c\r\n" + b"".join(commands))
        waiting = Waiting()
        late = MemoryReceiving(delay=waiting)
        protocol, transport = connect(edge_factory(late))
        protocol.dataReceived(b"HELO c\r\n")
        for command, count in zip(commands, [*releases, *[0] * 25], strict=False):
            protocol.dataReceived(command)
            for _ in range(min(count, len(waiting.waiting))):
                waiting.release()
        while waiting.waiting:
            waiting.release()
        self.assertEqual(transport.value(), expected.value())
        self.assertEqual(late.mails, at_once.mails)

    def test_one_write(self) -> None:
        """The replies of a turn go out together."""
        protocol, transport = connect(edge_factory(MemoryReceiving()))
        writes: list[bytes] = []
        self.patch(transport, "write", writes.append)
        protocol.dataReceived(b"EHLO c\r\n" + MAIL + RCPT + b"DATA\r\n")
        self.assertEqual(len(writes), 1)

    def test_input_waits(self) -> None:
        """While a decision is awaited, no more is read than a bounded buffer holds."""
        waiting, clock = Waiting(), Clock()
        receiving = MemoryReceiving(delay=waiting)
        protocol, transport = connect(edge_factory(receiving, clock=clock))
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT)
        noops = b"NOOP\r\n" * 10_000
        protocol.dataReceived(noops)
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(noops)
        self.assertEqual(transport.producerState, "paused")
        waiting.release()
        clock.pump([0.0] * 50)
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual(len(codes(transport)), 20_004)

    def test_turns(self) -> None:
        """A client with much to say leaves others their turns."""
        clock = Clock()
        protocol, transport = connect(edge_factory(MemoryReceiving(), clock=clock))
        transport.clear()
        protocol.dataReceived(b"NOOP\r\n" * 1100)
        self.assertEqual(len(codes(transport)), 500)
        clock.advance(0)
        self.assertEqual(len(codes(transport)), 600)

    def test_output_waits(self) -> None:
        """A client that does not read is not answered; one that reads again, is."""
        clock = Clock()
        protocol, transport = connect(edge_factory(MemoryReceiving(), clock=clock))
        transport.clear()
        protocol.pauseProducing()
        protocol.dataReceived(b"NOOP\r\n" * 5000)
        self.assertLess(len(transport.value()), 1 << 10)
        protocol.dataReceived(b"NOOP\r\n" * 10_000)
        self.assertEqual(transport.producerState, "paused")
        protocol.resumeProducing()
        clock.pump([0.0] * 50)
        self.assertEqual(len(codes(transport)), 15_000)
        self.assertEqual(transport.producerState, "producing")
        protocol.pauseProducing()
        protocol.dataReceived(b"NOOP\r\nNOOP\r\n")
        clock.advance(300)
        self.assertTrue(transport.disconnected)


class ClientTests(SynchronousTestCase):
    def protocol_of(self, greeting: bytes, parameters: bytes = b"") -> Client:
        receiving = MemoryReceiving()
        protocol, _ = connect(edge_factory(receiving), "2001:db8::1")
        protocol.dataReceived(
            greeting
            + b"MAIL FROM:<>"
            + parameters
            + b"\r\n"
            + RCPT
            + b"BDAT 0 LAST\r\n"
        )
        return receiving.mails[0][0].client

    def test_names(self) -> None:
        """The protocol is named as RFC 3848 and RFC 6531 have it."""
        self.assertEqual(
            self.protocol_of(b"HELO c.example\r\n"),
            Client(address="2001:db8::1", helo="c.example", protocol="SMTP"),
        )
        self.assertEqual(self.protocol_of(b"EHLO [192.0.2.9]\r\n").protocol, "ESMTP")
        utf8 = self.protocol_of(b"EHLO [192.0.2.9]\r\n", b" SMTPUTF8")
        self.assertEqual((utf8.protocol, utf8.helo), ("UTF8SMTP", "[192.0.2.9]"))

    def test_helo(self) -> None:
        """A name is made safe for the trace field, and has a bounded length."""
        self.assertEqual(
            self.protocol_of(b"EHLO a(b)\xc3\xa9;c d\r\n").helo, "a?b????c"
        )
        self.assertEqual(
            len(self.protocol_of(b"EHLO " + b"x" * 999 + b"\r\n").helo), 255
        )

    def test_transaction(self) -> None:
        """The transaction holds what MAIL and RCPT say."""
        receiving = MemoryReceiving()
        protocol, _ = connect(edge_factory(receiving))
        protocol.dataReceived(
            b"EHLO c\r\nMAIL FROM:<a@example.net> RET=FULL ENVID=q+2B SMTPUTF8\r\n"
            b"RCPT TO:<agent@example.com> NOTIFY=Success,DELAY ORCPT=rfc822;x@y\r\n"
            b"RCPT TO:<nobody@example.com>\r\n"
            b"RCPT TO:<Postmaster>\r\nDATA\r\n.\r\n"
        )
        transaction, octets = receiving.mails[0]
        self.assertEqual(octets, b"")
        self.assertEqual(transaction.mail_from, "a@example.net")
        self.assertEqual((transaction.ret, transaction.envid), ("full", "q+2B"))
        self.assertTrue(transaction.smtputf8)
        self.assertEqual(
            transaction.rcpt_to,
            (
                Forward(
                    path="agent@example.com",
                    notify="success,delay",
                    orcpt="rfc822;x@y",
                ),
                Forward(path="postmaster"),
            ),
        )


class PatienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting = Waiting()
        self.receiving = MemoryReceiving()
        self.factory = edge_factory(self.receiving, clock=self.clock)
        self.protocol, self.transport = connect(self.factory)

    def test_silence(self) -> None:
        """A silent client hears 421 4.4.2, and is cut off if it does not read that."""
        self.clock.advance(299)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertIn(b"421 4.4.2 ", self.transport.value())
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(30)
        self.assertTrue(self.transport.disconnected)
        leave(self.protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow_line(self) -> None:
        """A command line has its time as a whole."""
        for _ in range(4):
            self.clock.advance(70)
            self.protocol.dataReceived(b"N")
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(20)
        self.assertIn(b"421 4.4.2 ", self.transport.value())

    def test_commands_renew(self) -> None:
        """A client that says something in time may stay."""
        for _ in range(10):
            self.clock.advance(200)
            self.protocol.dataReceived(b"NOOP\r\n")
        self.assertFalse(self.transport.disconnecting)

    def test_slow_data(self) -> None:
        """Data has to move on, and has its time as a whole."""
        self.protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT + b"DATA\r\n")
        for _ in range(17):
            self.clock.advance(200)
            self.protocol.dataReceived(b"x")
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(200)
        self.assertIn(b"421 4.4.2 ", self.transport.value())

    def test_still_data(self) -> None:
        """Data that stops is given up after the idle time; so is a chunk."""
        for begin in (b"DATA\r\n", b"BDAT 10\r\n"):
            protocol, transport = connect(self.factory)
            protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT + begin + b"x")
            self.clock.advance(299)
            self.assertFalse(transport.disconnecting)
            self.clock.advance(1)
            self.assertIn(b"421 4.4.2 ", transport.value())

    def test_our_time(self) -> None:
        """The time that we take ourselves does not count."""
        self.receiving.delay = self.waiting
        self.protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT)
        self.clock.advance(1000)
        self.assertFalse(self.transport.disconnecting)
        self.waiting.release()
        self.assertEqual(codes(self.transport), ["220", "250", "250", "250"])
        self.clock.advance(299)
        self.assertFalse(self.transport.disconnecting)


class LimitTests(SynchronousTestCase):
    def test_errors(self) -> None:
        """Refused commands end the connection; mail received begins the count anew."""
        protocol, transport = connect(edge_factory(MemoryReceiving(), errors=3))
        good = b"HELO c\r\n" + MAIL + RCPT + b"DATA\r\n.\r\n"
        protocol.dataReceived(b"X\r\nX\r\n" + good + b"X\r\nX\r\nX\r\nX\r\n")
        expected = [
            "220",
            "500",
            "500",
            "250",
            "250",
            "250",
            "354",
            "250",
            "500",
            "500",
            "500",
            "421",
        ]
        self.assertEqual(codes(transport), expected)
        self.assertTrue(transport.disconnecting)

    def test_transient_is_no_error(self) -> None:
        """Recipients beyond the limit are not the client's errors."""
        protocol, transport = connect(edge_factory(MemoryReceiving(), errors=3))
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT * 30 + b"DATA\r\n.\r\n")
        self.assertEqual(codes(transport)[-2:], ["354", "250"])

    def test_refusals(self) -> None:
        """Refusals of any kind are bounded all the same."""
        self.patch(conversation, "REFUSALS", 9)
        protocol, transport = connect(edge_factory(MemoryReceiving(), errors=3))
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT * 12)
        self.assertEqual(codes(transport)[-3:], ["452", "452", "421"])

    def test_transactions(self) -> None:
        """One connection carries a bounded number of transactions."""
        self.patch(session, "TRANSACTIONS", 2)
        protocol, transport = connect(edge_factory(MemoryReceiving()))
        protocol.dataReceived(b"HELO c\r\n" + (MAIL + b"RSET\r\n") * 3)
        self.assertEqual(
            codes(transport), ["220", "250", "250", "250", "250", "250", "421"]
        )
        self.assertTrue(transport.disconnecting)

    def turned_away(self, factory: EdgeFactory, peer: str) -> bool:
        protocol = factory.buildProtocol(address(peer))
        transport = connected(protocol, peer)
        away = isinstance(protocol, TurnedAway)
        self.assertEqual(transport.disconnecting, away)
        self.assertEqual(transport.value().startswith(b"421 4.7.0 "), away)
        return away

    def test_per_address(self) -> None:
        """An address, or a /64 of IPv6, has a bounded number of connections."""
        factory = edge_factory(MemoryReceiving(), connections_per_address=2)
        first, _ = connect(factory, "192.0.2.1")
        self.assertFalse(self.turned_away(factory, "::ffff:192.0.2.1"))
        self.assertTrue(self.turned_away(factory, "192.0.2.1"))
        self.assertFalse(self.turned_away(factory, "192.0.2.2"))
        leave(first)
        self.assertFalse(self.turned_away(factory, "192.0.2.1"))
        self.assertFalse(self.turned_away(factory, "2001:db8::1"))
        self.assertFalse(self.turned_away(factory, "2001:db8::2"))
        self.assertTrue(self.turned_away(factory, "2001:db8::ffff:0:0:1"))
        self.assertFalse(self.turned_away(factory, "2001:db8:0:1::1"))

    def test_in_all(self) -> None:
        """All addresses together have a bounded number of connections."""
        factory = edge_factory(MemoryReceiving(), connections=2)
        connect(factory, "192.0.2.1")
        connect(factory, "192.0.2.2")
        self.assertTrue(self.turned_away(factory, "192.0.2.3"))

    def test_dropped_in_receive(self) -> None:
        """A client that drops its connection counts until its mail is received."""
        waiting = Waiting()
        receiving = MemoryReceiving()
        factory = edge_factory(receiving, connections=1)
        protocol, transport = connect(factory)
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT)
        receiving.delay = waiting
        protocol.dataReceived(b"DATA\r\nx\r\n.\r\n")
        transport.clear()
        leave(protocol)
        self.assertTrue(self.turned_away(factory, "192.0.2.3"))
        waiting.release()
        self.assertEqual(receiving.contents, [b"x\r\n"])
        self.assertEqual(transport.value(), b"")
        self.assertFalse(self.turned_away(factory, "192.0.2.3"))

    def test_networks(self) -> None:
        """IPv6 counts by /64."""
        self.assertEqual(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::")
        self.assertEqual(network_of("192.0.2.1"), "192.0.2.1")
        self.assertEqual(network_of("a socket"), "a socket")


class StopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.receiving = MemoryReceiving()
        self.factory = edge_factory(self.receiving, clock=self.clock)

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.factory.stop(10.0))

    def test_nobody(self) -> None:
        """Without connections it is at rest at once."""
        self.successResultOf(self.stop())

    def test_between_commands(self) -> None:
        """Clients between commands hear 421 4.3.2 and are closed."""
        protocol, transport = connect(self.factory)
        protocol.dataReceived(b"HELO c\r\n" + MAIL + b"RCP")
        stopped = self.stop()
        self.assertEqual(codes(transport)[-1], "421")
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(stopped)
        leave(protocol)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        away = connected(self.factory.buildProtocol(address("192.0.2.1")))
        self.assertTrue(away.value().startswith(b"421 4.3.2 "))

    def test_in_receive(self) -> None:
        """A mail that is being received is answered before we close."""
        waiting = Waiting()
        protocol, transport = connect(self.factory)
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT + b"DATA\r\nx")
        stopped = self.stop()
        self.receiving.delay = waiting
        protocol.dataReceived(b"\r\n.\r\n" + MAIL)
        self.assertFalse(transport.disconnecting)
        waiting.release()
        self.assertEqual(codes(transport)[-2:], ["250", "421"])
        self.assertTrue(transport.disconnecting)
        leave(protocol)
        self.successResultOf(stopped)

    def test_deadline(self) -> None:
        """After the deadline nobody is waited for, and clients are cut off."""
        protocol, transport = connect(self.factory)
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT + b"DATA\r\nx")
        stopped = self.stop()
        self.clock.advance(9)
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertTrue(transport.disconnected)


class ReplyTests(SynchronousTestCase):
    def test_long(self) -> None:
        """A long text is folded; each line has the codes (RFC 2034, 4)."""
        said = refused(NoSuchInbox("word " * 300))
        lines = said.split(b"\r\n")[:-1]
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(len(line) <= 510 for line in lines))
        self.assertTrue(all(line.startswith(b"550-5.1.1 w") for line in lines[:-1]))
        self.assertTrue(lines[-1].startswith(b"550 5.1.1 w"))

    @given(st.text(max_size=2000))
    @settings(deadline=None, max_examples=200)
    def test_any(self, text: str) -> None:
        """No text gets a line end or a control into a reply."""
        said = refused(BadContent(text))
        self.assertRegex(
            said, rb"\A(?:554-5\.6\.0 [ -~]*\r\n)*554 5\.6\.0 [ -~]*\r\n\Z"
        )
        self.assertLessEqual(max(map(len, said.split(b"\r\n"))), 510)

    def test_escapes(self) -> None:
        """Line ends become blanks, and what is not ASCII is spelled out."""
        self.assertEqual(
            reply(250, "2.0.0", "a\r\n250 é"), b"250 2.0.0 a 250 \\xe9\r\n"
        )


class BugTests(SynchronousTestCase):
    def test_incident(self) -> None:
        """What is not a refusal is logged with the identifier that the reply shows."""
        protocol, transport = connect(edge_factory(MemoryReceiving()))
        protocol.dataReceived(b"HELO c\r\n" + MAIL)
        transport.clear()
        protocol.dataReceived(b"RCPT TO:<bug@example.com>\r\n")
        said = transport.value()
        self.assertRegex(said, rb"^451 4\.3\.0 Our error, incident [0-9a-f]{8}\.\r\n$")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_data(self) -> None:
        """After a bug in the midst of data the rest is not taken for commands."""

        def fail(_: object, octets: bytes) -> None:
            raise ZeroDivisionError

        self.patch(Intake, "add", fail)
        receiving = MemoryReceiving()
        protocol, transport = connect(edge_factory(receiving))
        protocol.dataReceived(b"HELO c\r\n" + MAIL + RCPT + b"DATA\r\nx\r\n" + MAIL)
        self.assertEqual(codes(transport)[-2:], ["354", "451"])
        self.assertTrue(transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_constants(self) -> None:
        """Every verb has its method."""
        for name in conversation.VERBS.values():
            self.assertTrue(callable(getattr(Edge, name)), name)


def address(host: str) -> IPv4Address:
    """A peer's address."""
    return IPv4Address("TCP", host, 40000)
