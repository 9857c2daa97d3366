"""Prepare everything, as the first `up` would, and exit.

That is the database, its schema, and the root key; nothing listens meanwhile.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import msgspec

from noinfra.cli.settings import settings, settings_arguments
from noinfra.cli.up import serve
from noinfra.ready import Ready, StateLock


def arguments(command: ArgumentParser) -> None:
    """What this command takes."""
    settings_arguments(command)


def run(arguments: Namespace) -> int:
    """Start a daemon that does not listen, and stop it when it is ready."""
    config = settings(arguments)
    StateLock(config.state_path)
    alone = msgspec.structs.replace(config, roles=["work"])
    return serve(alone, config.state_path / "log", prepared, once=True)


def prepared(ready: Ready) -> str:
    """What the operator wants to know now."""
    return (
        f"All is prepared, and the root key is in {ready.root_key_file}.\n"
        f"Start the mail server with `noinfra up`.\n"
    )
