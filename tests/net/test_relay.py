"""Mail reaches hosts over real sockets, and what goes wrong is told."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import cast

from attrs import evolve, frozen
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from noinfra.boundaries import Envelope, Outcome, Recipient
from noinfra.net.reactor import NetReactor
from noinfra.net.relay import SmtpRelay
from noinfra.net.settings import NextHop, OutboundSettings, Timeouts
from tests.fakes.resolver import TEMPORARY, MemoryResolver, Zone
from tests.net.mailhost import DROP, SILENCE, MailHost, certificate

reactor = cast(NetReactor, real_reactor)

ZONES = {
    "example.net": Zone(mx=((10, "mx1.example.net"), (20, "mx2.example.net"))),
    "mx1.example.net": Zone(a=("127.0.0.1",)),
    "mx2.example.net": Zone(a=("127.0.0.2",)),
    "one.example": Zone(mx=((10, "mx1.example.net"),)),
    "null.example": Zone(mx=((0, ""),)),
    "later.example": TEMPORARY,
}

# A machine under load must not look like a silent peer.
PATIENT = Timeouts(
    connect=20, greeting=20, tls=20, command=20, data=20, block=20, final=20, quit=1
)
SETTINGS = OutboundSettings(
    helo_name="out.example",
    private_addresses=True,
    timeouts=PATIENT,
)


@frozen(kw_only=True)
class Large:
    """A message of many pieces, whose lines begin with dots and end anywhere."""

    count: int
    piece: bytes = b".\r\n..x\r\nMAIL FROM:<>\r" * 10_000

    @property
    def size(self) -> int:
        return self.count * len(self.piece)

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            yield self.piece


def envelope(
    *rcpt_to: str, octets: bytes | Large = b"Subject: x\r\n\r\nHello\r\n"
) -> Envelope:
    return Envelope(
        mail_from="a@example.com",
        rcpt_to=tuple(Recipient(address=address) for address in rcpt_to),
        octets=octets,
    )


ONE = envelope("b@example.net")


def words(outcomes: tuple[Outcome, ...]) -> list[str]:
    """Each outcome and what decided it, shortly."""
    return [
        f"{o.status} {o.attempts[-1].code} {o.attempts[-1].enhanced}" for o in outcomes
    ]


class RelayTests(TestCase):
    """One host by default; a second where a test wants it."""

    def setUp(self) -> None:
        self.host = MailHost()
        self.listening(self.host, "127.0.0.1", 0)
        self.settings = evolve(SETTINGS, port=self.host.port)

    def listening(self, host: MailHost, address: str, port: int) -> None:
        host.listen(reactor, address, port)
        self.addCleanup(lambda: Deferred.fromCoroutine(host.close()))

    def second(self, host: MailHost) -> MailHost:
        self.listening(host, "127.0.0.2", self.host.port)
        return host

    def relay(self, settings: OutboundSettings | None = None) -> SmtpRelay:
        resolver = MemoryResolver(zones=ZONES)
        relay = SmtpRelay(reactor, resolver, settings or self.settings, Random(1))
        self.addCleanup(lambda: Deferred.fromCoroutine(relay.close(0.1)))
        return relay

    async def test_delivers(self) -> None:
        """The message arrives, and the attempt says where and how."""
        (outcome,) = await self.relay().deliver("example.net", ONE)
        self.assertEqual(self.host.messages, [b"Subject: x\r\n\r\nHello"])
        (attempt,) = outcome.attempts
        self.assertEqual(
            (outcome.rcpt_to, outcome.status, outcome.dsn_passed_on, outcome.uncertain),
            ("b@example.net", "delivered", True, False),
        )
        self.assertEqual(
            (attempt.remote_host, attempt.remote_address, attempt.code, attempt.text),
            ("mx1.example.net", "127.0.0.1", 250, "queued"),
        )
        self.assertIsNone(attempt.tls)
        self.assertLessEqual(attempt.started_at, attempt.finished_at)

    async def test_reuse(self) -> None:
        """Messages that follow each other share a connection, up to a limit."""
        relay = self.relay(evolve(self.settings, messages_per_connection=3))
        for _ in range(7):
            await relay.deliver("example.net", ONE)
        self.assertEqual((self.host.connections, len(self.host.messages)), (3, 7))
        self.assertEqual(self.host.commands.count("QUIT"), 2)

    async def test_limit(self) -> None:
        """However many deliveries there are, connections keep to the limit."""
        relay = self.relay(evolve(self.settings, connections_per_destination=3))
        sent = [
            Deferred.fromCoroutine(relay.deliver("example.net", ONE)) for _ in range(50)
        ]
        outcomes = await gatherResults(sent)
        self.assertEqual({words(o)[0] for o in outcomes}, {"delivered 250 2.0.0"})
        self.assertEqual((self.host.most_at_once, len(self.host.messages)), (3, 50))

    async def test_limit_of_all(self) -> None:
        """A resting connection makes room for another destination."""
        relay = self.relay(evolve(self.settings, connections=1))
        for domain in ("example.net", "one.example", "example.net"):
            self.assertEqual(
                words(await relay.deliver(domain, ONE)), ["delivered 250 2.0.0"]
            )
        self.assertEqual(self.host.connections, 3)

    async def test_idle(self) -> None:
        """An unused connection is closed in time, with QUIT."""
        relay = self.relay(evolve(self.settings, idle=0.05))
        await relay.deliver("example.net", ONE)
        await deferLater(reactor, 0.2)
        self.assertEqual(self.host.commands[-1], "QUIT")

    async def test_closed_while_idle(self) -> None:
        """A connection that the peer closed meanwhile is no attempt."""
        relay = self.relay()
        await relay.deliver("example.net", ONE)
        self.host.drop_all()
        await deferLater(reactor, 0.05)
        (outcome,) = await relay.deliver("example.net", ONE)
        self.assertEqual((outcome.status, len(outcome.attempts)), ("delivered", 1))

    async def test_closed_on_the_next_message(self) -> None:
        """Nor is one on which the next message is turned away."""
        relay = self.relay()
        await relay.deliver("example.net", ONE)
        self.host.says["MAIL FROM:<z@example.com> SIZE=1"] = "421 4.7.0 Enough."
        other = Envelope(mail_from="z@example.com", rcpt_to=ONE.rcpt_to, octets=b"x")
        self.second(MailHost())
        (outcome,) = await relay.deliver("example.net", other)
        self.assertEqual(
            [(a.remote_address, a.code) for a in outcome.attempts],
            [("127.0.0.1", 421), ("127.0.0.2", 250)],
        )

    async def test_next_host(self) -> None:
        """A host that does not let us in gives way to the next; both are told."""
        second = self.second(MailHost())
        for greeting, code in (
            ("421 4.3.2 Busy", 421),
            ("554 5.7.1 No", 554),
            (DROP, None),
        ):
            self.host.says["greeting"] = greeting
            (outcome,) = await self.relay().deliver("example.net", ONE)
            self.assertEqual(outcome.status, "delivered")
            self.assertEqual(
                [(a.remote_address, a.code) for a in outcome.attempts],
                [("127.0.0.1", code), ("127.0.0.2", 250)],
            )
        self.assertEqual(len(second.messages), 3)

    async def test_no_host(self) -> None:
        """Where no host lets us in, mail waits, unless all refuse for good."""
        await self.host.close()
        (outcome,) = await self.relay().deliver("example.net", ONE)
        self.assertEqual(words((outcome,)), ["deferred None 4.4.1"])
        self.assertEqual(len(outcome.attempts), 2)
        both = {"greeting": "554 5.7.1 No."}
        self.host = MailHost(says=both)
        self.listening(self.host, "127.0.0.1", 0)
        self.second(MailHost(says=both))
        self.settings = evolve(self.settings, port=self.host.port)
        self.assertEqual(
            words(await self.relay().deliver("example.net", ONE)), ["failed 554 5.7.1"]
        )

    async def test_shunned(self) -> None:
        """A host that did not let us in is left alone for a while."""
        self.host.says["greeting"] = "450 4.3.2 Busy."
        relay = self.relay()
        await relay.deliver("one.example", ONE)
        (outcome,) = await relay.deliver("one.example", ONE)
        self.assertEqual(words((outcome,)), ["deferred 450 4.3.2"])
        self.assertEqual(outcome.attempts[0].text, "Not tried again yet: Busy.")
        self.assertEqual(self.host.connections, 1)

    async def test_many_for_a_shunned_host(self) -> None:
        """However many wait for a host that lets nobody in, each has its outcome."""
        self.host.says["greeting"] = "450 4.3.2 Busy."
        relay = self.relay(evolve(self.settings, connections_per_destination=1))
        sent = [
            Deferred.fromCoroutine(relay.deliver("one.example", ONE))
            for _ in range(2000)
        ]
        outcomes = await gatherResults(sent)
        self.assertEqual({words(o)[0] for o in outcomes}, {"deferred 450 4.3.2"})

    async def test_many_that_are_not_sent(self) -> None:
        """Nor does it matter how many a connection settles without a word."""
        self.host.extensions = ("SIZE 1",)
        relay = self.relay(evolve(self.settings, connections_per_destination=1))
        sent = [
            Deferred.fromCoroutine(relay.deliver("one.example", ONE))
            for _ in range(2000)
        ]
        outcomes = await gatherResults(sent)
        self.assertEqual({words(o)[0] for o in outcomes}, {"failed 552 5.3.4"})

    async def test_unroutable(self) -> None:
        """Where there is no way, the reason is the outcome."""
        relay = self.relay()
        for domain, wanted in (
            ("null.example", "failed 556 5.1.10"),
            ("nothing.example", "failed 550 5.1.2"),
            ("later.example", "deferred 451 4.4.3"),
        ):
            (outcome,) = await relay.deliver(domain, ONE)
            self.assertEqual(words((outcome,)), [wanted])
            self.assertEqual(outcome.attempts[0].remote_host, "")

    async def test_each_recipient(self) -> None:
        """Each recipient has an outcome of its own; a refusal is not asked elsewhere."""
        second = self.second(MailHost())
        self.host.says["RCPT TO:<c@example.net>"] = "550 5.1.1 Nobody."
        self.host.says["RCPT TO:<d@example.net>"] = "451 4.7.1 Greylisted."
        people = envelope("b@example.net", "c@example.net", "d@example.net")
        outcomes = await self.relay().deliver("example.net", people)
        self.assertEqual(
            words(outcomes),
            ["delivered 250 2.0.0", "failed 550 5.1.1", "deferred 451 4.7.1"],
        )
        self.assertEqual(second.connections, 0)

    async def test_many_recipients(self) -> None:
        """A transaction takes a hundred, or what the host takes."""
        people = envelope(*(f"p{i}@example.net" for i in range(250)))
        outcomes = await self.relay().deliver("example.net", people)
        self.assertEqual(set(words(outcomes)), {"delivered 250 2.0.0"})
        self.assertEqual((len(self.host.messages), self.host.connections), (3, 1))

    async def test_host_takes_few(self) -> None:
        """Recipients that are too many for one transaction come in the next."""
        crowd = [f"p{i}@example.net" for i in range(5)]
        for address in crowd[2:]:
            self.host.says[f"RCPT TO:<{address}>"] = "452 4.5.3 Too many."
        outcomes = await self.relay().deliver("example.net", envelope(*crowd))
        self.assertEqual(
            words(outcomes), ["delivered 250 2.0.0"] * 2 + ["deferred 452 4.5.3"] * 3
        )

    async def test_lost_midway(self) -> None:
        """A connection lost before the end of the message is tried elsewhere."""
        second = self.second(MailHost())
        self.host.says["DATA"] = DROP
        (outcome,) = await self.relay().deliver("example.net", ONE)
        self.assertEqual((outcome.status, len(outcome.attempts)), ("delivered", 2))
        self.assertEqual(len(second.messages), 1)

    async def test_lost_after_the_dot(self) -> None:
        """One lost after it is not, since the message may have arrived."""
        second = self.second(MailHost())
        hasty = evolve(self.settings, timeouts=evolve(PATIENT, final=0.1))
        for silence in (DROP, SILENCE):
            self.host.says["."] = silence
            (outcome,) = await self.relay(hasty).deliver("example.net", ONE)
            self.assertEqual((outcome.status, outcome.uncertain), ("deferred", True))
        self.assertEqual(len(second.messages), 0)

    async def test_large(self) -> None:
        """Megabytes in pieces arrive as they are, with line ends made whole."""
        large = Large(count=30)
        (outcome,) = await self.relay().deliver(
            "example.net", envelope("b@example.net", octets=large)
        )
        self.assertEqual(outcome.status, "delivered")
        wanted = (large.piece * 30).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self.assertEqual(
            self.host.messages[0] + b"\r\n", wanted.replace(b"\n", b"\r\n")
        )
        self.assertNotIn("MAIL FROM:<>", self.host.commands)

    async def test_smarthost(self) -> None:
        """All mail goes to the smarthost, who sees the password under verified TLS."""
        made, pem = certificate("mx1.example.net")
        path = Path(self.mktemp())
        path.write_bytes(pem)
        self.host.certificate = made
        self.host.extensions += ("STARTTLS", "AUTH PLAIN")
        hop = NextHop(
            host="mx1.example.net", port=self.host.port, user="u", password="p"
        )
        settings = evolve(self.settings, smarthost=hop)
        outcomes = await self.relay(settings).deliver("nothing.example", ONE)
        self.assertEqual(words(outcomes), ["deferred None 4.7.5"])
        self.assertNotIn("AUTH", " ".join(self.host.commands))
        trusting = self.relay(evolve(settings, ca_file=path))
        (outcome,) = await trusting.deliver("nothing.example", ONE)
        self.assertEqual(outcome.status, "delivered")
        self.assertIn("AUTH PLAIN AHUAcA==", self.host.commands)
        self.assertRegex(outcome.attempts[0].tls or "", r"^TLSv1\.3 TLS_\w+ verified$")

    async def test_opportunistic_tls(self) -> None:
        """TLS is used as offered, whoever signed the certificate; EHLO comes again."""
        self.host.certificate, _ = certificate("other.example")
        self.host.extensions += ("STARTTLS",)
        large = envelope("b@example.net", octets=Large(count=10))
        (outcome,) = await self.relay().deliver("example.net", large)
        self.assertEqual(outcome.status, "delivered")
        self.assertRegex(outcome.attempts[0].tls or "", r" unverified$")
        self.assertEqual(self.host.commands.count("EHLO out.example"), 2)
        self.assertEqual(len(self.host.messages[0]), 10 * 220_000 - 2)

    async def test_wrong_name(self) -> None:
        """A trusted certificate for another host verifies nothing."""
        self.host.certificate, pem = certificate("other.example")
        self.host.extensions += ("STARTTLS",)
        path = Path(self.mktemp())
        path.write_bytes(pem)
        strict = evolve(self.settings, ca_file=path, tls="verified")
        outcomes = await self.relay(strict).deliver("one.example", ONE)
        self.assertEqual(words(outcomes), ["deferred None 4.7.5"])
        self.assertEqual(self.host.messages, [])

    async def test_handshake_fails(self) -> None:
        """A host whose TLS does not work is tried in clear once, if that is allowed."""
        self.host.extensions += ("STARTTLS",)
        self.settings = evolve(self.settings, timeouts=evolve(PATIENT, tls=0.1))
        for fault in ("220 go", DROP):
            self.host.says["STARTTLS"] = fault
            (outcome,) = await self.relay().deliver("one.example", ONE)
            self.assertEqual(outcome.status, "delivered", outcome)
            self.assertEqual(
                [a.remote_address for a in outcome.attempts], ["127.0.0.1"] * 2
            )
            strict = self.relay(evolve(self.settings, tls="required"))
            (outcome,) = await strict.deliver("one.example", ONE)
            self.assertEqual((outcome.status, len(outcome.attempts)), ("deferred", 1))
        self.assertEqual(len(self.host.messages), 2)

    async def test_close(self) -> None:
        """Closing breaks off what takes too long, and takes no more."""
        self.host.says["MAIL"] = SILENCE
        relay = self.relay()
        under_way = Deferred.fromCoroutine(relay.deliver("example.net", ONE))
        await deferLater(reactor, 0.05)
        await relay.close(0.1)
        (outcome,) = await under_way
        self.assertEqual(outcome.status, "deferred")
        (outcome,) = await relay.deliver("example.net", ONE)
        self.assertEqual(words((outcome,)), ["deferred 421 4.3.2"])

    async def test_cancel(self) -> None:
        """A delivery that is called off leaves its place to the next."""
        self.host.says["MAIL FROM:<a@example.com> SIZE=21"] = SILENCE
        relay = self.relay(evolve(self.settings, connections_per_destination=1))
        first = Deferred.fromCoroutine(relay.deliver("example.net", ONE))
        waiting = Deferred.fromCoroutine(relay.deliver("example.net", ONE))
        other = envelope("b@example.net", octets=b"x")
        third = Deferred.fromCoroutine(relay.deliver("example.net", other))
        await deferLater(reactor, 0.05)
        for called_off in (waiting, first):
            called_off.addErrback(lambda _: None)
            called_off.cancel()
        self.assertEqual(words(await third), ["delivered 250 2.0.0"])
