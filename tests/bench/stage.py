"""Where a measurement takes place: a directory, a time, and programs that end with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from tests.bench.table import LeftOut

ROOT = Path(__file__).parent.parent.parent
_STOPPING = 30.0


class Stage:
    """A context; all that was begun in it is over when it is left.

    :ivar quick: take the shorter form of a measurement.
    :ivar directory: for state of any kind; on the disk that is measured.
    """

    def __init__(self, quick: bool, say: Callable[[str], object]) -> None:
        self.quick = quick
        self.say = say
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        # A socket's path is short, and PostgreSQL runs as somebody else who passes.
        self.directory = Path(tempfile.mkdtemp(prefix="noinfra-bench-"))
        self.directory.chmod(0o711)
        self._ending.callback(shutil.rmtree, self.directory, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.close()

    def at_end(self, do: Callable[..., object], *arguments: object) -> None:
        """Call it when the stage is left, the last one first."""
        self._ending.callback(do, *arguments)

    def pick(self, full: int, quick: int) -> int:
        """A number for this form of the run."""
        return quick if self.quick else full

    def start(
        self, command: Sequence[str | Path], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a program that is ended with the stage, if not before."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment(),
            )
        self.at_end(stop, process)
        return process


class Worker:
    """A module of ours in a process of its own, given a plan and asked for a result.

    The plan goes in and the result comes out as JSON. It may write a line before: that
    it is ready.
    """

    def __init__(self, stage: Stage, module: str, plan: object) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        stage.at_end(stop, self._process)
        stdin = self._pipe(self._process.stdin)
        stdin.write(msgspec.json.encode(plan))
        stdin.close()

    def line(self) -> str:
        """Wait for a line."""
        return self._pipe(self._process.stdout).readline().decode().strip()

    def end(self) -> None:
        """Ask it to come to an end."""
        self._process.send_signal(signal.SIGTERM)

    def result(self) -> dict[str, Any]:
        """Wait for what it found.

        :raises RuntimeError: it failed; it has said why.
        """
        told = self._pipe(self._process.stdout).read()
        if self._process.wait():
            raise RuntimeError(f"{self._name} failed with {self._process.returncode}")
        found: dict[str, Any] = msgspec.json.decode(told)
        return found

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def work(stage: Stage, module: str, plan: object) -> dict[str, Any]:
    """What a worker finds."""
    return Worker(stage, module, plan).result()


def environment() -> dict[str, str]:
    """Ours, with the checkout on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program of ours, by force if it takes long."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(what: str, true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something.

    :raises RuntimeError: it did not come.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {seconds:g} s: {what}")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether somebody takes connections on a port of the loopback."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def cpu(pid: int) -> float:
    """The seconds that a process has computed, with all that descend from it.

    Of those that have ended, as far as their parents have waited for them.
    """
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (told := _stat(entry)) is not None:
            # proc(5): utime, stime, cutime, cstime; and before them the parent.
            children.setdefault(int(told[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, told[11:15]))
    total, open_ = 0, [pid]
    while open_:
        one = open_.pop()
        total += spent.get(one, 0)
        open_ += children.get(one, [])
    return total / os.sysconf("SC_CLK_TCK")


def _stat(entry: Path) -> list[str] | None:
    try:
        # The command's name, in parentheses, may hold blanks.
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def program(name: str) -> str:
    """The path of a program of the system.

    :raises LeftOut: it is not installed.
    """
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which(name, path=f"{path}{os.pathsep}/usr/sbin{os.pathsep}/sbin")
    if found is None:
        raise LeftOut(f"{name} is not installed")
    return found
