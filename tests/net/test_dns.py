"""Names are looked up as a mail host needs it, from servers that may fail or lie."""

from pathlib import Path
from typing import cast

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase, TestCase

from noinfra.boundaries import DnsFailure, DnsTemporary, MailExchange, NoSuchDomain
from noinfra.net.dns import DnsResolver, Lifetimes, a_labels
from noinfra.net.dns_memory import Finding, Memory
from noinfra.net.dns_servers import Server, system_servers
from noinfra.net.reactor import NetReactor
from tests.net.nameserver import NameServer, Records, Twist

reactor = cast(NetReactor, real_reactor)

RECORDS: Records = {
    ("example.net", dns.MX): [
        dns.Record_MX(20, b"MX2.example.net"),
        dns.Record_MX(10, b"mx1.example.net"),
        dns.Record_MX(5, b"bad host.example.net"),
    ],
    ("null.example", dns.MX): [dns.Record_MX(0, b"")],
    ("mx1.example.net", dns.A): [dns.Record_A("192.0.2.1"), dns.Record_A("192.0.2.2")],
    ("mx1.example.net", dns.AAAA): [dns.Record_AAAA("2001:db8:0::1")],
    ("alias.example", dns.CNAME): [dns.Record_CNAME(b"mx1.example.net")],
    ("circle.example", dns.CNAME): [dns.Record_CNAME(b"circle.example")],
    ("dangling.example", dns.CNAME): [dns.Record_CNAME(b"nothing.example")],
    ("text.example", dns.TXT): [dns.Record_TXT(b"v=spf1 ", b"-all")],
    ("big.example", dns.TXT): [dns.Record_TXT(*[b"x" * 200] * 10)],
    ("1.2.0.192.in-addr.arpa", dns.PTR): [
        dns.Record_PTR(b"host.example.net"),
        dns.Record_PTR(b"<script>.example.net"),
    ],
    ("xn--bcher-kva.example", dns.A): [dns.Record_A("192.0.2.3")],
}


