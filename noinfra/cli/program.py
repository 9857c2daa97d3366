"""All commands, and what becomes of their failures."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from noinfra.cli import doctor, init, key, migrate, status, up
from noinfra.errors import ConfigurationError, Refusal

COMMANDS = (up, init, migrate, status, doctor, key)


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: the exit status.
    """
    try:
        arguments = parser().parse_args(argv)
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
