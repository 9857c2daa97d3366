"""Make, list and revoke API keys, straight in the database.

A key without a customer is a root key, and serves every customer.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from twisted.internet.posixbase import PosixReactorBase

from noinfra.app.access import PERMISSIONS, PRESETS, Access
from noinfra.app.directory import Directory
from noinfra.app.keys import Keys, NewKey
from noinfra.app.requests import CreateKey, KeyById, ListKeys
from noinfra.cli.completion import complete
from noinfra.cli.opened import opened
from noinfra.cli.settings import settings, settings_arguments
from noinfra.config import Config
from noinfra.errors import Invalid
from noinfra.model import Key
from noinfra.store.database import Database

# Whoever may read the state directory may do everything.
OPERATOR = Access(
    key_id="", customer_id=None, deployment_id=None, inbox_id=None,
    permissions=PERMISSIONS,
)  # fmt: skip

Action = Callable[[Keys, Namespace], Coroutine[Any, Any, str]]


def arguments(command: ArgumentParser) -> None:
    """What this command takes."""
    actions = command.add_subparsers(metavar="ACTION", required=True)
    _create_arguments(
        actions.add_parser("create", help="make a key, and print it once")
    )
    listing = actions.add_parser("list", help="show all keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="print it as JSON")
    listing.set_defaults(action=show)
    settings_arguments(listing)
    revoking = actions.add_parser("revoke", help="make a key useless, at once")
    revoking.add_argument("key_id", metavar="KEY_ID")
    revoking.set_defaults(action=revoke)
    settings_arguments(revoking)


def _create_arguments(command: ArgumentParser) -> None:
    command.add_argument("--name", required=True, help="what the key is for")
    command.add_argument("--customer", metavar="ID", help="confine it to a customer")
    command.add_argument(
        "--inbox", metavar="ID", help="confine it to an inbox: its id or its address"
    )
    command.add_argument(
        "--permission",
        action="append",
        default=[],
        metavar="NAME",
        help=f"what it may do, and again for more: {', '.join(sorted(PERMISSIONS))}",
    )
    command.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="a set of permissions (when none are named: runtime for a key of an "
        "inbox, and all for others)",
    )
    command.set_defaults(action=create)
    settings_arguments(command)


def run(arguments: Namespace) -> int:
    """Do what the action says."""
    config = settings(arguments)
    action: Action = arguments.action

    async def work(reactor: PosixReactorBase) -> str:
        async with opened(config, reactor) as database:
            return await action(Keys(database, _directory(config, database)), arguments)

    sys.stdout.write(complete(work))
    return 0


async def create(keys: Keys, arguments: Namespace) -> str:
    """Make a key. Its secret alone goes to stdout, so that a script can take it."""
    made = await keys.create(OPERATOR, wanted(arguments))
    sys.stderr.write(summary(made))
    return f"{made.secret}\n"


async def show(keys: Keys, arguments: Namespace) -> str:
    """All keys, the newest first."""
    found: list[Key] = []
    cursor = None
    while True:
        page = await keys.list(OPERATOR, ListKeys(limit=100, cursor=cursor))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    if arguments.json:
        return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"
    return "".join(row(key) for key in found)


async def revoke(keys: Keys, arguments: Namespace) -> str:
    """End a key."""
    await keys.revoke(OPERATOR, KeyById(key_id=arguments.key_id))
    return f"{arguments.key_id} is revoked.\n"


def wanted(arguments: Namespace) -> CreateKey:
    """The request that the command line makes.

    :raises Invalid: it cannot be, such as an empty name.
    """
    permissions, preset = arguments.permission, arguments.preset
    if not permissions and preset is None:
        if arguments.inbox:
            preset = "runtime"
        else:
            permissions = sorted(PERMISSIONS)
    request = {
        "name": arguments.name,
        "customerId": arguments.customer,
        "inboxId": arguments.inbox,
        "permissions": permissions,
        "preset": preset,
    }
    try:
        return msgspec.convert(request, CreateKey)
    except msgspec.ValidationError as error:
        raise Invalid(f"{error}.") from error


def summary(made: NewKey) -> str:
    """What was made, without the secret."""
    return (
        f"noinfra: {made.key.key_id} serves {bounds(made.key)}; its secret is shown "
        "this once:\n"
    )


def row(key: Key) -> str:
    """One key of the list."""
    used = f"used {key.last_used_at:%Y-%m-%d}" if key.last_used_at else "never used"
    end = f", revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else ""
    return (
        f"{key.key_id}  {key.prefix}…  {bounds(key)}, made {key.created_at:%Y-%m-%d}, "
        f"{used}{end}: {key.name}\n"
    )


def bounds(key: Key) -> str:
    """To whom a key is confined."""
    narrowest = key.inbox_id or key.deployment_id or key.customer_id
    return narrowest or "every customer (root)"


def _directory(config: Config, database: Database) -> Directory:
    return Directory(database, frozenset({config.domain}), config.postmaster or "")
