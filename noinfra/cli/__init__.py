"""The command line: one module a command, each with ``arguments`` and ``run``.

A command's docstring is its help. It returns the exit status: 0 when done, 1 when it
failed, which it says in one line on stderr; argparse's own 2 means wrong usage.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from noinfra.cli import doctor, init, key, migrate, status, up
from noinfra.errors import ConfigurationError, Refusal

COMMANDS = (up, init, migrate, status, doctor, key)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: the exit status.
    """
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (ConfigurationError, Refusal) as error:
        sys.stderr.write(f"noinfra: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("noinfra: interrupted.\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output, as `head` does, has seen enough.
        sys.stderr.close()
        return 1


def parser() -> ArgumentParser:
    """All commands and their options."""
    everything = ArgumentParser(
        prog="noinfra", description="The mail server for AI agents."
    )
    commands = everything.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        text = module.__doc__ or ""
        command = commands.add_parser(
            module.__name__.rpartition(".")[2],
            help=text.partition("\n")[0].rstrip("."),
            description=text,
            formatter_class=RawDescriptionHelpFormatter,
        )
        module.arguments(command)
        command.set_defaults(run=module.run)
    return everything
