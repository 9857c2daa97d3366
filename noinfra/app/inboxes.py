"""Inboxes: made, found, changed, deleted with their mail."""

from __future__ import annotations

import secrets

from attrs import evolve, field, frozen

from noinfra.app.access import Access
from noinfra.app.directory import ROLE_NAMES, Directory
from noinfra.app.homes import Homes
from noinfra.app.ids import new_id
from noinfra.app.listing import Listing, cursor_key, listing
from noinfra.app.passwords import Passwords
from noinfra.app.requests import CreateInbox, InboxById, ListInboxes, UpdateInbox
from noinfra.app.tenants import customer_of, given
from noinfra.errors import Conflict, Invalid, NotFound
from noinfra.mail.address import parse_path
from noinfra.mail.encode import ComposeError, check_text
from noinfra.mail.mailbox import AddressError
from noinfra.model import Inbox
from noinfra.store.database import Database, Tx
from noinfra.store.events import Events
from noinfra.store.failures import ForeignKeyViolation, UniqueViolation
from noinfra.store.inboxes import Inboxes as InboxTable
from noinfra.store.tenants import Agents as AgentTable
from noinfra.store.tenants import Deployments

# RFC 2142, and what people take for a person in charge: not for whoever comes first.
_RESERVED = frozenset(
    (
        *ROLE_NAMES, "admin", "administrator", "hostmaster", "mailer-daemon", "noc",
        "root", "security", "ssl-admin", "webmaster",
    )
)  # fmt: skip
_WORDS = (
    "amber", "ash", "birch", "brook", "cedar", "clay", "clover", "cobalt", "coral",
    "dale", "delta", "dune", "ember", "fern", "fjord", "flint", "frost", "garnet",
    "glen", "grove", "hazel", "heron", "iris", "ivory", "jade", "juniper",
    "kestrel", "lark", "laurel", "linden", "lotus", "maple", "marsh", "meadow",
    "mint", "moss", "oak", "ochre", "olive", "onyx", "opal", "orchid", "otter",
    "pearl", "pine", "plum", "quartz", "raven", "reed", "river", "robin", "rowan",
    "sage", "slate", "sorrel", "sparrow", "spruce", "stone", "swift", "teal",
    "thistle", "thyme", "tulip", "umber", "vale", "violet", "willow", "wren",
)  # fmt: skip


@frozen(kw_only=True)
class Created:
    """An inbox; not created means that its clientId had made it before."""

    inbox: Inbox
    created: bool
    # For mail clients, where it was asked for; shown this once.
    password: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class InboxPassword:
    """What a mail client logs in with: the address, and the password, shown once."""

    inbox_id: str
    address: str
    password: str = field(repr=False)


