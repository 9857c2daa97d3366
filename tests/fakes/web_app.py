"""An application that answers at once and remembers what it was asked: for the frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from noinfra.app.access import PERMISSIONS, Access
from noinfra.app.agents import NewAgent
from noinfra.app.events import Ended, cursor_of
from noinfra.app.health import Healthy
from noinfra.app.inboxes import Created, InboxPassword
from noinfra.app.keys import NewKey
from noinfra.app.letters import Letter, Octets
from noinfra.app.listing import Listing
from noinfra.app.send import Sent
from noinfra.app.threads import Conversation, ThreadSummary
from noinfra.errors import Unauthenticated
from noinfra.model import (
    Agent,
    Attempt,
    Body,
    Customer,
    Delivery,
    Deployment,
    Event,
    Inbox,
    Key,
    Message,
)
from noinfra.store.events import Position

NOON = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
SECRET = "nim_live_secret"

CUSTOMER = Customer(
    customer_id="cus_1", name="Example", metadata="{}", created_at=NOON, updated_at=NOON
)
DEPLOYMENT = Deployment(
    deployment_id="dep_1",
    customer_id="cus_1",
    name="Support",
    client_id=None,
    metadata='{"plan": "pro"}',
    created_at=NOON,
    updated_at=NOON,
)
INBOX = Inbox(
    inbox_id="inb_1",
    customer_id="cus_1",
    deployment_id="dep_1",
    agent_id="agt_1",
    address="support@agents.example",
    display_name=None,
    status="active",
    client_id=None,
    metadata="{}",
    created_at=NOON,
    updated_at=NOON,
)
AGENT = Agent(
    agent_id="agt_1",
    customer_id="cus_1",
    deployment_id="dep_1",
    name="Support",
    external_id=None,
    status="active",
    default_inbox_id="inb_1",
    metadata="{}",
    created_at=NOON,
    updated_at=NOON,
)
MESSAGE = Message(
    message_id="msg_1",
    customer_id="cus_1",
    inbox_id="inb_1",
    folder="Sent",
    uid=1,
    modseq=1,
    thread_id="thr_1",
    content_id=1,
    direction="outbound",
    state="deferred",
    labels=["unread", "outreach"],
    mail_from="support@agents.example",
    rcpt_to=None,
    tag=None,
    rfc_message_id="<1@agents.example>",
    in_reply_to=None,
    reference_ids=["<0@example.com>"],
    subject="Hello from an agent",
    from_='["Support <support@agents.example>"]',
    to_='["Ada Lovelace <ada@example.com>"]',
    cc="[]",
    bcc="[]",
    reply_to="[]",
    preview="A useful, human-readable message.",
    attachments='[{"id":"att_2","filename":"a.pdf","contentType":"application/pdf",'
    '"size":3,"contentId":null,"inline":false}]',
    size=2048,
    sent_at=NOON,
    received_at=NOON,
    updated_at=NOON,
    key_id=None,
)
DELIVERY = Delivery(
    delivery_id="dlv_1",
    customer_id="cus_1",
    inbox_id="inb_1",
    message_id="msg_1",
    mail_from="support@agents.example",
    rcpt_to="ada@example.com",
    destination="example.com",
    status="deferred",
    attempts=1,
    created_at=NOON,
    due_at=NOON,
    expires_at=NOON,
    settled_at=None,
    remote_host="mx.example.com",
    code=451,
    response="4.7.1 later",
    wants_dsn=False,
    notify=None,
    orcpt=None,
    ret=None,
    envid=None,
)
ATTEMPT = Attempt(
    delivery_id="dlv_1",
    rcpt_to="ada@example.com",
    started_at=NOON,
    finished_at=NOON,
    remote_host="mx.example.com",
    remote_address="192.0.2.1",
    code=451,
    enhanced="4.7.1",
    response="later",
    tls=None,
)
BODY = Body(
    content_id=1,
    text="Hello.",
    html="<p>Hello.</p>",
    extracted_text="Hello.",
    extracted_html="<p>Hello.</p>",
)
LETTER = Letter(
    message=MESSAGE,
    body=BODY,
    headers=[("Received", "one"), ("Received", "two")],
    deliveries=[DELIVERY],
    attempts=[ATTEMPT],
)
THREAD = ThreadSummary(
    thread_id="thr_1",
    customer_id="cus_1",
    inbox_id="inb_1",
    subject="Hello from an agent",
    message_count=1,
    last_message_id="msg_1",
    created_at=NOON,
    updated_at=NOON,
    labels=["outreach"],
    senders='["Support <support@agents.example>"]',
    recipients='["ada@example.com"]',
    preview="A useful",
    size=2048,
    unread=1,
)
KEY = Key(
    key_id="key_1",
    customer_id="cus_1",
    deployment_id=None,
    inbox_id=None,
    name="worker",
    prefix="nim_live_abcd",
    permissions=["messages:read"],
    created_at=NOON,
    last_used_at=None,
    revoked_at=None,
)


def event(seq: int, type: str = "message.received") -> Event:
    """An event at a place in the log."""
    return Event(
        seq=seq,
        txid=seq,
        type=type,
        created_at=NOON,
        customer_id="cus_1",
        deployment_id="dep_1",
        agent_id=None,
        inbox_id="inb_1",
        thread_id="thr_1",
        message_id="msg_1",
        data='{"subject":\n "Hello"}',
    )


def octets(content: bytes, content_type: str = "message/rfc822") -> Octets:
    """Something to download."""

    async def read(start: int, length: int) -> bytes:
        return content[start : start + length]

    return Octets(
        size=len(content), content_type=content_type, filename="a.eml", read=read
    )


@define
class UseCases:
    """Answers each call by name, from a table that a test may change."""

    answers: dict[str, Any]
    asked: list[tuple[str, Access | None, Any]] = field(factory=list)
    group: str = ""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(access: Access | None = None, request: Any = None) -> Any:
            self.asked.append((f"{self.group}.{name}", access, request))
            answer = self.answers[f"{self.group}.{name}"]
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, Deferred):
                return await answer
            return answer

        return call


@define
class FakeKeys(UseCases):
    """One key is good."""

    permissions: frozenset[str] = PERMISSIONS
    known: set[str] = field(factory=lambda: {SECRET})
    looked_up: int = 0

    async def authenticate(self, secret: str) -> Access:
        self.looked_up += 1
        if secret not in self.known:
            raise Unauthenticated("The key is not known.")
        return Access(
            key_id="key_1",
            customer_id=None,
            deployment_id=None,
            inbox_id=None,
            permissions=self.permissions,
        )


@define(eq=False)
class FakeSubscription:
    """Events that a test hands out."""

    cursor: str
    filters: Any
    queue: list[Event] = field(factory=list)
    over: Exception | None = None
    closed: bool = False
    _waiting: Deferred[None] | None = None

    async def next_batch(self) -> list[Event]:
        while True:
            if self.over is not None:
                raise self.over
            if self.queue:
                batch, self.queue = self.queue, []
                return batch
            self._waiting = Deferred()
            await self._waiting

    def offer(self, *events: Event) -> None:
        self.queue.extend(events)
        self._wake()

    def end(self, why: Exception) -> None:
        self.over = why
        self._wake()

    def close(self) -> None:
        self.closed = True
        self.end(Ended("closed"))

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


@define
class FakeEvents(UseCases):
    """Subscriptions as they come."""

    subscriptions: list[FakeSubscription] = field(factory=list)
    refusal: Exception | None = None

    async def subscribe(
        self, access: Access, request: Any, after: str | None = None
    ) -> FakeSubscription:
        if self.refusal is not None:
            raise self.refusal
        subscription = FakeSubscription(after or cursor_of(Position(7, 7)), request)
        self.subscriptions.append(subscription)
        return subscription


def listing(*items: Any) -> Listing[Any]:
    """A page, with more to come."""
    return Listing(items=list(items), next_cursor="next")


def answers() -> dict[str, Any]:
    """What each use case answers."""
    sent = Sent(message=MESSAGE, created=True)
    return {
        "tenants.create_customer": CUSTOMER,
        "tenants.list_customers": listing(CUSTOMER),
        "tenants.get_customer": CUSTOMER,
        "tenants.update_customer": CUSTOMER,
        "tenants.delete_customer": None,
        "tenants.create_deployment": DEPLOYMENT,
        "tenants.list_deployments": listing(DEPLOYMENT),
        "tenants.get_deployment": DEPLOYMENT,
        "tenants.update_deployment": DEPLOYMENT,
        "tenants.delete_deployment": None,
        "agents.create": NewAgent(agent=AGENT, inbox=INBOX, created=True),
        "agents.list": listing(AGENT),
        "agents.get": AGENT,
        "agents.update": AGENT,
        "agents.delete": None,
        "inboxes.create": Created(inbox=INBOX, created=True),
        "inboxes.list": listing(INBOX),
        "inboxes.get": INBOX,
        "inboxes.update": INBOX,
        "inboxes.delete": None,
        "inboxes.rotate_password": InboxPassword(
            inbox_id=INBOX.inbox_id, address=INBOX.address, password="b2n5-spju"
        ),
        "inboxes.remove_password": None,
        "messages.list": listing(MESSAGE),
        "messages.get": LETTER,
        "messages.raw": octets(b"Subject: Hello\r\n\r\nHello.\r\n"),
        "messages.attachment": octets(b"%PDF", "application/pdf"),
        "messages.update": MESSAGE,
        "messages.delete": None,
        "sending.send": sent,
        "sending.reply": sent,
        "sending.reply_all": sent,
        "sending.forward": sent,
        "sending.reply_to_thread": sent,
        "threads.list": listing(THREAD),
        "threads.get": Conversation(thread=THREAD, messages=[LETTER], next_cursor=None),
        "threads.update": THREAD,
        "threads.delete": None,
        "events.list": listing(event(1)),
        "keys.create": NewKey(key=KEY, secret="nim_live_new"),
        "keys.list": listing(KEY),
        "keys.get": KEY,
        "keys.revoke": None,
        "health.check": Healthy(status="ok", database="ok", version="1"),
    }


@define
class FakeVersions:
    """The version that a test has set; with None, nothing is kept."""

    current: str | None = None

    async def of(self, access: Access, request: Any) -> str | None:
        return self.current


class FakeApp:
    """All of it."""

    def __init__(self) -> None:
        self.answers = answers()
        self.asked: list[tuple[str, Access | None, Any]] = []
        self.keys = FakeKeys(self.answers, self.asked, "keys")
        self.events = FakeEvents(self.answers, self.asked, "events")
        self.versions = FakeVersions()

    def __getattr__(self, group: str) -> UseCases:
        return UseCases(self.answers, self.asked, group)
