"""From the 250 to the event on a WebSocket, while mail comes at a third of the most."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench import sender, watcher
from tests.bench.inbound import fastest
from tests.bench.ours import Ours
from tests.bench.source import INBOXES, names
from tests.bench.stage import Stage, Worker, work
from tests.bench.table import Row, Target, median, percentile


def measure(stage: Stage) -> Iterator[Row]:
    """The sender and the reader are processes of their own, with one clock."""
    ours = Ours(stage)
    ours.inboxes(names())
    recipients = [ours.address(name) for name in names()]
    most = median([fastest(stage, ours, recipients, 10 * INBOXES) for _ in range(3)])
    rate = most / 3
    stage.say(f"latency: {rate:.0f} a second")
    delays: list[float] = []
    replies: list[float] = []
    middles, tails = [], []
    for _ in range(stage.pick(5, 3)):
        late, waited = _turn(stage, ours, recipients, rate)
        delays += late
        replies += waited
        middles.append(percentile(late, 0.5))
        tails.append(percentile(late, 0.99))
    note = f"at {rate:.0f}/s of {most:.0f}/s, {len(delays)} messages"
    for name, value, limit in (
        ("250 to WebSocket event, median", median(middles), 5.0),
        ("250 to WebSocket event, 99 %", median(tails), 25.0),
    ):
        yield Row(
            name=name,
            ours=value,
            unit="ms",
            target=Target("below", limit, "value"),
            note=note,
        )
    yield Row(name="MAIL to 250, median", ours=percentile(replies, 0.5), unit="ms")
    yield Row(name="MAIL to 250, 99 %", ours=percentile(replies, 0.99), unit="ms")


def _turn(
    stage: Stage, ours: Ours, recipients: list[str], rate: float
) -> tuple[list[float], list[float]]:
    """How late each event was, and how long each reply took, in milliseconds."""
    count = int(rate * stage.pick(10, 4))
    plan = watcher.Plan(port=ours.web, key=ours.key, count=count)
    reader = Worker(stage, "watcher", plan)
    reader.line()
    sent = work(
        stage,
        "sender",
        sender.Plan(
            port=ours.smtp,
            recipients=recipients,
            series=f"latency-{time.monotonic_ns()}",
            count=count,
            rate=rate,
        ),
    )
    came = reader.result()
    late = [(came[name] - at) * 1e3 for name, at in sent["replied"].items()]
    return late, [1e3 * seconds for seconds in sent["waited"]]
