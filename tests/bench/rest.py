"""Requests a second of the API, against bare Klein routes that return the same octets.

The server keeps answers, by what was asked, for as long as nothing has changed. So each
call is measured in two ways: asked otherwise each time, which is what it costs to find
the answer; and over and over, which is what a client that polls meets.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import msgspec
from attrs import frozen

from tests.bench import bare, requester
from tests.bench.fill import Plan as FillPlan
from tests.bench.growth import fresh
from tests.bench.ours import Ours
from tests.bench.stage import Stage, Worker, answers, free_port, until, work
from tests.bench.table import Row, Target, median

CONNECTIONS = 16
# More than are asked for, so that a message is read once.
_MESSAGES = 40_000
TARGET = Target("at least", 0.6)
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@frozen
class Load:
    """What a load found: answers a second, and times in milliseconds."""

    rate: float
    median: float
    p99: float


def measure(stage: Stage) -> Iterator[Row]:
    """A list of 50 messages, and one message with its text and headers."""
    ours = Ours(stage)
    inbox = ours.inboxes(["reader"])[0]
    work(stage, "fill", FillPlan(dsn=ours.dsn, inbox_id=inbox, count=_MESSAGES))
    messages = f"/v1/inboxes/{inbox}/messages"
    listing = f"{messages}?limit=50"
    ids = [row[0] for row in ours.query("select message_id from message")]
    one = f"{messages}/{ids[0]}"
    port = _klein(stage, ours, listing, one)
    lists = (f"{listing}&{condition}" for condition in fresh())
    ones = (f"{messages}/{each}" for each in ids[1:])
    for title, path, anew in (
        ("REST, list of 50 messages", listing, lists),
        ("REST, get of one message", one, ones),
    ):
        yield _compared(
            stage,
            f"{title}, found anew",
            partial(_anew, stage, anew, ours.key),
            (ours.web, port),
        )
        yield _compared(
            stage,
            f"{title}, kept",
            partial(load, stage, path, ours.key),
            (ours.web, port),
        )


def _compared(
    stage: Stage, title: str, ask: Callable[[int], Load], ports: tuple[int, int]
) -> Row:
    """Ours and Klein in turn."""
    own: list[Load] = []
    peers: list[Load] = []
    for turn in range(stage.pick(5, 3)):
        stage.say(f"{title}: turn {turn + 1}")
        own.append(ask(ports[0]))
        peers.append(ask(ports[1]))
    return Row(
        name=title,
        ours=median([each.rate for each in own]),
        unit="/s",
        peer=median([each.rate for each in peers]),
        peer_name="Klein",
        target=TARGET,
        note=f"{_times('ours', own)}; {_times('Klein', peers)}",
    )


def _anew(stage: Stage, anew: Iterator[str], key: str, port: int) -> Load:
    """Ask for what was not asked for before."""
    paths = list(islice(anew, stage.pick(3500, 1500)))
    plan = requester.Plan(
        port=port,
        requests=[requester.request("GET", path, key) for path in paths],
        connections=CONNECTIONS,
        count=len(paths),
    )
    return _asked(stage, plan, paths[0])


def _asked(stage: Stage, plan: requester.Plan, path: str) -> Load:
    found = msgspec.convert(work(stage, "requester", plan), requester.Result)
    if found.failed:
        raise RuntimeError(f"{path} and others failed: {found.refused[:300]}")
    return Load(found.rate, found.median * 1e3, found.p99 * 1e3)


def _klein(stage: Stage, ours: Ours, listing: str, one: str) -> int:
    """Start the peer, with the answers that ours gives now; gives its port."""
    port = free_port()
    bodies = [ours.fetch("GET", path) for path in (listing, one)]
    plan = bare.Plan(port=port, listing=bodies[0], one=bodies[1])
    Worker(stage, "bare", plan)
    until("Klein does not listen", lambda: answers(port))
    return port


def _times(name: str, loads: list[Load]) -> str:
    middle = median([each.median for each in loads])
    tail = median([each.p99 for each in loads])
    return f"{name} {middle:.1f} ms, 99 % {tail:.1f} ms"


def load(stage: Stage, path: str, key: str, port: int) -> Load:
    """Ask for a path over and over: by wrk where it is installed, or by ourselves."""
    seconds = stage.pick(5, 2)
    wrk = shutil.which("wrk")
    if wrk is not None:
        return _by_wrk(wrk, port, path, key, seconds)
    plan = requester.Plan(
        port=port,
        requests=[requester.request("GET", path, key)],
        connections=CONNECTIONS,
        seconds=seconds,
    )
    return _asked(stage, plan, path)


def _by_wrk(wrk: str, port: int, path: str, key: str, seconds: int) -> Load:
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-H", f"Authorization: Bearer {key}", f"http://127.0.0.1:{port}{path}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"requests for {path} failed: {told}")
    return read_wrk(told)


def read_wrk(told: str) -> Load:
    """What wrk prints.

    :raises ValueError: it is something else.
    """
    rate = re.search(r"^Requests/sec: +([\d.]+)", told, re.MULTILINE)
    times = dict(
        (share, float(value) * _UNITS[unit])
        for share, value, unit in re.findall(
            r"^ +(50|99)% +([\d.]+)(us|ms|s|m)$", told, re.MULTILINE
        )
    )
    if rate is None or len(times) != 2:
        raise ValueError(f"wrk says {told!r}")
    return Load(float(rate[1]), times["50"], times["99"])
