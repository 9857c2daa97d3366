"""What a caller can ask, as types: one request a use case, checked before the call.

Path, query and body of a call come together in one request. Wire names are camelCase; a
dialect that spells them otherwise maps its words to these. The same types give the
errors that name a field and the OpenAPI document.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Id = Annotated[str, Meta(min_length=1, max_length=320)]
ClientId = Annotated[str, Meta(min_length=1, max_length=256)]
Label = Annotated[str, Meta(min_length=1, max_length=100)]
Labels = Annotated[list[Label], Meta(max_length=50)]
MailboxText = Annotated[str, Meta(min_length=3, max_length=1000)]
Mailboxes = Annotated[list[MailboxText], Meta(max_length=1000)]
Subject = Annotated[str, Meta(max_length=2000)]
BodyText = Annotated[str, Meta(max_length=10_000_000)]
Limit = Annotated[int, Meta(ge=1, le=100)]
MetadataText = Annotated[str, Meta(max_length=4000)]
MetadataInteger = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
MetadataValue = MetadataText | MetadataInteger | float | bool | None
Metadata = Annotated[dict[Name, MetadataValue], Meta(max_length=256)]


class Request(
    msgspec.Struct,
    rename="camel",
    forbid_unknown_fields=True,
    kw_only=True,
    frozen=True,
):
    """The base of all requests: unknown fields are errors."""


class Page(Request, kw_only=True, frozen=True):
    """A page of a list, by key: as many as ``limit`` from where ``cursor`` says."""

    limit: Limit = 25
    cursor: str | None = None


# Customers, deployments, agents


class CreateCustomer(Request, kw_only=True, frozen=True):
    """Make a customer, with a deployment to begin with."""

    name: Name
    metadata: Metadata = {}


class ListCustomers(Page, kw_only=True, frozen=True):
    """The customers that the key may see."""


class CustomerById(Request, kw_only=True, frozen=True):
    """One customer."""

    customer_id: Id


class UpdateCustomer(CustomerById, kw_only=True, frozen=True):
    """Rename a customer or change its metadata; null removes a metadata entry."""

    name: Name | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class CreateDeployment(Request, kw_only=True, frozen=True):
    """Make a deployment. The same clientId answers the one that is there."""

    name: Name
    customer_id: Id | None = None
    client_id: ClientId | None = None
    metadata: Metadata = {}


class ListDeployments(Page, kw_only=True, frozen=True):
    """The deployments of a customer."""

    customer_id: Id | None = None


class DeploymentById(Request, kw_only=True, frozen=True):
    """One deployment."""

    deployment_id: Id


class UpdateDeployment(DeploymentById, kw_only=True, frozen=True):
    """Rename a deployment or change its metadata."""

    name: Name | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class CreateAgent(Request, kw_only=True, frozen=True):
    """Make an agent and its default inbox; an externalId is used once."""

    name: Name
    customer_id: Id | None = None
    deployment_id: Id | None = None
    external_id: ClientId | None = None
    default_inbox_username: Annotated[str, Meta(max_length=64)] | None = None
    domain: Annotated[str, Meta(max_length=255)] | None = None
    display_name: Annotated[str, Meta(max_length=200)] | None = None
    metadata: Metadata = {}


class ListAgents(Page, kw_only=True, frozen=True):
    """The agents of a customer or a deployment."""

    customer_id: Id | None = None
    deployment_id: Id | None = None
    external_id: ClientId | None = None


class AgentById(Request, kw_only=True, frozen=True):
    """One agent."""

    agent_id: Id


class UpdateAgent(AgentById, kw_only=True, frozen=True):
    """Rename an agent, suspend it, or change its metadata."""

    name: Name | UnsetType = UNSET
    status: Literal["active", "suspended"] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


# Inboxes


class CreateInbox(Request, kw_only=True, frozen=True):
    """Make an inbox: of the username asked for, or of a generated one."""

    customer_id: Id | None = None
    deployment_id: Id | None = None
    agent_id: Id | None = None
    username: Annotated[str, Meta(max_length=64)] | None = None
    domain: Annotated[str, Meta(max_length=255)] | None = None
    display_name: Annotated[str, Meta(max_length=200)] | None = None
    client_id: ClientId | None = None
    metadata: Metadata = {}
    # Make a password for mail clients, too; it is shown in the answer, once.
    password: bool = False


class ListInboxes(Page, kw_only=True, frozen=True):
    """The inboxes of a customer, a deployment or an agent."""

    customer_id: Id | None = None
    deployment_id: Id | None = None
    agent_id: Id | None = None


class InboxById(Request, kw_only=True, frozen=True):
    """One inbox, by its id or its address."""

    inbox_id: Id


class UpdateInbox(InboxById, kw_only=True, frozen=True):
    """Change the display name, the status or the metadata."""

    display_name: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET
    status: Literal["active", "suspended", "archived"] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


# Messages


class NewAttachment(Request, kw_only=True, frozen=True):
    """A file to send; ``content`` is base64."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    content: bytes
    content_type: Annotated[str, Meta(max_length=255)] = "application/octet-stream"
    content_id: Annotated[str, Meta(max_length=255)] | None = None
    inline: bool = False


