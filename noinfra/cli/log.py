"""Where the daemon's log goes: a file of bounded size, or stderr."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path
from typing import TextIO, cast

from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.logfile import LogFile
from zope.interface import provider

from noinfra.cli.lines import Lines, Write
from noinfra.errors import ConfigurationError

# Six files of these many octets are the most that the log ever takes.
ROTATE_AT = 10_000_000
OLD_FILES = 5


def start_logging(
    directory: Path | None, reactor: PosixReactorBase, stderr: TextIO | None = None
) -> None:
    """Log to ``noinfra.log`` in a directory, or to stderr when there is none.

    What would be a bug of ours is told on stderr in either case, in a line.
    """
    stderr = stderr or sys.stderr
    lines, *others = observers(directory, stderr)
    globalLogBeginner.beginLoggingTo([lines, *others], redirectStandardIO=False)
    lines.gather(reactor.callLater)
    reactor.addSystemEventTrigger("after", "shutdown", lines.close)
    atexit.register(lines.close)


def observers(
    directory: Path | None, stderr: TextIO
) -> tuple[Lines, *tuple[ILogObserver, ...]]:
    """Who writes down what is logged.

    :raises ConfigurationError: the directory cannot be written to.
    """
    if directory is None:
        return (Lines(_to(stderr)),)
    path = directory / "noinfra.log"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = LogFile(
            path.name,
            str(directory),
            rotateLength=ROTATE_AT,
            maxRotatedFiles=OLD_FILES,
            defaultMode=0o600,
        )
    except OSError as error:
        raise ConfigurationError(
            f"The log {path} cannot be written ({error.strerror}); let this user write "
            "there, or log to stderr with --log -."
        ) from error
    return Lines(file.write), _alarm(stderr, path)


def _to(stream: TextIO) -> Write:
    def write(octets: bytes) -> None:
        stream.write(octets.decode())
        stream.flush()

    return write


def _alarm(stderr: TextIO, path: Path) -> ILogObserver:
    @provider(ILogObserver)
    def alarm(event: LogEvent) -> None:
        if event.get("log_level") is not LogLevel.critical:
            return
        text = formatEvent(event).partition("\n")[0].rstrip(".:")
        failure = event.get("log_failure")
        cause = f": {failure.value}" if failure is not None else ""
        line = f"{text}{cause}".partition("\n")[0]
        stderr.write(f"noinfra: {line} (see {path})\n")
        stderr.flush()

    return cast(ILogObserver, alarm)
