"""Group commit: mail that comes during one commit goes together in the next.

One lane does it all: a commit costs a flush to disk whether it holds one message or a
hundred, and the lane adds no timer. If a batch fails, each caller's mail is tried
alone, so that one bad message cannot refuse its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from noinfra.app.content import LARGE
from noinfra.app.ids import new_id
from noinfra.errors import TemporaryFailure
from noinfra.store.contents import Contents, store_spooled
from noinfra.store.database import Database
from noinfra.store.filing import Filed, Filing, NewContent
from noinfra.store.placing import file

# What one transaction takes at most: beyond, it would keep the others waiting.
_MESSAGES = 200
_OCTETS = 4 * 1024 * 1024
# What may wait: beyond, the peers do, by 451 and 503.
_WAITING = 20_000


@frozen(eq=False)
class _Job:
    filings: Sequence[Filing]
    done: Deferred[list[Filed]]

    @property
    def octets(self) -> int:
        return sum(
            one.content.size for one in self.filings if not isinstance(one.content, int)
        )


@define
class Filer:
    """The lane. All mail enters its folder here, received, sent or appended."""

    _log = Logger()

    database: Database
    _waiting: deque[_Job] = field(factory=deque)
    _running: bool = False

    async def file(self, filings: Sequence[Filing]) -> list[Filed]:
        """File some mail, all of it or none, and return once it is on disk.

        :raises TemporaryFailure: the database cannot now, or too much waits already.
        """
        if len(self._waiting) >= _WAITING:
            raise TemporaryFailure("Too much mail waits to be stored; try again soon.")
        job = _Job(await self._lighten(filings), Deferred())
        self._waiting.append(job)
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._run())
        return await job.done

    async def _lighten(self, filings: Sequence[Filing]) -> Sequence[Filing]:
        """Store large contents ahead, out of the lane, each once a customer."""
        stored: dict[tuple[str, bytes], int] = {}
        lightened = []
        for one in filings:
            content = one.content
            if isinstance(content, NewContent) and content.size > LARGE:
                key = one.customer_id, content.sha256
                if key not in stored:
                    stored[key] = await self._store_large(one.customer_id, content)
                one = one.with_content(stored[key])
            lightened.append(one)
        return lightened

    async def _store_large(self, customer_id: str, content: NewContent) -> int:
        spool_id = new_id("")
        await Contents(self.database.single(None)).spool(spool_id, content.octets)
        async with self.database.system() as tx:
            return await store_spooled(tx, customer_id, content, spool_id)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._take())
        finally:
            self._running = False

    def _take(self) -> list[_Job]:
        batch: list[_Job] = []
        messages = octets = 0
        while self._waiting and messages < _MESSAGES and octets < _OCTETS:
            job = self._waiting.popleft()
            batch.append(job)
            messages += len(job.filings)
            octets += job.octets
        return batch

    async def _commit(self, batch: list[_Job]) -> None:
        filings = [filing for job in batch for filing in job.filings]
        try:
            async with self.database.system() as tx:
                filed = await file(tx, filings)
        except TemporaryFailure as error:
            # The database's trouble, not that of one message: each peer tries again.
            for job in batch:
                job.done.errback(error)
            return
        except Exception as error:
            if len(batch) == 1:
                batch[0].done.errback(error)
                return
            self._log.info("a batch of {n} failed: {why}", n=len(batch), why=error)
            for job in batch:
                await self._commit([job])
            return
        start = 0
        for job in batch:
            end = start + len(job.filings)
            job.done.callback(filed[start:end])
            start = end
