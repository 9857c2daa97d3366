"""smtp-sink, Postfix's server for tests: it takes everything, into a directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections import Counter
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from tests.e2e.daemon import Ended, Process, reactor, spawn


def program(name: str) -> str:
    """Where a program is.

    :raises SkipTest: it is not installed.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise SkipTest(f"{name} is not installed")
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, for programs that cannot choose one."""
    with socket.create_server((host, 0)) as free:
        port: int = free.getsockname()[1]
        return port


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody takes connections."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((host, port)) == 0


async def until_listening(port: int, process: Process) -> None:
    """Wait for a program to take connections.

    :raises Ended: it does not run any longer.
    """
    while not listening(port):
        if process.status is not None:
            raise Ended(process.said)
        await deferLater(reactor(), 0.02)


def new_directory(test: TestCase) -> Path:
    """A directory that other users may pass through."""
    directory = Path(tempfile.mkdtemp(prefix="noinfra-e2e-"))
    directory.chmod(0o711)
    test.addCleanup(shutil.rmtree, directory)
    return directory


def stop_after(test: TestCase, process: Process) -> None:
    """End a program at the end of the test."""

    async def stop() -> None:
        process.send_signal(signal.SIGTERM)
        await process.end()

    test.addCleanup(lambda: Deferred.fromCoroutine(stop()))


@frozen
class Sink:
    """What it has taken lies in files, one a message."""

    port: int
    directory: Path

    @classmethod
    async def start(cls, test: TestCase, *options: str) -> Sink:
        """A sink that runs until the end of the test."""
        command = [program("smtp-sink"), *options]
        directory = new_directory(test) / "taken"
        directory.mkdir()
        if os.geteuid() == 0:
            # It refuses to be root.
            directory.chmod(0o777)
            command += ["-u", "nobody"]
        port = free_port()
        command += ["-d", f"{directory}/mail.", f"inet:127.0.0.1:{port}", "100"]
        process = spawn(command)
        stop_after(test, process)
        await until_listening(port, process)
        return cls(port, directory)

    def mails(self) -> list[bytes]:
        """What it has taken, with the fields that it adds, and with LF line ends."""
        return [file.read_bytes() for file in self.directory.iterdir()]

    def subjects(self) -> Counter[str]:
        """How often each subject has come whole."""
        found: Counter[str] = Counter()
        for mail in self.mails():
            for line in mail.partition(b"\n\n")[0].splitlines():
                if line.startswith(b"Subject: "):
                    found[line[9:].decode()] += 1
        return found
