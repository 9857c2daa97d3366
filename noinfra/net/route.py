"""Where a domain's mail goes (RFC 5321, 5.1): the addresses to try, in order.

Configured routes come first, then the smarthost, then the DNS. Hosts of equal
preference are shuffled, the addresses of one host alternate between IPv6 and IPv4.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import chain, zip_longest
from random import Random

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from noinfra.boundaries import DnsTemporary, MailExchange, NoSuchDomain, Resolver
from noinfra.net.addresses import is_public
from noinfra.net.dns import a_labels
from noinfra.net.settings import NextHop, OutboundSettings, Tls
from noinfra.net.verdict import Unroutable, deferred, failed

MAX_HOSTS = 10
"""MX hosts whose addresses are looked up: the best, should a domain name more."""
MAX_ADDRESSES_OF_HOST = 4
"""So that one host does not use up the tries of those after it."""


@frozen(kw_only=True)
class Target:
    """One address to try."""

    host: str
    """The name for the certificate and for reports; the address where it has none."""
    address: str
    port: int


@frozen(kw_only=True)
class Route:
    """A way to a destination; connections are shared among routes of equal name."""

    name: str
    targets: tuple[Target, ...]
    tls: Tls
    user: str = ""
    password: str = ""


@frozen(kw_only=True)
class _Host:
    """A mail exchange with what its name stands for; unknown is a lookup to repeat."""

    name: str
    preference: int = 0
    addresses: tuple[str, ...] = ()
    unknown: bool = False


class Router:
    """Finds routes, for one set of settings."""

    def __init__(
        self, resolver: Resolver, settings: OutboundSettings, random: Random
    ) -> None:
        self._resolver = resolver
        self._settings = settings
        self._random = random
        self._ours = {a_labels(n) for n in (settings.helo_name, *settings.our_names)}

    async def route(self, domain: str) -> Route:
        """The way to a domain, or to an address literal in its brackets.

        :raises Unroutable: there is none, for now or for good.
        """
        domain = a_labels(domain)
        hop = _configured(self._settings, domain)
        if hop is not None:
            return await self._by_hop(hop)
        if domain.startswith("["):
            hosts = [_literal(domain)]
        else:
            hosts = await self._by_dns(domain)
        return Route(
            name=domain,
            targets=self._targets(domain, self._reachable(domain, hosts)),
            tls=self._settings.tls,
        )

    async def _by_hop(self, hop: NextHop) -> Route:
        host = await self._host(hop.host, 0)
        return Route(
            name=f"{hop.host}:{hop.port}",
            targets=self._targets(hop.host, [host], hop.port),
            tls="verified" if hop.user else hop.tls,
            user=hop.user,
            password=hop.password,
        )

    async def _by_dns(self, domain: str) -> list[_Host]:
        exchanges = await self._exchanges(domain)
        if exchanges and all(not mx.host for mx in exchanges):
            # RFC 7505, 4.1 and RFC 7504, 4.
            raise Unroutable(failed(556, "5.1.10", f"{domain} takes no mail."))
        # Without MX records, the domain is its own exchange.
        exchanges = exchanges or (MailExchange(preference=0, host=domain),)
        best = sorted(
            (mx for mx in exchanges if mx.host),
            key=lambda mx: (mx.preference, self._random.random()),
        )[:MAX_HOSTS]
        found = [
            Deferred.fromCoroutine(self._host(mx.host, mx.preference)) for mx in best
        ]
        return self._before_us(domain, await gatherResults(found, consumeErrors=True))

    async def _exchanges(self, domain: str) -> tuple[MailExchange, ...]:
        try:
            return await self._resolver.mx(domain)
        except NoSuchDomain as error:
            text = f"The domain {domain} does not exist."
            raise Unroutable(failed(550, "5.1.2", text)) from error
        except DnsTemporary as error:
            raise Unroutable(deferred(451, "4.4.3", str(error))) from error

    def _before_us(self, domain: str, hosts: list[_Host]) -> list[_Host]:
        """Drop us and the hosts after us, lest mail go round (RFC 5321, 5.1)."""
        ours = [host.preference for host in hosts if self._is_ours(host)]
        before = [host for host in hosts if host.preference < min(ours, default=65536)]
        if not before:
            text = f"The mail of {domain} comes back to us, and we do not take it."
            raise Unroutable(failed(554, "5.4.6", text))
        return before

    def _is_ours(self, host: _Host) -> bool:
        ours = self._settings.our_addresses
        return host.name in self._ours or not ours.isdisjoint(host.addresses)

    async def _host(self, name: str, preference: int) -> _Host:
        """Look a host up; that it does not exist is no address like another."""
        if _is_address(name):
            return _Host(name=name, preference=preference, addresses=(name,))
        found: list[tuple[str, ...]] = []
        unknown = False
        asked = [self._resolver.a(name)]
        if self._settings.ipv6:
            asked.insert(0, self._resolver.aaaa(name))
        for answer in [Deferred.fromCoroutine(question) for question in asked]:
            try:
                found.append(await answer)
            except NoSuchDomain:
                found.append(())
            except DnsTemporary:
                unknown = True
        return _Host(
            name=name,
            preference=preference,
            addresses=tuple(_alternating(found)),
            unknown=unknown,
        )

    def _reachable(self, domain: str, hosts: list[_Host]) -> list[_Host]:
        if self._settings.private_addresses:
            return hosts
        public = [_public(host) for host in hosts]
        if not any(h.addresses or h.unknown for h in public) and any(
            h.addresses for h in hosts
        ):
            text = f"The hosts of {domain} have no address on the public internet."
            raise Unroutable(failed(550, "5.4.4", text))
        return public

    def _targets(
        self, domain: str, hosts: list[_Host], port: int = 0
    ) -> tuple[Target, ...]:
        port = port or self._settings.port
        targets = tuple(
            Target(host=host.name, address=address, port=port)
            for host in hosts
            for address in host.addresses[:MAX_ADDRESSES_OF_HOST]
        )[: self._settings.max_addresses]
        if targets:
            return targets
        if any(host.unknown for host in hosts):
            text = f"The addresses of {domain} cannot be looked up now."
            raise Unroutable(deferred(451, "4.4.3", text))
        text = f"{domain} has no host with an address that takes mail."
        raise Unroutable(failed(550, "5.4.4", text))


def _configured(settings: OutboundSettings, domain: str) -> NextHop | None:
    """The configured host for a domain: the closest entry, else the smarthost."""
    for pattern in _patterns(domain):
        if pattern in settings.routes:
            return settings.routes[pattern]
    return settings.smarthost


def _patterns(domain: str) -> Iterator[str]:
    yield domain
    labels = domain.split(".")
    for start in range(1, len(labels)):
        yield "*." + ".".join(labels[start:])
    yield "*"


def _literal(domain: str) -> _Host:
    """The host of an address literal (RFC 5321, 4.1.3)."""
    address = domain[1:-1].removeprefix("ipv6:")
    if not domain.endswith("]") or not _is_address(address):
        raise Unroutable(failed(550, "5.1.2", f"{domain} is no address literal."))
    address = str(ip_address(address))
    return _Host(name=address, addresses=(address,))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _public(host: _Host) -> _Host:
    return _Host(
        name=host.name,
        preference=host.preference,
        addresses=tuple(a for a in host.addresses if is_public(a)),
        unknown=host.unknown,
    )


def _alternating(groups: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The first of each group, then the second of each, and so on."""
    return (a for a in chain.from_iterable(zip_longest(*groups)) if a is not None)
