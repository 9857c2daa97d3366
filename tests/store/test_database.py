"""Transactions, rows and errors, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import msgspec
import psycopg2
from attrs import field, frozen
from psycopg2.extensions import parse_dsn
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from noinfra.store.database import Database, Tx, session
from noinfra.store.failures import (
    CheckViolation,
    ForeignKeyViolation,
    RowNotFound,
    SilentRollback,
    TooManyRows,
    Unavailable,
    UniqueViolation,
    Unstorable,
)
from noinfra.store.listener import Listener
from noinfra.store.parameters import Json, Values, storable
from noinfra.store.rows import converter
from tests.postgres import DatabaseTest, administer, reactor

SCHEMA = Path(__file__).parent / "schema"
ADD = "insert into note (customer_id, text) values (%(customer)s, %(text)s)"


@frozen(kw_only=True)
class Note:
    note_id: int
    text: str
    data: str = "absent"


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    note_id: int
    text: str
    data: str = "absent"


class Status(StrEnum):
    HELD = "it's held"


class StoreTest(DatabaseTest):
    schema = SCHEMA

    async def add(self, customer: str, *texts: str) -> None:
        async with self.database.system() as tx:
            for text in texts:
                await tx.statement(ADD, customer=customer, text=text)

    async def texts(self) -> list[str]:
        rows = await self.database.single(None).rows("select text from note order by 1")
        return [text for (text,) in rows]


class VocabularyTests(StoreTest):
    async def setUp(self) -> None:
        await super().setUp()
        await self.add("c1", "one", "two")

    async def test_one(self) -> None:
        """One row becomes a value; a field without a column takes its default."""
        sql = "select note_id, text from note where text = %(text)s"
        for cls in (Note, Packed):
            async with self.database.tenant("c1") as tx:
                found = await tx.one(cls, sql, text="one")
            self.assertEqual((found.text, found.data), ("one", "absent"))
            found = await self.database.read_one("c1", cls, sql, text="two")
            self.assertEqual(found.text, "two")

    async def test_none_and_several(self) -> None:
        """`one` and `maybe` refuse several rows, `one` also none."""
        sql = "select note_id, text from note where text like %(text)s"
        read = self.database.single("c1")
        await self.assertFailure(
            Deferred.fromCoroutine(read.one(Note, sql, text="x")), RowNotFound
        )
        self.assertIsNone(await self.database.read_maybe("c1", Note, sql, text="x"))
        for method in (read.one, read.maybe):
            ends = Deferred.fromCoroutine(method(Note, sql, text="%"))
            await self.assertFailure(ends, TooManyRows)
        self.assertEqual(
            [
                note.text
                for note in await self.database.read_many("c1", Note, sql, text="%")
            ],
            ["one", "two"],
        )

    async def test_value_rows_statement(self) -> None:
        """A value, tuples, and the number of rows that changed."""
        async with self.database.tenant("c1") as tx:
            self.assertEqual(await tx.value("select count(*) from note"), 2)
            rows = await tx.rows("select text from note where text like 'o%%'")
            self.assertEqual(rows, [("one",)])
            changed = await tx.statement("update note set data = '{}'")
            self.assertEqual(changed, 2)
            with self.assertRaises(RowNotFound):
                await tx.value("select 1 from note where text = 'x'")

    async def test_types(self) -> None:
        """What goes in comes out: bytes, UTC, JSON as text, arrays, enums, large numbers."""
        noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
        row = (
            await self.database.single(None).rows(
                """
                select %(octets)s::bytea, %(noon)s::timestamptz, %(json)s::jsonb,
                    %(json)s::json, %(list)s::text[], %(empty)s::bytea, null::bytea,
                    null::jsonb, %(status)s::text, pg_current_xact_id(),
                    array[gen_random_uuid()], %(span)s::interval, 9007199254740993
                """,
                octets=bytes(range(256)),
                noon=noon,
                json=Json({"a": ["'\\", None, "\u20ac"]}),
                list=["a", "b'"],
                empty=b"",
                status=Status.HELD,
                span=timedelta(days=1),
            )
        )[0]
        self.assertEqual(row[0], bytes(range(256)))
        self.assertIs(type(row[0]), bytes)
        self.assertEqual(row[1], noon)
        self.assertIs(row[1].tzinfo, UTC)
        self.assertEqual(msgspec.json.decode(row[2]), {"a": ["'\\", None, "\u20ac"]})
        self.assertEqual(row[3], '{"a":["\'\\\\",null,"\u20ac"]}')
        self.assertEqual(row[4:9], (["a", "b'"], b"", None, None, "it's held"))
        self.assertIsInstance(row[9], int)
        self.assertIsInstance(row[10], list)
        self.assertEqual(row[11:], (timedelta(days=1), 9007199254740993))

    async def test_answers_are_not_mixed_up(self) -> None:
        """An answer is its asker's, though the connection goes on to the next one."""
        pool = self.new_pool(size=1)
        await pool.start()
        read = Database(pool).single(None)
        sql = "select %(n)s::int, pg_sleep(0.001)"
        asked = [Deferred.fromCoroutine(read.rows(sql, n=n)) for n in range(50)]
        answers = await gatherResults(asked)
        self.assertEqual([rows[0][0] for rows in answers], list(range(50)))

    async def test_values(self) -> None:
        """Many rows travel in one statement."""
        rows = [("c1", f"it's {n}", Json({"n": n})) for n in range(500)]
        async with self.database.system() as tx:
            count = await tx.statement(
                "insert into note (customer_id, text, data) values %(rows)s",
                rows=Values("(%s, %s, %s)", rows),
            )
        self.assertEqual(count, 500)
        self.assertIn("it's 499", await self.texts())
        self.assertRaises(ValueError, Values, "(%s)", [])

    async def test_unstorable(self) -> None:
        """NUL and half surrogates are refused before they are sent; others are escaped."""
        for text in ("a\0b", "\ud800"):
            ends = Deferred.fromCoroutine(self.add("c1", text))
            await self.assertFailure(ends, Unstorable)
            await self.add("c1", storable(text))
        with self.assertRaises(Unstorable):
            await self.database.single(None).value("select %(j)s::jsonb", j=Json("\0"))
        self.assertIn("a\ufffdb", await self.texts())


