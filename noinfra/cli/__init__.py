"""The command line: one module a command, each with ``arguments`` and ``run``.

A command's docstring is its help. It returns the exit status: 0 when done, 1 when it
failed, which it says in one line on stderr; argparse's own 2 means wrong usage.
"""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command that the process was given.

    :returns: the exit status.
    """
    # Imports take a moment; until they are done, Ctrl-C just ends the process.
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from noinfra.cli.program import run

    signal.signal(signal.SIGINT, interrupt)
    return run()
