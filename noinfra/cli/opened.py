"""The database, for a command that works beside the daemon or without it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.posixbase import PosixReactorBase

from noinfra.config import Config
from noinfra.errors import ConfigurationError
from noinfra.ready import prepare_state
from noinfra.store.database import Database, session
from noinfra.store.embedded import EmbeddedFailure, EmbeddedPostgres
from noinfra.store.failures import Unavailable
from noinfra.store.migrate import migrations
from noinfra.store.overview import schema_number
from noinfra.store.pool import Pool


def progress(line: str) -> None:
    """Tell the operator how far we are."""
    sys.stderr.write(f"noinfra: {line}\n")
    sys.stderr.flush()


@asynccontextmanager
async def server(
    config: Config, reactor: PosixReactorBase, make: bool = False
) -> AsyncIterator[str]:
    """The DSN of a server that answers.

    Our own is shared with a daemon that runs; else it is started, and stopped after.

    :param make: whether a new one may be made when there is none.
    :raises ConfigurationError: there is none, or it does not start.
    """
    if config.database.dsn is not None:
        yield config.database.dsn
        return
    state = config.state_path
    if not make and not (state / "postgres" / "data").exists():
        raise ConfigurationError(
            f"There is no database in {state} yet; make it with `noinfra init`, or "
            "name another state directory with --state."
        )
    prepare_state(state)
    postgres = EmbeddedPostgres(reactor, state, progress)
    try:
        await postgres.start()
    except EmbeddedFailure as error:
        text = str(error).strip().replace("\n", " | ")
        raise ConfigurationError(text) from error
    try:
        yield postgres.dsn
    finally:
        await postgres.stop()


@asynccontextmanager
async def opened(config: Config, reactor: PosixReactorBase) -> AsyncIterator[Database]:
    """The database, with its schema as this release wants it.

    :raises ConfigurationError: it cannot be used.
    """
    async with server(config, reactor) as dsn, pool(config, reactor, dsn) as connected:
        check_schema(await schema_number(reactor, dsn), len(migrations()))
        yield Database(connected)


def check_schema(found: int, known: int) -> None:
    """Pass when the database is as this release wants it.

    :raises ConfigurationError: it is older or newer.
    """
    if found < known:
        raise ConfigurationError(
            f"The database is at schema {found} and this release wants {known}; run "
            "`noinfra migrate`, or `noinfra up`, which does that first."
        )
    if found > known:
        raise ConfigurationError(
            f"The database is at schema {found} and this release knows {known} only; "
            "install the release that made it."
        )


@asynccontextmanager
async def pool(
    config: Config, reactor: PosixReactorBase, dsn: str
) -> AsyncIterator[Pool]:
    """One connection, which is all that a command needs."""
    setup = session(config.database.statement_timeout)
    connections = Pool(reactor, dsn, size=1, setup=setup)
    try:
        await connections.start(config.database.wait)
    except Unavailable as error:
        raise unreachable(config, error) from error
    try:
        yield connections
    finally:
        await connections.close()


def unreachable(config: Config, error: Unavailable) -> ConfigurationError:
    """What went wrong, by the name of the setting that says where the database is."""
    where = "setting database.dsn" if config.database.dsn else "the private PostgreSQL"
    return ConfigurationError(f"{where}: {error}")
