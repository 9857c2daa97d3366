"""Keys: what they may do, whom they are confined to, and their end."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import evolve
from twisted.internet.defer import gatherResults

from noinfra.app.access import PERMISSIONS, PRESETS, Access
from noinfra.app.keys import NewKey
from noinfra.app.requests import (
    AgentById,
    CreateAgent,
    CreateDeployment,
    CreateInbox,
    CreateKey,
    CustomerById,
    DeploymentById,
    InboxById,
    KeyById,
    ListAgents,
    ListCustomers,
    ListDeployments,
    ListInboxes,
    ListKeys,
    UpdateCustomer,
    UpdateDeployment,
)
from noinfra.errors import Forbidden, Invalid, NotFound, Refusal, Unauthenticated
from tests.app.world import ROOT, AppTest, started


class KeyTest(AppTest):
    """Two deployments of ours, with an inbox each."""

    async def setUp(self) -> None:
        await super().setUp()
        self.first = await self.deployment_of(self.ours)
        made = await self.tenants.create_deployment(
            self.ours, CreateDeployment(name="second")
        )
        self.second = made.deployment_id
        self.elsewhere = await self.inbox(
            self.ours, "elsewhere", deployment_id=self.second
        )

    async def key(self, by: Access, **more: Any) -> NewKey:
        """A key that may read messages, or what is said."""
        known: dict[str, Any] = {"name": "k", "permissions": ["messages:read"]}
        return await self.keys.create(by, CreateKey(**{**known, **more}))

    async def access(self, by: Access, **more: Any) -> Access:
        """What a new key gives."""
        return await self.keys.authenticate((await self.key(by, **more)).secret)

    async def refused(self, kind: type[Refusal], by: Access, **more: Any) -> None:
        """Such a key is not made."""
        before = await self.value("select count(*) from key")
        await self.assertFailure(started(self.key(by, **more)), kind)
        self.assertEqual(await self.value("select count(*) from key"), before)


class BoundsTests(KeyTest):
    """A key is never wider than its maker."""

    async def test_permissions(self) -> None:
        """What the maker does not hold it cannot give."""
        reader = evolve(self.ours, permissions=frozenset(("keys:create",)))
        await self.refused(Forbidden, reader)
        await self.refused(Forbidden, reader, permissions=[], preset="runtime")
        await self.key(reader, permissions=["keys:create"])
        await self.refused(Invalid, self.ours, permissions=["messages:burn"])
        await self.refused(Invalid, self.ours, permissions=[])

    async def test_presets(self) -> None:
        """Each preset gives what it says; runtime makes nothing but mail."""
        for preset, permissions in PRESETS.items():
            access = await self.access(self.ours, permissions=[], preset=preset)
            self.assertEqual(access.permissions, permissions)
            self.assertLessEqual(permissions, PERMISSIONS)
        self.assertNotIn("keys:create", PRESETS["runtime"])
        self.assertNotIn("messages:send", PRESETS["read-only"])

    async def test_scopes(self) -> None:
        """The bounds of a new key are those asked for within its maker's."""
        ours = self.ours.customer_id
        in_first = evolve(self.ours, deployment_id=self.first)
        one_inbox = evolve(self.ours, inbox_id=self.agent.inbox_id)
        cases: list[tuple[Access, dict[str, Any], Any]] = [
            (ROOT, {}, (None, None, None)),
            (ROOT, {"customer_id": ours}, (ours, None, None)),
            (ROOT, {"deployment_id": self.first}, (ours, self.first, None)),
            (ROOT, {"inbox_id": self.agent.inbox_id}, (ours, None, self.agent.inbox_id)),
            (self.ours, {}, (ours, None, None)),
            (self.ours, {"customer_id": ours}, (ours, None, None)),
            (self.ours, {"deployment_id": self.second}, (ours, self.second, None)),
            (self.ours, {"inbox_id": self.agent.address.upper()},
             (ours, None, self.agent.inbox_id)),
            (in_first, {}, (ours, self.first, None)),
            (in_first, {"inbox_id": self.agent.inbox_id},
             (ours, self.first, self.agent.inbox_id)),
            (one_inbox, {}, (ours, None, self.agent.inbox_id)),
            (self.ours, {"customer_id": self.theirs.customer_id}, None),
            (self.ours, {"inbox_id": self.other.inbox_id}, None),
            (self.ours, {"deployment_id": await self.deployment_of(self.theirs)}, None),
            (self.ours, {"deployment_id": self.second, "inbox_id": self.agent.inbox_id},
             None),
            (ROOT, {"customer_id": ours, "inbox_id": self.other.inbox_id}, None),
            (ROOT, {"customer_id": "cus_none"}, None),
            (in_first, {"deployment_id": self.second}, None),
            (in_first, {"inbox_id": self.elsewhere.inbox_id}, None),
            (one_inbox, {"inbox_id": self.elsewhere.inbox_id}, None),
            (one_inbox, {"deployment_id": self.first}, (ours, self.first,
                                                        self.agent.inbox_id)),
            (one_inbox, {"deployment_id": self.second}, None),
        ]  # fmt: skip
        for by, asked, expected in cases:
            if expected is None:
                await self.refused(NotFound, by, **asked)
                continue
            access = await self.access(by, **asked)
            self.assertEqual(
                (access.customer_id, access.deployment_id, access.inbox_id),
                expected,
                asked,
            )

    async def test_deployment_key(self) -> None:
        """A key of a deployment sees and changes nothing beyond it."""
        narrow = evolve(self.ours, deployment_id=self.first)
        inboxes = await self.inboxes.list(narrow, ListInboxes())
        self.assertEqual([one.inbox_id for one in inboxes.items], [self.agent.inbox_id])
        found = await self.tenants.list_deployments(narrow, ListDeployments())
        self.assertEqual([one.deployment_id for one in found.items], [self.first])
        made = await self.inboxes.create(narrow, CreateInbox())
        self.assertEqual(made.inbox.deployment_id, self.first)
        worker = await self.agents.create(
            self.ours, CreateAgent(name="a", deployment_id=self.second)
        )
        for call in (
            self.inboxes.get(narrow, InboxById(inbox_id=self.elsewhere.inbox_id)),
            self.inboxes.delete(narrow, InboxById(inbox_id=self.elsewhere.inbox_id)),
            self.inboxes.list(narrow, ListInboxes(deployment_id=self.second)),
            self.inboxes.create(narrow, CreateInbox(deployment_id=self.second)),
            self.inboxes.create(narrow, CreateInbox(agent_id=worker.agent.agent_id)),
            self.agents.get(narrow, AgentById(agent_id=worker.agent.agent_id)),
            self.agents.list(narrow, ListAgents(deployment_id=self.second)),
            self.tenants.get_deployment(
                narrow, DeploymentById(deployment_id=self.second)
            ),
        ):
            await self.assertFailure(started(call), NotFound)
        wide: list[Coroutine[Any, Any, object]] = [
            self.tenants.create_deployment(narrow, CreateDeployment(name="x")),
            self.tenants.delete_deployment(
                narrow, DeploymentById(deployment_id=self.first)
            ),
            self.tenants.get_customer(
                narrow, CustomerById(customer_id=str(self.ours.customer_id))
            ),
            self.tenants.update_customer(
                narrow, UpdateCustomer(customer_id=str(self.ours.customer_id))
            ),
        ]
        for one in wide:
            await self.assertFailure(started(one), Forbidden)

    async def test_inbox_key(self) -> None:
        """A key of an inbox sees that inbox, and nothing around it."""
        narrow = evolve(self.ours, inbox_id=self.agent.inbox_id)
        inboxes = await self.inboxes.list(narrow, ListInboxes())
        self.assertEqual([one.inbox_id for one in inboxes.items], [self.agent.inbox_id])
        for call in (
            self.inboxes.get(narrow, InboxById(inbox_id=self.elsewhere.inbox_id)),
            self.inboxes.create(narrow, CreateInbox()),
            self.agents.create(narrow, CreateAgent(name="x")),
            self.agents.list(narrow, ListAgents()),
            self.tenants.list_customers(narrow, ListCustomers()),
            self.tenants.list_deployments(narrow, ListDeployments()),
            self.tenants.get_deployment(
                narrow, DeploymentById(deployment_id=self.first)
            ),
            self.tenants.update_deployment(
                narrow, UpdateDeployment(deployment_id=self.first, name="x")
            ),
        ):
            await self.assertFailure(started(call), NotFound, Forbidden)


