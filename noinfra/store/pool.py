"""The connections that a process keeps open to PostgreSQL.

- They are opened one after the other, with a growing, uneven pause after a failure, so
  that many processes do not storm a server that has just come back.
- A caller waits for a free connection while the server is away, up to
  `acquire_timeout`, in a line of at most `max_waiting`; then it is told `Unavailable`.
- A connection goes to the next caller only when it is idle: not inside a transaction
  that somebody left, and not with the query of somebody who was cancelled. Else it is
  closed, and another takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.store.connection import Connection, pauses
from noinfra.store.failures import Unavailable, reason

Setup = Callable[[Connection], Awaitable[object]]

_CONNECT_TIMEOUT = 10.0
_CLOSED = "The daemon is stopping. Try again in a moment."
_FULL = "The database is busy: {} callers wait for it already. Try again in a moment."
_LATE = "The database had no time for us in {:g} seconds. Try again in a moment."


class Pool:
    """At most `size` connections, each used by one caller at a time."""

    _log = Logger()

    def __init__(
        self,
        reactor: ReactorBase,
        dsn: str,
        size: int = 8,
        max_waiting: int = 10_000,
        acquire_timeout: float = 10.0,
        setup: Setup | None = None,
    ) -> None:
        """Nothing is opened before `start`.

        :param setup: awaited for each new connection before anyone gets it.
        """
        self.reactor = reactor
        self._dsn = dsn
        self._size = size
        self._max_waiting = max_waiting
        self._acquire_timeout = acquire_timeout
        self._setup = setup
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[Deferred[Connection]] = deque()
        self._handing_out = False
        self._running = False
        self._opening: Deferred[Connection] | None = None
        self._retry: IDelayedCall | None = None
        self._pauses = pauses()
        self._why: str | None = None

    async def start(self, deadline: float = 30.0) -> None:
        """Open connections, and return when the first one works.

        :raises Unavailable: none did within `deadline` seconds; the text tells why.
        """
        self._running = True
        self._fill()
        try:
            self.release(await self._line_up(deadline))
        except Unavailable as error:
            why = self._why or "no answer"
            await self.close()
            raise Unavailable(
                f"PostgreSQL could not be used within {deadline:g} seconds: {why}. "
                "Check that it runs, and the DSN."
            ) from error

    async def close(self) -> None:
        """Close all connections, and fail all callers, with Unavailable."""
        self._running = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._opening is not None:
            self._opening.cancel()
        while self._waiting:
            self._waiting.popleft().errback(Unavailable(_CLOSED))
        self._idle.clear()
        leaving = [Deferred.fromCoroutine(each.abandon()) for each in [*self._all]]
        for ended in leaving:
            await ended

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._all)

    @property
    def waiting(self) -> int:
        """How many callers wait for one."""
        return len(self._waiting)

    async def acquire(self) -> Connection:
        """A connection that is yours until you `release` it.

        :raises Unavailable: none came free in time, or too many wait for one already.
        """
        while self._idle and not self._waiting:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            self._replace(connection)
        if not self._running:
            raise Unavailable(_CLOSED)
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable(_FULL.format(len(self._waiting)))
        return await self._line_up(self._acquire_timeout)

    def release(self, connection: Connection) -> None:
        """Give it back, in whatever state it is."""
        if not self._running or not connection.usable:
            self._replace(connection)
            return
        self._idle.append(connection)
        if self._handing_out:
            # A caller below us on the stack was served and is done already: the loop
            # there goes on, instead of one level of the stack for each caller.
            return
        self._handing_out = True
        try:
            while self._idle and self._waiting:
                self._waiting.popleft().callback(self._idle.pop())
        finally:
            self._handing_out = False

    async def _line_up(self, timeout: float) -> Connection:
        turn: Deferred[Connection] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        timer = self.reactor.callLater(timeout, self._turn_away, turn, timeout)
        try:
            return await turn
        finally:
            if timer.active():
                timer.cancel()

    def _turn_away(self, turn: Deferred[Connection], timeout: float) -> None:
        self._waiting.remove(turn)
        turn.errback(Unavailable(_LATE.format(timeout)))

    def _replace(self, connection: Connection) -> None:
        # Until the server has let go of it, it counts: its query still costs the
        # server.
        Deferred.fromCoroutine(connection.abandon())

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._fill()

    # A chain of calls and no coroutine: a caller who is served may close the pool there
    # and then, and nothing of ours may be running below him on the stack.

    def _fill(self) -> None:
        """Open the next connection, if one is missing and none is being opened."""
        if not self._running or self._opening or self._retry:
            return
        if len(self._all) < self._size:
            # In this order: what libpq refuses at once has failed already.
            self._opening = opening = Deferred.fromCoroutine(self._open())
            opening.addCallbacks(self._opened, self._failed)

    async def _open(self) -> Connection:
        connection = Connection(self.reactor)
        try:
            await connection.open(self._dsn, _CONNECT_TIMEOUT)
            if self._setup is not None:
                await self._setup(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self, connection: Connection) -> None:
        self._opening = None
        self._pauses = pauses()
        self._report_outage(None)
        self._all.add(connection)
        connection.when_lost = self._lost
        self._fill()
        self.release(connection)

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        if self._running:
            self._report_outage(reason(failure.value))
            self._retry = self.reactor.callLater(next(self._pauses), self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._fill()

    def _report_outage(self, why: str | None) -> None:
        if why and not self._why:
            self._log.warn("no connection to PostgreSQL, trying on: {why}", why=why)
        elif self._why and not why:
            self._log.info("PostgreSQL is there again")
        self._why = why
