"""How the rest of `store` speaks to PostgreSQL: one, maybe, many, statement.

    async with database.tenant(customer_id) as tx:
        thread = await tx.one(Thread, "select ... where thread_id = %(id)s",
        id=thread_id) await tx.statement("update ...", ...)

Every transaction says for whom it works: `tenant` takes the role ``noinfra_tenant``,
which row-level security holds to that customer; `system` takes ``noinfra_system``,
which may see all. Both hold to the end of the transaction only, and travel in one
string with its first statement, together with BEGIN, so that they cost no round trip. A
`single` statement is a transaction of its own: PostgreSQL treats a string of several
statements as one.

Parameters are quoted on the client (see `noinfra.store.parameters`). A per cent sign in
a statement is written ``%%``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, TypeVar

import psycopg2

from noinfra.store.connection import Connection
from noinfra.store.failures import (
    RowNotFound,
    SilentRollback,
    TooManyRows,
    Unavailable,
    translate,
)
from noinfra.store.pool import Pool, Setup
from noinfra.store.rows import Row, converter

T = TypeVar("T")

# The name of the setting, and of the parameter that fills it.
_CUSTOMER = "noinfra.customer"
_SYSTEM = "set local role noinfra_system;\n"
_TENANT = f"set local role noinfra_tenant; set local {_CUSTOMER} = %({_CUSTOMER})s;\n"


def session(statement_timeout: float = 60.0) -> Setup:
    """What a `Pool` is to do with each new connection, as its `setup`.

    Times are in UTC. The server ends a statement that takes longer, and a transaction
    whose owner keeps it open and does nothing for as long; a caller sees Unavailable.
    """
    limit = max(1, round(statement_timeout * 1000))

    async def setup(connection: Connection) -> None:
        await connection.execute(
            f"set timezone = 'UTC'; set datestyle = 'ISO'; set bytea_output = 'hex';"
            f"set intervalstyle = 'postgres'; set standard_conforming_strings = on;"
            f"set statement_timeout = {limit};"
            f"set idle_in_transaction_session_timeout = {limit}"
        )

    return setup


class Statements(ABC):
    """What can be asked, within a transaction (`Tx`) or as one (`Single`)."""

    async def one(self, cls: type[T], sql: str, /, **parameters: object) -> T:
        """The row, as a `cls`.

        :raises RowNotFound: there is none.
        :raises TooManyRows: there are several.
        """
        found = await self.maybe(cls, sql, **parameters)
        if found is None:
            raise RowNotFound(f"There is no {cls.__name__} with {_names(parameters)}.")
        return found

    async def maybe(self, cls: type[T], sql: str, /, **parameters: object) -> T | None:
        """The row, as a `cls`, or None.

        :raises TooManyRows: there are several.
        """
        found = await self.many(cls, sql, **parameters)
        if len(found) > 1:
            raise TooManyRows(f"Several {cls.__name__} with {_names(parameters)}.")
        return found[0] if found else None

    async def many(self, cls: type[T], sql: str, /, **parameters: object) -> list[T]:
        """The rows, each as a `cls`."""
        cursor = await self._run(sql, parameters)
        columns = tuple([column.name for column in cursor.description])
        convert = converter(cls, columns)
        return [convert(row) for row in _fetched(cursor)]

    async def rows(self, sql: str, /, **parameters: object) -> list[Row]:
        """The rows, as tuples."""
        return _fetched(await self._run(sql, parameters))

    async def value(self, sql: str, /, **parameters: object) -> Any:
        """The first column of the first row.

        :raises RowNotFound: there is none.
        """
        rows = _fetched(await self._run(sql, parameters))
        if not rows:
            raise RowNotFound(f"There is no row with {_names(parameters)}.")
        return rows[0][0]

    async def statement(self, sql: str, /, **parameters: object) -> int:
        """How many rows it changed."""
        changed: int = (await self._run(sql, parameters)).rowcount
        return changed

    @abstractmethod
    async def _run(self, sql: str, parameters: dict[str, object]) -> Any:
        """psycopg2's cursor with the result."""


