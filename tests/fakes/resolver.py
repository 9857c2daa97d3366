"""A Resolver that knows what a test tells it."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import TypeVar

from attrs import field, frozen

from noinfra.boundaries import (
    DnsFailure,
    DnsTemporary,
    MailExchange,
    NoSuchDomain,
    Resolver,
)

T = TypeVar("T")


@frozen(kw_only=True)
class Zone:
    """The records of one name."""

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    mx: tuple[tuple[int, str], ...] = ()
    txt: tuple[bytes, ...] = ()
    ptr: tuple[str, ...] = ()
    failure: type[DnsFailure] | None = None
    """Raised instead of an answer."""


@frozen(kw_only=True)
class MemoryResolver:
    """Names that are not in zones do not exist; an address is looked up as it is written.

    :ivar asked: the questions so far, as `type name`.
    """

    zones: Mapping[str, Zone] = field(factory=dict)
    asked: list[str] = field(factory=list)

    async def a(self, name: str) -> tuple[str, ...]:
        return self._zone("a", name).a

    async def aaaa(self, name: str) -> tuple[str, ...]:
        return self._zone("aaaa", name).aaaa

    async def mx(self, name: str) -> tuple[MailExchange, ...]:
        found = self._zone("mx", name).mx
        return tuple(MailExchange(preference=p, host=h) for p, h in sorted(found))

    async def txt(self, name: str) -> tuple[bytes, ...]:
        return self._zone("txt", name).txt

    async def ptr(self, address: str) -> tuple[str, ...]:
        return self._zone("ptr", str(ip_address(address))).ptr

    def _zone(self, kind: str, name: str) -> Zone:
        self.asked.append(f"{kind} {name}")
        zone = self.zones.get(name.lower().removesuffix("."))
        if zone is None:
            raise NoSuchDomain(f"{name} does not exist.")
        if zone.failure is not None:
            raise zone.failure(f"{name} cannot be looked up now.")
        return zone


TEMPORARY = Zone(failure=DnsTemporary)
"""A name that no server answers for."""

_resolver: type[Resolver] = MemoryResolver
