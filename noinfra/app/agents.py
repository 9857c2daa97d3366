"""Agents: workers, each with a default inbox."""

from __future__ import annotations

from attrs import frozen

from noinfra.app.access import Access
from noinfra.app.ids import new_id
from noinfra.app.inboxes import Inboxes, deployment_of
from noinfra.app.listing import Listing, cursor_key, listing
from noinfra.app.requests import AgentById, CreateAgent, ListAgents, UpdateAgent
from noinfra.app.tenants import customer_of, given
from noinfra.errors import NotFound
from noinfra.model import Agent, Inbox
from noinfra.store.database import Database, Tx
from noinfra.store.events import Events
from noinfra.store.failures import ForeignKeyViolation
from noinfra.store.inboxes import Inboxes as InboxTable
from noinfra.store.tenants import Agents as AgentTable
from noinfra.store.tenants import Deployments


@frozen(kw_only=True)
class NewAgent:
    """An agent and its default inbox, which may have been deleted since it was made."""

    agent: Agent
    inbox: Inbox | None
    created: bool


@frozen
class Agents:
    """The use cases of agents."""

    database: Database
    inboxes: Inboxes

    async def create(self, access: Access, request: CreateAgent) -> NewAgent:
        """Make an agent and its inbox, or give those of this externalId.

        :raises Conflict: somebody has the address; nothing was made.
        """
        if access.inbox_id is not None:
            access.require_wide()
        customer_id = await self._customer(access, request)
        address = self.inboxes.address_of(
            request.default_inbox_username, request.domain
        )
        try:
            async with self.database.tenant(customer_id) as tx:
                return await self._create(tx, access, customer_id, address, request)
        except ForeignKeyViolation as error:
            raise NotFound(f"There is no customer {customer_id}.") from error

    async def _create(
        self,
        tx: Tx,
        access: Access,
        customer_id: str,
        address: str | None,
        request: CreateAgent,
    ) -> NewAgent:
        deployment_id = await deployment_of(
            tx, access, customer_id, request.deployment_id
        )
        agent_id = new_id("agt_")
        agent = await AgentTable(tx).add(
            agent_id,
            customer_id,
            deployment_id,
            request.name,
            request.external_id,
            dict(request.metadata),
        )
        if agent is None:
            return await self._known(tx, access, customer_id, request)
        inbox = await self.inboxes.add(
            tx,
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=agent_id,
            address=address,
            display_name=request.display_name or request.name,
            metadata={},
        )
        agent = await AgentTable(tx).give_inbox(agent_id, inbox.inbox_id)
        await Events(tx).add(
            "agent.created",
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=agent_id,
            inbox_id=inbox.inbox_id,
            data={"agent": {"id": agent_id, "name": agent.name}},
        )
        return NewAgent(agent=agent, inbox=inbox, created=True)

    async def _known(
        self, tx: Tx, access: Access, customer_id: str, request: CreateAgent
    ) -> NewAgent:
        found = await AgentTable(tx).page(
            customer_id, None, request.external_id, None, 1
        )
        if not found:
            raise NotFound(f"There is no agent {request.external_id} any more.")
        agent = found[0]
        access.confine(deployment_id=agent.deployment_id, inbox_id=None)
        inbox = None
        if agent.default_inbox_id is not None:
            inbox = await InboxTable(tx).get(agent.default_inbox_id)
        return NewAgent(agent=agent, inbox=inbox, created=False)

    async def list(self, access: Access, request: ListAgents) -> Listing[Agent]:
        """The agents within the caller's bounds, newest first."""
        access.confine(
            deployment_id=request.deployment_id or access.deployment_id, inbox_id=None
        )
        found = await AgentTable(self.database.single(access.customer_id)).page(
            access.filter_customer(request.customer_id),
            request.deployment_id or access.deployment_id,
            request.external_id,
            cursor_key(request.cursor, "agt_"),
            request.limit + 1,
        )
        return listing(found, request.limit, lambda one: one.agent_id)

    async def get(self, access: Access, request: AgentById) -> Agent:
        """One agent."""
        found = await AgentTable(self.database.single(access.customer_id)).get(
            request.agent_id
        )
        if found is None:
            raise NotFound(f"There is no agent {request.agent_id}.")
        access.confine(deployment_id=found.deployment_id, inbox_id=None)
        return found

    async def update(self, access: Access, request: UpdateAgent) -> Agent:
        """Rename it, suspend it with its inboxes, or change its metadata."""
        agent = await self.get(access, request)
        async with self.database.tenant(agent.customer_id) as tx:
            updated = await AgentTable(tx).update(
                agent.agent_id,
                given(request.name),
                given(request.status),
                dict(given(request.metadata) or {}),
            )
            await InboxTable(tx).tell("")
        if updated is None:
            raise NotFound(f"There is no agent {request.agent_id}.")
        self.inboxes.directory.forget("")
        return updated

    async def delete(self, access: Access, request: AgentById) -> None:
        """Delete an agent with its inboxes and their mail."""
        agent = await self.get(access, request)
        async with self.database.tenant(agent.customer_id) as tx:
            inboxes = InboxTable(tx)
            await inboxes.remove(await inboxes.retire(agent_id=agent.agent_id))
            await AgentTable(tx).remove(agent.agent_id)
            await inboxes.tell("")
        self.inboxes.directory.forget("")

    async def _customer(self, access: Access, request: CreateAgent) -> str:
        """The customer, for a root key also by the deployment that it names."""
        named = request.customer_id
        if access.customer_id is None and named is None and request.deployment_id:
            deployment = await Deployments(self.database.single(None)).get(
                request.deployment_id
            )
            named = deployment.customer_id if deployment else None
        return await customer_of(self.database, access, named)
