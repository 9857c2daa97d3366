"""A real daemon in a process of its own, as an operator would start it.

    daemon = await start_daemon(self, {"edge": {"bare_lf": True}})
    await treq.get(f"{daemon.base_url}/v1/inboxes", headers=daemon.authorization)

It listens on free ports of the loopback and keeps everything in a directory of its own,
which goes when the test does. Commands beside it are run with `noinfra`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from noinfra.ready import FILE, Ready

ROOT = Path(__file__).parent.parent.parent

NOINFRA = (sys.executable, "-m", "noinfra.cli")
# The script of that name, without having to know where it was installed.
RUN_TWISTD = "from twisted.scripts.twistd import run; run()"
TWISTD = (sys.executable, "-c", RUN_TWISTD, "--nodaemon", "--pidfile=", "noinfra")

# Starting a database for the first time, on a machine that has much else to do.
PATIENCE = 90.0


def reactor() -> PosixReactorBase:
    assert isinstance(installed_reactor, PosixReactorBase)
    return installed_reactor


class Ended(Exception):
    """A process ended that was to go on; the text is what it said."""


class Process(ProcessProtocol):
    """A program and what it says."""

    def __init__(self) -> None:
        self.out, self.err = b"", b""
        self.status: int | None = None
        self._ended: list[Deferred[int]] = []

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        # As a shell has it: 128 and the number of the signal.
        self.status = value.exitCode if value.signal is None else 128 + value.signal
        waiting, self._ended = self._ended, []
        for ended in waiting:
            ended.callback(self.status)

    async def end(self) -> int:
        """Wait for it.

        :returns: its exit status.
        """
        if self.status is not None:
            return self.status
        waiting: Deferred[int] = Deferred()
        self._ended.append(waiting)
        return await waiting.addTimeout(PATIENCE, reactor())

    def send_signal(self, number: int) -> None:
        assert self.transport is not None
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            self.status = self.status or 0

    @property
    def pid(self) -> int | None:
        return self.transport.pid if self.transport is not None else None

    @property
    def said(self) -> str:
        return (self.out + self.err).decode("utf-8", "replace")

    async def says(self, text: str) -> bool:
        """Wait until it has said this.

        :returns: False when it ended without.
        """
        while text not in self.said and self.status is None:
            await deferLater(reactor(), 0.02)
        return text in self.said


def spawn(command: Sequence[str | Path], **environment: str) -> Process:
    """Start a program, with the checkout's modules on its path."""
    process = Process()
    words = [os.fspath(word) for word in command]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    env.pop("NOINFRA_STATE", None)
    reactor().spawnProcess(process, words[0], words, env=env, path="/")
    return process


async def noinfra(*arguments: str | Path) -> Process:
    """One command, from its start to its end."""
    process = spawn((*NOINFRA, *arguments))
    await process.end()
    return process


class Daemon:
    """A daemon that serves."""

    def __init__(self, state: Path, process: Process, ready: Ready) -> None:
        self.state, self.process, self.ready = state, process, ready

    @property
    def base_url(self) -> str:
        return self.ready.base_url

    @property
    def ports(self) -> dict[str, int]:
        return self.ready.ports

    @property
    def root_key(self) -> str:
        return Path(self.ready.root_key_file).read_text("ascii").strip()

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.root_key}"}

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it as an operator would.

        :returns: its exit status.
        """
        self.process.send_signal(number)
        return await self.process.end()


def new_state(test: TestCase) -> Path:
    """A directory for a daemon; short, since a socket's path must be."""
    state = Path(tempfile.mkdtemp(prefix="noinfra-e2e-"))
    # As root, PostgreSQL runs as somebody else, who has to get there.
    state.chmod(0o711)
    test.addCleanup(shutil.rmtree, state)
    return state


async def start_daemon(
    test: TestCase,
    settings: Mapping[str, Any] | None = None,
    state: Path | None = None,
    command: Sequence[str] = (*NOINFRA, "up", "--log", "-"),
) -> Daemon:
    """A daemon that is ready, and is stopped at the end of the test.

    :param settings: of the configuration file, over free ports on the loopback.
    """
    if state is None:
        state = new_state(test)
    file = state / "noinfra.toml"
    free = {
        "edge": {"port": 0},
        "submission": {"port": 0, "tls_port": 0},
        "imap": {"tls_port": 0},
        "web": {"port": 0},
    }
    file.write_text(toml(merged(free, settings)))
    process = spawn((*command, "--config", file, "--state", state))

    async def stop() -> None:
        process.send_signal(signal.SIGTERM)
        await process.end()

    test.addCleanup(lambda: Deferred.fromCoroutine(stop()))
    return Daemon(state, process, await until_ready(state, process))


async def until_ready(state: Path, process: Process) -> Ready:
    """Wait for ``ready.json``, written by this process.

    :raises Ended: the process ended before.
    """
    deadline = reactor().seconds() + PATIENCE
    while reactor().seconds() < deadline and process.status is None:
        # A file from before may lie there until the process has looked around.
        ready = Ready.read(state) if (state / FILE).exists() else None
        if ready is not None and ready.pid == process.pid:
            return ready
        await deferLater(reactor(), 0.05)
    raise Ended(f"exit status {process.status}: {process.said}")


def merged(base: dict[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    """Both; where they differ, the second one rules."""
    both = dict(base)
    for name, value in (over or {}).items():
        held = both.get(name)
        if isinstance(held, dict) and isinstance(value, dict):
            value = merged(held, value)
        both[name] = value
    return both


def toml(document: Mapping[str, Any], prefix: str = "") -> str:
    """A document as TOML: its scalars and lists are written as JSON writes them."""
    lines, tables = [], []
    for name, value in document.items():
        if isinstance(value, dict):
            table = f"{prefix}{json.dumps(name)}"
            tables.append(f"[{table}]\n{toml(value, table + '.')}")
        else:
            lines.append(f"{name if name.isidentifier() else json.dumps(name)} = ")
            lines.append(msgspec.json.encode(value).decode() + "\n")
    return "".join((*lines, *tables))
