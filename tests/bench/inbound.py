"""Mail in: messages a second by SMTP, against Postfix delivering to maildirs.

Ours is done when the last 250 is there: the message is then on disk, in its thread,
found by search, and announced. Postfix is done when the last file is in its maildir.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from attrs import frozen

from tests.bench.ours import Ours
from tests.bench.postfix import Postfix
from tests.bench.sender import Plan
from tests.bench.source import INBOXES, SESSIONS, names, pour
from tests.bench.stage import Stage, cpu, work
from tests.bench.table import LeftOut, Row, Target, median

SIZE = 4096
TARGET = Target("at least", 2.0)


def measure(stage: Stage) -> Iterator[Row]:
    """By smtp-source, over new connections and kept ones; then prose in threads."""
    ours = Ours(stage)
    ours.inboxes(names())
    try:
        peer: Postfix | None = Postfix(stage, ours.ready.domain, names())
        note = ""
    except LeftOut as missing:
        peer, note = None, str(missing)
    for title, send in (
        ("inbound, 4 KB, a connection a message", _poured(stage, ours, False)),
        ("inbound, 4 KB, connections kept", _poured(stage, ours, True)),
        ("inbound, 4 KB prose in threads", _prose(stage, ours)),
    ):
        own, other = _turns(stage, ours, peer, title, send)
        yield _row(
            title,
            "/s",
            [1 / each.seconds for each in own],
            [1 / each.seconds for each in other],
            TARGET,
            note,
        )
        # Where others compete for the processors, who has more processes gets more of
        # them; what a message costs does not depend on that.
        yield _row(
            f"{title}: CPU a message",
            "µs",
            [1e6 * each.cpu for each in own],
            [1e6 * each.cpu for each in other],
            None,
            "",
        )


def _row(
    name: str,
    unit: str,
    own: list[float],
    other: list[float],
    target: Target | None,
    note: str,
) -> Row:
    return Row(
        name=name,
        ours=median(own),
        unit=unit,
        peer=median(other) if other else None,
        peer_name="Postfix" if other else "",
        target=target,
        note=note,
    )


@frozen
class Cost:
    """Of one message in a turn: the time it took, and the processors' time."""

    seconds: float
    cpu: float


Send = Callable[[int], int]


def _poured(stage: Stage, ours: Ours, keep: bool) -> Send:
    rounds = stage.pick(3, 1)

    def send(port: int) -> int:
        pour(port, ours.ready.domain, rounds, SIZE, keep)
        return rounds * SESSIONS * INBOXES

    return send


def _prose(stage: Stage, ours: Ours) -> Send:
    recipients = [ours.address(name) for name in names()]
    count = stage.pick(6000, 2000)

    def send(port: int) -> int:
        plan = Plan(
            port=port,
            recipients=recipients,
            series=f"prose-{time.monotonic_ns()}",
            count=count,
            sessions=SESSIONS,
        )
        work(stage, "sender", plan)
        return count

    return send


def _turns(
    stage: Stage, ours: Ours, peer: Postfix | None, title: str, send: Send
) -> tuple[list[Cost], list[Cost]]:
    """What messages cost ours, with its PostgreSQL, and the peer."""
    own, other = [], []
    for turn in range(stage.pick(3, 2)):
        stage.say(f"{title}: turn {turn + 1}")
        before, spent, began = _received(ours), cpu(ours.pid), time.time()
        count = send(ours.smtp)
        took = time.time() - began
        own.append(Cost(took / count, (cpu(ours.pid) - spent) / count))
        if _received(ours) != (before[0] + count, before[1] + count):
            raise RuntimeError(f"{_received(ours)} after {before} and {count} more")
        if peer is not None:
            held, spent, began = peer.count(), cpu(peer.pid), time.time()
            count = send(peer.port)
            took = peer.until(held + count) - began
            other.append(Cost(took / count, (cpu(peer.pid) - spent) / count))
    return own, other


def _received(ours: Ours) -> tuple[int, int]:
    """The messages that are stored and found by search, and their events."""
    ((messages,),) = ours.query(
        """
        select count(*) from message join content using (content_id)
        where direction = 'inbound' and search is not null and uid > 0
        and exists (select 1 from thread where thread_id = message.thread_id)
        """
    )
    ((events,),) = ours.query(
        "select count(*) from event where type = 'message.received'"
    )
    return int(messages), int(events)


def fastest(stage: Stage, ours: Ours, recipients: list[str], count: int) -> float:
    """How many mails a second ours takes from our own sender."""
    plan = Plan(
        port=ours.smtp,
        recipients=recipients,
        series=f"fastest-{time.monotonic_ns()}",
        count=count,
        sessions=SESSIONS,
    )
    return count / float(work(stage, "sender", plan)["seconds"])
