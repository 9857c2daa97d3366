"""Run the mail server here until Ctrl-C or SIGTERM.

The first time, it makes all that it needs in the state directory: a private PostgreSQL
(unless the settings name a database), the schema, and the root key.
"""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

from noinfra.cli.completion import default_reactor
from noinfra.cli.log import start_logging
from noinfra.cli.opened import progress
from noinfra.cli.settings import settings, settings_arguments
from noinfra.config import Config
from noinfra.ready import Ready, StateLock


def arguments(command: ArgumentParser) -> None:
    """What this command takes."""
    settings_arguments(command)
    command.add_argument(
        "--log",
        metavar="DIR",
        help="for noinfra.log, - is stderr (default: log in the state directory)",
    )


def run(arguments: Namespace) -> int:
    """Serve until told to stop."""
    config = settings(arguments)
    # Held until the process ends, however it ends.
    StateLock(config.state_path)
    log = Path(arguments.log) if arguments.log else config.state_path / "log"
    return serve(config, None if arguments.log == "-" else log, announcement)


def serve(
    config: Config,
    log: Path | None,
    tell: Callable[[Ready], str],
    once: bool = False,
) -> int:
    """Run the reactor with a daemon of these settings.

    :param log: the directory of the log; None is stderr.
    :param tell: what to print when it is ready.
    :param once: stop then.
    :returns: the exit status: 0 when it served and was told to stop.
    """
    # Only now, since no other command needs all that a daemon is made of.
    from noinfra.service import Daemon

    reactor = default_reactor()

    def ready(ready: Ready) -> None:
        sys.stdout.write(tell(ready))
        sys.stdout.flush()
        if once:
            reactor.stop()

    start_logging(log, reactor)
    daemon = Daemon(config, reactor, progress)
    daemon.whenReady.addCallbacks(ready, _already_told)
    reactor.callWhenRunning(daemon.startService)
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    _stop_on_hangup(reactor)
    reactor.run()
    return daemon.exit_status


def announcement(ready: Ready) -> str:
    """Where the daemon is reached, and with which key."""
    key_file = Path(ready.root_key_file)
    lines = ["noinfra is up; Ctrl-C stops it."]
    if "smtp" in ready.addresses:
        lines.append(f"  SMTP         {ready.addresses['smtp']}")
    if "submission" in ready.addresses:
        lines.append(f"  submission   {ready.addresses['submission']} (STARTTLS)")
        lines.append(f"               {ready.addresses['submissions']} (TLS)")
    if "imaps" in ready.addresses:
        lines.append(f"  IMAP         {ready.addresses['imaps']} (TLS)")
    if "imap" in ready.addresses:
        lines.append(f"               {ready.addresses['imap']} (STARTTLS)")
    if "web" in ready.addresses:
        lines.append(f"  HTTP         {ready.base_url}")
    lines.append(f"  mail domain  {ready.domain}")
    if ready.root_key_made:
        lines.append(f"  root key     {key_file.read_text('ascii').strip()}")
        lines.append(f"               kept in {key_file}")
    else:
        lines.append(f"  root key     in {key_file}")
    return "\n".join(lines) + "\n"


def _already_told(_: Failure) -> None:
    """The daemon told why it could not start, and stops the reactor."""


def _stop_on_hangup(reactor: PosixReactorBase) -> None:
    """Closing the terminal stops us as Ctrl-C does, unless nohup said otherwise."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reactor.stop))
