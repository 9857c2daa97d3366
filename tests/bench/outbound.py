"""Mail out: from the first POST to the last delivery, against Postfix as a relay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.bench import requester
from tests.bench.mails import Mails
from tests.bench.ours import Ours
from tests.bench.postfix import Postfix
from tests.bench.source import Sink, relay
from tests.bench.stage import Stage, work
from tests.bench.table import LeftOut, Row, Target, median

_SIZE = 4096
_CONNECTIONS = 16
TARGET = Target("at least", 1.0)


def measure(stage: Stage) -> Iterator[Row]:
    """All of it, the API alone, and the queue alone."""
    sink, count = Sink(stage), stage.pick(5000, 1500)
    settings = {"outbound": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}}}
    ours = Ours(stage, settings)
    inbox = ours.inboxes(["sender"])[0]
    try:
        peer: Postfix | None = Postfix(stage, "bench.localhost", [], relay=sink.port)
        note = ""
    except LeftOut as missing:
        peer, note = None, str(missing)
    rates, peers, accepted = [], [], []
    for turn in range(3):
        stage.say(f"outbound: turn {turn + 1}")
        sink.begin()
        posted = _post(stage, ours, inbox, count)
        accepted.append(posted.rate)
        rates.append(count / (sink.until(count)[1] - posted.began))
        if peer is not None:
            sink.begin()
            began = time.time()
            relay(peer.port, "somebody@example.net", count, _SIZE)
            peers.append(count / (sink.until(count)[1] - began))
    _signed(ours)
    yield Row(
        name="outbound, POST to delivered, 4 KB, signed",
        ours=median(rates),
        unit="/s",
        peer=median(peers) if peers else None,
        peer_name="Postfix" if peers else "",
        target=TARGET,
        note=note,
    )
    yield Row(name="outbound, POSTs answered", ours=median(accepted), unit="/s")
    yield from _queue_only(stage, ours, inbox, sink, count, settings)


def _post(stage: Stage, ours: Ours, inbox: str, count: int) -> requester.Result:
    mails = Mails("outbound", ["somebody@example.net"], _SIZE)
    requests = []
    for number in range(64):
        text = mails.octets(number).partition(b"\r\n\r\n")[2].decode()
        body = {"to": ["somebody@example.net"], "subject": "A report", "text": text}
        requests.append(
            requester.request(
                "POST",
                f"/v1/inboxes/{inbox}/messages",
                ours.key,
                msgspec.json.encode(body),
            )
        )
    plan = requester.Plan(
        port=ours.web, requests=requests, connections=_CONNECTIONS, count=count
    )
    found = msgspec.convert(work(stage, "requester", plan), requester.Result)
    if found.failed:
        raise RuntimeError(f"{found.failed} of {count} POSTs failed: {found.refused}")
    return found


def _signed(ours: Ours) -> None:
    ((octets,),) = ours.query(
        """
        select substring(octets from 1 for 4096) from content join message
        using (content_id) where direction = 'outbound' limit 1
        """
    )
    if b"dkim-signature:" not in bytes(octets).lower():
        raise RuntimeError("what was sent is not signed")


def _queue_only(
    stage: Stage,
    ours: Ours,
    inbox: str,
    sink: Sink,
    count: int,
    settings: dict[str, Any],
) -> Iterator[Row]:
    """Fill the queue of a daemon that sends nothing, and let go."""
    stage.say("outbound: the queue alone")
    ours.stop()
    ours.start({"outbound": {**settings["outbound"], "paused": True}})
    paused = _post(stage, ours, inbox, count)
    ours.stop()
    sink.begin()
    ours.start(settings)
    first, last = sink.until(count)
    yield Row(name="outbound, the queue alone", ours=count / (last - first), unit="/s")
    yield Row(
        name="outbound, POSTs answered while the queue is paused",
        ours=paused.rate,
        unit="/s",
    )