class EndTests(KeyTest):
    """Known, used, revoked."""

    async def test_unknown(self) -> None:
        """Nobody's secret, and odd ones."""
        for secret in ("", "nim_live_x", "\0", "ä" * 1000, "\ud800"):
            await self.assertFailure(
                started(self.keys.authenticate(secret)), Unauthenticated
            )

    async def test_revoked_here(self) -> None:
        """A revoked key is refused at the next call."""
        made = await self.key(self.ours)
        await self.keys.authenticate(made.secret)
        await self.keys.revoke(self.ours, KeyById(key_id=made.key.key_id))
        await self.assertFailure(
            started(self.keys.authenticate(made.secret)), Unauthenticated
        )

    async def test_revoked_while_looking(self) -> None:
        """An answer that was on its way when the key ended is not believed after."""
        made = await self.key(self.ours)
        looking = [started(self.keys.authenticate(made.secret)) for _ in range(3)]
        await self.keys.revoke(self.ours, KeyById(key_id=made.key.key_id))
        await gatherResults(looking)
        await self.assertFailure(
            started(self.keys.authenticate(made.secret)), Unauthenticated
        )

    async def test_scope(self) -> None:
        """Only within one's bounds, and never a root key."""
        root = await self.key(ROOT)
        wide = await self.key(self.ours)
        foreign = await self.key(self.theirs)
        narrow = evolve(self.ours, deployment_id=self.first)
        for by, made in (
            (self.ours, root),
            (self.ours, foreign),
            (narrow, wide),
            (narrow, root),
        ):
            for call in (self.keys.get, self.keys.revoke):
                asking = call(by, KeyById(key_id=made.key.key_id))
                await self.assertFailure(started(asking), NotFound)
        for made in (root, wide, foreign):
            await self.keys.authenticate(made.secret)
        page = await self.keys.list(self.ours, ListKeys())
        self.assertEqual([one.key_id for one in page.items], [wide.key.key_id])
        page = await self.keys.list(narrow, ListKeys())
        self.assertEqual(page.items, [])

    async def test_secret(self) -> None:
        """The secret is shown once and kept nowhere."""
        made = await self.key(self.ours)
        self.assertNotIn(made.secret, repr(made))
        row = await self.rows("select key::text from key")
        self.assertNotIn(made.secret, str(row))

    async def test_root(self) -> None:
        """A root key's secret that was revoked stays so."""
        await self.keys.ensure_root("nim_live_root")
        access = await self.keys.authenticate("nim_live_root")
        self.assertIsNone(access.customer_id)
        self.assertEqual(access.permissions, PERMISSIONS)
        await self.keys.revoke(ROOT, KeyById(key_id=access.key_id))
        await self.keys.ensure_root("nim_live_root")
        await self.assertFailure(
            started(self.keys.authenticate("nim_live_root")), Unauthenticated
        )