class Lookups(TestCase):
    """Each test has a name server of its own."""

    def setUp(self) -> None:
        self.server = NameServer(RECORDS)
        self.address = self.server.listen(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))
        self.resolver = self.resolver_at(self.address)

    def resolver_at(self, *servers: Server) -> DnsResolver:
        return DnsResolver(reactor, servers, timeouts=(0.2, 0.2))

    async def failure(self, twist: Twist) -> DnsFailure:
        """What the resolver makes of answers so twisted."""
        self.server.twist = twist
        try:
            await self.resolver.a("mx1.example.net")
        except DnsFailure as failure:
            return failure
        raise AssertionError("It was believed.")

    async def test_mx(self) -> None:
        """Exchanges come by preference, in lower case; what is no host name is left out."""
        self.assertEqual(
            await self.resolver.mx("Example.NET."),
            (
                MailExchange(preference=10, host="mx1.example.net"),
                MailExchange(preference=20, host="mx2.example.net"),
            ),
        )

    async def test_null_mx(self) -> None:
        """The exchange of a domain without mail has no name."""
        (exchange,) = await self.resolver.mx("null.example")
        self.assertEqual(exchange, MailExchange(preference=0, host=""))

    async def test_addresses(self) -> None:
        """Addresses are given as text, in the usual form."""
        self.assertEqual(
            await self.resolver.a("mx1.example.net"), ("192.0.2.1", "192.0.2.2")
        )
        self.assertEqual(await self.resolver.aaaa("mx1.example.net"), ("2001:db8::1",))

    async def test_txt(self) -> None:
        """The strings of a record are one text."""
        self.assertEqual(await self.resolver.txt("text.example"), (b"v=spf1 -all",))

    async def test_ptr(self) -> None:
        """A reverse zone gives names, and only what can be one."""
        self.assertEqual(await self.resolver.ptr("192.0.2.1"), ("host.example.net",))

    async def test_idna(self) -> None:
        """A name in Unicode is asked for in A-labels."""
        self.assertEqual(await self.resolver.a("Bücher.example"), ("192.0.2.3",))

    async def test_cname(self) -> None:
        """Aliases are followed."""
        self.assertEqual(len(await self.resolver.a("alias.example")), 2)

    async def test_cname_in_another_answer(self) -> None:
        """An alias without its end is asked for on."""

        def only_the_alias(asked: dns.Message, answer: dns.Message) -> dns.Message:
            if any(r.type == dns.CNAME for r in answer.answers):
                answer.answers = answer.answers[:1]
            return answer

        self.server.twist = only_the_alias
        self.assertEqual(len(await self.resolver.a("alias.example")), 2)
        self.assertEqual([a[0] for a in self.server.asked][1:], ["mx1.example.net"])

    async def test_circle(self) -> None:
        """Aliases that lead back have no addresses."""
        self.assertEqual(await self.resolver.a("circle.example"), ())

    async def test_endless_aliases(self) -> None:
        """Aliases that lead ever on are given up."""

        def ever_on(asked: dns.Message, answer: dns.Message) -> dns.Message:
            name = asked.queries[0].name.name.decode("ascii")
            alias = dns.Record_CNAME(b"x" + name.encode("ascii"))
            answer.answers, answer.rCode = [self.server.record(name, alias)], dns.OK
            return answer

        self.assertIsInstance(await self.failure(ever_on), DnsTemporary)
        self.assertEqual(len(self.server.asked), 8)

    async def test_no_data(self) -> None:
        """A name without such records has none; a name that is not there is refused."""
        self.assertEqual(await self.resolver.txt("example.net"), ())
        with self.assertRaises(NoSuchDomain):
            await self.resolver.a("nothing.example")

    async def test_impossible_names(self) -> None:
        """What cannot be a name does not exist, and nobody is asked."""
        for name in (
            "",
            "a..b",
            "x" * 64 + ".example",
            "a." * 130 + "b",
            "a b",
            "ü\0.x",
        ):
            with self.assertRaises(NoSuchDomain):
                await self.resolver.a(name)
        self.assertEqual(self.server.asked, [])

    async def test_truncated(self) -> None:
        """What does not fit a datagram is asked for over TCP."""
        (text,) = await self.resolver.txt("big.example")
        self.assertEqual(len(text), 2000)
        self.assertEqual([over for _, _, over in self.server.asked], ["udp", "tcp"])

    async def test_truncated_for_ever(self) -> None:
        """Truncation over TCP too is no answer, and no reason to ask for ever."""

        def cut(asked: dns.Message, answer: dns.Message) -> dns.Message:
            answer.trunc = 1
            return answer

        self.assertIsInstance(await self.failure(cut), DnsTemporary)
        self.assertEqual(len(self.server.asked), 4)

    async def test_servfail(self) -> None:
        """A server's failure is temporary, and not that the name is missing."""

        def fail(asked: dns.Message, answer: dns.Message) -> dns.Message:
            answer.rCode = dns.ESERVER
            return answer

        failure = await self.failure(fail)
        self.assertIsInstance(failure, DnsTemporary)
        self.assertIn("A of mx1.example.net", str(failure))

    async def test_silence(self) -> None:
        """No answer in time is temporary."""
        self.assertIsInstance(await self.failure(lambda q, a: None), DnsTemporary)

    async def test_answer_to_another_question(self) -> None:
        """Neither another name's answer nor a question counts as one."""

        def other(asked: dns.Message, answer: dns.Message) -> dns.Message:
            answer.queries = [dns.Query(b"evil.example", dns.A)]
            return answer

        self.assertIsInstance(await self.failure(other), DnsTemporary)
        self.resolver = self.resolver_at(self.address)
        self.assertIsInstance(await self.failure(lambda q, a: q), DnsTemporary)

    async def test_unasked_records(self) -> None:
        """Records of other names in an answer are not believed."""

        def stuffed(asked: dns.Message, answer: dns.Message) -> dns.Message:
            evil = dns.Record_A("203.0.113.9")
            if answer.rCode == dns.OK:
                answer.answers.insert(0, self.server.record("evil.example", evil))
            return answer

        self.server.twist = stuffed
        self.assertNotIn("203.0.113.9", await self.resolver.a("mx1.example.net"))
        with self.assertRaises(NoSuchDomain):
            await self.resolver.a("evil.example")

    async def test_next_server(self) -> None:
        """A silent server costs its time once: it is asked last from then on."""
        silent = NameServer({}, lambda asked, answer: None)
        address = silent.listen(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(silent.close()))
        resolver = self.resolver_at(address, self.address)
        await resolver.a("mx1.example.net")
        await resolver.aaaa("mx1.example.net")
        self.assertEqual((len(silent.asked), len(self.server.asked)), (1, 2))

    async def test_answers_are_kept(self) -> None:
        """The second question is answered from memory, the answer "none" too."""
        for _ in range(2):
            await self.resolver.a("mx1.example.net")
            await self.resolver.txt("mx1.example.net")
            with self.assertRaises(NoSuchDomain):
                await self.resolver.a("nothing.example")
        self.assertEqual(len(self.server.asked), 3)

    async def test_one_question_for_many(self) -> None:
        """Who asks the same at the same time shares one question."""
        asked = [
            Deferred.fromCoroutine(self.resolver.a("mx1.example.net"))
            for _ in range(20)
        ]
        asked[0].addErrback(lambda failure: failure.trap(CancelledError) and ())
        asked[0].cancel()
        answers = await gatherResults(asked)
        self.assertEqual([len(answer) for answer in answers], [0] + [2] * 19)
        self.assertEqual(len(self.server.asked), 1)

    async def test_large_answers_are_not_kept(self) -> None:
        """Memory is not for strangers to fill."""
        self.server.records = {
            ("huge.example", dns.TXT): [dns.Record_TXT(*[b"x" * 200] * 30)]
        }
        for _ in range(2):
            await self.resolver.txt("huge.example")
        self.assertEqual(len(self.server.asked), 4)