class TransactionTests(StoreTest):
    async def test_commit(self) -> None:
        """What a transaction did is there afterwards, all of it, and not before."""
        async with self.database.tenant("c1") as tx:
            await tx.statement(ADD, customer="c1", text="a")
            await tx.statement(ADD, customer="c1", text="b")
            self.assertEqual(await self.texts(), [])
        self.assertEqual(await self.texts(), ["a", "b"])

    async def test_rollback(self) -> None:
        """An exception that passes undoes it, and passes."""
        with self.assertRaises(ZeroDivisionError):
            async with self.database.system() as tx:
                await tx.statement(ADD, customer="c1", text="a")
                raise ZeroDivisionError
        self.assertEqual(await self.texts(), [])

    async def test_swallowed_error(self) -> None:
        """Who swallows an error of a statement is told that nothing was committed."""
        for broken in (ADD, "select from from"):
            with self.assertRaises(SilentRollback):
                async with self.database.system() as tx:
                    await tx.statement(ADD, customer="c1", text="a")
                    with self.assertRaises((UniqueViolation, psycopg2.Error)):
                        await tx.statement(broken, customer="c1", text="a")
        self.assertEqual(await self.texts(), [])

    async def test_rolled_back_by_the_server(self) -> None:
        """COMMIT that is answered with ROLLBACK is an error."""
        with self.assertRaises(SilentRollback):
            async with self.database.system() as tx:
                await tx.statement(ADD, customer="c1", text="a")
                await tx.statement("rollback; begin; savepoint s")
                tx._begun = True
                connection = tx._connection
                assert connection is not None
                broken = connection.execute("select 1/0")
                await self.assertFailure(broken, psycopg2.Error)
        self.assertEqual(await self.texts(), [])

    async def test_nothing_runs_outside(self) -> None:
        """If the first statement cannot be parsed, the next does not run without role."""
        with self.assertRaises(psycopg2.errors.SyntaxError):
            async with self.database.tenant("c1") as tx:
                try:
                    await tx.statement("select from from")
                except psycopg2.errors.SyntaxError as error:
                    with self.assertRaises(RuntimeError):
                        await tx.value("select current_user")
                    raise error
        await self.assert_clean()

    async def assert_clean(self) -> None:
        """No connection of the pool keeps a role, a customer or a transaction."""
        held = [await self.pool.acquire() for _ in range(self.connections)]
        for connection in held:
            cursor = await connection.execute(
                "select current_user, current_setting('noinfra.customer', true)"
            )
            user, customer = cursor.fetchone()
            self.assertNotIn(user, ("noinfra_tenant", "noinfra_system"))
            self.assertIn(customer, (None, ""))
            self.pool.release(connection)

    async def test_tenants_are_apart(self) -> None:
        """A tenant sees and writes only what is its own; the system sees all."""
        await self.add("c1", "one")
        await self.add("c2", "two")
        sql = "select note_id, text from note order by text"
        for customer, seen in (
            ("c1", ["one"]),
            ("c2", ["two"]),
            (None, ["one", "two"]),
        ):
            found = await self.database.read_many(customer, Note, sql)
            self.assertEqual([note.text for note in found], seen)
        async with self.database.tenant("c1") as tx:
            self.assertEqual(await tx.statement("update note set text = 'x'"), 1)
            self.assertEqual(await tx.value("select current_user"), "noinfra_tenant")
        with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
            async with self.database.tenant("c1") as tx:
                await tx.statement(ADD, customer="c2", text="smuggled")
        await self.assert_clean()

    async def test_hostile_customer(self) -> None:
        """A customer's identifier is data, whatever it looks like."""
        await self.add("c1", "one")
        for name in ("'; reset role; --", "\\'; reset role; --", "%s", "", "c1' or '1"):
            single = self.database.single(name)
            got = await single.rows(
                "select current_user::text, current_setting('noinfra.customer'),"
                " (select count(*) from note)"
            )
            self.assertEqual(got, [("noinfra_tenant", name, 0)])
            async with self.database.tenant(name) as tx:
                self.assertEqual(await tx.value("select count(*) from note"), 0)
        await self.assert_clean()

    async def test_single_is_one_transaction(self) -> None:
        """A single statement commits itself or changes nothing; the role ends with it."""
        await self.database.single("c1").statement(ADD, customer="c1", text="a")
        ends = Deferred.fromCoroutine(
            self.database.single("c1").statement(
                "insert into note (customer_id, text) values ('c1', 'b'); select 1/0"
            )
        )
        await self.assertFailure(ends, psycopg2.errors.DivisionByZero)
        self.assertEqual(await self.texts(), ["a"])
        await self.assert_clean()

    async def test_violations(self) -> None:
        """Broken rules of the schema bear the rule's name."""
        await self.add("c1", "one")
        cases: list[tuple[str, type[Exception], str]] = [
            (
                "insert into note (customer_id, text) values ('c1', 'one')",
                UniqueViolation,
                "note_text",
            ),
            (
                "insert into note (customer_id, text) values ('c1', '')",
                CheckViolation,
                "note_text_check",
            ),
            (
                "insert into note (customer_id, text, reply_to) values ('c1', 'x', 0)",
                ForeignKeyViolation,
                "note_reply_to_fkey",
            ),
        ]
        for sql, kind, constraint in cases:
            ends = Deferred.fromCoroutine(self.database.single(None).statement(sql))
            error = await self.assertFailure(ends, kind)
            self.assertEqual(error.constraint, constraint)
            self.assertNotIn(
                "one)", str(error), "the row's content stays out of the text"
            )

    async def test_deadlock(self) -> None:
        """Of two transactions that wait for each other, one is told to try again."""
        await self.add("c1", "a", "b")
        update = "update note set data = '{}' where text = %(text)s"

        async def both(first: str, second: str) -> str:
            try:
                async with self.database.system() as tx:
                    await tx.statement(update, text=first)
                    await deferLater(reactor(), 0.1)
                    await tx.statement(update, text=second)
            except Unavailable:
                return "again"
            return "done"

        ends = await gatherResults(
            [Deferred.fromCoroutine(both(*pair)) for pair in (("a", "b"), ("b", "a"))]
        )
        self.assertEqual(sorted(ends), ["again", "done"])

    async def test_serialisation(self) -> None:
        """A lost race between snapshots is told as such."""
        await self.add("c1", "a")
        with self.assertRaises(Unavailable):
            async with self.database.system() as tx:
                await tx.statement("set transaction isolation level repeatable read")
                await tx.value("select count(*) from note")
                await self.database.single(None).statement(
                    "update note set data = '[]'"
                )
                await tx.statement("update note set data = '{}'")

    async def test_statement_timeout(self) -> None:
        """A statement that takes too long is ended; the transaction is undone."""
        pool = self.new_pool(setup=session(0.1))
        await pool.start()
        with self.assertRaises(Unavailable):
            async with Database(pool).system() as tx:
                await tx.statement(ADD, customer="c1", text="a")
                await tx.value("select pg_sleep(10)")
        self.assertEqual(await self.texts(), [])

    async def test_killed_in_transaction(self) -> None:
        """Losing the connection inside a transaction is Unavailable, also at COMMIT."""
        for last in ("select 1", None):
            with self.assertRaises(Unavailable):
                async with self.database.system() as tx:
                    await tx.statement(ADD, customer="c1", text="a")
                    pid = await tx.value("select pg_backend_pid()")
                    administer(f"select pg_terminate_backend({pid})")
                    await deferLater(reactor(), 0.05)
                    if last:
                        await tx.value(last)
        self.assertEqual(await self.texts(), [])

    async def test_cancelled(self) -> None:
        """Cancelled in a statement, between two, or while leaving: nothing stays behind."""

        async def work(between: bool) -> None:
            async with self.database.system() as tx:
                await tx.statement(ADD, customer="c1", text="a")
                if between:
                    await deferLater(reactor(), 60)
                await tx.value("select pg_sleep(60)")

        for between in (False, True):
            working = Deferred.fromCoroutine(work(between))
            await deferLater(reactor(), 0.1)
            working.cancel()
            await self.assertFailure(working, CancelledError)
            self.assertEqual(await self.texts(), [])
        await deferLater(reactor(), 0.1)
        await self.assert_clean()

    async def test_abandoned_coroutine(self) -> None:
        """A coroutine that is thrown away inside a transaction keeps no connection."""

        async def work() -> None:
            async with self.database.system() as tx:
                await tx.statement(ADD, customer="c1", text="a")
                await forever

        forever: Deferred[object] = Deferred()
        pool = self.new_pool(size=1)
        await pool.start()
        self.database = Database(pool)
        coroutine = work()
        for _ in range(2):
            waiting: Deferred[object] = coroutine.send(None)
            while not waiting.called and pool.waiting == 0 and waiting is not forever:
                await deferLater(reactor(), 0.01)
        coroutine.close()
        self.assertEqual(await self.texts(), [])

    async def test_one_at_a_time(self) -> None:
        """Two statements of one transaction at once are refused clearly."""
        async with self.database.system() as tx:
            first = Deferred.fromCoroutine(tx.value("select 1, pg_sleep(0.1)"))
            with self.assertRaisesRegex(RuntimeError, "one statement at a time"):
                await tx.value("select 2")
            self.assertEqual(await first, 1)

    async def test_over(self) -> None:
        """A transaction that is over takes nothing more."""
        async with self.database.system() as tx:
            pass
        with self.assertRaisesRegex(RuntimeError, "is over"):
            await tx.value("select 1")

    async def test_round_trips(self) -> None:
        """An empty transaction sends nothing; a single statement is one message."""
        sent: list[object] = []
        connection = await self.pool.acquire()
        original = connection.execute

        def execute(query: bytes | str) -> object:
            sent.append(query)
            return original(query)

        self.patch(connection, "execute", execute)
        self.pool.release(connection)
        async with Tx(self.pool, "c1"):
            pass
        self.assertEqual(sent, [])
        await self.database.single("c1").value("select 1")
        self.assertEqual(len(sent), 1)
        async with self.database.tenant("c1") as tx:
            await tx.value("select 1")
            await tx.value("select 2")
        self.assertEqual(len(sent), 4)


