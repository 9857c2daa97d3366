"""Where mail goes, and where it does not."""

from random import Random

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from noinfra.net.addresses import is_public
from noinfra.net.route import Route, Router
from noinfra.net.settings import NextHop, OutboundSettings, next_hop
from noinfra.net.verdict import Unroutable
from tests.fakes.resolver import TEMPORARY, MemoryResolver, Zone

ZONES = {
    "example.net": Zone(mx=((10, "mx1.example.net"), (20, "mx2.example.net"))),
    "mx1.example.net": Zone(a=("8.8.1.1", "8.8.1.2"), aaaa=("2600::1",)),
    "mx2.example.net": Zone(a=("8.8.2.1",)),
    "plain.example": Zone(a=("8.8.3.1",)),
    "null.example": Zone(mx=((0, ""),)),
    "empty.example": Zone(txt=(b"x",)),
    "later.example": TEMPORARY,
    "half.example": Zone(mx=((10, "later.example"),)),
    "broken.example": Zone(mx=((10, "nothing.example"), (20, "empty.example"))),
    "we.example": Zone(a=("8.8.9.9",)),
    "backup.example": Zone(
        mx=((10, "mx1.example.net"), (20, "we.example"), (20, "mx2.example.net"))
    ),
    "loop.example": Zone(mx=((10, "we.example"), (20, "mx2.example.net"))),
    "inside.example": Zone(mx=((10, "router.inside.example"),)),
    "router.inside.example": Zone(a=("192.168.1.1",), aaaa=("::ffff:127.0.0.1",)),
    "wide.example": Zone(mx=tuple((7, f"w{i}.example") for i in range(40))),
    **{
        f"w{i}.example": Zone(a=tuple(f"8.9.{i}.{n}" for n in range(9)))
        for i in range(40)
    },
}


SETTINGS = OutboundSettings(
    helo_name="out.example", our_addresses=frozenset(["8.8.9.9"])
)
ONLY_IPV4 = evolve(SETTINGS, ipv6=False)


