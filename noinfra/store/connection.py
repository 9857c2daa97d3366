"""One connection to PostgreSQL: txpostgres's descriptor, with one way to run a query.

txpostgres makes a psycopg2 connection pollable by the reactor. What is done otherwise
here, and why:

- The connection polls for itself and stays registered as a reader, under a descriptor
  of its own. txpostgres hands libpq's from the connection to a cursor and back at each
  query, and passes the result through the reactor once more: four system calls and a
  turn of the loop for nothing.
- Cancelling the Deferred of a query never raises into the canceller, and never reaches
  the server by itself. The query goes on; `busy` says so; `Pool` abandons the
  connection.
- psycopg2's ``cancel`` opens a second connection and blocks, so it runs in a thread.
- Notifications are handed on in the order in which they came; txpostgres starts a
  cooperative task for each batch, and the tasks interleave.
- An idle connection that is lost says so once, to `when_lost`, without a traceback.

A named cursor, COPY, large objects and ``psycopg2.extras.execute_values`` do not work
on asynchronous connections; `noinfra.store.parameters.Values` stands in for the last.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    POLL_WRITE,
    TRANSACTION_STATUS_IDLE,
    make_dsn,
    parse_dsn,
)
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.error import ConnectionLost
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres

from noinfra.store.failures import Unavailable, Unstorable, reason, translate
from noinfra.store.parameters import register_types

OnNotify = Callable[[str, str], None]
_CANCEL_TIMEOUT = 5.0
# So that a peer which vanished is noticed within about a minute (libpq's settings for
# TCP; a socket file needs none), and texts are UTF-8 whatever PGCLIENTENCODING says.
_DEFAULTS = {
    "client_encoding": "UTF8",
    "application_name": "noinfra",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "40000",
}


def pauses() -> Iterator[float]:
    """How long to wait after each failure to connect, in seconds.

    Longer each time, and uneven, so that those who lost a server together do not come
    back together.
    """
    pause = 0.05
    while True:
        yield pause * random.uniform(0.8, 1.2)
        pause = min(pause * 1.7, 5.0)


def _is_address(host: str) -> bool:
    """Whether it is a socket directory or an IP address."""
    if not host or host.startswith(("/", "@")):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _addresses(host: str, port: str) -> list[str]:
    """The addresses of a host; the empty string stands for a socket directory."""
    if _is_address(host):
        return [host if host[:1] not in ("", "/", "@") else ""]
    found = socket.getaddrinfo(host, port or None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _hosts(dsn: str) -> list[str]:
    return str(parse_dsn(dsn).get("host") or os.environ.get("PGHOST") or "").split(",")


def names_a_host(dsn: str) -> bool:
    """Whether libpq would have to ask the DNS.

    Not for a socket directory, an address, or a DSN with ``hostaddr``.
    """
    return "hostaddr" not in parse_dsn(dsn) and not all(map(_is_address, _hosts(dsn)))


def resolve(dsn: str) -> str:
    """The DSN with a ``hostaddr`` for each host; asks the DNS, and blocks.

    libpq would ask it in the reactor's thread. The names stay, for TLS to compare.
    """
    parts = parse_dsn(dsn)
    hosts = _hosts(dsn)
    ports = str(parts.get("port") or os.environ.get("PGPORT") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    targets = [
        (host, address, port)
        for host, port in zip(hosts, ports, strict=True)
        for address in _addresses(host, port)
    ]
    names, addresses, numbers = (
        ",".join(column) for column in zip(*targets, strict=True)
    )
    return make_dsn(dsn, host=names, hostaddr=addresses, port=numbers)


# txpostgres has no type information, so that its classes are Any to mypy.
class Connection(txpostgres.Connection):  # type: ignore[misc]
    """A session with the server: one query at a time, the next when the last has ended.

    :ivar when_lost: called once, with this connection, when the session has ended.
    :ivar on_notify: called with the channel and the payload of each notification.
    """

    _log = Logger()

    def __init__(self, reactor: ReactorBase) -> None:
        super().__init__(reactor)
        self._pollingD: Deferred[Any] | None = None
        self.when_lost: Callable[[Connection], None] | None = None
        self.on_notify: OnNotify | None = None
        self._cursor: Any = None
        self._descriptor = -1

    async def open(self, dsn: str, timeout: float) -> None:
        """Log in.

        :raises Unavailable: the server is away or refuses us; the text tells why.
        """
        dsn = await self._resolved(dsn, timeout)
        timer = self.reactor.callLater(timeout, self.close)
        try:
            await self.connect(_with_defaults(dsn))
            self._settle()
        except BaseException as error:
            in_time = timer.active()
            self.close()
            if not in_time:
                raise Unavailable(f"No answer in {timeout:g} seconds.") from error
            if isinstance(error, psycopg2.Error):
                raise Unavailable(f"PostgreSQL refuses us: {reason(error)}.") from error
            raise
        finally:
            if timer.active():
                timer.cancel()

    async def _resolved(self, dsn: str, timeout: float) -> str:
        try:
            if not names_a_host(dsn):
                return dsn
            threads = self.reactor.getThreadPool()
            resolving = deferToThreadPool(self.reactor, threads, resolve, dsn)
            return await resolving.addTimeout(timeout, self.reactor)
        except (OSError, TimeoutError, psycopg2.Error) as error:
            raise Unavailable(f"The DSN leads nowhere: {reason(error)}.") from error

    def _settle(self) -> None:
        """Logged in: from now on poll a descriptor that is our own.

        libpq closes its descriptor the moment it sees the server go, while the reactor
        still polls it; the next file opened would get the same number.
        """
        register_types(self._connection)
        self.reactor.removeReader(self)
        self._descriptor = os.dup(self._connection.fileno())
        self.reactor.addReader(self)

    @property
    def busy(self) -> bool:
        """Whether a query is under way."""
        return self._pollingD is not None

    @property
    def closed(self) -> bool:
        """Whether the session has ended, or has never begun."""
        return self._connection is None or bool(self._connection.closed)

    @property
    def usable(self) -> bool:
        """Whether the next caller may have it: open, idle, in no transaction."""
        return (
            not self.busy
            and not self.closed
            and self._connection.get_transaction_status() == TRANSACTION_STATUS_IDLE
        )

    def mogrify(self, sql: str, parameters: object) -> bytes:
        """The statement with its parameters quoted into it, by the client.

        :raises Unstorable: a text holds NUL, or half of a surrogate pair.
        """
        if self.closed:
            raise _lost()
        try:
            quoted: bytes = self._connection.cursor().mogrify(sql, parameters)
        except UnicodeEncodeError as error:
            raise Unstorable(f"A text cannot be stored: {error.reason}.") from error
        except ValueError as error:
            if "NUL" not in str(error):
                raise
            raise Unstorable("A text cannot be stored: it holds NUL.") from error
        return quoted

    def execute(self, query: bytes | str) -> Deferred[Any]:
        """Send it; a Deferred of psycopg2's cursor with the last statement's result.

        Cancelling the Deferred leaves the query running and the connection busy.
        """
        if self.busy:
            raise RuntimeError("The connection is busy with another statement.")
        if self.closed:
            return fail(_lost())
        self._cursor = self._connection.cursor()
        try:
            self._cursor.execute(query)
        except psycopg2.Error as error:
            return fail(translate(error))
        # With a canceller of its own the Deferred takes a late result without complaint
        # from `_fire`, which looks at `called`.
        waiting: Deferred[Any] = Deferred(lambda _: None)
        self._pollingD = waiting
        self.continuePolling()
        return waiting

    async def abandon(self) -> None:
        """End what the server still does for us, and the session with it.

        Such a connection never goes to another caller: the cancellation could reach the
        server late, and hit that caller's statement.
        """
        if self.busy and not self.closed:
            cancelled: Deferred[None] = deferToThreadPool(
                self.reactor, self.reactor.getThreadPool(), self._connection.cancel
            )
            cancelled.addTimeout(_CANCEL_TIMEOUT, self.reactor)
            try:
                await cancelled
            except Exception as error:
                # The server is gone, or will notice that we are.
                self._log.debug("could not cancel a query: {why}", why=reason(error))
        self.close()

    def close(self) -> None:
        """End the session; a query under way fails with Unavailable."""
        if self._connection is None:
            return
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        self._connection.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._fire(Failure(_lost()))
        told, self.when_lost = self.when_lost, None
        if told is not None:
            told(self)

    # What the reactor and txpostgres call.

    def fileno(self) -> int:
        """What the reactor polls; -1 once the session has ended."""
        if self._descriptor >= 0:
            return self._descriptor
        return -1 if self.closed else int(self._connection.fileno())

    def continuePolling(self, swallowErrors: bool = False) -> None:
        """Move libpq forward, and fire the Deferred of a query that has ended."""
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            if self._pollingD is None:
                self.close()
            self._fire(Failure(translate(error) if self._cursor else error))
            return
        if state == POLL_OK:
            self._fire(self._cursor)
        elif state == POLL_WRITE:
            self.reactor.addWriter(self)
        elif state == POLL_READ:
            self.reactor.addReader(self)

    def _cancel(self, waiting: Deferred[Any]) -> None:
        """Called when opening is cancelled; txpostgres would raise. `open` closes."""

    def _fire(self, result: object) -> None:
        waiting: Deferred[Any] | None = self._pollingD
        self._pollingD = None
        if waiting is not None and not waiting.called:
            waiting.callback(result)

    def doRead(self) -> Exception | None:
        """The server has written something."""
        if self._descriptor < 0:
            # While it logs in, libpq may go on to another socket at each step.
            self.reactor.removeReader(self)
        self.continuePolling()
        if self.closed:
            return ConnectionLost()
        self.checkForNotifies()
        return None

    def doWrite(self) -> Exception | None:
        """The server can read more of our query."""
        self.reactor.removeWriter(self)
        self.continuePolling()
        return ConnectionLost() if self.closed else None

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has seen the end of the session."""
        if not self.closed:
            # libpq knows better than the reactor why.
            self.continuePolling()
        self.close()

    def checkForNotifies(self) -> None:
        """Hand on the notifications that have come, in their order."""
        pending = self._connection.notifies
        while pending and self.on_notify is not None:
            notification = pending.pop(0)
            try:
                self.on_notify(notification.channel, notification.payload)
            except Exception:
                self._log.failure(
                    "a reader of {channel} failed", channel=notification.channel
                )


def _lost() -> Unavailable:
    return Unavailable(
        "The connection to the database was lost. Try again in a moment."
    )


def _with_defaults(dsn: str) -> str:
    given = parse_dsn(dsn)
    return make_dsn(dsn, **{k: v for k, v in _DEFAULTS.items() if k not in given})
