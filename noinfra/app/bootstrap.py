"""What a new server begins with: a customer, a deployment, postmaster, a root key."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

from noinfra.app.ids import new_id
from noinfra.app.inboxes import Inboxes
from noinfra.app.keys import Keys, new_secret
from noinfra.errors import ConfigurationError
from noinfra.store.database import Database
from noinfra.store.inboxes import Inboxes as InboxTable
from noinfra.store.tenants import Customers, Deployments

ROOT_KEY_FILE = "root.key"


@frozen
class Bootstrap:
    """Makes what is missing; a second time changes nothing."""

    database: Database
    inboxes: Inboxes
    keys: Keys

    async def prepare(self, postmaster: str | None) -> None:
        """The first customer and deployment, and an inbox for postmaster.

        :param postmaster: the address to be made; None when the operator named another.
        """
        async with self.database.system() as tx:
            customers, deployments = Customers(tx), Deployments(tx)
            # Daemons that start at once on one database take turns.
            await customers.take_turns()
            customer_id = await customers.oldest()
            if customer_id is None:
                customer_id = new_id("cus_")
                await customers.add(customer_id, "default", {})
            deployment = await deployments.first(customer_id)
            if deployment is None:
                deployment = await deployments.add(
                    new_id("dep_"), customer_id, "default", None, {}
                )
            if postmaster is None or deployment is None:
                return
            if await InboxTable(tx).place(postmaster) is None:
                await self.inboxes.add(
                    tx,
                    customer_id=customer_id,
                    deployment_id=deployment.deployment_id,
                    agent_id=None,
                    address=postmaster,
                    display_name="Postmaster",
                    metadata={},
                )

    async def root_key(self, state: Path) -> bool:
        """A root key in a file of the state directory; True when it was made now.

        The file comes first: a crash in between leaves a secret that the next start
        makes good.
        """
        path = state / ROOT_KEY_FILE
        made = not path.exists()
        if made:
            _write_secret(path, new_secret())
        try:
            secret = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The root key {path} cannot be read.") from error
        await self.keys.ensure_root(secret)
        return made


def _write_secret(path: Path, secret: str) -> None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(
            f"The root key {path} cannot be written ({error.strerror})."
        ) from error
