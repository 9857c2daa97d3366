"""Which state the mail of an inbox is in, for who would else read all of it again."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from noinfra.app.access import Access
from noinfra.app.homes import Homes
from noinfra.store.database import Database
from noinfra.store.versions import mail_versions


class InInbox(Protocol):
    """A request for something in an inbox."""

    @property
    def inbox_id(self) -> str:
        """Its id or address."""


_Asked = list[tuple[str, Deferred[str | None]]]


@define(eq=False)
class Versions:
    """The use case of whoever keeps what was read.

    A version is read from the database after it is asked for, so it tells of every
    change that was made before, in whatever process. Those who ask in one turn of the
    reactor, or while a look is under way, share the next: one statement serves all who
    are busy, and a look costs more than what it is for.
    """

    database: Database
    homes: Homes
    clock: IReactorTime
    _asked: _Asked = field(factory=list, init=False)
    _looking: bool = field(default=False, init=False)

    async def of(self, access: Access, request: InInbox) -> str | None:
        """The version of the mail in an inbox; None when the inbox is gone.

        :raises NotFound: there is no such inbox for the caller.
        """
        home = await self.homes.of(access, request.inbox_id)
        told: Deferred[str | None] = Deferred()
        self._asked.append((home.inbox_id, told))
        if not self._looking:
            self._looking = True
            self.clock.callLater(0, self._look)
        return await told

    def _look(self) -> None:
        asked, self._asked = self._asked, []
        Deferred.fromCoroutine(self._tell(asked))

    async def _tell(self, asked: _Asked) -> None:
        # Under the system's role, as they may be of many customers: who may know of
        # which inbox was decided before.
        on = self.database.single(None)
        try:
            found = await mail_versions(on, {inbox_id for inbox_id, _ in asked})
        except Exception as error:
            self._go_on()
            for _, told in asked:
                # Who was cancelled meanwhile has left.
                if not told.called:
                    told.errback(error)
        else:
            self._go_on()
            for inbox_id, told in asked:
                if not told.called:
                    told.callback(found.get(inbox_id))

    def _go_on(self) -> None:
        self._looking = bool(self._asked)
        if self._looking:
            self._look()
