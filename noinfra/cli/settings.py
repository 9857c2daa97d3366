"""The settings that a command line names."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from noinfra.config import Config, load


def settings_arguments(command: ArgumentParser) -> None:
    """What every command takes."""
    command.add_argument(
        "--state",
        metavar="DIR",
        help="where everything is kept (default: the file's `state`, or else var)",
    )
    command.add_argument(
        "--config",
        metavar="FILE",
        help="the settings (default: none; etc/noinfra.toml has and explains them all)",
    )


def settings(arguments: Namespace) -> Config:
    """Settings from ``--config``, with the state directory of ``--state``.

    Without either, ``NOINFRA_STATE`` says where the state is: ``bin/noinfra`` sets it,
    so that a checkout keeps its own wherever it is called from.

    :raises ConfigurationError: they cannot work.
    """
    config = Path(arguments.config) if arguments.config else None
    state = arguments.state
    if state is None and config is None:
        state = os.environ.get("NOINFRA_STATE")
    return load(config, Path(state) if state else None)