class ListenerTests(StoreTest):
    async def setUp(self) -> None:
        await super().setUp()
        self.heard: list[tuple[str, str]] = []
        self.reconnected = 0
        self.listener = Listener(
            reactor(),
            self.dsn,
            ['a "channel"', "plain"],
            lambda channel, payload: self.heard.append((channel, payload)),
            self.count,
        )
        self.addCleanup(lambda: self.listener.stop())
        await self.listener.start()

    def count(self) -> None:
        self.reconnected += 1

    async def until(self, count: int) -> None:
        while len(self.heard) < count:
            await deferLater(reactor(), 0.01)

    async def test_order(self) -> None:
        """Ten thousand notifications arrive in their order."""
        await self.database.single(None).rows(
            "select pg_notify('plain', i::text) from generate_series(1, 10000) i"
        )
        await self.until(10_000)
        self.assertEqual(self.heard, [("plain", str(n)) for n in range(1, 10_001)])
        self.assertEqual(self.reconnected, 0)

    async def test_reconnect(self) -> None:
        """After a loss it listens again, and wakes the readers once."""
        name = parse_dsn(self.dsn)["dbname"]
        for round in (1, 2):
            administer(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                f" where datname = '{name}' and query like 'listen%'"
            )
            while self.reconnected < round:
                await deferLater(reactor(), 0.01)
            await self.database.single(None).rows(
                """select pg_notify('a "channel"', %(round)s::text)""", round=round
            )
            await self.until(round)
        self.assertEqual(self.heard[-1], ('a "channel"', "2"))
        self.assertEqual(self.reconnected, 2)

    async def test_failing_reader(self) -> None:
        """A reader that fails is logged, and the next notification comes all the same."""
        listener = Listener(
            reactor(), self.dsn, ["other"], self.fail_once, lambda: None
        )
        self.addCleanup(listener.stop)
        await listener.start()
        for _ in range(2):
            await self.database.single(None).rows("select pg_notify('other', 'x')")
        await self.until(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def fail_once(self, channel: str, payload: str) -> None:
        self.heard.append((channel, payload))
        if len(self.heard) == 1:
            raise ZeroDivisionError

    async def test_away(self) -> None:
        """A start without a server fails in time, and tells why."""
        listener = Listener(
            reactor(), "host=/nonexistent", ["x"], lambda *_: None, lambda: None
        )
        with self.assertRaisesRegex(Unavailable, "No such file"):
            await listener.start(deadline=0.2)


@frozen
class Odd:
    _private: int
    made: list[int] = field(factory=list)
    fixed: int = field(default=1, init=False)


class ConverterTests(SynchronousTestCase):
    def test_alias(self) -> None:
        """A private attribute is filled by the name that its constructor knows."""
        self.assertEqual(converter(Odd, ("private",))((5,)), Odd(5))

    def test_bugs(self) -> None:
        """Columns that do not fit the class are named."""
        cases: list[tuple[type[object], tuple[str, ...], str]] = [
            (Note, ("note_id", "text", "extra"), "no field for ['extra']"),
            (Packed, ("note_id",), "no column for ['text']"),
            (Note, ("note_id", "text", "text"), "each may come once"),
            (Odd, ("private", "fixed"), "no field for ['fixed']"),
            (int, ("x",), "int is neither"),
        ]
        for cls, columns, text in cases:
            with self.assertRaises(TypeError) as caught:
                converter(cls, columns)
            self.assertIn(text, str(caught.exception))
