"""PostgreSQL for tests: one server for all, a migrated template, a clone for each test.

The first test process that needs it starts a keeper (``python -m tests.postgres DIRECTORY``)
in a session of its own. Every process that uses the server holds a shared lock on a file,
which the kernel drops with the process; the keeper stops the server and removes everything
once nobody has held that lock for `IDLE` seconds. So `trial -j`, several runs at once and a
run right after another share one server, and nothing survives them, however they end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.resources.abc import Traversable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import psycopg2
from psycopg2.extensions import make_dsn
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.trial.unittest import SkipTest, TestCase

from noinfra.errors import ConfigurationError
from noinfra.store.database import Database, session
from noinfra.store.embedded import EmbeddedPostgres
from noinfra.store.migrate import migrate, migrations
from noinfra.store.pool import Pool

if TYPE_CHECKING:
    from twisted.internet.posixbase import PosixReactorBase

IDLE = 20.0
_ROOM = 2 * 1024**3
_PROJECT = Path(__file__).resolve().parent.parent
# Nothing here needs to survive a power loss.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "300",
    "max_wal_size": "512MB",
}
_numbers = count(1)


def reactor() -> PosixReactorBase:
    """The installed reactor, with its type."""
    from twisted.internet import reactor as installed

    return cast("PosixReactorBase", installed)


class DatabaseTest(TestCase):
    """A test with a database of its own, migrated and empty.

    :ivar dsn: leads to it.
    :ivar pool: is started.
    :ivar database: speaks through the pool.
    """

    schema: ClassVar[Traversable | None] = None
    connections: ClassVar[int] = 4

    async def setUp(self) -> None:
        self.dsn = await clone(self.schema)
        self.addCleanup(drop, self.dsn)
        self.pool = self.new_pool()
        await self.pool.start()
        self.database = Database(self.pool)

    def new_pool(self, **settings: Any) -> Pool:
        """A pool of this test, closed at its end."""
        known = {"dsn": self.dsn, "size": self.connections, "setup": session(30.0)}
        pool = Pool(reactor(), **{**known, **settings})
        self.addCleanup(lambda: Deferred.fromCoroutine(pool.close()))
        return pool


async def clone(schema: Traversable | None = None) -> str:
    """The DSN of a new database, a copy of the template with this schema."""
    template = await _template(schema)
    name = f"test_{os.getpid()}_{next(_numbers)}"
    # Without fsync the files are copied in some 10 ms, and through the log in some 80;
    # before PostgreSQL 15 there is only the one way.
    how = "strategy file_copy" if _version() >= 150000 else ""
    administer(f"create database {name} template {template} {how}")
    return make_dsn(server(), dbname=name)


def drop(dsn: str) -> None:
    """Remove a clone."""
    name = psycopg2.extensions.parse_dsn(dsn)["dbname"]
    administer(f"drop database if exists {name} with (force)")


def administer(statement: str) -> list[tuple[Any, ...]]:
    """Run a statement as the superuser; this blocks."""
    connection = psycopg2.connect(server())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


async def _template(schema: Traversable | None) -> str:
    digests = " ".join(step.sha256 for step in migrations(schema))
    name = f"template_{sha256(digests.encode()).hexdigest()[:16]}"
    exists = f"select 1 from pg_database where datname = '{name}'"
    if administer(exists):
        return name
    with _locked(directory() / "template.lock", fcntl.LOCK_EX):
        if not administer(exists):
            aside = f"{name}_{os.getpid()}"
            administer(f"drop database if exists {aside}")
            administer(f"create database {aside}")
            dsn = make_dsn(server(), dbname=aside)
            await migrate(reactor(), dsn, lambda _: None, schema)
            await _nobody_in(aside)
            administer(f"alter database {aside} rename to {name}")
    return name


async def _nobody_in(name: str) -> None:
    """Wait until the server has noticed that we left."""
    inside = f"select 1 from pg_stat_activity where datname = '{name}'"
    while administer(inside):
        await deferLater(reactor(), 0.01)


@cache
def _version() -> int:
    return int(administer("show server_version_num")[0][0])


# The server that all share.


@cache
def directory() -> Path:
    """Where it lives: in memory, if there is room."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    key = f"{_PROJECT} {Path(__file__).read_text()}"
    mark = f"noinfra-tests-{os.getuid()}-{sha256(key.encode()).hexdigest()[:12]}"
    return (memory if roomy else Path(tempfile.gettempdir())) / mark


@cache
def server() -> str:
    """The DSN of the server, which stays there until this process ends."""
    home = directory()
    _hold(home / "lease.lock")
    with _locked(home / "start.lock", fcntl.LOCK_EX):
        keeper = None
        if _is_free(home / "keeper.lock"):
            (home / "dsn").unlink(missing_ok=True)
            keeper = _start_keeper(home)
        while not (home / "dsn").exists():
            if keeper is not None and keeper.poll() is not None:
                raise SkipTest(f"no PostgreSQL: {(home / 'keeper.log').read_text()}")
            time.sleep(0.02)
        return (home / "dsn").read_text()


def _hold(path: Path) -> None:
    """Take a shared lock until the process ends, on the file that now has this name."""
    while True:
        path.parent.mkdir(mode=0o711, exist_ok=True)
        if path.parent.stat().st_uid != os.getuid():
            raise SkipTest(f"{path.parent} belongs to somebody else")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
            return
        # The keeper has removed it while we waited.
        os.close(descriptor)


def _start_keeper(home: Path) -> subprocess.Popen[bytes]:
    with (home / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.postgres", str(home)],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


def _is_free(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def _keep(reactor: PosixReactorBase, home: Path) -> None:
    """The keeper: start the server, stop it when nobody uses it, leave nothing behind."""
    with (
        _locked(home / "keeper.lock", fcntl.LOCK_EX),
        (home / "lease.lock").open() as lease,
    ):
        postgres = EmbeddedPostgres(reactor, home, settings=_SETTINGS)
        await postgres.start()
        (home / "dsn.new").write_text(postgres.dsn)
        (home / "dsn.new").rename(home / "dsn")
        idle_since = time.monotonic()
        while True:
            await deferLater(reactor, 1)
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                idle_since = time.monotonic()
                continue
            if time.monotonic() - idle_since > IDLE:
                # Who comes now waits for the lock, and then finds its file gone.
                break
            fcntl.flock(lease, fcntl.LOCK_UN)
        (home / "dsn").unlink()
        await postgres.stop()
        shutil.rmtree(home)


def main(reactor: PosixReactorBase, home: str) -> Deferred[None]:
    """Keep the server in this directory."""
    return Deferred.fromCoroutine(_keep(reactor, Path(home)))


if __name__ == "__main__":
    try:
        react(main, sys.argv[1:])
    except ConfigurationError as error:
        sys.exit(str(error))