class MemoryTests(SynchronousTestCase):
    """Answers are kept for their time, and the oldest goes first."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.memory = Memory(self.clock, self.find, size=2)

    async def find(self, name: str) -> Finding[str]:
        self.asked.append(name)
        return Finding(answers=(name,), seconds=10)

    def get(self, name: str) -> None:
        got = self.successResultOf(Deferred.fromCoroutine(self.memory.get(name)))
        self.assertEqual(got, (name,))

    def test_time(self) -> None:
        """An answer holds until its time is over."""
        for _ in range(3):
            self.get("a")
            self.clock.advance(5)
        self.assertEqual(self.asked, ["a", "a"])

    def test_size(self) -> None:
        """Beyond the size, what was not used longest is forgotten."""
        for name in ("a", "b", "a", "c", "a", "b"):
            self.get(name)
        self.assertEqual(self.asked, ["a", "b", "c", "b"])

    def test_bug(self) -> None:
        """An error of our own reaches who asked, and is not remembered."""

        async def broken(name: str) -> Finding[str]:
            raise ZeroDivisionError

        memory = Memory(self.clock, broken, size=2)
        for _ in range(2):
            asked = Deferred.fromCoroutine(memory.get("a"))
            self.failureResultOf(asked, ZeroDivisionError)


class ServerTests(SynchronousTestCase):
    """Which servers are asked."""

    def test_written(self) -> None:
        """A server is an address, with or without its port."""
        self.assertEqual(Server.at("192.0.2.1"), Server(host="192.0.2.1"))
        self.assertEqual(
            Server.at("192.0.2.1:5353"), Server(host="192.0.2.1", port=5353)
        )
        self.assertEqual(Server.at("::1"), Server(host="::1"))
        self.assertEqual(Server.at("[::1]:54"), Server(host="::1", port=54))
        self.assertRaises(ValueError, Server.at, "dns.example")
        self.assertRaises(ValueError, Server.at, "192.0.2.1:")

    def test_of_the_system(self) -> None:
        """resolv.conf names them; without it the local host is asked."""
        path = Path(self.mktemp())
        path.write_text(
            "# x\nnameserver 192.0.2.1\nsearch a\nnameserver ::1 \nnameserver\n"
        )
        self.assertEqual([s.host for s in system_servers(path)], ["192.0.2.1", "::1"])
        self.assertEqual(
            system_servers(path.with_name("no")), (Server(host="127.0.0.1"),)
        )

    def test_a_labels(self) -> None:
        """Names are lower case, and what cannot be encoded is left to be refused."""
        self.assertEqual(a_labels("Ex.AMPLE."), "ex.ample")
        self.assertEqual(a_labels("bücher.example"), "xn--bcher-kva.example")
        self.assertEqual(a_labels("ü\0.x"), "ü\0.x")
        self.assertEqual(Lifetimes().least, 5)
