"""What runs here, and how full the queue is.

The exit status is 0 when a daemon serves from the state directory, 3 when none does.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

import msgspec
from attrs import frozen
from twisted.internet.posixbase import PosixReactorBase

from noinfra.cli.completion import complete
from noinfra.cli.opened import opened
from noinfra.cli.settings import settings, settings_arguments
from noinfra.config import Config
from noinfra.ready import Ready
from noinfra.store.overview import Overview, overview

NOT_RUNNING = 3


@frozen(kw_only=True)
class Status:
    """What ``--json`` prints."""

    state: str
    daemon: Ready | None
    queue: Overview


def arguments(command: ArgumentParser) -> None:
    """What this command takes."""
    settings_arguments(command)
    command.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: Namespace) -> int:
    """Print the status."""
    config = settings(arguments)

    async def look(reactor: PosixReactorBase) -> Status:
        return await status(config, reactor)

    found = complete(look)
    if arguments.json:
        text = msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"
    else:
        text = rendered(found, datetime.now(UTC))
    sys.stdout.write(text)
    return 0 if found.daemon else NOT_RUNNING


async def status(config: Config, reactor: PosixReactorBase) -> Status:
    """Look at the state directory and the database."""
    state = config.state_path
    async with opened(config, reactor) as database:
        return Status(
            state=str(state), daemon=Ready.read(state), queue=await overview(database)
        )


def rendered(status: Status, now: datetime) -> str:
    """The status for a person to read."""
    ready, queue = status.daemon, status.queue
    lines = [("state", status.state)]
    if ready is None:
        lines.append(("daemon", "none serves from here"))
    else:
        lines.append(("daemon", f"process {ready.pid}"))
        lines += [(name, at) for name, at in sorted(ready.addresses.items())]
        lines += [("API", ready.base_url), ("mail domain", ready.domain)]
    waiting = f"{queue.queued} queued, {queue.deferred} deferred"
    if queue.oldest_at is not None:
        waiting += f"; the oldest waits for {span(now, queue.oldest_at)}"
    lines.append(("queue", waiting))
    lines.append(("database", f"{queue.database_size / (1 << 20):.1f} MiB"))
    return "".join(f"{name:12} {value}\n" for name, value in lines)


def span(now: datetime, then: datetime) -> str:
    """How long ago, in its two largest units."""
    seconds = max(0, int((now - then).total_seconds()))
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
