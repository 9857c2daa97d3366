"""How an inbox with very many messages compares to one with few, call by call."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from tests.bench import fill, requester, sender
from tests.bench.ours import Ours
from tests.bench.stage import Stage, work
from tests.bench.table import Row, Target, median

SMALL = 1000
TARGET = Target("below", 1.3)


def measure(stage: Stage) -> Iterator[Row]:
    """Times of calls, and of mail that comes; the inboxes take turns."""
    large = stage.pick(200_000, 20_000)
    ours = Ours(stage)
    small_id, large_id = ours.inboxes(["small", "large"])
    for inbox, count in ((small_id, SMALL), (large_id, large)):
        stage.say(f"growth: filling an inbox with {count} messages")
        work(stage, "fill", fill.Plan(dsn=ours.dsn, inbox_id=inbox, count=count))
    # PostgreSQL gathers statistics within a minute of such a change: before that it
    # has to guess, and must not guess wrong.
    early = [f"/v1/inboxes/{each}/messages?limit=50" for each in (small_id, large_id)]
    yield _compared("list of 50, unanalyzed", large, *_asked(stage, ours, *early))
    ours.query("analyze")
    paths = zip(_paths(ours, small_id), _paths(ours, large_id), strict=True)
    for (title, small), (_, big) in paths:
        stage.say(f"growth: {title}")
        yield _compared(title, large, *_asked(stage, ours, small, big))
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


def _paths(ours: Ours, inbox: str) -> list[tuple[str, str]]:
    base = f"/v1/inboxes/{inbox}"
    page = ours.call("GET", f"{base}/messages?limit=50")
    threads = ours.call("GET", f"{base}/threads?limit=50")
    ((middle,),) = ours.query(
        f"""
        select message_id from message where inbox_id = '{inbox}' order by message_id
        offset (select count(*) / 2 from message where inbox_id = '{inbox}') limit 1
        """
    )
    deep = page["nextCursor"].replace(page["data"][-1]["id"], middle)
    return [
        ("list of 50", f"{base}/messages?limit=50"),
        ("list of 50, from the middle", f"{base}/messages?limit=50&cursor={deep}"),
        ("list of 50 unread", f"{base}/messages?limit=50&unread=true"),
        ("get of one", f"{base}/messages/{middle}"),
        ("page of 50 threads", f"{base}/threads?limit=50"),
        ("one thread", f"{base}/threads/{threads['data'][0]['id']}"),
    ]


def _asked(stage: Stage, ours: Ours, small: str, big: str) -> tuple[float, float]:
    """The medians of calls, one after the other, in milliseconds."""
    times: dict[str, list[float]] = {small: [], big: []}
    for turn in range(stage.pick(9, 4) + 1):
        for path, spent in times.items():
            plan = requester.Plan(
                port=ours.web,
                requests=[requester.request("GET", path, ours.key)],
                connections=1,
                count=stage.pick(60, 30),
            )
            found = msgspec.convert(work(stage, "requester", plan), requester.Result)
            if found.failed:
                raise RuntimeError(f"{path} failed")
            # The first turn is to warm up.
            spent += [found.median * 1e3] if turn else []
    return median(times[small]), median(times[big])


def _ingested(stage: Stage, ours: Ours) -> tuple[float, float]:
    """What a mail costs, in milliseconds, when one inbox gets all."""
    count = stage.pick(2000, 500)
    times: dict[str, list[float]] = {"small": [], "large": []}
    for turn in range(stage.pick(7, 3) + 1):
        for name, spent in times.items():
            plan = sender.Plan(
                port=ours.smtp,
                recipients=[ours.address(name)],
                series=f"growth-{time.monotonic_ns()}",
                count=count,
            )
            seconds = float(work(stage, "sender", plan)["seconds"])
            spent += [seconds / count * 1e3] if turn else []
    return median(times["small"]), median(times["large"])
