"""Inboxes, their folders, and the addresses that once were theirs."""

from __future__ import annotations

from attrs import frozen

from noinfra.model import Inbox
from noinfra.store.database import Statements
from noinfra.store.parameters import Json

# RFC 6154: the name of each folder that an inbox is born with, and its special use.
FOLDERS = {
    "INBOX": None,
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Spam": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
}


@frozen(kw_only=True)
class Place:
    """An inbox as mail is routed to it: whose it is, and where its folders are.

    ``folders`` is a JSON object from name to folder_id.
    """

    inbox_id: str
    customer_id: str
    deployment_id: str
    agent_id: str | None
    address: str
    display_name: str | None
    status: str
    agent_status: str | None
    folders: str


class Inboxes:
    """The tables inbox, folder and retired_address."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def add(
        self,
        inbox_id: str,
        customer_id: str,
        deployment_id: str,
        agent_id: str | None,
        address: str,
        display_name: str | None,
        client_id: str | None,
        metadata: dict[str, object],
    ) -> Inbox | None:
        """None when the address is taken, or was another customer's.

        Within a transaction, as what is refused is taken back.

        :raises UniqueViolation: ``inbox_client_id``, the client_id was used.
        """
        inbox = await self._on.maybe(
            Inbox,
            """
            insert into inbox (inbox_id, customer_id, deployment_id, agent_id, address,
                display_name, client_id, metadata)
            values (%(inbox_id)s, %(customer_id)s, %(deployment_id)s, %(agent_id)s,
                %(address)s, %(display_name)s, %(client_id)s, %(metadata)s)
            on conflict on constraint inbox_address do nothing
            returning inbox_id, customer_id, deployment_id, agent_id, address,
                display_name, status, client_id, metadata, created_at, updated_at
            """,
            inbox_id=inbox_id,
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=agent_id,
            address=address,
            display_name=display_name,
            client_id=client_id,
            metadata=Json(metadata),
        )
        if inbox is None:
            return None
        # Asked only now: the insertion may have waited for the owner's deletion.
        retired = await self._on.value(
            "select is_retired(%(address)s, %(customer_id)s)",
            address=address,
            customer_id=customer_id,
        )
        if not retired:
            return inbox
        await self._on.statement(
            "delete from inbox where inbox_id = %(inbox_id)s", inbox_id=inbox_id
        )
        return None

    async def add_folders(self, inbox: Inbox) -> None:
        """The folders of RFC 6154; their UIDVALIDITY is the time in seconds."""
        await self._on.statement(
            """
            insert into folder (customer_id, inbox_id, name, special_use, uidvalidity)
            select %(customer_id)s, %(inbox_id)s, name, special_use,
                extract(epoch from now())::bigint
            from unnest(%(names)s::text[], %(uses)s::text[]) as born (name, special_use)
            """,
            customer_id=inbox.customer_id,
            inbox_id=inbox.inbox_id,
            names=list(FOLDERS),
            uses=list(FOLDERS.values()),
        )

    async def place(self, name: str) -> Place | None:
        """By id or by canonical address."""
        return await self._on.maybe(
            Place,
            """
            select inbox_id, inbox.customer_id, inbox.deployment_id, inbox.agent_id,
                address, display_name, inbox.status, agent.status as agent_status,
                (
                    select json_object_agg(name, folder_id) from folder
                    where folder.inbox_id = inbox.inbox_id
                ) as folders
            from inbox left join agent using (agent_id)
            where inbox_id = %(name)s or address = %(name)s
            """,
            name=name,
        )

    async def get(self, inbox_id: str) -> Inbox | None:
        """By id."""
        return await self._on.maybe(
            Inbox,
            """
            select inbox_id, customer_id, deployment_id, agent_id, address,
                display_name, status, client_id, metadata, created_at, updated_at
            from inbox where inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
        )

    async def by_client_id(self, customer_id: str, client_id: str) -> Inbox | None:
        """The one that this client_id made."""
        return await self._on.maybe(
            Inbox,
            """
            select inbox_id, customer_id, deployment_id, agent_id, address,
                display_name, status, client_id, metadata, created_at, updated_at
            from inbox
            where customer_id = %(customer_id)s and client_id = %(client_id)s
            """,
            customer_id=customer_id,
            client_id=client_id,
        )

    async def page(
        self,
        customer_id: str | None,
        deployment_id: str | None,
        agent_id: str | None,
        inbox_id: str | None,
        before: str | None,
        limit: int,
    ) -> list[Inbox]:
        """The newest first."""
        return await self._on.many(
            Inbox,
            """
            select inbox_id, customer_id, deployment_id, agent_id, address,
                display_name, status, client_id, metadata, created_at, updated_at
            from inbox
            where (%(customer_id)s::text is null or customer_id = %(customer_id)s)
            and (%(deployment_id)s::text is null or deployment_id = %(deployment_id)s)
            and (%(agent_id)s::text is null or agent_id = %(agent_id)s)
            and (%(inbox_id)s::text is null or inbox_id = %(inbox_id)s)
            and (%(before)s::text is null or inbox_id < %(before)s)
            order by inbox_id desc limit %(limit)s
            """,
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=agent_id,
            inbox_id=inbox_id,
            before=before,
            limit=limit,
        )

    async def update(
        self,
        inbox_id: str,
        *,
        rename: bool,
        display_name: str | None,
        status: str | None,
        metadata: dict[str, object],
    ) -> Inbox | None:
        """The display name is set only with ``rename``, and may then be None."""
        return await self._on.maybe(
            Inbox,
            """
            update inbox set
                display_name = case when %(rename)s then %(display_name)s
                    else display_name end,
                status = coalesce(%(status)s, status),
                metadata = jsonb_strip_nulls(metadata || %(metadata)s::jsonb),
                updated_at = now()
            where inbox_id = %(inbox_id)s
            returning inbox_id, customer_id, deployment_id, agent_id, address,
                display_name, status, client_id, metadata, created_at, updated_at
            """,
            inbox_id=inbox_id,
            rename=rename,
            display_name=display_name,
            status=status,
            metadata=Json(metadata),
        )

    async def retire(
        self,
        *,
        inbox_id: str | None = None,
        agent_id: str | None = None,
        deployment_id: str | None = None,
    ) -> list[str]:
        """Keep the addresses of inboxes that are about to go; gives those inboxes."""
        rows = await self._on.rows(
            """
            with going as (
                select inbox_id, address, customer_id from inbox
                where inbox_id = %(inbox_id)s or agent_id = %(agent_id)s
                or deployment_id = %(deployment_id)s
                order by inbox_id for update
            ),
            kept as (
                insert into retired_address (address, customer_id)
                select address, customer_id from going
                on conflict (address) do update set retired_at = now()
            )
            select inbox_id from going
            """,
            inbox_id=inbox_id,
            agent_id=agent_id,
            deployment_id=deployment_id,
        )
        return [row[0] for row in rows]

    async def remove(self, inbox_ids: list[str]) -> None:
        """The inboxes with their folders and mail."""
        await self._on.statement(
            """
            with gone as (
                delete from message where inbox_id = any(%(inbox_ids)s)
                returning content_id, customer_id
            ),
            unused as (
                insert into unused_content (content_id, customer_id)
                select distinct content_id, customer_id from gone order by content_id
                on conflict (content_id) do update set since = now()
            )
            delete from inbox where inbox_id = any(%(inbox_ids)s)
            """,
            inbox_ids=inbox_ids,
        )

    async def tell(self, *names: str) -> None:
        """Make every process forget what it knows of an inbox: its id, its address."""
        await self._on.statement(
            "select pg_notify('noinfra_inbox', name) from unnest(%(names)s) as name",
            names=list(names),
        )
