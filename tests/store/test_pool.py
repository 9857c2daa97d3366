"""The pool, on a real server: what it promises when callers and servers go away."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    gatherResults,
)
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from noinfra.errors import TemporaryFailure
from noinfra.store.connection import Connection, names_a_host, pauses, resolve
from noinfra.store.failures import Unavailable
from noinfra.store.pool import Pool
from tests.postgres import DatabaseTest, administer, reactor


async def query(pool: Pool, sql: str) -> list[Any]:
    connection = await pool.acquire()
    try:
        return list((await connection.execute(sql)).fetchall())
    finally:
        pool.release(connection)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def start(pool: Pool, sql: str) -> Deferred[list[Any]]:
    return Deferred.fromCoroutine(query(pool, sql))


async def pause(seconds: float) -> None:
    await deferLater(reactor(), seconds)


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = reactor().seconds() + seconds
    while not true():
        if reactor().seconds() > deadline:
            raise AssertionError("It did not come true in time.")
        await pause(0.01)


class PoolTests(DatabaseTest):
    schema = Path(__file__).parent / "schema"

    async def refused(self, awaitable: Awaitable[object]) -> str:
        """The text of the Unavailable that it must end with."""
        try:
            await awaitable
        except Unavailable as error:
            return error.text
        raise AssertionError("It was not refused.")

    def backends(self, condition: str = "true") -> int:
        name = parse_dsn(self.dsn)["dbname"]
        found = administer(
            f"select count(*) from pg_stat_activity where datname = '{name}'"
            f" and {condition}"
        )
        return int(found[0][0])

    def kill_all(self) -> None:
        name = parse_dsn(self.dsn)["dbname"]
        administer(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            f" where datname = '{name}'"
        )

    async def test_queue(self) -> None:
        """More callers than connections are all served, each in its turn."""
        served: list[int] = []

        async def one(number: int) -> None:
            await query(self.pool, "select pg_sleep(0.005)")
            served.append(number)

        await gatherResults([Deferred.fromCoroutine(one(n)) for n in range(40)])
        self.assertEqual(sorted(served), list(range(40)))
        self.assertLessEqual(self.backends(), self.connections)

    async def test_no_recursion(self) -> None:
        """Thousands of callers who need nothing do not use up the stack."""

        async def nothing() -> None:
            self.pool.release(await self.pool.acquire())

        held = [await self.pool.acquire() for _ in range(self.connections)]
        waiting = [Deferred.fromCoroutine(nothing()) for _ in range(3000)]
        for connection in held:
            self.pool.release(connection)
        await gatherResults(waiting)

    async def test_full(self) -> None:
        """When the line is full the next caller is refused at once."""
        pool = self.new_pool(size=1, max_waiting=1)
        await pool.start()
        running = [start(pool, "select pg_sleep(0.2)") for _ in range(2)]
        text = await self.refused(query(pool, "select 1"))
        self.assertIn("1 callers wait", text)
        await gatherResults(running)

    async def test_wait_too_long(self) -> None:
        """A caller waits no longer than the limit; those before it are not disturbed."""
        pool = self.new_pool(size=1, acquire_timeout=0.1)
        await pool.start()
        running = start(pool, "select pg_sleep(0.4), 7")
        text = await self.refused(query(pool, "select 1"))
        self.assertIn("0.1 seconds", text)
        self.assertEqual((await running)[0][1], 7)
        self.assertEqual(await query(pool, "select 1"), [(1,)])

    async def test_unavailable_is_temporary(self) -> None:
        """The fronts know it as a failure of ours that passes."""
        self.assertTrue(issubclass(Unavailable, TemporaryFailure))

    async def test_cancel_waiting(self) -> None:
        """A caller who is cancelled in line leaves it."""
        held = [await self.pool.acquire() for _ in range(self.connections)]
        waiting = start(self.pool, "select 1")
        self.assertEqual(self.pool.waiting, 1)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual(self.pool.waiting, 0)
        for connection in held:
            self.pool.release(connection)
        self.assertEqual(await query(self.pool, "select 1"), [(1,)])

    async def test_cancel_running(self) -> None:
        """Cancelled in a query: the caller goes on, the server stops, none is lost."""
        pool = self.new_pool(size=2)
        await pool.start()
        for _ in range(3):
            running = start(pool, "select pg_sleep(60)")
            await until(lambda: self.backends("query like 'select pg_sleep%'") == 1)
            before = reactor().seconds()
            running.cancel()
            self.assertLess(reactor().seconds() - before, 0.05)
            await self.assertFailure(running, CancelledError)
            await until(lambda: self.backends("query like 'select pg_sleep%'") == 0)
        await until(lambda: pool.open == 2)
        answers = await gatherResults([start(pool, "select 1") for _ in range(10)])
        self.assertEqual(answers, [[(1,)]] * 10)

    async def test_timeout(self) -> None:
        """Deferred.addTimeout ends a query like a cancellation does."""
        running = start(self.pool, "select pg_sleep(60)")
        await self.assertFailure(running.addTimeout(0.1, reactor()), TimeoutError)
        self.assertEqual(await query(self.pool, "select 1"), [(1,)])

    async def test_open_transaction_is_not_handed_on(self) -> None:
        """A connection that comes back inside a transaction is replaced."""
        pool = self.new_pool(size=1)
        await pool.start()
        connection = await pool.acquire()
        await connection.execute("begin")
        await connection.execute(
            "insert into note (customer_id, text) values ('a', 'b')"
        )
        pool.release(connection)
        self.assertTrue(connection.closed)
        self.assertEqual(await query(pool, "select count(*) from note"), [(0,)])
        self.assertEqual(pool.open, 1)

    async def test_killed_connections_are_replaced(self) -> None:
        """When the server drops all sessions, idle ones are replaced, silently."""
        await until(lambda: self.pool.open == self.connections)
        self.kill_all()
        await pause(0.05)
        self.assertEqual(await query(self.pool, "select 1"), [(1,)])
        await until(lambda: self.pool.open == self.connections)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_killed_in_flight(self) -> None:
        """Who loses the connection in a query is told that it may be tried again."""
        running = start(self.pool, "select pg_sleep(60)")
        await until(lambda: self.backends("query like 'select pg_sleep%'") == 1)
        self.kill_all()
        await self.refused(running)
        self.assertEqual(await query(self.pool, "select 1"), [(1,)])

    async def test_no_descriptor_leaks(self) -> None:
        """Losing every connection many times leaves no descriptor behind."""
        await until(lambda: self.pool.open == self.connections)
        before = descriptors()
        for _ in range(10):
            self.kill_all()
            await pause(0.05)
            await until(lambda: self.pool.open == self.connections)
        self.assertLessEqual(descriptors(), before)

    async def test_wait_out_an_outage(self) -> None:
        """A query that is asked while the server is away is answered when it is back."""
        name = parse_dsn(self.dsn)["dbname"]
        administer(f"alter database {name} allow_connections false")
        self.kill_all()
        await until(lambda: self.pool.open == 0)
        asked = start(self.pool, "select 1")
        await pause(0.3)
        self.assertFalse(asked.called)
        administer(f"alter database {name} allow_connections true")
        self.assertEqual(await asked, [(1,)])

    async def test_start_before_the_server(self) -> None:
        """The pool may be started before its database is there."""
        name = parse_dsn(self.dsn)["dbname"]
        administer(f"alter database {name} allow_connections false")
        pool = self.new_pool()
        starting = Deferred.fromCoroutine(pool.start(deadline=10))
        await pause(0.2)
        self.assertFalse(starting.called)
        administer(f"alter database {name} allow_connections true")
        await starting
        self.assertEqual(await query(pool, "select 1"), [(1,)])

    async def test_socket_appears(self) -> None:
        """A refusal that comes at once does not end the attempts."""
        # A socket's path is short; trial's own directories may be too deep for one.
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        link = Path(directory.name) / "run"
        pool = self.new_pool(dsn=make_dsn(self.dsn, host=str(link)))
        starting = Deferred.fromCoroutine(pool.start(deadline=10))
        await pause(0.2)
        self.assertFalse(starting.called)
        link.symlink_to(parse_dsn(self.dsn)["host"])
        await starting
        await until(lambda: pool.open == self.connections)

    async def test_start_fails(self) -> None:
        """A start that fails tells why, within its deadline, and leaves nothing open."""
        cases = {
            make_dsn(self.dsn, dbname="nowhere"): 'database "nowhere" does not exist',
            make_dsn(self.dsn, host="/nonexistent"): "No such file or directory",
            "host=127.0.0.1 port=1 dbname=x": "refused",
            "host=name.invalid dbname=x": "leads nowhere",
            "this is no dsn": "missing",
        }
        for dsn, why in cases.items():
            pool = self.new_pool(dsn=dsn)
            text = await self.refused(pool.start(deadline=0.3))
            self.assertIn(why, text)
            self.assertEqual(pool.open, 0)
            self.assertIn("stopping", await self.refused(pool.acquire()))

    async def test_silent_server(self) -> None:
        """A server that takes the connection and says nothing does not hang the start."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x"
            connection = Connection(reactor())
            text = await self.refused(connection.open(dsn, timeout=0.2))
            self.assertIn("0.2 seconds", text)
            pool = self.new_pool(dsn=dsn)
            await self.refused(pool.start(deadline=0.2))

    async def test_setup_fails(self) -> None:
        """A connection whose preparation fails is not used."""

        async def setup(connection: Connection) -> None:
            await connection.execute("select 1/0")

        pool = self.new_pool(setup=setup)
        self.assertIn("division by zero", await self.refused(pool.start(deadline=0.3)))
        await until(lambda: self.backends() == self.connections)

    async def test_close(self) -> None:
        """Closing ends what is under way and waiting, on the server too."""
        pool = self.new_pool(size=2)
        await pool.start()
        busy = [start(pool, "select pg_sleep(60)") for _ in range(3)]
        await until(lambda: self.backends("query like 'select pg_sleep%'") == 2)
        await pool.close()
        for each in busy:
            await self.refused(each)
        await until(lambda: self.backends("query like 'select pg_sleep%'") == 0)
        self.assertEqual(pool.open, 0)
        self.assertIn("stopping", await self.refused(query(pool, "select 1")))

    async def test_close_in_transaction(self) -> None:
        """Who holds a connection when the pool closes is told at the next statement."""
        pool = self.new_pool(size=1)
        await pool.start()
        connection = await pool.acquire()
        await pool.close()
        await self.refused(connection.execute("select 1"))
        pool.release(connection)

    async def test_large(self) -> None:
        """A query and an answer larger than any socket buffer pass."""
        text = "x" * 3_000_000
        answer = await query(
            self.pool, f"select length('{text}'), repeat('y', 5000000)"
        )
        self.assertEqual((answer[0][0], len(answer[0][1])), (3_000_000, 5_000_000))