class Tx(Statements):
    """A transaction: ``async with`` commits it, or rolls back if an exception passes.

    One statement at a time. After one has failed there is nothing to do but leave: to
    swallow the error does not save the transaction, and leaving normally then raises
    `SilentRollback`.
    """

    def __init__(self, pool: Pool, customer_id: str | None) -> None:
        self._pool = pool
        self._customer_id = customer_id
        self._connection: Connection | None = None
        self._begun = False
        self._failed = False

    async def __aenter__(self) -> Tx:
        if self._connection is not None:
            raise RuntimeError("This transaction has begun already.")
        self._connection = await self._pool.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None, "left without having been entered"
        try:
            if self._begun and kind is None and not self._failed:
                await self._commit(connection)
            elif self._begun and kind is not GeneratorExit:
                await self._roll_back(connection)
        finally:
            # Whatever was left running or open, the pool ends with the session.
            self._pool.release(connection)
        if kind is None and self._failed:
            raise SilentRollback("A statement failed, so that nothing was committed.")

    async def _commit(self, connection: Connection) -> None:
        answer = (await connection.execute(b"commit")).statusmessage
        if answer != "COMMIT":
            raise SilentRollback(f"COMMIT was answered with {answer}.")

    async def _roll_back(self, connection: Connection) -> None:
        if connection.busy:
            # Whoever was cancelled has left a statement running.
            return
        try:
            await connection.execute(b"rollback")
        except Unavailable:
            # The session is lost, and the transaction with it. What the caller wants to
            # know is why it was to be rolled back.
            return

    async def _run(self, sql: str, parameters: dict[str, object]) -> Any:
        connection = self._connection
        if connection is None:
            raise RuntimeError("The transaction is over; open another one.")
        if connection.busy:
            raise RuntimeError(
                "A transaction runs one statement at a time; await each."
            )
        if self._failed:
            raise RuntimeError("A statement has failed in this transaction; leave it.")
        # Until it has succeeded: a string that cannot be parsed is refused whole, with
        # the BEGIN and the role, and what follows must not run without them.
        self._failed = True
        if not self._begun:
            sql = "begin;" + _preamble(self._customer_id) + sql
            parameters[_CUSTOMER] = self._customer_id
        query = connection.mogrify(sql, parameters)
        self._begun = True
        cursor = await connection.execute(query)
        self._failed = False
        return cursor


class Single(Statements):
    """Each statement is a transaction, in one round trip: reads above all."""

    def __init__(self, pool: Pool, customer_id: str | None) -> None:
        self._pool = pool
        self._customer_id = customer_id

    async def _run(self, sql: str, parameters: dict[str, object]) -> Any:
        connection = await self._pool.acquire()
        parameters[_CUSTOMER] = self._customer_id
        try:
            query = connection.mogrify(_preamble(self._customer_id) + sql, parameters)
            return await connection.execute(query)
        finally:
            self._pool.release(connection)


class Database:
    """Transactions, on behalf of a customer or of the system."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def tenant(self, customer_id: str) -> Tx:
        """A transaction that sees and changes what this customer owns, and no more."""
        return Tx(self._pool, customer_id)

    def system(self) -> Tx:
        """A transaction that sees all customers: for the edge and the workers."""
        return Tx(self._pool, None)

    def single(self, customer_id: str | None) -> Single:
        """One statement, one transaction, one round trip; None is the system."""
        return Single(self._pool, customer_id)

    async def read_one(
        self, customer_id: str | None, cls: type[T], sql: str, /, **parameters: object
    ) -> T:
        """`Statements.one`, as a transaction of its own."""
        return await self.single(customer_id).one(cls, sql, **parameters)

    async def read_maybe(
        self, customer_id: str | None, cls: type[T], sql: str, /, **parameters: object
    ) -> T | None:
        """`Statements.maybe`, as a transaction of its own."""
        return await self.single(customer_id).maybe(cls, sql, **parameters)

    async def read_many(
        self, customer_id: str | None, cls: type[T], sql: str, /, **parameters: object
    ) -> list[T]:
        """`Statements.many`, as a transaction of its own."""
        return await self.single(customer_id).many(cls, sql, **parameters)


def _fetched(cursor: Any) -> list[Row]:
    """The rows of a result.

    :raises Unavailable: the session ended before we took them, as when we stop.
    """
    try:
        rows: list[Row] = cursor.fetchall()
    except psycopg2.InterfaceError as error:
        raise translate(error) from error
    return rows


def _preamble(customer_id: str | None) -> str:
    return _SYSTEM if customer_id is None else _TENANT


def _names(parameters: dict[str, object]) -> str:
    return ", ".join(parameters) or "no condition"
