"""Customers, deployments and agents."""

from __future__ import annotations

from noinfra.model import Agent, Customer, Deployment
from noinfra.store.database import Statements
from noinfra.store.parameters import Json


class Customers:
    """The table customer; all but `get` and `update` want the system's eyes."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def add(
        self, customer_id: str, name: str, metadata: dict[str, object]
    ) -> Customer:
        """A new customer."""
        return await self._on.one(
            Customer,
            """
            insert into customer (customer_id, name, metadata)
            values (%(customer_id)s, %(name)s, %(metadata)s)
            returning customer_id, name, metadata, created_at, updated_at
            """,
            customer_id=customer_id,
            name=name,
            metadata=Json(metadata),
        )

    async def take_turns(self) -> None:
        """Until the transaction ends, nobody else passes here."""
        await self._on.statement("select pg_advisory_xact_lock(7411260811)")

    async def oldest(self) -> str | None:
        """The id of the first customer."""
        rows = await self._on.rows(
            "select customer_id from customer order by customer_id limit 1"
        )
        return rows[0][0] if rows else None

    async def page(
        self, customer_id: str | None, before: str | None, limit: int
    ) -> list[Customer]:
        """The newest first; with an id, that one alone."""
        return await self._on.many(
            Customer,
            """
            select customer_id, name, metadata, created_at, updated_at from customer
            where (%(customer_id)s::text is null or customer_id = %(customer_id)s)
            and (%(before)s::text is null or customer_id < %(before)s)
            order by customer_id desc limit %(limit)s
            """,
            customer_id=customer_id,
            before=before,
            limit=limit,
        )

    async def get(self, customer_id: str) -> Customer | None:
        """By id."""
        return await self._on.maybe(
            Customer,
            """
            select customer_id, name, metadata, created_at, updated_at from customer
            where customer_id = %(customer_id)s
            """,
            customer_id=customer_id,
        )

    async def update(
        self, customer_id: str, name: str | None, metadata: dict[str, object]
    ) -> Customer | None:
        """An entry of metadata that is null goes away."""
        return await self._on.maybe(
            Customer,
            """
            update customer set name = coalesce(%(name)s, name),
                metadata = jsonb_strip_nulls(metadata || %(metadata)s::jsonb),
                updated_at = now()
            where customer_id = %(customer_id)s
            returning customer_id, name, metadata, created_at, updated_at
            """,
            customer_id=customer_id,
            name=name,
            metadata=Json(metadata),
        )

    async def remove(self, customer_id: str) -> int:
        """With all that is its own; the events too."""
        await self._on.statement(
            "delete from event where customer_id = %(customer_id)s",
            customer_id=customer_id,
        )
        removed = await self._on.statement(
            "delete from customer where customer_id = %(customer_id)s",
            customer_id=customer_id,
        )
        await self._on.statement(
            "delete from content where customer_id = %(customer_id)s",
            customer_id=customer_id,
        )
        return removed


class Deployments:
    """The table deployment."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def add(
        self,
        deployment_id: str,
        customer_id: str,
        name: str,
        client_id: str | None,
        metadata: dict[str, object],
    ) -> Deployment | None:
        """None when the customer has used this client_id."""
        return await self._on.maybe(
            Deployment,
            """
            insert into deployment
                (deployment_id, customer_id, name, client_id, metadata)
            values (%(deployment_id)s, %(customer_id)s, %(name)s, %(client_id)s,
                %(metadata)s)
            on conflict on constraint deployment_client_id do nothing
            returning deployment_id, customer_id, name, client_id, metadata,
                created_at, updated_at
            """,
            deployment_id=deployment_id,
            customer_id=customer_id,
            name=name,
            client_id=client_id,
            metadata=Json(metadata),
        )

    async def by_client_id(self, customer_id: str, client_id: str) -> Deployment:
        """The one that this client_id made."""
        return await self._on.one(
            Deployment,
            """
            select deployment_id, customer_id, name, client_id, metadata,
                created_at, updated_at
            from deployment
            where customer_id = %(customer_id)s and client_id = %(client_id)s
            """,
            customer_id=customer_id,
            client_id=client_id,
        )

    async def page(
        self,
        customer_id: str | None,
        deployment_id: str | None,
        before: str | None,
        limit: int,
    ) -> list[Deployment]:
        """The newest first; with an id, that one alone."""
        return await self._on.many(
            Deployment,
            """
            select deployment_id, customer_id, name, client_id, metadata,
                created_at, updated_at
            from deployment
            where (%(customer_id)s::text is null or customer_id = %(customer_id)s)
            and (%(deployment_id)s::text is null or deployment_id = %(deployment_id)s)
            and (%(before)s::text is null or deployment_id < %(before)s)
            order by deployment_id desc limit %(limit)s
            """,
            customer_id=customer_id,
            deployment_id=deployment_id,
            before=before,
            limit=limit,
        )

    async def first(self, customer_id: str) -> Deployment | None:
        """The one that is meant when none is named: the oldest."""
        return await self._on.maybe(
            Deployment,
            """
            select deployment_id, customer_id, name, client_id, metadata,
                created_at, updated_at
            from deployment where customer_id = %(customer_id)s
            order by deployment_id limit 1
            """,
            customer_id=customer_id,
        )

    async def get(self, deployment_id: str) -> Deployment | None:
        """By id."""
        return await self._on.maybe(
            Deployment,
            """
            select deployment_id, customer_id, name, client_id, metadata,
                created_at, updated_at
            from deployment where deployment_id = %(deployment_id)s
            """,
            deployment_id=deployment_id,
        )

    async def update(
        self, deployment_id: str, name: str | None, metadata: dict[str, object]
    ) -> Deployment | None:
        """An entry of metadata that is null goes away."""
        return await self._on.maybe(
            Deployment,
            """
            update deployment set name = coalesce(%(name)s, name),
                metadata = jsonb_strip_nulls(metadata || %(metadata)s::jsonb),
                updated_at = now()
            where deployment_id = %(deployment_id)s
            returning deployment_id, customer_id, name, client_id, metadata,
                created_at, updated_at
            """,
            deployment_id=deployment_id,
            name=name,
            metadata=Json(metadata),
        )

    async def remove(self, deployment_id: str) -> int:
        """With its agents; its inboxes go before, by `Inboxes.remove`."""
        return await self._on.statement(
            "delete from deployment where deployment_id = %(deployment_id)s",
            deployment_id=deployment_id,
        )


