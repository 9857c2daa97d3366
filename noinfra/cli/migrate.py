"""Bring the database to this release's schema, and exit.

`noinfra up` does this too; run it apart to see an upgrade through before daemons start.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from twisted.internet.posixbase import PosixReactorBase

from noinfra.cli.completion import complete
from noinfra.cli.opened import progress, server, unreachable
from noinfra.cli.settings import settings, settings_arguments
from noinfra.errors import ConfigurationError
from noinfra.store.failures import Unavailable
from noinfra.store.migrate import Migration, MigrationFailed, SchemaTooNew, migrate


def arguments(command: ArgumentParser) -> None:
    """What this command takes."""
    settings_arguments(command)


def run(arguments: Namespace) -> int:
    """Migrate."""
    config = settings(arguments)

    async def work(reactor: PosixReactorBase) -> list[Migration]:
        async with server(config, reactor, make=True) as dsn:
            return await migrate(reactor, dsn, progress)

    try:
        steps = complete(work)
    except (SchemaTooNew, MigrationFailed) as error:
        raise ConfigurationError(str(error)) from error
    except Unavailable as error:
        raise unreachable(config, error) from error
    done = ", ".join(step.name for step in steps) or "nothing"
    sys.stdout.write(f"The database has this release's schema. New: {done}.\n")
    return 0