@frozen
class Inboxes:
    """The use cases of inboxes."""

    database: Database
    directory: Directory
    homes: Homes
    domain: str
    passwords: Passwords

    async def create(self, access: Access, request: CreateInbox) -> Created:
        """Make an inbox; its address takes mail at once.

        :raises Conflict: somebody has the address.
        """
        if access.inbox_id is not None:
            access.require_wide()
        created = await self._created(access, request)
        if not (request.password and created.created):
            return created
        by_id = InboxById(inbox_id=created.inbox.inbox_id)
        made = await self.rotate_password(access, by_id)
        return evolve(created, password=made.password)

    async def _created(self, access: Access, request: CreateInbox) -> Created:
        customer_id = await self._customer(access, request)
        address = self._address(request)
        try:
            async with self.database.tenant(customer_id) as tx:
                return await self._create(tx, access, customer_id, address, request)
        except UniqueViolation as error:
            if error.constraint != "inbox_client_id":
                raise
            async with self.database.tenant(customer_id) as tx:
                return await self._create(tx, access, customer_id, address, request)
        except ForeignKeyViolation as error:
            raise NotFound("There is no such customer, deployment or agent.") from error

    async def _create(
        self,
        tx: Tx,
        access: Access,
        customer_id: str,
        address: str | None,
        request: CreateInbox,
    ) -> Created:
        if request.client_id is not None:
            known = await InboxTable(tx).by_client_id(customer_id, request.client_id)
            if known is not None:
                access.confine(
                    deployment_id=known.deployment_id, inbox_id=known.inbox_id
                )
                return Created(inbox=known, created=False)
        deployment_id = await self._deployment(tx, access, customer_id, request)
        inbox = await self.add(
            tx,
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=request.agent_id,
            address=address,
            display_name=request.display_name,
            client_id=request.client_id,
            metadata=dict(request.metadata),
        )
        return Created(inbox=inbox, created=True)

    async def add(
        self,
        tx: Tx,
        *,
        customer_id: str,
        deployment_id: str,
        agent_id: str | None,
        address: str | None,
        display_name: str | None,
        client_id: str | None = None,
        metadata: dict[str, object],
    ) -> Inbox:
        """Make an inbox within a transaction; without an address, of a generated one.

        :raises Conflict: somebody has the address; the text suggests others.
        :raises Invalid: the display name cannot stand in a header.
        """
        _check_display_name(display_name)
        table = InboxTable(tx)
        inbox = None
        for attempt in range(1 if address else 8):
            inbox = await table.add(
                new_id("inb_"),
                customer_id,
                deployment_id,
                agent_id,
                address or f"{_generated(attempt)}@{self.domain}",
                display_name,
                client_id,
                metadata,
            )
            if inbox is not None:
                break
        if inbox is None:
            raise Conflict(
                f"The address {address} is taken.", suggestions=_suggestions(address)
            )
        await table.add_folders(inbox)
        await table.tell(inbox.inbox_id, inbox.address)
        await Events(tx).add(
            "inbox.created",
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=agent_id,
            inbox_id=inbox.inbox_id,
            data={"inbox": {"id": inbox.inbox_id, "address": inbox.address}},
        )
        # Known here before NOTIFY comes round: the caller may write to it at once.
        self.directory.forget(inbox.address)
        return inbox

    async def list(self, access: Access, request: ListInboxes) -> Listing[Inbox]:
        """The inboxes within the caller's bounds, newest first."""
        found = await InboxTable(self.database.single(access.customer_id)).page(
            access.filter_customer(request.customer_id),
            _narrowed(access.deployment_id, request.deployment_id),
            request.agent_id,
            access.inbox_id,
            cursor_key(request.cursor, "inb_"),
            request.limit + 1,
        )
        return listing(found, request.limit, lambda one: one.inbox_id)

    async def get(self, access: Access, request: InboxById) -> Inbox:
        """One inbox."""
        home = await self.homes.of(access, request.inbox_id)
        found = await InboxTable(self.database.single(home.customer_id)).get(
            home.inbox_id
        )
        if found is None:
            raise NotFound(f"There is no inbox {request.inbox_id}.")
        return found

    async def update(self, access: Access, request: UpdateInbox) -> Inbox:
        """Change its name, its status or its metadata."""
        home = await self.homes.of(access, request.inbox_id)
        status = given(request.status)
        _check_display_name(given(request.display_name))
        async with self.database.tenant(home.customer_id) as tx:
            inbox = await InboxTable(tx).update(
                home.inbox_id,
                rename=isinstance(request.display_name, str | None),
                display_name=given(request.display_name),
                status=status,
                metadata=dict(given(request.metadata) or {}),
            )
            if inbox is None:
                raise NotFound(f"There is no inbox {request.inbox_id}.")
            await InboxTable(tx).tell(inbox.inbox_id, inbox.address)
            await Events(tx).add(
                "inbox.suspended" if status == "suspended" else "inbox.updated",
                customer_id=inbox.customer_id,
                deployment_id=inbox.deployment_id,
                agent_id=inbox.agent_id,
                inbox_id=inbox.inbox_id,
                data={"inbox": {"id": inbox.inbox_id, "address": inbox.address}},
            )
        self._forget(inbox)
        return inbox

    async def delete(self, access: Access, request: InboxById) -> None:
        """Delete it with its mail; its address stays its customer's."""
        inbox = await self.get(access, request)
        async with self.database.tenant(inbox.customer_id) as tx:
            table = InboxTable(tx)
            await table.remove(await table.retire(inbox_id=inbox.inbox_id))
            await table.tell(inbox.inbox_id, inbox.address)
            await Events(tx).add(
                "inbox.deleted",
                customer_id=inbox.customer_id,
                deployment_id=inbox.deployment_id,
                agent_id=inbox.agent_id,
                inbox_id=inbox.inbox_id,
                data={"inbox": {"id": inbox.inbox_id, "address": inbox.address}},
            )
        self._forget(inbox)

    async def rotate_password(
        self, access: Access, request: InboxById
    ) -> InboxPassword:
        """Make the inbox a password for mail clients; the one before ends."""
        home = await self.homes.of(access, request.inbox_id)
        made = await self.passwords.rotate(home)
        return InboxPassword(
            inbox_id=home.inbox_id, address=home.address, password=made.secret
        )

    async def remove_password(self, access: Access, request: InboxById) -> None:
        """End the inbox's password; mail clients then need a key."""
        await self.passwords.remove(await self.homes.of(access, request.inbox_id))

    def _forget(self, inbox: Inbox) -> None:
        self.directory.forget(inbox.inbox_id)
        self.directory.forget(inbox.address)

    async def _customer(self, access: Access, request: CreateInbox) -> str:
        """The customer, for a root key also by the deployment or agent it names."""
        if access.customer_id is None and request.customer_id is None:
            on = self.database.single(None)
            if request.deployment_id is not None:
                deployment = await Deployments(on).get(request.deployment_id)
                if deployment is not None:
                    return deployment.customer_id
            if request.agent_id is not None:
                agent = await AgentTable(on).get(request.agent_id)
                if agent is not None:
                    return agent.customer_id
        return await customer_of(self.database, access, request.customer_id)

    async def _deployment(
        self, tx: Tx, access: Access, customer_id: str, request: CreateInbox
    ) -> str:
        wanted = request.deployment_id
        if request.agent_id is not None:
            agent = await AgentTable(tx).get(request.agent_id)
            if (
                agent is None
                or wanted not in (None, agent.deployment_id)
                or access.deployment_id not in (None, agent.deployment_id)
            ):
                raise NotFound(f"There is no agent {request.agent_id}.")
            wanted = agent.deployment_id
        return await deployment_of(tx, access, customer_id, wanted)

    def _address(self, request: CreateInbox) -> str | None:
        return self.address_of(request.username, request.domain)

    def address_of(self, username: str | None, domain: str | None) -> str | None:
        """The canonical address of a wish; None is for one to be generated.

        :raises Invalid: it can be no address, or not one of ours.
        """
        domain = (domain or self.domain).lower().rstrip(".")
        if domain not in self.directory.domains:
            raise Invalid(
                f"Mail for {domain} does not come to this server; use {self.domain}.",
                field="domain",
            )
        if username is None:
            return None
        try:
            address = parse_path(f"{username}@{domain}")
        except AddressError as error:
            raise Invalid(
                f"The username cannot be: {error}.", field="username"
            ) from error
        if "+" in address.local:
            raise Invalid(
                "The username cannot hold a +: what follows one is a tag, and mail to "
                "it reaches the inbox without it.",
                field="username",
            )
        if address.canonical.rpartition("@")[0] in _RESERVED:
            raise Invalid(
                f"The username {username} is kept for those who run the server.",
                field="username",
            )
        return address.canonical


