"""The program: takes the measurements that are asked for, and prints their table."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec

from tests.bench import growth, imap, inbound, latency, memory, micro, outbound, rest
from tests.bench.stage import Stage
from tests.bench.table import LeftOut, Row, render

MEASUREMENTS: dict[str, Callable[[Stage], Iterator[Row]]] = {
    "micro": micro.measure,
    "inbound": inbound.measure,
    "latency": latency.measure,
    "outbound": outbound.measure,
    "rest": rest.measure,
    "imap": imap.measure,
    "memory": memory.measure,
    "growth": growth.measure,
}
# What the whole run may take, in seconds.
_FULL, _QUICK = 25 * 60, 5 * 60


class OutOfTime(Exception):
    """The whole run has taken as long as it may."""


class Report(msgspec.Struct, kw_only=True):
    """A run, for a file."""

    at: datetime
    machine: str
    quick: bool
    rows: list[Row]
    left_out: list[str]


def main() -> int:
    """Measure, print, and say by the status whether all could be taken."""
    parser = ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument("--quick", action="store_true", help="shorter, and rougher")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there"
    )
    wanted = parser.parse_args()
    unknown = [name for name in wanted.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(MEASUREMENTS)}")
    with _alone(), _bounded(_QUICK if wanted.quick else _FULL):
        report = take(wanted.names or list(MEASUREMENTS), wanted.quick)
    sys.stdout.write(f"{report.machine}, {report.at:%Y-%m-%d %H:%M} UTC\n\n")
    sys.stdout.write(render(report.rows, report.left_out))
    if wanted.json:
        wanted.json.write_bytes(
            msgspec.json.format(msgspec.json.encode(report)) + b"\n"
        )
    return 1 if report.left_out else 0


def take(names: list[str], quick: bool) -> Report:
    """Take these measurements, each in a stage of its own; one that fails costs itself."""
    rows: list[Row] = []
    left_out: list[str] = []
    for number, name in enumerate(names):
        try:
            with Stage(quick, _say) as stage:
                # Row by row: what was found before a failure stays.
                for row in MEASUREMENTS[name](stage):
                    rows.append(row)  # noqa: PERF402
        except OutOfTime:
            left_out += [f"{late}: the time was over" for late in names[number:]]
            break
        except LeftOut as missing:
            left_out.append(f"{name}: {missing}")
        except Exception as error:
            traceback.print_exc()
            left_out.append(f"{name}: {error}")
    return Report(
        at=datetime.now(UTC),
        machine=f"{os.cpu_count()} × {platform.machine()}, Python "
        f"{platform.python_version()}",
        quick=quick,
        rows=rows,
        left_out=left_out,
    )


_BEGAN = time.monotonic()


def _say(line: str) -> None:
    sys.stderr.write(f"{time.monotonic() - _BEGAN:5.0f} s  {line}\n")


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once would measure each other: the second one ends here."""
    path = Path(tempfile.gettempdir()) / f"noinfra-bench-{os.getuid()}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("bin/bench runs already; wait for it to end.")
        yield


@contextmanager
def _bounded(seconds: int) -> Iterator[None]:
    """End what runs when its time is over, and at SIGTERM as at Ctrl-C."""

    def over(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    def ended(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, over)
    signal.signal(signal.SIGTERM, ended)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
