"""What became of deliveries: judged, and written down many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from noinfra.app.times import spell_time
from noinfra.boundaries import Attempt as RelayAttempt
from noinfra.boundaries import Outcome
from noinfra.errors import TemporaryFailure
from noinfra.model import Attempt
from noinfra.store.database import Database
from noinfra.store.queue import Claimed, Settlement, Trouble, remember, settle

_AT_ONCE = 500
_MOST_ILL = 10_000
_TRIES = 6
# RFC 5321, 3.8: the peer shuts down; nothing was said of the recipient.
_CLOSING = 421


@frozen(kw_only=True)
class Schedule:
    """When to try again (RFC 5321, 4.5.4.1): later each time, with jitter."""

    first: timedelta
    longest: timedelta
    chance: Callable[[], float]

    def next_attempt(self, attempts: int, now: datetime) -> datetime:
        """When, after so many attempts.

        A tenth sooner or later, so that what failed together comes back apart.
        """
        wait = min(self.first * 2.0 ** min(attempts, 30), self.longest)
        return now + wait * (0.9 + 0.2 * self.chance())


def settlement(
    claimed: Claimed, outcome: Outcome, schedule: Schedule, now: datetime
) -> Settlement:
    """What is written of an outcome: deferred mail fails when its time is over."""
    last = outcome.attempts[-1]
    due = schedule.next_attempt(claimed.attempts, now)
    status = outcome.status
    told: dict[str, object] = {
        "recipient": claimed.rcpt_to,
        "remoteHost": last.remote_host or None,
        "code": last.code,
        "enhancedCode": last.enhanced or None,
        "response": last.text,
    }
    if status == "deferred" and now >= claimed.expires_at:
        status = "failed"
        told["expired"] = True
    if status == "deferred":
        told["nextAttemptAt"] = spell_time(min(due, claimed.expires_at))
    if status == "failed":
        told["kind"] = "hard" if outcome.status == "failed" else "soft"
    if status == "delivered":
        told["tls"] = last.tls
    return Settlement(
        claimed=claimed,
        status=status,
        due_at=min(due, claimed.expires_at) if status == "deferred" else now,
        event_type=_EVENTS[status],
        event_data=told,
        attempts=[_attempt(claimed, one) for one in outcome.attempts],
    )


_EVENTS = {
    "delivered": "message.delivered",
    "deferred": "message.deferred",
    "failed": "message.bounced",
}


def _attempt(claimed: Claimed, one: RelayAttempt) -> Attempt:
    return Attempt(
        delivery_id=claimed.delivery_id,
        rcpt_to=claimed.rcpt_to,
        started_at=one.started_at,
        finished_at=one.finished_at,
        remote_host=one.remote_host or None,
        remote_address=one.remote_address or None,
        code=one.code,
        enhanced=one.enhanced or None,
        response=one.text,
        tls=one.tls,
    )


@frozen(eq=False)
class _Job:
    settlements: Sequence[Settlement]
    done: Deferred[None] = field(factory=Deferred)


@define(eq=False)
class Settler:
    """Settles in groups, as `noinfra.app.filer` files.

    What ends while one commit is under way goes together in the next.
    """

    database: Database
    lease: str
    _waiting: deque[_Job] = field(factory=deque)
    # Destinations that were in trouble when we last heard.
    _ill: set[str] = field(factory=set)
    _running: Deferred[None] | None = None

    async def settle(self, *settlements: Settlement) -> None:
        """Write them, and return when they are on disk."""
        if not settlements:
            return
        job = _Job(settlements)
        self._waiting.append(job)
        if self._running is None:
            self._running = Deferred()
            Deferred.fromCoroutine(self._run())
        await job.done

    async def flush(self) -> None:
        """Return when nothing waits."""
        if self._running is not None:
            ended: Deferred[None] = Deferred()
            self._running.addCallback(ended.callback)
            await ended

    async def _run(self) -> None:
        while self._waiting:
            batch = [
                self._waiting.popleft()
                for _ in range(min(_AT_ONCE, len(self._waiting)))
            ]
            await self._commit(batch)
        ended, self._running = self._running, None
        if ended is not None:
            ended.callback(None)

    async def _commit(self, batch: list[_Job]) -> None:
        settlements = [one for job in batch for one in job.settlements]
        try:
            await self._write(settlements)
        except Exception as error:
            for job in batch:
                job.done.errback(error)
            return
        for job in batch:
            job.done.callback(None)

    async def _write(self, settlements: list[Settlement]) -> None:
        """Insist: what is not written down will be sent once more.

        While the database is away each try waits for a connection, so this is no storm.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                on = self.database.single(None)
                await settle(on, self.lease, settlements)
                await self._remember(settlements)
            except TemporaryFailure:
                if not tries_left:
                    raise
            else:
                return

    async def _remember(self, settlements: list[Settlement]) -> None:
        """Note which destinations fell ill, and which of those that were are well."""
        troubled, well = _found(settlements)
        was_ill = {one.claimed.destination for one in settlements if one.claimed.ill}
        recovered = [name for name in well if name in was_ill or name in self._ill]
        if troubled or recovered:
            async with self.database.system() as tx:
                await remember(tx, troubled, recovered)
        self._ill.difference_update(recovered)
        if len(self._ill) >= _MOST_ILL:
            # What is claimed from here on says so itself.
            self._ill.clear()
        self._ill.update(one.destination for one in troubled)


def _found(settlements: list[Settlement]) -> tuple[list[Trouble], list[str]]:
    """Which destinations could not be spoken with, and which could."""
    troubled: dict[str, Trouble] = {}
    well: set[str] = set()
    for one in settlements:
        destination = one.claimed.destination
        last = one.attempts[-1]
        if one.status == "deferred" and last.code in (None, _CLOSING):
            troubled[destination] = Trouble(
                destination=destination,
                remote_host=last.remote_host,
                code=last.code,
                response=last.response,
            )
        elif last.code is not None and last.remote_host:
            well.add(destination)
    return (
        [one for one in troubled.values() if one.destination not in well],
        sorted(well),
    )
