"""Every operation that a caller can ask for, and the permission that it needs.

This is the one table of permissions. A dialect maps its routes to these names; the
frame requires the permission before the use case runs. What a use case refuses beyond
that follows from the scope of the key: another tenant's things are not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from attrs import frozen

from noinfra.app.access import Access
from noinfra.app.application import App
from noinfra.app.requests import (
    AgentById,
    AttachmentById,
    CreateAgent,
    CreateCustomer,
    CreateDeployment,
    CreateInbox,
    CreateKey,
    CustomerById,
    DeleteMessage,
    DeploymentById,
    ForwardMessage,
    GetThread,
    InboxById,
    KeyById,
    ListAgents,
    ListCustomers,
    ListDeployments,
    ListEvents,
    ListInboxes,
    ListKeys,
    ListMessages,
    ListThreads,
    MessageById,
    Nothing,
    ReplyAllToMessage,
    ReplyToMessage,
    ReplyToThread,
    SendMessage,
    ThreadById,
    UpdateAgent,
    UpdateCustomer,
    UpdateDeployment,
    UpdateInbox,
    UpdateMessage,
    UpdateThread,
)

Q = TypeVar("Q", bound=msgspec.Struct)

#: What the live fronts need; they are readers, not operations.
LIVE = "events:read"


@frozen
class Operation:
    """A row of the catalogue.

    :ivar permission: what the key must hold; None where no key is asked for.
    :ivar call: finds the use case in the application.
    :ivar lasts: whether a result stays true until the version of the inbox's mail is
        another; None where nothing is known of that.
    """

    name: str
    permission: str | None
    request: type[msgspec.Struct]
    call: Callable[[App], Callable[[Access, Any], Awaitable[Any]]]
    summary: str
    lasts: Callable[[Any], bool] | None = None


def _op(
    name: str,
    permission: str | None,
    request: type[Q],
    call: Callable[[App], Callable[[Access, Q], Awaitable[object]]],
    summary: str,
    lasts: Callable[[Any], bool] | None = None,
) -> Operation:
    """A row; that the use case takes this request is checked here."""
    return Operation(name, permission, request, call, summary, lasts)


def _always(result: object) -> bool:
    return True


CATALOGUE: tuple[Operation, ...] = (
    _op(
        "customers.create",
        "customers:create",
        CreateCustomer,
        lambda app: app.tenants.create_customer,
        "Make a customer, with a deployment to begin with",
    ),
    _op(
        "customers.list",
        "customers:read",
        ListCustomers,
        lambda app: app.tenants.list_customers,
        "List the customers that the key may see",
    ),
    _op(
        "customers.get",
        "customers:read",
        CustomerById,
        lambda app: app.tenants.get_customer,
        "Get a customer",
    ),
    _op(
        "customers.update",
        "customers:update",
        UpdateCustomer,
        lambda app: app.tenants.update_customer,
        "Rename a customer or change its metadata",
    ),
    _op(
        "customers.delete",
        "customers:delete",
        CustomerById,
        lambda app: app.tenants.delete_customer,
        "Delete a customer and all that it has",
    ),
    _op(
        "deployments.create",
        "deployments:create",
        CreateDeployment,
        lambda app: app.tenants.create_deployment,
        "Make a deployment",
    ),
    _op(
        "deployments.list",
        "deployments:read",
        ListDeployments,
        lambda app: app.tenants.list_deployments,
        "List deployments",
    ),
    _op(
        "deployments.get",
        "deployments:read",
        DeploymentById,
        lambda app: app.tenants.get_deployment,
        "Get a deployment",
    ),
    _op(
        "deployments.update",
        "deployments:update",
        UpdateDeployment,
        lambda app: app.tenants.update_deployment,
        "Rename a deployment or change its metadata",
    ),
    _op(
        "deployments.delete",
        "deployments:delete",
        DeploymentById,
        lambda app: app.tenants.delete_deployment,
        "Delete a deployment with its agents and inboxes",
    ),
    _op(
        "agents.create",
        "agents:create",
        CreateAgent,
        lambda app: app.agents.create,
        "Make an agent and its default inbox",
    ),
    _op(
        "agents.list",
        "agents:read",
        ListAgents,
        lambda app: app.agents.list,
        "List agents",
    ),
    _op(
        "agents.get",
        "agents:read",
        AgentById,
        lambda app: app.agents.get,
        "Get an agent",
    ),
    _op(
        "agents.update",
        "agents:update",
        UpdateAgent,
        lambda app: app.agents.update,
        "Rename an agent, suspend it, or change its metadata",
    ),
    _op(
        "agents.delete",
        "agents:delete",
        AgentById,
        lambda app: app.agents.delete,
        "Delete an agent with its inboxes",
    ),
    _op(
        "inboxes.create",
        "inboxes:create",
        CreateInbox,
        lambda app: app.inboxes.create,
        "Make an inbox",
    ),
    _op(
        "inboxes.list",
        "inboxes:read",
        ListInboxes,
        lambda app: app.inboxes.list,
        "List inboxes",
    ),
    _op(
        "inboxes.get",
        "inboxes:read",
        InboxById,
        lambda app: app.inboxes.get,
        "Get an inbox, by its id or its address",
    ),
    _op(
        "inboxes.update",
        "inboxes:update",
        UpdateInbox,
        lambda app: app.inboxes.update,
        "Change an inbox's display name, status or metadata",
    ),
    _op(
        "inboxes.delete",
        "inboxes:delete",
        InboxById,
        lambda app: app.inboxes.delete,
        "Delete an inbox with its mail",
    ),
    _op(
        "inboxes.rotatePassword",
        "inboxes:update",
        InboxById,
        lambda app: app.inboxes.rotate_password,
        "Make an inbox a password for mail clients; the one before ends",
    ),
    _op(
        "inboxes.removePassword",
        "inboxes:update",
        InboxById,
        lambda app: app.inboxes.remove_password,
        "End an inbox's password",
    ),
    _op(
        "messages.send",
        "messages:send",
        SendMessage,
        lambda app: app.sending.send,
        "Send a mail",
    ),
    _op(
        "messages.reply",
        "messages:send",
        ReplyToMessage,
        lambda app: app.sending.reply,
        "Answer a message, in its thread",
    ),
    _op(
        "messages.replyAll",
        "messages:send",
        ReplyAllToMessage,
        lambda app: app.sending.reply_all,
        "Answer a message to its sender and all its recipients",
    ),
    _op(
        "messages.forward",
        "messages:send",
        ForwardMessage,
        lambda app: app.sending.forward,
        "Send a message on to others",
    ),
    _op(
        "messages.list",
        "messages:read",
        ListMessages,
        lambda app: app.messages.list,
        "List an inbox's messages, newest first",
        lasts=_always,
    ),
    _op(
        "messages.get",
        "messages:read",
        MessageById,
        lambda app: app.messages.get,
        "Get a message with its text, headers and deliveries",
        lasts=lambda letter: letter.settled,
    ),
    _op(
        "messages.raw",
        "messages:read",
        MessageById,
        lambda app: app.messages.raw,
        "Get a message as it was on the wire",
    ),
    _op(
        "messages.attachment",
        "messages:read",
        AttachmentById,
        lambda app: app.messages.attachment,
        "Get an attachment",
    ),
    _op(
        "messages.update",
        "messages:update",
        UpdateMessage,
        lambda app: app.messages.update,
        "Add and remove labels of a message",
    ),
    _op(
        "messages.delete",
        "messages:delete",
        DeleteMessage,
        lambda app: app.messages.delete,
        "Move a message to Trash, or delete it for good",
    ),
    _op(
        "threads.list",
        "threads:read",
        ListThreads,
        lambda app: app.threads.list,
        "List an inbox's threads, the liveliest first",
        lasts=_always,
    ),
    _op(
        "threads.get",
        "threads:read",
        GetThread,
        lambda app: app.threads.get,
        "Get a thread with its messages, oldest first",
        lasts=_always,
    ),
    _op(
        "threads.update",
        "threads:update",
        UpdateThread,
        lambda app: app.threads.update,
        "Add and remove labels of a thread's messages",
    ),
    _op(
        "threads.delete",
        "threads:delete",
        ThreadById,
        lambda app: app.threads.delete,
        "Delete a thread with its messages",
    ),
    _op(
        "threads.reply",
        "messages:send",
        ReplyToThread,
        lambda app: app.sending.reply_to_thread,
        "Answer the newest message of a thread",
    ),
    _op(
        "events.list",
        "events:read",
        ListEvents,
        lambda app: app.events.list,
        "Read the log of events",
    ),
    _op(
        "keys.create",
        "keys:create",
        CreateKey,
        lambda app: app.keys.create,
        "Make a key; its value is shown once",
    ),
    _op(
        "keys.list",
        "keys:read",
        ListKeys,
        lambda app: app.keys.list,
        "List keys",
    ),
    _op(
        "keys.get",
        "keys:read",
        KeyById,
        lambda app: app.keys.get,
        "Get a key, without its value",
    ),
    _op(
        "keys.revoke",
        "keys:revoke",
        KeyById,
        lambda app: app.keys.revoke,
        "Revoke a key",
    ),
    _op(
        "health.check",
        None,
        Nothing,
        lambda app: lambda access, request: app.health.check(),
        "Ask whether the server works",
    ),
)

OPERATIONS = {operation.name: operation for operation in CATALOGUE}
