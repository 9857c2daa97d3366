"""The nouns: what the server holds, in the words of the code and the RFCs.

Values only. A field bears the name of its column; times are aware and in UTC; an
identifier is a prefix and a ULID, so that its order is the order of creation. Columns
of JSON are kept as the text that PostgreSQL holds: the fronts hand them on as it is.
"""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen


@frozen(kw_only=True)
class Customer:
    """The tenant; nothing crosses it but a root key."""

    customer_id: str
    name: str
    metadata: str
    created_at: datetime
    updated_at: datetime


@frozen(kw_only=True)
class Deployment:
    """A group of agents within a customer; also called a pod."""

    deployment_id: str
    customer_id: str
    name: str
    client_id: str | None
    metadata: str
    created_at: datetime
    updated_at: datetime


@frozen(kw_only=True)
class Agent:
    """A worker that owns a default inbox."""

    agent_id: str
    customer_id: str
    deployment_id: str
    name: str
    external_id: str | None
    status: str
    default_inbox_id: str | None
    metadata: str
    created_at: datetime
    updated_at: datetime


@frozen(kw_only=True)
class Inbox:
    """A durable address with its mail."""

    inbox_id: str
    customer_id: str
    deployment_id: str
    agent_id: str | None
    address: str
    display_name: str | None
    status: str
    client_id: str | None
    metadata: str
    created_at: datetime
    updated_at: datetime

    @property
    def username(self) -> str:
        """The local part of the address."""
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """The domain of the address, in A-labels."""
        return self.address.rpartition("@")[2]


@frozen(kw_only=True)
class Message:
    """One inbox's copy of one mail, in or out, without its bodies.

    ``from_``, ``to_``, ``cc``, ``bcc`` and ``reply_to`` are JSON arrays of mailboxes in
    header form; ``attachments`` is a JSON array of `noinfra.app.content.Attachment`.
    ``state`` is ``received`` for inbound mail, and for outbound mail the worst of its
    deliveries: ``queued``, ``deferred``, ``delivered`` or ``failed``. What a mail
    client filed is a ``draft``, or ``stored``.
    """

    message_id: str
    customer_id: str
    inbox_id: str
    folder: str
    uid: int
    modseq: int
    thread_id: str
    content_id: int
    direction: str
    state: str
    labels: list[str]
    mail_from: str
    rcpt_to: str | None
    tag: str | None
    rfc_message_id: str | None
    in_reply_to: str | None
    reference_ids: list[str]
    subject: str
    from_: str
    to_: str
    cc: str
    bcc: str
    reply_to: str
    preview: str
    attachments: str
    size: int
    sent_at: datetime | None
    received_at: datetime
    updated_at: datetime
    key_id: str | None


@frozen(kw_only=True)
class Body:
    """What a message says, derived from its octets when it came."""

    content_id: int
    text: str | None
    html: str | None
    extracted_text: str | None
    extracted_html: str | None


@frozen(kw_only=True)
class Thread:
    """One conversation within one inbox."""

    thread_id: str
    customer_id: str
    inbox_id: str
    subject: str
    message_count: int
    last_message_id: str
    created_at: datetime
    updated_at: datetime


@frozen(kw_only=True)
class Delivery:
    """One recipient's copy on its way out (RFC 5321, 4.5.4)."""

    delivery_id: str
    customer_id: str
    inbox_id: str
    message_id: str
    mail_from: str
    rcpt_to: str
    destination: str
    status: str
    attempts: int
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    remote_host: str | None
    code: int | None
    response: str | None
    wants_dsn: bool
    notify: str | None
    orcpt: str | None
    ret: str | None
    envid: str | None


@frozen(kw_only=True)
class Attempt:
    """One host tried for one delivery, and what it said."""

    delivery_id: str
    rcpt_to: str
    started_at: datetime
    finished_at: datetime
    remote_host: str | None
    remote_address: str | None
    code: int | None
    enhanced: str | None
    response: str
    tls: str | None


@frozen(kw_only=True)
class Event:
    """A fact that happened, written in the transaction that made it true.

    ``txid`` and ``seq`` together are its place in the log; ``data`` is a JSON object.
    """

    seq: int
    txid: int
    type: str
    created_at: datetime
    customer_id: str
    deployment_id: str | None
    agent_id: str | None
    inbox_id: str | None
    thread_id: str | None
    message_id: str | None
    data: str


@frozen(kw_only=True)
class Key:
    """An API credential: what it may do, and to whom it is confined.

    No customer means every customer: a root key. The secret itself is not kept.
    """

    key_id: str
    customer_id: str | None
    deployment_id: str | None
    inbox_id: str | None
    name: str
    prefix: str
    permissions: list[str]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@frozen(kw_only=True)
class Client:
    """Who speaks SMTP to us: what the trace fields and the policies need."""

    address: str
    helo: str
    # RFC 3848: SMTP, ESMTP, ESMTPS, UTF8SMTPS …
    protocol: str
    # For the comment in Received: the version and the cipher.
    tls: str | None = None


@frozen(kw_only=True)
class Forward:
    """One forward-path of a mail transaction, with its RFC 3461 parameters."""

    path: str
    notify: str | None = None
    orcpt: str | None = None


@frozen(kw_only=True)
class Transaction:
    """A mail transaction (RFC 5321, 3.3) up to its data; an empty mail_from is null."""

    client: Client
    mail_from: str
    rcpt_to: tuple[Forward, ...] = field(factory=tuple)
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@frozen(kw_only=True)
class Receipt:
    """What we answer for: the mail is stored, threaded and announced, on disk."""

    # What the reply names, for the logs of both sides.
    queue_id: str
    message_ids: tuple[str, ...]
