"""The way out: what is due is claimed by destination, carried, and settled.

Between the peer's 250 and our commit lies a moment in which a crash sends twice;
nothing is lost. A holder that dies leaves a lease behind, and what it held is due again
when that ends, or when the same holder comes back.

Mail that is sent in this process need not be claimed: while nothing else waits and its
destination takes mail, it is filed under our lease, and carried from memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from noinfra.app.carrying import carried_by, envelope_of
from noinfra.app.content import LARGE
from noinfra.app.directory import Directory
from noinfra.app.localdelivery import LocalDelivery
from noinfra.app.notify import Notifier
from noinfra.app.settling import Schedule, Settler, settlement
from noinfra.boundaries import Attempt, Octets, Outcome, Relay
from noinfra.errors import TemporaryFailure
from noinfra.store.contents import Contents
from noinfra.store.database import Database
from noinfra.store.filing import Lease
from noinfra.store.queue import Claimed, Queue, Settlement

# A lease, and how often it is renewed while we are at it, in seconds.
_LEASE = 90.0
_RENEW = 30.0
# How many deliveries we hold at once, and of one destination.
_MOST = 400
_MOST_EACH = 100
# How many octets are read ahead at once, for small mail.
_AT_ONCE = 4 * 1024 * 1024
# Mail up to this size is carried from memory: so much times _MOST may be there.
_CARRIED = 64 * 1024
# How many destinations we remember to take mail.
_MOST_WELL = 10_000
# The longest sleep, and the shortest.
_LONGEST = 60.0
_SHORTEST = 0.25
# When there is no room, in case what we hold takes long and leaves some.
_FULL = 1.0


@frozen
class _Parcel:
    """One message for recipients of one destination."""

    claimed: tuple[Claimed, ...]

    @property
    def first(self) -> Claimed:
        """What all of it have in common can be asked of this one."""
        return self.claimed[0]


@define(eq=False)
class Deliver:
    """The worker. ``lease`` names it among the holders of leases."""

    _log = Logger()

    database: Database
    directory: Directory
    relay: Relay
    local: LocalDelivery
    settler: Settler
    notifier: Notifier
    schedule: Schedule
    clock: IReactorTime
    lease: str
    paused: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    # Destinations by delivery, and how many there are of each.
    _held: dict[str, str] = field(factory=dict)
    _busy: Counter[str] = field(factory=Counter)
    # Destinations that took the last mail we brought them.
    _well: set[str] = field(factory=set)
    # Whether all that was due when we last looked is ours.
    _caught_up: bool = False
    _running: bool = False
    _claiming: Deferred[None] | None = None
    _again: bool = False
    _later: IDelayedCall | None = None
    _renewing: IDelayedCall | None = None
    _idle: Deferred[None] | None = None

    async def start(self) -> None:
        """Take back what we held when we died, and begin."""
        self._running = True
        taken = await Queue(self.database.single(None)).release(self.lease)
        if taken:
            self._log.info("{n} deliveries taken up again", n=taken)
        self._renewing = self.clock.callLater(_RENEW, self._renew)
        self.wake()

    async def stop(self, grace: float = 10.0) -> None:
        """Claim no more, let what is under way end, and give the rest back."""
        self._running = False
        for call in (self._later, self._renewing):
            if call is not None and call.active():
                call.cancel()
        if self._claiming is not None:
            await self._claiming
        if self._held:
            self._idle = Deferred()
            over = self.clock.callLater(grace, self._give_up)
            await self._idle
            if over.active():
                over.cancel()
        await self.settler.flush()
        await Queue(self.database.single(None)).release(self.lease)

    def wake(self) -> None:
        """Something may be due."""
        if not self._running or self.paused:
            return
        if self._claiming is not None:
            self._again = True
            return
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._claiming = Deferred()
        Deferred.fromCoroutine(self._claim_all())

    def expect(self, size: int, coming: Mapping[str, str]) -> Lease | None:
        """The lease of mail about to be filed, if it is ours from the beginning.

        Then it counts as held: `carry` it once it is filed, or `forget` it. Otherwise
        it is to wait its turn in the queue.

        :param coming: destinations by delivery.
        """
        if not self._running or self.paused or size > _CARRIED:
            return None
        counts = Counter(coming.values())
        if len(self._held) + len(coming) > _MOST or any(
            self._busy[name] + n > _MOST_EACH for name, n in counts.items()
        ):
            # What comes next may not overtake it.
            self._caught_up = False
        if not self._caught_up or not self._well.issuperset(counts):
            return None
        self._hold(coming)
        return Lease(self.lease, _LEASE)

    def carry(self, claimed: Sequence[Claimed], octets: bytes) -> None:
        """Carry what was expected, now that it is filed."""
        for parcel in _parcels(claimed):
            Deferred.fromCoroutine(self._carry(parcel, octets))

    def forget(self, delivery_ids: Iterable[str]) -> None:
        """What was expected was not filed; or who knows, and then its lease ends."""
        self._let_go(delivery_ids)

    async def _claim_all(self) -> None:
        wait = _LONGEST
        try:
            self._again = True
            while self._again and self._running:
                self._again = False
                wait = await self._claim()
        except Exception:
            self._log.failure("the queue could not be claimed from; trying again")
            wait = 1.0
        finally:
            done, self._claiming = self._claiming, None
            if done is not None:
                done.callback(None)
        if self._running:
            self._later = self.clock.callLater(wait, self.wake)

    async def _claim(self) -> float:
        """Claim what is due, as far as there is room; how long to sleep after."""
        room = _MOST - len(self._held)
        if room <= 0:
            self._caught_up = False
            return _FULL
        queue = Queue(self.database.single(None))
        claimed = await queue.claim(
            self.lease,
            seconds=_LEASE,
            held=self._busy.copy(),
            each=_MOST_EACH,
            limit=room,
        )
        if claimed:
            # Until they are carried they are not ours: what fails here is left to the
            # end of the lease.
            octets = await self._small_octets(claimed)
            self._hold({one.delivery_id: one.destination for one in claimed})
            for parcel in _parcels(claimed):
                Deferred.fromCoroutine(
                    self._carry(parcel, octets.get(parcel.first.content_id))
                )
        full = [name for name, n in self._busy.items() if n >= _MOST_EACH]
        self._caught_up = len(claimed) < room and not full
        if self._again or len(claimed) >= room:
            self._again = True
            return _LONGEST
        due = await queue.next_due(full)
        return _LONGEST if due is None else min(max(due, _SHORTEST), _LONGEST)

    async def _small_octets(self, claimed: Iterable[Claimed]) -> dict[int, bytes]:
        """The octets of the small ones, in one go; the others are read as they go."""
        sizes = {one.content_id: one.size for one in claimed if one.size <= LARGE}
        room, small = _AT_ONCE, []
        for content_id, size in sizes.items():
            if size <= room:
                room -= size
                small.append(content_id)
        if not small:
            return {}
        return await Contents(self.database.single(None)).whole(small)

    async def _carry(self, parcel: _Parcel, octets: bytes | None) -> None:
        try:
            outcomes = await self._outcomes(parcel, octets)
            self._learn(parcel.first.destination, outcomes)
            tried = [
                (settlement(claimed, outcome, self.schedule, self.now()), outcome)
                for claimed, outcome in zip(parcel.claimed, outcomes, strict=True)
                # Given back as we stop, at the end.
                if not outcome.put_off
            ]
            told = [one for one, outcome in tried if await self._report(one, outcome)]
            await self.settler.settle(*told)
            self._wake_by(
                min(
                    (one.due_at for one in told if one.status == "deferred"),
                    default=None,
                )
            )
        except Exception:
            # Not settled: the lease runs out, and it is tried again.
            self._log.failure(
                "what became of {message_id} could not be written down",
                message_id=parcel.first.message_id,
            )
        finally:
            self._let_go(one.delivery_id for one in parcel.claimed)

    def _wake_by(self, due_at: datetime | None) -> None:
        """Sleep no longer than until then; nothing else tells that a retry is set."""
        if due_at is None or self._later is None or not self._later.active():
            # Whoever claims now looks at the clock after.
            self._again = self._again or due_at is not None
            return
        seconds = max((due_at - self.now()).total_seconds(), _SHORTEST)
        if self._later.getTime() > self.clock.seconds() + seconds:
            self._later.reset(seconds)

    async def _outcomes(
        self, parcel: _Parcel, octets: bytes | None
    ) -> Sequence[Outcome]:
        first = parcel.first
        started = self.now()
        source: Octets | bytes = octets or carried_by(
            Contents(self.database.single(None)), first
        )
        try:
            if first.destination in self.directory.domains:
                return await self.local.deliver(parcel.claimed, source)
            envelope = await envelope_of(parcel.claimed, source)
            return await self.relay.deliver(first.destination, envelope)
        except Exception:
            # Deferred like any other failure, so that it is not tried for ever.
            self._log.failure(
                "delivery of {message_id} failed within this server",
                message_id=first.message_id,
            )
            return [_broken(one, started, self.now()) for one in parcel.claimed]

    async def _report(self, settlement: Settlement, outcome: Outcome) -> bool:
        """Tell the sender, where it is to be told; False: not now, so nothing is done.

        Mail that was taken is settled in any case: it must not go out again.
        """
        try:
            await self.notifier.report(settlement, passed_on=outcome.dsn_passed_on)
        except TemporaryFailure as failure:
            self._log.warn("a notification has to wait: {why}", why=failure.text)
            return settlement.status != "failed"
        except Exception:
            self._log.failure(
                "no notification could be made for {message_id}",
                message_id=settlement.claimed.message_id,
            )
        return True

    def _learn(self, destination: str, outcomes: Iterable[Outcome]) -> None:
        """Remember whether the destination takes mail; one that waits is no sign."""
        if any(one.status == "deferred" for one in outcomes):
            self._well.discard(destination)
            return
        if len(self._well) >= _MOST_WELL:
            self._well.clear()
        self._well.add(destination)

    def _hold(self, coming: Mapping[str, str]) -> None:
        self._held.update(coming)
        self._busy.update(coming.values())

    def _let_go(self, delivery_ids: Iterable[str]) -> None:
        before, falls = len(self._held), False
        gone: Counter[str] = Counter()
        for delivery_id in delivery_ids:
            if (destination := self._held.pop(delivery_id, None)) is not None:
                gone[destination] += 1
        for destination, n in gone.items():
            falls = falls or _falls(self._busy[destination], n, _MOST_EACH)
            self._busy[destination] -= n
            if not self._busy[destination]:
                del self._busy[destination]
        # Many at a time: a claim for each that ends would be a walk for each.
        if falls or _falls(before, before - len(self._held), _MOST):
            self.wake()
        if not self._held and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _give_up(self) -> None:
        self._log.warn("{n} deliveries were broken off", n=len(self._held))
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _renew(self) -> None:
        self._renewing = self.clock.callLater(_RENEW, self._renew)
        if self._held:
            Deferred.fromCoroutine(
                Queue(self.database.single(None)).renew(
                    self.lease, list(self._held), _LEASE
                )
            ).addErrback(
                lambda failure: self._log.warn(
                    "leases could not be renewed: {why}", why=failure.value
                )
            )


def _parcels(claimed: Iterable[Claimed]) -> list[_Parcel]:
    """One message goes once to a destination, for all its recipients there."""
    gathered: dict[tuple[str, str, str], list[Claimed]] = {}
    for one in claimed:
        key = one.destination, one.message_id, one.mail_from
        gathered.setdefault(key, []).append(one)
    return [_Parcel(tuple(some)) for some in gathered.values()]


def _falls(before: int, gone: int, most: int) -> bool:
    """Whether it falls to three quarters of the most: time to fetch more."""
    enough = most * 3 // 4
    return before - gone <= enough < before


def _broken(claimed: Claimed, started: datetime, finished: datetime) -> Outcome:
    """What is told of a failure of ours."""
    attempt = Attempt(
        remote_host="",
        remote_address="",
        code=451,
        enhanced="4.3.0",
        text="This server failed to carry the mail; it tries again.",
        tls=None,
        started_at=started,
        finished_at=finished,
    )
    return Outcome(rcpt_to=claimed.rcpt_to, status="deferred", attempts=(attempt,))
