"""LISTEN on a connection of its own.

A notification only wakes: its reader then reads the tables from its cursor. So a lost
one costs nothing, as long as `on_reconnect` wakes every reader once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from psycopg2.extensions import quote_ident
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.store.connection import Connection, OnNotify, pauses
from noinfra.store.failures import Unavailable, reason

_CONNECT_TIMEOUT = 10.0


class Listener:
    """Hears these channels from `start` to `stop`, whatever becomes of a connection."""

    _log = Logger()

    def __init__(
        self,
        reactor: ReactorBase,
        dsn: str,
        channels: Iterable[str],
        on_notify: OnNotify,
        on_reconnect: Callable[[], object],
    ) -> None:
        """Nothing is heard before `start`.

        :param on_notify: called with channel and payload, in the server's order.
        :param on_reconnect: called when notifications may have been lost: LISTEN is in
            place again, and all that is to be known is in the tables.
        """
        self._reactor = reactor
        self._dsn = dsn
        self._channels = tuple(channels)
        self._on_notify = on_notify
        self._on_reconnect = on_reconnect
        self._started: Deferred[None] | None = None
        self._running = False
        self._opening: Deferred[Connection] | None = None
        self._retry: IDelayedCall | None = None
        self._connection: Connection | None = None
        self._pauses = pauses()
        self._why = "no answer"

    async def start(self, deadline: float = 30.0) -> None:
        """Return when the first LISTEN is in place.

        :raises Unavailable: it was not within `deadline` seconds; the text tells why.
        """
        self._running = True
        self._started = Deferred()
        self._started.addTimeout(deadline, self._reactor)
        self._open()
        try:
            await self._started
        except TimeoutError as error:
            self.stop()
            raise Unavailable(
                f"PostgreSQL could not be listened to in {deadline:g} s: {self._why}."
            ) from error

    def stop(self) -> None:
        """Hear nothing more."""
        self._running = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.close()

    # A chain of calls and no coroutine: a reader may stop us from where we wake him.

    def _open(self) -> None:
        self._retry = None
        # In this order: what libpq refuses at once has failed already.
        self._opening = opening = Deferred.fromCoroutine(self._listen())
        opening.addCallbacks(self._opened, self._failed)

    async def _listen(self) -> Connection:
        connection = Connection(self._reactor)
        try:
            await connection.open(self._dsn, _CONNECT_TIMEOUT)
            connection.on_notify = self._on_notify
            session = connection.pollable()
            names = [quote_ident(name, session) for name in self._channels]
            await connection.execute(";".join(f"listen {name}" for name in names))
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self, connection: Connection) -> None:
        self._opening = None
        self._pauses = pauses()
        self._connection = connection
        connection.when_lost = self._lost
        if self._started is not None:
            started, self._started = self._started, None
            started.callback(None)
            return
        self._log.info("listens to PostgreSQL again")
        try:
            self._on_reconnect()
        except Exception:
            self._log.failure("could not wake the readers")

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        self._why = reason(failure.value)
        self._again()

    def _lost(self, connection: Connection) -> None:
        self._connection = None
        if self._running:
            self._log.warn("lost the connection that listens to PostgreSQL")
        self._again()

    def _again(self) -> None:
        if self._running:
            self._retry = self._reactor.callLater(next(self._pauses), self._open)
