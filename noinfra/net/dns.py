"""A Resolver that asks recursive servers, and believes of an answer what was asked.

Names go out and come back as lower-case A-labels. Records in an answer count if they
belong to the name asked for, or to one that CNAMEs lead to from it. Answers are kept
for the time that they name, within bounds; that there is none, for the time that
RFC 2308, 5 gives; that no server knew, for a moment (RFC 9520, 3.2).
"""

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Generic, TypeVar

import idna
from attrs import frozen
from twisted.names import dns

from noinfra.boundaries import DnsTemporary, MailExchange, NoSuchDomain, Resolver
from noinfra.net.dns_memory import Finding, Memory
from noinfra.net.dns_servers import Server, Servers, system_servers
from noinfra.net.reactor import NetReactor

MAX_RECORDS = 128
"""How many records of an answer are looked at."""
MAX_CNAMES = 8
MAX_KEPT = 4096
"""Octets; an answer with more is given, but not kept."""

_NAME = re.compile(r"(?=.{1,253}$)[!-\-/-~]{1,63}(?:\.[!-\-/-~]{1,63})*")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")

T = TypeVar("T")


@frozen(kw_only=True)
class Lifetimes:
    """For how many seconds an answer is kept."""

    least: float = 5
    most: float = 3600
    nothing: float = 900
    """At most, for the answer that there is nothing."""
    failure: float = 5


class DnsResolver:
    """Asks the given servers, or those of the system."""

    def __init__(
        self,
        reactor: NetReactor,
        servers: Sequence[Server] = (),
        timeouts: Sequence[float] = (1, 2, 4),
        lifetimes: Lifetimes = Lifetimes(),
        size: int = 10_000,
    ) -> None:
        """:param size: how many answers of each type are kept."""
        asked = Servers(reactor, servers or system_servers(), timeouts)

        def lookup(kind: int, read: Callable[[object], T | None]) -> Memory[T]:
            return Memory(reactor, _Lookup(asked, kind, read, lifetimes).find, size)

        self._a = lookup(dns.A, _ipv4)
        self._aaaa = lookup(dns.AAAA, _ipv6)
        self._mx = lookup(dns.MX, _exchange)
        self._txt = lookup(dns.TXT, _text)
        self._ptr = lookup(dns.PTR, _pointer)

    async def a(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses."""
        return await self._a.get(a_labels(name))

    async def aaaa(self, name: str) -> tuple[str, ...]:
        """The IPv6 addresses."""
        return await self._aaaa.get(a_labels(name))

    async def mx(self, name: str) -> tuple[MailExchange, ...]:
        """The mail exchanges, best preference first."""
        found = await self._mx.get(a_labels(name))
        return tuple(sorted(found, key=lambda mx: mx.preference))

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """The text records, each joined."""
        return await self._txt.get(a_labels(name))

    async def ptr(self, address: str) -> tuple[str, ...]:
        """The names of an address."""
        return await self._ptr.get(ip_address(address).reverse_pointer)


class _Lookup(Generic[T]):
    """Finds the records of one type."""

    def __init__(
        self,
        servers: Servers,
        kind: int,
        read: Callable[[object], T | None],
        lifetimes: Lifetimes,
    ) -> None:
        self._servers = servers
        self._kind = kind
        self._read = read
        self._lifetimes = lifetimes

    async def find(self, name: str) -> Finding[T]:
        try:
            return await self._find(name)
        except DnsTemporary as failure:
            return Finding(failure=failure, seconds=self._lifetimes.failure)

    async def _find(self, name: str) -> Finding[T]:
        if not _NAME.fullmatch(name):
            return Finding(failure=NoSuchDomain(f"{name!r} is no domain."), seconds=0)
        asked, seconds = name, self._lifetimes.most
        for _ in range(MAX_CNAMES):
            message = await self._servers.ask(asked, self._kind)
            last, alias_seconds = _last_alias(message, asked)
            seconds = min(seconds, alias_seconds)
            found = _records(message, last, self._kind)
            if found:
                return self._something(found, seconds)
            if message.rCode == dns.ENAME or last == asked:
                return self._nothing(message, name, seconds)
            asked = last
        raise DnsTemporary(f"{name} leads through too many CNAMEs.")

    def _something(self, found: list[dns.RRHeader], seconds: float) -> Finding[T]:
        read = (self._read(record.payload) for record in found)
        answers = tuple(dict.fromkeys(a for a in read if a is not None))
        seconds = min(seconds, *(record.ttl for record in found))
        kept = sum(record.rdlength or 0 for record in found) <= MAX_KEPT
        seconds = max(seconds, self._lifetimes.least) if kept else 0
        return Finding(answers=answers, seconds=seconds)

    def _nothing(self, message: dns.Message, name: str, seconds: float) -> Finding[T]:
        named = _soa_seconds(message)
        seconds = min(
            max(named, self._lifetimes.least), seconds, self._lifetimes.nothing
        )
        if message.rCode == dns.ENAME:
            return Finding(
                failure=NoSuchDomain(f"{name} does not exist."), seconds=seconds
            )
        return Finding(seconds=seconds)


def a_labels(name: str) -> str:
    """The name in lower case, A-labels, no final dot; one that cannot be is left."""
    name = name.removesuffix(".").lower()
    if name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        return name


def _last_alias(message: dns.Message, name: str) -> tuple[str, float]:
    """Where the CNAMEs in an answer lead to from a name, and for how many seconds."""
    aliases: dict[str, tuple[str, float]] = {}
    for r in message.answers[:MAX_RECORDS]:
        if isinstance(r.payload, dns.Record_CNAME):
            aliases[_spelled(r.name)] = _spelled(r.payload.name), r.ttl
    seconds: float = 2**31
    while name in aliases:
        # Each is taken once, so that a circle ends.
        name, ttl = aliases.pop(name)
        seconds = min(seconds, ttl)
    return name, seconds


def _records(message: dns.Message, name: str, kind: int) -> list[dns.RRHeader]:
    return [
        r
        for r in message.answers[:MAX_RECORDS]
        if r.type == kind and r.cls == dns.IN and _spelled(r.name) == name
    ]


def _soa_seconds(message: dns.Message) -> float:
    """How long the authority lets us remember that there is nothing (RFC 2308, 5)."""
    for record in message.authority[:MAX_RECORDS]:
        if isinstance(record.payload, dns.Record_SOA):
            return min(record.ttl, record.payload.minimum or 0)
    return 0


def _spelled(name: dns.Name | None) -> str:
    return (name or dns.Name()).name.decode("ascii", "replace").lower()


def _ipv4(record: object) -> str | None:
    if isinstance(record, dns.Record_A) and record.address:
        return str(ip_address(record.address))
    return None


def _ipv6(record: object) -> str | None:
    if isinstance(record, dns.Record_AAAA) and record.address:
        return str(ip_address(record.address))
    return None


def _exchange(record: object) -> MailExchange | None:
    if not isinstance(record, dns.Record_MX):
        return None
    host = _spelled(record.name)
    # RFC 7505, 3: the root for a host says that the domain takes no mail.
    if host and not _HOST.fullmatch(host):
        return None
    return MailExchange(preference=record.preference, host=host)


def _text(record: object) -> bytes | None:
    return b"".join(record.data) if isinstance(record, dns.Record_TXT) else None


def _pointer(record: object) -> str | None:
    host = _spelled(record.name) if isinstance(record, dns.Record_PTR) else ""
    return host if _HOST.fullmatch(host) else None


_resolver: type[Resolver] = DnsResolver
