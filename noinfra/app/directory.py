"""Which inbox an address or an id means: asked at every RCPT and every request.

Answers are kept in memory. A change to an inbox is told to every process by NOTIFY, and
an answer is asked anew after a minute in any case; that there is no such inbox is
believed for a second only, so that a fresh address is live at once wherever it is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from attrs import define, field, frozen

from noinfra.mail.mailbox import Address
from noinfra.store.database import Database
from noinfra.store.inboxes import Inboxes

_KNOWN_FOR = 60.0
_UNKNOWN_FOR = 1.0
_MOST = 100_000
ROLE_NAMES = ("postmaster", "abuse")


@frozen(kw_only=True)
class Home:
    """An inbox as mail and requests are routed to it."""

    inbox_id: str
    customer_id: str
    deployment_id: str
    agent_id: str | None
    address: str
    display_name: str | None
    suspended: bool
    archived: bool
    # From a folder's name to its folder_id, as the inbox was born with them.
    folders: dict[str, int]

    @property
    def domain(self) -> str:
        """The domain of the address."""
        return self.address.rpartition("@")[2]


@define
class Directory:
    """The look-up, and what it remembers."""

    database: Database
    domains: frozenset[str]
    postmaster: str
    clock: Callable[[], float] = time.monotonic
    _memory: dict[str, tuple[float, Home | None]] = field(factory=dict)
    # Grows with each change: an answer that was on its way meanwhile may be old.
    _changes: int = 0

    def is_ours(self, address: Address) -> bool:
        """Whether the address is in a domain that we take mail for."""
        return address.canonical.rpartition("@")[2] in self.domains

    async def mailbox(self, address: Address) -> tuple[Home, str | None] | None:
        """The inbox that an address reaches, and the tag of a subaddress (RFC 5233).

        An inbox of the whole address comes before that of the address without its tag.
        Postmaster and abuse reach the operator's inbox where nobody else has the name
        (RFC 5321, 4.5.1; RFC 2142).
        """
        home = await self.find(address.canonical)
        if home is not None:
            return home, None
        if address.tag is not None:
            home = await self.find(address.base.canonical)
            if home is not None:
                return home, address.tag
        if address.base.local.lower() in ROLE_NAMES:
            home = await self.find(self.postmaster)
            if home is not None:
                return home, address.tag
        return None

    async def find(self, name: str) -> Home | None:
        """By id, or by canonical address."""
        now = self.clock()
        known = self._memory.get(name)
        if known is not None and known[0] > now:
            return known[1]
        changes = self._changes
        place = await Inboxes(self.database.single(None)).place(name)
        home = None
        if place is not None:
            home = Home(
                inbox_id=place.inbox_id,
                customer_id=place.customer_id,
                deployment_id=place.deployment_id,
                agent_id=place.agent_id,
                address=place.address,
                display_name=place.display_name,
                suspended="suspended" in (place.status, place.agent_status),
                archived=place.status == "archived",
                folders=msgspec.json.decode(place.folders, type=dict[str, int]),
            )
        if changes == self._changes:
            if len(self._memory) >= _MOST:
                self._memory.clear()
            self._memory[name] = (now + (_KNOWN_FOR if home else _UNKNOWN_FOR), home)
        return home

    def forget(self, name: str) -> None:
        """Ask anew next time; an empty name means everything."""
        self._changes += 1
        if name:
            self._memory.pop(name, None)
        else:
            self._memory.clear()
