"""Customers, deployments, agents and inboxes: made, found, changed, deleted."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from noinfra.app.agents import NewAgent
from noinfra.app.requests import (
    AgentById,
    CreateAgent,
    CreateDeployment,
    CreateInbox,
    CustomerById,
    DeploymentById,
    InboxById,
    ListAgents,
    ListCustomers,
    ListInboxes,
    UpdateAgent,
    UpdateCustomer,
    UpdateInbox,
)
from noinfra.errors import Conflict, Forbidden, Invalid, NotFound
from noinfra.store.inboxes import Inboxes
from tests.app.world import DOMAIN, ROOT, AppTest, mail, started


class AgentTests(AppTest):
    """A worker and its default inbox."""

    async def make(self, **more: Any) -> NewAgent:
        """An agent of ours."""
        known: dict[str, Any] = {"name": "Support"}
        return await self.agents.create(self.ours, CreateAgent(**{**known, **more}))

    async def test_made(self) -> None:
        """With an inbox of the name that was asked for, which takes mail at once."""
        made = await self.make(default_inbox_username="Support", external_id="e")
        self.assertTrue(made.created)
        assert made.inbox is not None
        self.assertEqual(made.inbox.address, f"support@{DOMAIN}")
        self.assertEqual(made.inbox.display_name, "Support")
        self.assertEqual(made.agent.default_inbox_id, made.inbox.inbox_id)
        self.assertEqual(made.inbox.agent_id, made.agent.agent_id)
        await self.receive(mail(), f"support@{DOMAIN}")
        types = [
            row[0] for row in await self.rows("select type from event order by seq")
        ]
        self.assertEqual(
            types[-3:], ["inbox.created", "agent.created", "message.received"]
        )

    async def test_generated(self) -> None:
        """Without a name the address is made up, each its own."""
        made = [await self.make() for _ in range(20)]
        addresses = {one.inbox.address for one in made if one.inbox}
        self.assertEqual(len(addresses), 20)
        for address in addresses:
            self.assertRegex(address, rf"^[a-z]+-[a-z]+-\d+@{DOMAIN}$")

    async def test_external_id(self) -> None:
        """An externalId is used once; others have their own."""
        first = await self.make(external_id="e")
        again = await self.make(external_id="e", default_inbox_username="other-name")
        self.assertFalse(again.created)
        self.assertEqual(again.agent, first.agent)
        self.assertEqual(again.inbox, first.inbox)
        theirs = await self.agents.create(
            self.theirs, CreateAgent(name="x", external_id="e")
        )
        self.assertTrue(theirs.created)

    async def test_external_id_at_once(self) -> None:
        """The same many times at once makes one, and nobody fails."""
        made = await gatherResults(
            [started(self.make(external_id="e")) for _ in range(10)]
        )
        self.assertEqual(len({one.agent.agent_id for one in made}), 1)
        self.assertEqual([one.created for one in made].count(True), 1)
        self.assertEqual(await self.value("select count(*) from agent"), 1)
        self.assertEqual(await self.value("select count(*) from inbox"), 3)

    async def test_external_id_of_other_deployment(self) -> None:
        """A key that is confined elsewhere does not get it."""
        await self.make(external_id="e")
        other = await self.tenants.create_deployment(
            self.ours, CreateDeployment(name="d")
        )
        narrow = evolve(self.ours, deployment_id=other.deployment_id)
        await self.assertFailure(
            started(self.agents.create(narrow, CreateAgent(name="x", external_id="e"))),
            NotFound,
        )

    async def test_address_taken(self) -> None:
        """A taken address is a conflict with other names; nothing is made."""
        for username in ("agent", "AGENT", "other"):
            conflict = await self.assertFailure(
                started(self.make(default_inbox_username=username, external_id="e")),
                Conflict,
            )
            self.assertEqual(len(conflict.details["suggestions"]), 3)
            for address in conflict.details["suggestions"]:
                self.assertTrue(address.startswith(f"{username.lower()}-"), address)
        self.assertEqual(await self.value("select count(*) from agent"), 0)
        self.assertEqual(
            await self.value("select count(*) from event where type = 'agent.created'"),
            0,
        )
        await self.make(default_inbox_username="free", external_id="e")

    async def test_deleted(self) -> None:
        """An agent goes with its inboxes and their mail; the addresses stay ours."""
        made = await self.make(default_inbox_username="gone")
        await self.receive(mail(), f"gone@{DOMAIN}")
        by_id = AgentById(agent_id=made.agent.agent_id)
        await self.assertFailure(
            started(self.agents.delete(self.theirs, by_id)), NotFound
        )
        await self.agents.delete(self.ours, by_id)
        for table in ("agent", "message", "thread"):
            self.assertEqual(await self.value(f"select count(*) from {table}"), 0)
        await self.assertFailure(started(self.agents.get(self.ours, by_id)), NotFound)
        await self.assertFailure(started(self.inbox(self.theirs, "gone")), Conflict)
        await self.inbox(self.ours, "gone")

    async def test_metadata(self) -> None:
        """An update merges; null takes away."""
        made = await self.make(metadata={"a": 1, "b": "x", "c": True})
        updated = await self.agents.update(
            self.ours,
            UpdateAgent(
                agent_id=made.agent.agent_id, metadata={"b": None, "d": 2.5}, name="New"
            ),
        )
        self.assertEqual(json.loads(updated.metadata), {"a": 1, "c": True, "d": 2.5})
        self.assertEqual(updated.name, "New")

    async def test_listed(self) -> None:
        """The newest first, in pages, by externalId."""
        made = [(await self.make(external_id=f"e{n}")).agent for n in range(5)]
        found, cursor = [], None
        while True:
            page = await self.agents.list(self.ours, ListAgents(limit=2, cursor=cursor))
            found += [one.agent_id for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        self.assertEqual(found, sorted((one.agent_id for one in made), reverse=True))
        page = await self.agents.list(self.ours, ListAgents(external_id="e3"))
        self.assertEqual([one.agent_id for one in page.items], [made[3].agent_id])
        page = await self.agents.list(self.theirs, ListAgents())
        self.assertEqual(page.items, [])


class InboxTests(AppTest):
    """Durable addresses."""

    async def create(self, by: Any = None, **more: Any) -> Any:
        """An inbox of ours."""
        return await self.inboxes.create(by or self.ours, CreateInbox(**more))

    async def test_client_id(self) -> None:
        """A clientId makes one inbox, also at once and whatever is asked with it."""
        made = await gatherResults(
            [started(self.create(client_id="c", username=f"u{n}")) for n in range(8)]
        )
        self.assertEqual(len({one.inbox.inbox_id for one in made}), 1)
        self.assertEqual([one.created for one in made].count(True), 1)
        theirs = await self.create(self.theirs, client_id="c")
        self.assertTrue(theirs.created)

    async def test_names(self) -> None:
        """Names that cannot be, or that are for those who run the server."""
        for username in ("a b", "a@b", "", "a+b", "x" * 65, ".a", "a\r\nb", "postmaster",
                         "Abuse", "ADMIN", "root"):  # fmt: skip
            refusal = await self.assertFailure(
                started(self.create(username=username)), Invalid
            )
            self.assertEqual(refusal.details["field"], "username")
        await self.assertFailure(started(self.create(domain="example.com")), Invalid)
        made = await self.create(username="Grüße.1")
        self.assertEqual(made.inbox.address, f"grüße.1@{DOMAIN}")

    async def test_at_once(self) -> None:
        """The same address for many at once goes to one."""
        work: list[Deferred[Any]] = [
            started(self.create(by, username="hot"))
            for by in (self.ours, self.theirs) * 4
        ]
        made, refused = [], []
        for one in work:
            try:
                made.append(await one)
            except Conflict as conflict:
                refused.append(conflict)
        self.assertEqual((len(made), len(refused)), (1, 7))

    async def test_of_an_agent(self) -> None:
        """A second inbox of an agent, in the agent's deployment."""
        worker = await self.agents.create(self.ours, CreateAgent(name="a"))
        made = await self.create(ROOT, agent_id=worker.agent.agent_id)
        self.assertEqual(made.inbox.customer_id, self.ours.customer_id)
        self.assertEqual(made.inbox.deployment_id, worker.agent.deployment_id)
        for by in (self.theirs, evolve(self.ours, deployment_id="dep_x")):
            await self.assertFailure(
                started(self.create(by, agent_id=worker.agent.agent_id)), NotFound
            )

    async def test_found(self) -> None:
        """By id, and by address however it is spelled."""
        for name in (
            self.agent.inbox_id,
            self.agent.address,
            f"AGENT@{DOMAIN.upper()}",
        ):
            found = await self.inboxes.get(self.ours, InboxById(inbox_id=name))
            self.assertEqual(found.inbox_id, self.agent.inbox_id)
        for name in ("inb_x", "nobody@example.com", "@", "a@b@c", self.other.inbox_id,
                     self.other.address, "\0"):  # fmt: skip
            await self.assertFailure(
                started(self.inboxes.get(self.ours, InboxById(inbox_id=name))),
                NotFound,
                Invalid,
            )

    async def test_changed(self) -> None:
        """Name, status and metadata, each by itself; null takes the name away."""

        async def update(**more: Any) -> Any:
            return await self.inboxes.update(
                self.ours, UpdateInbox(inbox_id=self.agent.inbox_id, **more)
            )

        one = await update(display_name="A", metadata={"a": 1})
        self.assertEqual((one.display_name, one.metadata), ("A", '{"a": 1}'))
        one = await update(metadata={"a": None})
        self.assertEqual((one.display_name, one.metadata), ("A", "{}"))
        one = await update(display_name=None, status="archived")
        self.assertEqual((one.display_name, one.status), (None, "archived"))

    async def test_deleted(self) -> None:
        """Gone with its mail, at once; another customer never gets the address."""
        await self.receive(mail())
        by_id = InboxById(inbox_id=self.agent.address)
        await self.inboxes.delete(self.ours, by_id)
        await self.assertFailure(started(self.inboxes.get(self.ours, by_id)), NotFound)
        for table in ("message", "thread", "thread_reference"):
            self.assertEqual(await self.value(f"select count(*) from {table}"), 0)
        self.assertEqual(await self.value("select count(*) from unused_content"), 1)
        await self.assertFailure(started(self.inbox(self.theirs, "agent")), Conflict)
        again = await self.inbox(self.ours, "agent")
        self.assertNotEqual(again.inbox_id, self.agent.inbox_id)
        await self.receive(mail())
        self.assertEqual(len(await self.listed(again)), 1)

    async def test_deleted_while_another_takes_it(self) -> None:
        """Whoever waits for the address of an inbox being deleted does not get it."""
        async with self.database.tenant(str(self.ours.customer_id)) as tx:
            await Inboxes(tx).remove(
                await Inboxes(tx).retire(inbox_id=self.agent.inbox_id)
            )
            waiting = started(self.inbox(self.theirs, "agent"))
            await self.rows("select pg_sleep(0.1)")
            self.assertFalse(waiting.called)
        await self.assertFailure(waiting, Conflict)

    async def test_unstorable(self) -> None:
        """Text that no database can hold is the caller's to mend, not our bug."""
        for more in ({"client_id": "a\0b"}, {"metadata": {"a": "\0"}},
                     {"display_name": "\ud800"}):  # fmt: skip
            await self.assertFailure(started(self.create(**more)), Invalid)

    async def test_listed(self) -> None:
        """The caller's own, newest first."""
        second = await self.inbox(self.ours, "second")
        page = await self.inboxes.list(self.ours, ListInboxes())
        self.assertEqual(
            [one.inbox_id for one in page.items], [second.inbox_id, self.agent.inbox_id]
        )
        for cursor in ("x", "agt_1", "inb_" + "x" * 100, "inb_é"):
            await self.assertFailure(
                started(self.inboxes.list(self.ours, ListInboxes(cursor=cursor))),
                Invalid,
            )


