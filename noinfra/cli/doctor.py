"""Look for what keeps mail from coming and going, and tell what to do about it.

Each thing is ok, warn (it works, but not for everybody or not for ever) or fail. The
exit status is 1 when something fails.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

import msgspec
from twisted.internet.posixbase import PosixReactorBase

from noinfra.cli.completion import complete
from noinfra.cli.machine import certificate, disk, ports
from noinfra.cli.opened import opened
from noinfra.cli.published import published
from noinfra.cli.settings import settings, settings_arguments
from noinfra.cli.verdict import Verdict, fail, ok, report
from noinfra.config import Config
from noinfra.errors import ConfigurationError, Refusal
from noinfra.ready import Ready
from noinfra.store.keys import DkimKey, DkimKeys


def arguments(command: ArgumentParser) -> None:
    """What this command takes."""
    settings_arguments(command)
    command.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: Namespace) -> int:
    """Print the verdicts."""
    config = settings(arguments)

    async def look(reactor: PosixReactorBase) -> list[Verdict]:
        return await examine(config, reactor)

    verdicts = complete(look)
    if arguments.json:
        octets = msgspec.json.encode(verdicts)
        sys.stdout.write(msgspec.json.format(octets).decode() + "\n")
    else:
        sys.stdout.write(report(verdicts))
    return int(any(verdict.level == "fail" for verdict in verdicts))


async def examine(config: Config, reactor: PosixReactorBase) -> list[Verdict]:
    """Everything, one after the other."""
    state = config.state_path
    verdicts = [disk(state), *ports(config, Ready.read(state))]
    verdicts.append(certificate(config, datetime.now(UTC)))
    database, keys = await _database(config, reactor)
    verdicts.append(database)
    verdicts += await _dns(config, reactor, keys)
    return verdicts


async def _dns(
    config: Config, reactor: PosixReactorBase, keys: list[DkimKey]
) -> list[Verdict]:
    """What the resolvers that the daemon would ask say of us."""
    # Only now: it installs the reactor.
    from noinfra.service.outbound import make_resolver

    try:
        resolver = make_resolver(config, reactor)
    except ConfigurationError as error:
        return [fail("dns", str(error), "Write 192.0.2.1 or 192.0.2.1:53.")]
    return await published(resolver, config.domain, config.hostname, keys)


async def _database(
    config: Config, reactor: PosixReactorBase
) -> tuple[Verdict, list[DkimKey]]:
    """Whether the database can be used, and the keys in it that we sign with."""
    try:
        async with opened(config, reactor) as database:
            keys = await DkimKeys(database.single(None)).of(config.domain)
    except (ConfigurationError, Refusal) as error:
        remedy = "Mend that first: without the database nothing works."
        return fail("database", str(error), remedy), []
    return ok("database", "It answers, and its schema is this release's."), keys