class RouteTests(SynchronousTestCase):
    """RFC 5321, 5.1."""

    def routed(
        self, domain: str, settings: OutboundSettings, seed: int = 1
    ) -> Deferred[Route]:
        router = Router(MemoryResolver(zones=ZONES), settings, Random(seed))
        return Deferred.fromCoroutine(router.route(domain))

    def route(
        self, domain: str, settings: OutboundSettings = SETTINGS, seed: int = 1
    ) -> Route:
        return self.successResultOf(self.routed(domain, settings, seed))

    def addresses(
        self, domain: str, settings: OutboundSettings = SETTINGS
    ) -> list[str]:
        return [target.address for target in self.route(domain, settings).targets]

    def refusal(self, domain: str) -> tuple[str, int | None, str]:
        failure = self.failureResultOf(self.routed(domain, SETTINGS), Unroutable)
        verdict = failure.value.verdict
        self.assertFalse(verdict.elsewhere)
        return verdict.status, verdict.code, verdict.enhanced

    def test_preference(self) -> None:
        """The best host first, its addresses of both families in turn."""
        self.assertEqual(
            self.addresses("Example.Net"), ["2600::1", "8.8.1.1", "8.8.1.2", "8.8.2.1"]
        )
        route = self.route("example.net")
        self.assertEqual(
            (route.name, route.tls, route.targets[0].host, route.targets[0].port),
            ("example.net", "opportunistic", "mx1.example.net", 25),
        )

    def test_without_ipv6(self) -> None:
        """IPv6 can be left out."""
        self.assertNotIn("2600::1", self.addresses("example.net", ONLY_IPV4))

    def test_no_mx(self) -> None:
        """A domain without MX records takes its own mail."""
        self.assertEqual(self.addresses("plain.example"), ["8.8.3.1"])

    def test_null_mx(self) -> None:
        """A domain that says that it takes no mail gets none (RFC 7505)."""
        self.assertEqual(self.refusal("null.example"), ("failed", 556, "5.1.10"))

    def test_no_such_domain(self) -> None:
        """A domain that does not exist is refused at once."""
        self.assertEqual(self.refusal("nothing.example"), ("failed", 550, "5.1.2"))

    def test_no_addresses(self) -> None:
        """Nor is there more to hope where no host has an address."""
        self.assertEqual(self.refusal("empty.example"), ("failed", 550, "5.4.4"))
        self.assertEqual(self.refusal("broken.example"), ("failed", 550, "5.4.4"))

    def test_dns_fails(self) -> None:
        """What the DNS does not tell now is tried later."""
        self.assertEqual(self.refusal("later.example"), ("deferred", 451, "4.4.3"))
        self.assertEqual(self.refusal("half.example"), ("deferred", 451, "4.4.3"))

    def test_we_are_a_backup(self) -> None:
        """Mail goes to hosts before us only, by our address or our name."""
        named = evolve(
            ONLY_IPV4, our_addresses=frozenset(), our_names=frozenset(["WE.example"])
        )
        for settings in (ONLY_IPV4, named):
            self.assertEqual(
                self.addresses("backup.example", settings), ["8.8.1.1", "8.8.1.2"]
            )

    def test_loop(self) -> None:
        """Mail that would come back to us is refused."""
        self.assertEqual(self.refusal("loop.example"), ("failed", 554, "5.4.6"))
        self.assertEqual(self.refusal("we.example"), ("failed", 554, "5.4.6"))

    def test_private_addresses(self) -> None:
        """The DNS of a stranger does not lead to the hosts around us."""
        self.assertEqual(self.refusal("inside.example"), ("failed", 550, "5.4.4"))
        self.assertEqual(self.refusal("[127.0.0.1]"), ("failed", 550, "5.4.4"))
        self.assertEqual(self.refusal("[IPv6:::1]"), ("failed", 550, "5.4.4"))
        lab = evolve(SETTINGS, private_addresses=True)
        self.assertEqual(self.addresses("[127.0.0.1]", lab), ["127.0.0.1"])

    def test_literal(self) -> None:
        """An address literal is its own host."""
        self.assertEqual(self.addresses("[8.8.8.8]"), ["8.8.8.8"])
        self.assertEqual(self.addresses("[IPv6:2600:0::1]"), ["2600::1"])
        for nonsense in ("[8.8.8]", "[8.8.8.8", "[]", "[tag:x]"):
            self.assertEqual(self.refusal(nonsense), ("failed", 550, "5.1.2"))

    def test_equals_are_shuffled(self) -> None:
        """Hosts of equal preference share the load."""
        firsts = {self.route("wide.example", seed=s).targets[0].host for s in range(20)}
        self.assertGreater(len(firsts), 5)

    def test_bounds(self) -> None:
        """Neither many hosts nor many addresses make many attempts."""
        targets = self.route("wide.example").targets
        self.assertEqual(len(targets), 10)
        self.assertEqual(len([t for t in targets if t.host == targets[0].host]), 4)

    def test_configured(self) -> None:
        """The closest entry counts, then the smarthost, and neither asks for MX."""
        settings = evolve(
            SETTINGS,
            routes={
                "example.net": next_hop("127.0.0.1:2626"),
                "*.example.org": next_hop("[::1]:2627"),
                "*.b.example.org": next_hop("plain.example"),
            },
            smarthost=NextHop(
                host="mx2.example.net", port=587, user="u", password="pw"
            ),
        )
        for domain, address, port in (
            ("example.net", "127.0.0.1", 2626),
            ("a.example.org", "::1", 2627),
            ("a.b.example.org", "8.8.3.1", 25),
            ("example.org", "8.8.2.1", 587),
            ("nothing.example", "8.8.2.1", 587),
        ):
            route = self.route(domain, settings)
            (target,) = route.targets
            self.assertEqual((target.address, target.port), (address, port))
        self.assertEqual((route.tls, route.user), ("verified", "u"))
        self.assertNotIn("pw", repr(settings))

    def test_next_hop(self) -> None:
        """A host is written with or without its port."""
        for text, host, port in (
            ("Mail.example", "mail.example", 25),
            ("mail.example:587", "mail.example", 587),
            ("2001:db8::1", "2001:db8::1", 25),
            ("[2001:db8::1]:26", "2001:db8::1", 26),
        ):
            self.assertEqual(next_hop(text), NextHop(host=host, port=port))
        for text in ("", "a:", "a:x", "a:0", "a:65536", ":25", "[::1]x", "[]:25"):
            self.assertRaises(ValueError, next_hop, text)

    def test_public(self) -> None:
        """What is not public stays so in every dress."""
        for address in (
            "127.0.0.1",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::a00:1",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
        ):
            self.assertFalse(is_public(address), address)
        for address in ("8.8.8.8", "2600::1", "::ffff:8.8.8.8", "64:ff9b::808:808"):
            self.assertTrue(is_public(address), address)
