"""Which state the mail of an inbox is in, for who would else read all of it again."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

from noinfra.app.access import Access
from noinfra.app.homes import Homes
from noinfra.app.sharing import Shared
from noinfra.store.database import Database
from noinfra.store.versions import mail_version


class InInbox(Protocol):
    """A request for something in an inbox."""

    @property
    def inbox_id(self) -> str:
        """Its id or address."""


@define(eq=False)
class Versions:
    """The use case of whoever keeps what was read.

    The version is read from the database after it is asked for, so that it tells of
    every change that was made before, in whatever process. Those who ask at once for
    the same inbox are answered together.
    """

    database: Database
    homes: Homes
    _shared: Shared[tuple[str, str], str | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._shared = Shared(self._read)

    async def of(self, access: Access, request: InInbox) -> str | None:
        """The version of the mail in an inbox; None when the inbox is gone.

        :raises NotFound: there is no such inbox for the caller.
        """
        home = await self.homes.of(access, request.inbox_id)
        return await self._shared.answer((home.customer_id, home.inbox_id))

    async def _read(self, place: tuple[str, str]) -> str | None:
        customer_id, inbox_id = place
        version = await mail_version(self.database.single(customer_id), inbox_id)
        return None if version is None else f"{inbox_id}.{version}"
