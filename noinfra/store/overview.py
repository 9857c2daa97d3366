"""What an operator asks of a database: its schema, its size, and the queue's length."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen
from twisted.internet.base import ReactorBase

from noinfra.store.connection import Connection
from noinfra.store.database import Database

_CONNECT_TIMEOUT = 10.0


@frozen(kw_only=True)
class Overview:
    """The outbound queue of all customers, and the size of the database in octets."""

    queued: int
    deferred: int
    # When the oldest delivery was asked for, and when the next attempt is due.
    oldest_at: datetime | None
    next_due_at: datetime | None
    database_size: int


async def schema_number(reactor: ReactorBase, dsn: str) -> int:
    """The last step of the schema that was taken; 0 in a new database.

    :raises Unavailable: the server is away.
    """
    connection = Connection(reactor)
    await connection.open(dsn, _CONNECT_TIMEOUT)
    try:
        cursor = await connection.execute("select to_regclass('schema_migration')")
        if cursor.fetchone() == (None,):
            return 0
        cursor = await connection.execute(
            "select coalesce(max(number), 0) from schema_migration"
        )
        (number,) = cursor.fetchone()
        return int(number)
    finally:
        connection.close()


async def overview(database: Database) -> Overview:
    """Take stock; it reads the queue only, not the mail."""
    return await database.read_one(
        None,
        Overview,
        """
        select count(*) filter (where status = 'queued') as queued,
            count(*) filter (where status = 'deferred') as deferred,
            min(created_at) as oldest_at, min(due_at) as next_due_at,
            pg_database_size(current_database()) as database_size
        from delivery where status in ('queued', 'deferred')
        """,
    )