NewAttachments = Annotated[list[NewAttachment], Meta(max_length=100)]
HeaderName = Annotated[str, Meta(min_length=1, max_length=76)]
HeaderValue = Annotated[str, Meta(max_length=2000)]
Headers = Annotated[dict[HeaderName, HeaderValue], Meta(max_length=50)]


class Written(InboxById, kw_only=True, frozen=True):
    """What every mail that an agent writes may say."""

    text: BodyText | None = None
    html: BodyText | None = None
    cc: Mailboxes = []
    bcc: Mailboxes = []
    reply_to: Mailboxes = []
    labels: Labels = []
    attachments: NewAttachments = []
    headers: Headers = {}
    # RFC 3834: "auto-generated" or "auto-replied" on what no person asked for.
    auto_submitted: Literal["auto-generated", "auto-replied"] | None = None
    # From the Idempotency-Key header, or in the body where no header can be set.
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class SendMessage(Written, kw_only=True, frozen=True):
    """Send a new mail."""

    to: Mailboxes = []
    subject: Subject = ""


class ReplyToMessage(Written, kw_only=True, frozen=True):
    """Answer a message, in its thread; ``to`` replaces whom the answer goes to."""

    message_id: Id
    to: Mailboxes = []


class ReplyAllToMessage(Written, kw_only=True, frozen=True):
    """Answer a message to its sender and all its recipients but ourselves."""

    message_id: Id


class ForwardMessage(Written, kw_only=True, frozen=True):
    """Send a message on to others, with its text and attachments."""

    message_id: Id
    to: Mailboxes
    subject: Subject | None = None


class ReplyToThread(Written, kw_only=True, frozen=True):
    """Answer the newest message of a thread."""

    thread_id: Id
    to: Mailboxes = []
    reply_all: bool = False


class ListMessages(Page, kw_only=True, frozen=True):
    """An inbox's messages, newest first; the conditions given must all hold."""

    inbox_id: Id
    labels: Labels = []
    direction: Literal["inbound", "outbound"] | None = None
    folder: Annotated[str, Meta(max_length=255)] | None = None
    thread_id: Id | None = None
    tag: Annotated[str, Meta(max_length=64)] | None = None
    # Part of an address or a name, any case.
    from_: Annotated[str, Meta(max_length=320)] | None = msgspec.field(
        default=None, name="from"
    )
    subject: Annotated[str, Meta(max_length=998)] | None = None
    before: datetime | None = None
    after: datetime | None = None
    unread: bool | None = None
    has_attachment: bool | None = None
    include_trash: bool = False
    include_spam: bool = False
    ascending: bool = False


class MessageById(InboxById, kw_only=True, frozen=True):
    """One message of an inbox."""

    message_id: Id


class AttachmentById(MessageById, kw_only=True, frozen=True):
    """One attachment of a message, by its id."""

    attachment_id: Id


class UpdateMessage(MessageById, kw_only=True, frozen=True):
    """Add and remove labels."""

    add_labels: Labels = []
    remove_labels: Labels = []


class DeleteMessage(MessageById, kw_only=True, frozen=True):
    """To Trash; from Trash, or when permanent, for good."""

    permanent: bool = False


# Threads


class ListThreads(Page, kw_only=True, frozen=True):
    """An inbox's threads, the one with the newest message first."""

    inbox_id: Id
    labels: Labels = []
    before: datetime | None = None
    after: datetime | None = None
    ascending: bool = False


class ThreadById(InboxById, kw_only=True, frozen=True):
    """One thread."""

    thread_id: Id


class GetThread(Page, kw_only=True, frozen=True):
    """One thread with a page of its messages, oldest first.

    A page ends early where its texts are large; ``nextCursor`` says where to go on.
    """

    inbox_id: Id
    thread_id: Id
    limit: Limit = 100


class UpdateThread(ThreadById, kw_only=True, frozen=True):
    """Add and remove labels on every message of the thread."""

    add_labels: Labels = []
    remove_labels: Labels = []


# Events


EventTypes = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50)]


class EventFilter(Request, kw_only=True, frozen=True):
    """Which events; a type may end in ``*``. Empty means every one."""

    customer_id: Id | None = None
    deployment_id: Id | None = None
    agent_id: Id | None = None
    inbox_id: Id | None = None
    thread_id: Id | None = None
    types: EventTypes = []


class ListEvents(EventFilter, kw_only=True, frozen=True):
    """The log after an event, oldest first."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    # An event id; the answer begins with the one that follows.
    after: Annotated[str, Meta(max_length=64)] | None = None
    cursor: Annotated[str, Meta(max_length=64)] | None = None


# Keys


class CreateKey(Request, kw_only=True, frozen=True):
    """Make a key, never wider than the one that makes it. Its value is shown once."""

    name: Name
    customer_id: Id | None = None
    deployment_id: Id | None = None
    inbox_id: Id | None = None
    # Permissions by name, or a preset: runtime, read-only, operator.
    permissions: Annotated[list[Name], Meta(max_length=100)] = []
    preset: Literal["runtime", "read-only", "operator"] | None = None


class ListKeys(Page, kw_only=True, frozen=True):
    """The keys of a customer."""

    customer_id: Id | None = None


class KeyById(Request, kw_only=True, frozen=True):
    """One key."""

    key_id: Id


class Nothing(Request, kw_only=True, frozen=True):
    """A call without parameters."""
