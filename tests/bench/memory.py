"""What the daemon's process holds: for a large message, for idle peers, after much mail.

Figures are of /proc/PID/status: VmRSS, and VmHWM (the peak), which is begun anew by
writing 5 to clear_refs. PostgreSQL's processes are not in them.
"""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

from tests.bench import sender
from tests.bench.mails import large
from tests.bench.ours import Ours
from tests.bench.source import names
from tests.bench.stage import Stage, work
from tests.bench.table import Row, Target, slope

_LARGE = 25_000_000
_IDLE = 500


def measure(stage: Stage) -> Iterator[Row]:
    """In one daemon, which has taken some mail before."""
    ours = Ours(stage)
    ours.inboxes(names())
    recipients = [ours.address(name) for name in names()]
    _pour(stage, ours, recipients, 1000)
    # The large message comes last: what it leaves free would hide a growth.
    yield from _after_much(stage, ours, recipients)
    yield _idle(stage, ours)
    yield _large(stage, ours, recipients[0])


def _pour(stage: Stage, ours: Ours, recipients: list[str], count: int) -> None:
    plan = sender.Plan(
        port=ours.smtp,
        recipients=recipients,
        series=f"memory-{time.monotonic_ns()}",
        count=count,
    )
    work(stage, "sender", plan)


def _idle(stage: Stage, ours: Ours) -> Row:
    stage.say(f"memory: {_IDLE} idle connections")
    before = ours.memory()
    with ExitStack() as closing:
        clients = [
            closing.enter_context(
                socket.create_connection(("127.0.0.1", ours.smtp), 30)
            )
            for _ in range(_IDLE)
        ]
        for client in clients:
            _hear(client, b"220 ")
            client.sendall(b"EHLO idle.bench.example\r\n")
        for client in clients:
            _hear(client, b"250 ")
        after = ours.memory()
    return Row(
        name=f"memory, {_IDLE} idle SMTP connections",
        ours=after - before,
        unit="MB",
        target=Target("below", 25.0, "value"),
        note="VmRSS, each after EHLO",
    )


def _hear(client: socket.socket, code: bytes) -> None:
    """Read up to the last line of a reply."""
    told = b""
    while not told.rpartition(b"\r\n")[0].rpartition(b"\n")[2].startswith(code):
        octets = client.recv(4096)
        if not octets:
            raise RuntimeError(f"the server hung up after {told!r}")
        told += octets


def _large(stage: Stage, ours: Ours, recipient: str) -> Row:
    stage.say("memory: a large message")
    octets = large(recipient, _LARGE)
    before = ours.memory()
    ours.reset_peak()
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", ours.smtp, timeout=120) as client:
        client.sendmail("writer@bench.example", [recipient], octets)
    seconds = time.monotonic() - began
    return Row(
        name="memory, a message of 25 MB, at the peak",
        ours=ours.memory("VmHWM") - before,
        unit="MB",
        target=Target("below", 120.0, "value"),
        note=f"VmHWM over VmRSS before; it took {seconds:.1f} s",
    )


def _after_much(stage: Stage, ours: Ours, recipients: list[str]) -> Iterator[Row]:
    count, steps = stage.pick(50_000, 6000), 10
    before, points = ours.memory(), []
    for step in range(steps):
        stage.say(f"memory: {count * (step + 1) // steps} messages of {count}")
        _pour(stage, ours, recipients, count // steps)
        points.append((count * (step + 1) / steps / 1000, ours.memory() * 1000))
    yield Row(
        name=f"memory, after {count:,} messages",
        ours=ours.memory(),
        unit="MB",
        peer=before,
        peer_name="before",
    )
    yield Row(
        name="memory, growth for 1,000 messages, in the second half",
        ours=slope(points[steps // 2 :]),
        unit="KB",
        target=Target("below", 50.0, "value"),
        note="the slope of VmRSS by least squares",
    )