class CustomerTests(AppTest):
    """The tenant, and its deployments."""

    async def test_deleted(self) -> None:
        """A customer goes with all that is its own; the other is as it was."""
        await self.receive(mail(), self.agent.address, self.other.address)
        await self.agents.create(self.ours, CreateAgent(name="a", external_id="e"))
        ours = str(self.ours.customer_id)
        by_id = CustomerById(customer_id=ours)
        await self.assertFailure(
            started(self.tenants.delete_customer(self.ours, by_id)), Forbidden
        )
        await self.tenants.delete_customer(ROOT, by_id)
        rows = await self.rows(
            """
            select relname::text from pg_class join pg_attribute on attrelid = oid
            where relnamespace = 'public'::regnamespace and relkind = 'r'
            and attname = 'customer_id' and not attisdropped
            """
        )
        for (table,) in rows:
            left = await self.rows(
                f"select 1 from {table} where customer_id = %(id)s", id=ours
            )
            self.assertEqual(left, [], table)
        self.assertEqual(len(await self.listed(self.other)), 1)
        await self.assertFailure(
            started(self.tenants.delete_customer(ROOT, by_id)), NotFound
        )

    async def test_deployment_deleted(self) -> None:
        """A deployment goes with its agents, inboxes and mail; others stay."""
        made = await self.tenants.create_deployment(
            self.ours, CreateDeployment(name="d", client_id="c")
        )
        again = await self.tenants.create_deployment(
            self.ours, CreateDeployment(name="d", client_id="c")
        )
        self.assertEqual(made, again)
        await self.inbox(self.ours, "inside", deployment_id=made.deployment_id)
        await self.receive(mail(), f"inside@{DOMAIN}", self.agent.address)
        await self.tenants.delete_deployment(
            self.ours, DeploymentById(deployment_id=made.deployment_id)
        )
        self.assertEqual(await self.value("select count(*) from message"), 1)
        await self.assertFailure(started(self.inbox(self.theirs, "inside")), Conflict)

    async def test_scope(self) -> None:
        """A customer sees itself, and nobody else; roots see all."""
        page = await self.tenants.list_customers(self.ours, ListCustomers())
        self.assertEqual(
            [one.customer_id for one in page.items], [self.ours.customer_id]
        )
        page = await self.tenants.list_customers(ROOT, ListCustomers())
        self.assertEqual(len(page.items), 2)
        theirs = str(self.theirs.customer_id)
        for call in (
            self.tenants.get_customer(self.ours, CustomerById(customer_id=theirs)),
            self.tenants.update_customer(
                self.ours, UpdateCustomer(customer_id=theirs, name="x")
            ),
        ):
            await self.assertFailure(started(call), NotFound)