class ResolveTests(SynchronousTestCase):
    def test_left_alone(self) -> None:
        """Sockets and addresses need no DNS."""
        for dsn in (
            "dbname=x",
            "host=/run/postgresql dbname=x",
            "host=127.0.0.1",
            "host=::1,10.0.0.1",
            "postgresql://u@[::1]:5433/x",
            "host=db.example hostaddr=10.0.0.1",
        ):
            self.assertFalse(names_a_host(dsn), dsn)

    def test_names(self) -> None:
        """Each address of each name becomes a target; names stay, for TLS."""
        dsn = "host=localhost,/run/pg,10.0.0.1 port=1,2,3 dbname=x"
        self.assertTrue(names_a_host(dsn))
        parts = parse_dsn(resolve(dsn))
        targets = list(
            zip(
                parts["host"].split(","),
                parts["hostaddr"].split(","),
                parts["port"].split(","),
                strict=True,
            )
        )
        self.assertIn(("localhost", "127.0.0.1", "1"), targets)
        self.assertEqual(
            targets[-2:], [("/run/pg", "", "2"), ("10.0.0.1", "10.0.0.1", "3")]
        )

    def test_pauses(self) -> None:
        """Pauses grow to some seconds, and no further."""
        waits = pauses()
        taken = [next(waits) for _ in range(30)]
        self.assertLess(taken[0], 0.07)
        self.assertTrue(all(4 <= wait <= 6 for wait in taken[12:]))