class Agents:
    """The table agent."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def add(
        self,
        agent_id: str,
        customer_id: str,
        deployment_id: str,
        name: str,
        external_id: str | None,
        metadata: dict[str, object],
    ) -> Agent | None:
        """None when the customer has used this external_id."""
        return await self._on.maybe(
            Agent,
            """
            insert into agent
                (agent_id, customer_id, deployment_id, name, external_id, metadata)
            values (%(agent_id)s, %(customer_id)s, %(deployment_id)s, %(name)s,
                %(external_id)s, %(metadata)s)
            on conflict on constraint agent_external_id do nothing
            returning agent_id, customer_id, deployment_id, name, external_id, status,
                default_inbox_id, metadata, created_at, updated_at
            """,
            agent_id=agent_id,
            customer_id=customer_id,
            deployment_id=deployment_id,
            name=name,
            external_id=external_id,
            metadata=Json(metadata),
        )

    async def give_inbox(self, agent_id: str, inbox_id: str) -> Agent:
        """Its default inbox."""
        return await self._on.one(
            Agent,
            """
            update agent set default_inbox_id = %(inbox_id)s
            where agent_id = %(agent_id)s
            returning agent_id, customer_id, deployment_id, name, external_id, status,
                default_inbox_id, metadata, created_at, updated_at
            """,
            agent_id=agent_id,
            inbox_id=inbox_id,
        )

    async def page(
        self,
        customer_id: str | None,
        deployment_id: str | None,
        external_id: str | None,
        before: str | None,
        limit: int,
    ) -> list[Agent]:
        """The newest first."""
        return await self._on.many(
            Agent,
            """
            select agent_id, customer_id, deployment_id, name, external_id, status,
                default_inbox_id, metadata, created_at, updated_at
            from agent
            where (%(customer_id)s::text is null or customer_id = %(customer_id)s)
            and (%(deployment_id)s::text is null or deployment_id = %(deployment_id)s)
            and (%(external_id)s::text is null or external_id = %(external_id)s)
            and (%(before)s::text is null or agent_id < %(before)s)
            order by agent_id desc limit %(limit)s
            """,
            customer_id=customer_id,
            deployment_id=deployment_id,
            external_id=external_id,
            before=before,
            limit=limit,
        )

    async def get(self, agent_id: str) -> Agent | None:
        """By id."""
        return await self._on.maybe(
            Agent,
            """
            select agent_id, customer_id, deployment_id, name, external_id, status,
                default_inbox_id, metadata, created_at, updated_at
            from agent where agent_id = %(agent_id)s
            """,
            agent_id=agent_id,
        )

    async def update(
        self,
        agent_id: str,
        name: str | None,
        status: str | None,
        metadata: dict[str, object],
    ) -> Agent | None:
        """An entry of metadata that is null goes away."""
        return await self._on.maybe(
            Agent,
            """
            update agent set name = coalesce(%(name)s, name),
                status = coalesce(%(status)s, status),
                metadata = jsonb_strip_nulls(metadata || %(metadata)s::jsonb),
                updated_at = now()
            where agent_id = %(agent_id)s
            returning agent_id, customer_id, deployment_id, name, external_id, status,
                default_inbox_id, metadata, created_at, updated_at
            """,
            agent_id=agent_id,
            name=name,
            status=status,
            metadata=Json(metadata),
        )

    async def remove(self, agent_id: str) -> int:
        """Its inboxes go before, by `Inboxes.remove`."""
        return await self._on.statement(
            "delete from agent where agent_id = %(agent_id)s", agent_id=agent_id
        )
