"""Postfix's smtp-source, and smtp-sink with the times at which mail reached it."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.stage import Stage, answers, free_port, program, stop, until

# One smtp-source puts numbers before its recipient, from 1 up to its messages: so each
# of these processes writes to every inbox once.
SESSIONS, INBOXES = 20, 100
NAME = "box"


def names() -> list[str]:
    """The inboxes' names, as smtp-source makes them of `NAME`."""
    return [f"{number}{NAME}" for number in range(1, INBOXES + 1)]


def pour(port: int, domain: str, rounds: int, size: int, keep: bool) -> float:
    """Send every inbox `SESSIONS` times `rounds` messages, in as many sessions.

    :param keep: send all of a session's messages over one connection.
    :returns: the seconds from the first connection to the last reply.
    """
    command = [program("smtp-source"), "-N", "-m", str(INBOXES), "-l", str(size)]
    command += ["-d"] if keep else []
    command += ["-t", f"{NAME}@{domain}", f"127.0.0.1:{port}"]

    def session(_: int) -> None:
        for _ in range(rounds):
            run(command)

    began = time.monotonic()
    with ThreadPoolExecutor(SESSIONS) as pool:
        for done in [pool.submit(session, number) for number in range(SESSIONS)]:
            done.result()
    return time.monotonic() - began


def relay(port: int, to: str, count: int, size: int) -> None:
    """Send mail for one address elsewhere."""
    command = [program("smtp-source"), "-s", str(SESSIONS), "-m", str(count)]
    run([*command, "-l", str(size), "-t", to, f"127.0.0.1:{port}"])


def run(command: list[str]) -> None:
    """Run a source to its end.

    :raises RuntimeError: a server did not take the mail.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode or done.stderr:
        raise RuntimeError(f"smtp-source: {done.stderr.strip()[:300]}")


class Sink:
    """A server that takes all mail and keeps none."""

    _COUNT = re.compile(rb"mesg=(\d+)")

    def __init__(self, stage: Stage) -> None:
        self.port = free_port()
        self._times: list[float] = []
        self._skip = 0
        # As root it wants to be told whom to become.
        user = ["-u", "nobody"] if not os.geteuid() else []
        self._process = subprocess.Popen(
            [program("smtp-sink"), *user, "-c", f"127.0.0.1:{self.port}", "1000"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        stage.at_end(stop, self._process)
        threading.Thread(target=self._listen, daemon=True).start()
        until("smtp-sink does not listen", lambda: answers(self.port))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while told := os.read(descriptor, 65536):
            now = time.time()
            counts = self._COUNT.findall(told)
            if counts:
                self._times += [now] * (int(counts[-1]) - len(self._times))

    def begin(self) -> None:
        """Count from here."""
        self._skip = len(self._times)

    def until(self, count: int, seconds: float = 120.0) -> tuple[float, float]:
        """Wait for so many; gives when the first and the last came, by time.time()."""
        end = self._skip + count
        until(
            f"{count} messages have not arrived",
            lambda: len(self._times) >= end,
            seconds,
        )
        return self._times[self._skip], self._times[end - 1]
