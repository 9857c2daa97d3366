"""The schema's way from release to release: numbered files, forward only.

``schema/NNNN_name.sql`` is run once, in a transaction of its own, and then written down
in the table ``schema_migration``. Many daemons may start at once: an advisory lock lets
one work while the others wait, and find nothing left to do.

A file that was released is never changed. There is no way back: a release that finds a
schema from its future refuses to work on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg2
from attrs import frozen
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from twisted.internet.base import ReactorBase
from twisted.logger import Logger

from noinfra.store.connection import Connection
from noinfra.store.failures import ConstraintViolation, Unavailable, reason

_log = Logger()
# Any number does, as long as nobody else locks it: "noinfra" in ASCII.
_LOCK = 0x6E6F696E667261
_CONNECT_TIMEOUT = 10.0
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")

_TABLE = """
create table if not exists schema_migration (
    number integer primary key,
    name text not null,
    sha256 text not null,
    release text not null,
    applied_at timestamptz not null default now()
)
"""


class SchemaTooNew(Exception):
    """A later release has been at work in this database."""


class MigrationFailed(Exception):
    """A file of the schema cannot be run here; nothing of it was kept."""


@frozen(kw_only=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What tells whether the file was changed after it was run."""
        return sha256(self.sql.encode()).hexdigest()


@frozen(kw_only=True)
class _Applied:
    number: int
    name: str
    sha256: str
    release: str


def migrations(directory: Traversable | None = None) -> list[Migration]:
    """The steps that this release knows, in order.

    :raises ValueError: a number is missing or comes twice.
    """
    directory = directory or files("noinfra.store") / "schema"
    known = []
    for file in sorted(directory.iterdir(), key=lambda each: each.name):
        if found := _FILE.fullmatch(file.name):
            sql = file.read_text(encoding="utf-8")
            known.append(Migration(number=int(found[1]), name=found[2], sql=sql))
    numbers = [each.number for each in known]
    if numbers != list(range(1, len(known) + 1)):
        raise ValueError(f"The schema's files must be numbered 1, 2, 3, not {numbers}.")
    return known


async def migrate(
    reactor: ReactorBase,
    dsn: str,
    on_progress: Callable[[str], object] | None = None,
    directory: Traversable | None = None,
) -> list[Migration]:
    """Bring the database to this release's schema; the steps that this took.

    :param on_progress: told of each step before it is taken.
    :raises SchemaTooNew: the database is ahead of us.
    :raises MigrationFailed: a step failed; the steps before it stay.
    :raises Unavailable: the server is away.
    """
    known = migrations(directory)
    connection = Connection(reactor)
    await connection.open(dsn, _CONNECT_TIMEOUT)
    try:
        # Waiting for the lock, and a step over large tables, take as long as they take.
        await connection.execute("set statement_timeout = 0; set lock_timeout = 0")
        await connection.execute(f"select pg_advisory_lock({_LOCK})")
        await connection.execute(_TABLE)
        applied = await _applied(connection)
        _compare(known, applied)
        missing = known[len(applied) :]
        for step in missing:
            (on_progress or _say)(f"Bringing the database to {step.name}")
            await _apply(connection, step)
        return missing
    finally:
        # The session ends, and the lock with it.
        connection.close()


async def _applied(connection: Connection) -> list[_Applied]:
    cursor = await connection.execute(
        "select number, name, sha256, release from schema_migration order by number"
    )
    return [
        _Applied(number=number, name=name, sha256=digest, release=release)
        for number, name, digest, release in cursor.fetchall()
    ]


def _compare(known: list[Migration], applied: list[_Applied]) -> None:
    if len(applied) > len(known):
        last = applied[-1]
        raise SchemaTooNew(
            f"The database is at schema {last.number} ({last.name}), and this release "
            f"knows {len(known)} only. noinfra {last.release} or a later one is "
            f"needed; install it, or restore a backup from before the upgrade."
        )
    for ours, theirs in zip(known, applied, strict=False):
        if ours.sha256 != theirs.sha256:
            _log.warn(
                "schema {number} ({name}) was applied by {release} from another text",
                number=theirs.number,
                name=theirs.name,
                release=theirs.release,
            )


async def _apply(connection: Connection, step: Migration) -> None:
    try:
        await connection.execute("begin")
        await connection.execute(step.sql)
        session = connection.pollable()
        if session.get_transaction_status() != TRANSACTION_STATUS_INTRANS:
            raise MigrationFailed(f"{_title(step)} ends the transaction that it is in.")
        await connection.execute(
            connection.mogrify(
                "insert into schema_migration (number, name, sha256, release)"
                " values (%s, %s, %s, %s)",
                (step.number, step.name, step.sha256, _release()),
            )
        )
        await connection.execute("commit")
    except Unavailable:
        raise
    except (psycopg2.Error, ConstraintViolation) as error:
        raise MigrationFailed(f"{_title(step)}: {_where(error)}") from error


def _title(step: Migration) -> str:
    return f"schema/{step.number:04}_{step.name}.sql"


def _where(error: Exception) -> str:
    """The error and, where the server tells it, the line of the file."""
    line = re.search(r"^LINE \d+: .*$", str(error), re.MULTILINE)
    return f"{reason(error)}. {line[0] if line else ''}".rstrip()


def _release() -> str:
    try:
        return version_of("noinfra")
    except PackageNotFoundError:
        return "(an unreleased checkout)"


def _say(what: str) -> None:
    _log.info("{what}", what=what)
