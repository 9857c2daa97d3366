"""What twistd is given: ``twistd -n noinfra --config FILE --state DIR``.

Nothing here imports the reactor before twistd has chosen one.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from noinfra.cli.completion import default_reactor
from noinfra.config import Config, load
from noinfra.errors import ConfigurationError
from noinfra.ready import StateLock

_log = Logger(namespace="noinfra")


class Options(UsageOptions):
    """The daemon's own options; all else is in the configuration file."""

    longdesc = "The mail server for AI agents."
    optParameters: ClassVar = [
        ["config", "c", None, "The configuration file (TOML); see etc/noinfra.toml."],
        ["state", "s", None, "The state directory, instead of the file's `state`."],
    ]

    config: Config

    def postOptions(self) -> None:
        """Read the settings now, so that what is wrong with them is a usage error."""
        config, state = self["config"], self["state"]
        try:
            self.config = load(
                Path(config) if config else None, Path(state) if state else None
            )
        except ConfigurationError as error:
            raise UsageError(str(error)) from error


def makeService(options: Options) -> IService:
    """The daemon as twistd runs it; what it has to say goes to twistd's log."""
    from noinfra.service import Daemon

    try:
        # Held until the process ends; a fork, as twistd makes, keeps it.
        StateLock(options.config.state_path)
    except ConfigurationError as error:
        raise SystemExit(f"noinfra: {error}") from error
    return Daemon(options.config, default_reactor(), _progress)


def _progress(line: str) -> None:
    _log.info("{line}", line=line)
