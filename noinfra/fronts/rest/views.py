"""The nouns as the native dialect spells them: camelCase, ``id``, times with a final Z.

Each type has ``of``, which makes it from what a use case returned; the same types are
what the OpenAPI document says of the answers. What PostgreSQL holds as JSON goes out as
it is.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from noinfra.app.agents import NewAgent
from noinfra.app.health import Healthy
from noinfra.app.inboxes import Created, InboxPassword
from noinfra.app.keys import NewKey
from noinfra.app.times import spell_time
from noinfra.fronts.rest.times import Time, Whenever, spell_whenever
from noinfra.model import Agent, Customer, Deployment, Inbox, Key

MetadataJson = Annotated[
    Raw,
    Meta(
        description="What you keep with it: strings, numbers and booleans by name.",
        extra_json_schema={"type": "object", "examples": [{"plan": "pro"}]},
    ),
]


class View(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    """The base of what goes out."""


class CustomerView(View, kw_only=True):
    """The tenant; nothing crosses it but a root key."""

    id: str
    name: str
    metadata: MetadataJson
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, customer: Customer) -> CustomerView:
        """The customer, spelled."""
        return cls(
            id=customer.customer_id,
            name=customer.name,
            metadata=Raw(customer.metadata),
            created_at=spell_time(customer.created_at),
            updated_at=spell_time(customer.updated_at),
        )


class DeploymentView(View, kw_only=True):
    """A group of agents within a customer; also called a pod."""

    id: str
    customer_id: str
    name: str
    client_id: str | None
    metadata: MetadataJson
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, deployment: Deployment) -> DeploymentView:
        """The deployment, spelled."""
        return cls(
            id=deployment.deployment_id,
            customer_id=deployment.customer_id,
            name=deployment.name,
            client_id=deployment.client_id,
            metadata=Raw(deployment.metadata),
            created_at=spell_time(deployment.created_at),
            updated_at=spell_time(deployment.updated_at),
        )


class InboxView(View, kw_only=True):
    """A durable address with its mail."""

    id: str
    customer_id: str
    deployment_id: str
    agent_id: str | None
    address: str
    username: str
    domain: str
    display_name: str | None
    status: str
    client_id: str | None
    metadata: MetadataJson
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, inbox: Inbox) -> InboxView:
        """The inbox, spelled."""
        return cls(
            id=inbox.inbox_id,
            customer_id=inbox.customer_id,
            deployment_id=inbox.deployment_id,
            agent_id=inbox.agent_id,
            address=inbox.address,
            username=inbox.username,
            domain=inbox.domain,
            display_name=inbox.display_name,
            status=inbox.status,
            client_id=inbox.client_id,
            metadata=Raw(inbox.metadata),
            created_at=spell_time(inbox.created_at),
            updated_at=spell_time(inbox.updated_at),
        )


class CreatedInboxView(InboxView, kw_only=True):
    """An inbox, and the password that was asked for with it, which is shown once."""

    password: str | UnsetType = UNSET

    @classmethod
    def of(cls, created: Created) -> CreatedInboxView:  # type: ignore[override]
        """Both, spelled."""
        return cls(
            **msgspec.structs.asdict(InboxView.of(created.inbox)),
            password=UNSET if created.password is None else created.password,
        )


class InboxPasswordView(View, kw_only=True):
    """What a mail client logs in with; shown once."""

    inbox_id: str
    address: str
    password: str

    @classmethod
    def of(cls, made: InboxPassword) -> InboxPasswordView:
        """The login, spelled."""
        return cls(inbox_id=made.inbox_id, address=made.address, password=made.password)


class AgentView(View, kw_only=True):
    """A worker that owns a default inbox."""

    id: str
    customer_id: str
    deployment_id: str
    name: str
    external_id: str | None
    status: str
    default_inbox_id: str | None
    metadata: MetadataJson
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, agent: Agent) -> AgentView:
        """The agent, spelled."""
        return cls(
            id=agent.agent_id,
            customer_id=agent.customer_id,
            deployment_id=agent.deployment_id,
            name=agent.name,
            external_id=agent.external_id,
            status=agent.status,
            default_inbox_id=agent.default_inbox_id,
            metadata=Raw(agent.metadata),
            created_at=spell_time(agent.created_at),
            updated_at=spell_time(agent.updated_at),
        )


class NewAgentView(View, kw_only=True):
    """An agent, and the default inbox that was made with it."""

    id: str
    customer_id: str
    deployment_id: str
    name: str
    external_id: str | None
    status: str
    default_inbox_id: str | None
    metadata: MetadataJson
    created_at: Time
    updated_at: Time
    # None when it was deleted since.
    inbox: InboxView | None

    @classmethod
    def of(cls, made: NewAgent) -> NewAgentView:
        """Both, spelled."""
        agent = msgspec.structs.asdict(AgentView.of(made.agent))
        return cls(**agent, inbox=InboxView.of(made.inbox) if made.inbox else None)


class KeyView(View, kw_only=True):
    """An API credential, without its value; no customer means every customer."""

    id: str
    customer_id: str | None
    deployment_id: str | None
    inbox_id: str | None
    name: str
    prefix: str
    permissions: list[str]
    created_at: Time
    last_used_at: Whenever
    revoked_at: Whenever

    @classmethod
    def of(cls, key: Key) -> KeyView:
        """The key, spelled."""
        return cls(
            id=key.key_id,
            customer_id=key.customer_id,
            deployment_id=key.deployment_id,
            inbox_id=key.inbox_id,
            name=key.name,
            prefix=key.prefix,
            permissions=key.permissions,
            created_at=spell_time(key.created_at),
            last_used_at=spell_whenever(key.last_used_at),
            revoked_at=spell_whenever(key.revoked_at),
        )


class NewKeyView(View, kw_only=True):
    """A key and its value, which is shown this once."""

    id: str
    customer_id: str | None
    deployment_id: str | None
    inbox_id: str | None
    name: str
    prefix: str
    permissions: list[str]
    created_at: Time
    last_used_at: Whenever
    revoked_at: Whenever
    key: str

    @classmethod
    def of(cls, made: NewKey) -> NewKeyView:
        """Both, spelled."""
        return cls(**msgspec.structs.asdict(KeyView.of(made.key)), key=made.secret)


class HealthView(View, kw_only=True):
    """Whether the server works."""

    status: str
    database: str
    version: str

    @classmethod
    def of(cls, healthy: Healthy) -> HealthView:
        """It does."""
        return cls(
            status=healthy.status, database=healthy.database, version=healthy.version
        )
