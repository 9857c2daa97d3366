"""How an inbox with very many messages compares to one with few, call by call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import msgspec

from tests.bench import fill, requester, sender
from tests.bench.ours import Ours
from tests.bench.stage import Stage, work
from tests.bench.table import Row, Target, median

SMALL = 1000
# In a turn; in all turns no more than the small inbox has threads.
_CALLS = 30
TARGET = Target("below", 1.3)


def measure(stage: Stage) -> Iterator[Row]:
    """Times of calls, and of mail that comes; the inboxes take turns."""
    large = stage.pick(200_000, 20_000)
    ours = Ours(stage)
    small_id, large_id = ours.inboxes(["small", "large"])
    for inbox, mails in ((small_id, SMALL), (large_id, large)):
        stage.say(f"growth: filling an inbox with {mails} messages")
        work(stage, "fill", fill.Plan(dsn=ours.dsn, inbox_id=inbox, count=mails))
    # PostgreSQL gathers statistics within a minute of such a change: before that it
    # has to guess, and must not guess wrong.
    inboxes = [Asked(ours, inbox) for inbox in (small_id, large_id)]
    yield _compared("list of 50, unanalyzed", large, *_times(stage, ours, inboxes, 0))
    ours.query("analyze")
    for number, title in enumerate(TITLES):
        stage.say(f"growth: {title}")
        yield _compared(title, large, *_times(stage, ours, inboxes, number))
    stage.say("growth: ingest")
    yield _compared("ingest", large, *_ingested(stage, ours))


def _compared(title: str, large: int, small: float, big: float) -> Row:
    return Row(
        name=f"growth, {title}",
        ours=big,
        unit="ms",
        peer=small,
        peer_name=f"of {SMALL:,}",
        target=TARGET,
        note=f"an inbox of {large:,} messages against one of {SMALL:,}",
    )


TITLES = (
    "list of 50",
    "list of 50, from anywhere",
    "list of 50 unread",
    "get of one",
    "page of 50 threads",
    "one thread",
)


class Asked:
    """What is asked of an inbox: never the same twice.

    The server keeps answers for as long as nothing changes, by what was asked; one that
    it has kept says nothing of what it costs to find.
    """

    def __init__(self, ours: Ours, inbox: str) -> None:
        self._base = f"/v1/inboxes/{inbox}"
        self._messages = _ids(ours, "message", inbox)
        self._threads = _ids(ours, "thread", inbox)
        self._fresh = fresh()

    def paths(self, number: int, count: int) -> list[str]:
        """So many ways to ask for the thing of this number in `TITLES`."""
        return [self._path(number) for _ in range(count)]

    def _path(self, number: int) -> str:
        messages, threads = f"{self._base}/messages", f"{self._base}/threads"
        match TITLES[number]:
            case "list of 50":
                return f"{messages}?limit=50&{next(self._fresh)}"
            case "list of 50, from anywhere":
                return f"{messages}?limit=50&cursor={next(self._messages)}"
            case "list of 50 unread":
                return f"{messages}?limit=50&unread=true&{next(self._fresh)}"
            case "get of one":
                return f"{messages}/{next(self._messages)}"
            case "page of 50 threads":
                return f"{threads}?limit=50&{next(self._fresh)}"
            case _:
                return f"{threads}/{next(self._threads)}"


def fresh() -> Iterator[str]:
    """A condition that holds for all mail there is, spelled otherwise each time."""
    for number in count():
        yield f"before=2100-01-01T00:00:00.{number:06}Z"


def _ids(ours: Ours, table: str, inbox: str) -> Iterator[str]:
    rows = ours.query(
        f"select {table}_id from {table} where inbox_id = '{inbox}' order by random()"
    )
    # Not in a cycle: to run out of them is an error, and to repeat one would go unseen.
    return iter([row[0] for row in rows])


def _times(
    stage: Stage, ours: Ours, inboxes: list[Asked], number: int
) -> tuple[float, float]:
    """The medians of calls, one after the other, in milliseconds."""
    times: list[list[float]] = [[] for _ in inboxes]
    for turn in range(stage.pick(9, 4) + 1):
        for asked, spent in zip(inboxes, times, strict=True):
            paths = asked.paths(number, _CALLS)
            plan = requester.Plan(
                port=ours.web,
                requests=[requester.request("GET", path, ours.key) for path in paths],
                connections=1,
                count=len(paths),
            )
            found = msgspec.convert(work(stage, "requester", plan), requester.Result)
            if found.failed:
                raise RuntimeError(f"{paths[0]} failed: {found.refused[:300]}")
            # The first turn is to warm up.
            spent += [found.median * 1e3] if turn else []
    return median(times[0]), median(times[1])


def _ingested(stage: Stage, ours: Ours) -> tuple[float, float]:
    """What a mail costs, in milliseconds, when one inbox gets all."""
    mails = stage.pick(2000, 500)
    times: dict[str, list[float]] = {"small": [], "large": []}
    for turn in range(stage.pick(7, 3) + 1):
        for name, spent in times.items():
            plan = sender.Plan(
                port=ours.smtp,
                recipients=[ours.address(name)],
                series=f"growth-{time.monotonic_ns()}",
                count=mails,
            )
            seconds = float(work(stage, "sender", plan)["seconds"])
            spent += [seconds / mails * 1e3] if turn else []
    return median(times["small"]), median(times["large"])