async def deployment_of(
    tx: Tx, access: Access, customer_id: str, wanted: str | None
) -> str:
    """The deployment that something new goes to: the one named, or the first.

    :raises NotFound: there is none, or the key is confined to another.
    """
    wanted = _narrowed(access.deployment_id, wanted)
    if wanted is None:
        first = await Deployments(tx).first(customer_id)
        if first is None:
            raise NotFound(
                f"There is no customer {customer_id}, or it has no deployment; "
                "make one with POST /v1/deployments."
            )
        return first.deployment_id
    found = await Deployments(tx).get(wanted)
    if found is None or found.customer_id != customer_id:
        raise NotFound(f"There is no deployment {wanted}.")
    return found.deployment_id


def _narrowed(bound: str | None, wanted: str | None) -> str | None:
    """What is asked for, within the key's bound.

    :raises NotFound: it lies outside.
    """
    if bound is not None and wanted not in (None, bound):
        raise NotFound(f"There is no deployment {wanted}.")
    return bound or wanted


def _check_display_name(name: str | None) -> None:
    try:
        check_text("displayName", name or "")
    except ComposeError as error:
        raise Invalid(f"{error}.", field=error.field) from error


def _generated(attempt: int) -> str:
    digits = 3 + attempt
    number = secrets.randbelow(9 * 10 ** (digits - 1)) + 10 ** (digits - 1)
    return f"{secrets.choice(_WORDS)}-{secrets.choice(_WORDS)}-{number}"


def _suggestions(address: str | None) -> list[str]:
    if address is None:
        return []
    local, _, domain = address.rpartition("@")
    return [f"{local}-{secrets.choice(_WORDS)}@{domain}" for _ in range(3)]
