"""Messages, threads and events as the native dialect spells them.

Lists of messages are what agents ask for most, so their spelling makes one object a
message and hands on the JSON that PostgreSQL holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from noinfra.app.content import Attachment
from noinfra.app.events import event_id
from noinfra.app.letters import Letter
from noinfra.app.threads import Conversation, ThreadSummary
from noinfra.app.times import spell_time
from noinfra.fronts.rest.times import Time, Whenever, spell_whenever
from noinfra.fronts.rest.views import View
from noinfra.model import Attempt, Delivery, Event, Message

MailboxesJson = Annotated[
    Raw,
    Meta(
        extra_json_schema={
            "type": "array",
            "items": {"type": "string"},
            "examples": [["Ada Lovelace <ada@example.com>"]],
        }
    ),
]
AttachmentsJson = Annotated[
    Raw,
    Meta(
        extra_json_schema={
            "type": "array",
            "items": {"$ref": "#/components/schemas/Attachment"},
        }
    ),
]
#: Types that only a Raw field mentions, for the document.
MENTIONED = (Attachment,)
_SETTLED = frozenset(("delivered", "failed"))
_people = msgspec.json.Decoder(list[str]).decode


class HeaderView(View, kw_only=True):
    """A header field as it came; a name may come more than once."""

    name: str
    value: str


class AttemptView(View, kw_only=True):
    """One host tried, and what it said."""

    started_at: Time
    finished_at: Time
    remote_host: str | None
    remote_address: str | None
    code: int | None
    enhanced: str | None
    response: str
    tls: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptView:
        """The attempt, spelled."""
        return cls(
            started_at=spell_time(attempt.started_at),
            finished_at=spell_time(attempt.finished_at),
            remote_host=attempt.remote_host,
            remote_address=attempt.remote_address,
            code=attempt.code,
            enhanced=attempt.enhanced,
            response=attempt.response,
            tls=attempt.tls,
        )


class DeliveryView(View, kw_only=True):
    """One recipient's copy on its way out."""

    id: str
    recipient: str
    state: str
    remote_host: str | None
    code: int | None
    response: str | None
    attempts: list[AttemptView]
    created_at: Time
    next_attempt_at: Whenever
    expires_at: Time
    settled_at: Whenever

    @classmethod
    def of(cls, delivery: Delivery, attempts: Sequence[Attempt]) -> DeliveryView:
        """The delivery with its attempts out of a message's."""
        settled = delivery.status in _SETTLED
        return cls(
            id=delivery.delivery_id,
            recipient=delivery.rcpt_to,
            state=delivery.status,
            remote_host=delivery.remote_host,
            code=delivery.code,
            response=delivery.response,
            attempts=[
                AttemptView.of(attempt)
                for attempt in attempts
                if attempt.delivery_id == delivery.delivery_id
            ],
            created_at=spell_time(delivery.created_at),
            next_attempt_at=None if settled else spell_time(delivery.due_at),
            expires_at=spell_time(delivery.expires_at),
            settled_at=spell_whenever(delivery.settled_at),
        )


class ProviderView(View, kw_only=True):
    """What became of the message on the wire.

    A list shows the state alone. A single outbound message shows its deliveries
    too, and what the last attempt for any recipient met.
    """

    state: str
    remote_host: str | UnsetType | None = UNSET
    code: int | UnsetType | None = UNSET
    response: str | UnsetType | None = UNSET
    attempts: int | UnsetType = UNSET
    last_attempt_at: Time | UnsetType | None = UNSET
    next_attempt_at: Time | UnsetType | None = UNSET
    deliveries: list[DeliveryView] | UnsetType = UNSET

    @classmethod
    def of(
        cls, state: str, deliveries: Sequence[Delivery], attempts: Sequence[Attempt]
    ) -> ProviderView:
        """The state with all that led to it."""
        last = max(attempts, key=lambda attempt: attempt.finished_at, default=None)
        waiting = [one.due_at for one in deliveries if one.status not in _SETTLED]
        return cls(
            state=state,
            remote_host=last.remote_host if last else None,
            code=last.code if last else None,
            response=last.response if last else None,
            attempts=sum(one.attempts for one in deliveries),
            last_attempt_at=spell_time(last.finished_at) if last else None,
            next_attempt_at=spell_time(min(waiting)) if waiting else None,
            deliveries=[DeliveryView.of(one, attempts) for one in deliveries],
        )


class MessageView(View):
    """One inbox's copy of one mail, in or out, without its bodies."""

    id: str
    customer_id: str
    inbox_id: str
    thread_id: str
    folder: str
    direction: str
    # RFC 5322, 3.6.2 allows several authors; they are one string, with commas.
    from_: str = msgspec.field(name="from")
    to: MailboxesJson
    cc: MailboxesJson
    bcc: MailboxesJson
    reply_to: MailboxesJson
    subject: str
    preview: str
    labels: list[str]
    message_id: str | None
    in_reply_to: str | None
    references: list[str]
    size: int
    attachments: AttachmentsJson
    provider: ProviderView
    tag: str | None
    sent_at: Whenever
    received_at: Time
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, message: Message) -> MessageView:
        """The message, spelled.

        In the order of the fields: by keyword, twenty-five of them take twice as long,
        and a page has up to a hundred messages.
        """
        received_at = spell_time(message.received_at)
        return MessageView(
            message.message_id,
            message.customer_id,
            message.inbox_id,
            message.thread_id,
            message.folder,
            message.direction,
            ", ".join(_people(message.from_)),
            Raw(message.to_),
            Raw(message.cc),
            Raw(message.bcc),
            Raw(message.reply_to),
            message.subject,
            message.preview,
            message.labels,
            message.rfc_message_id,
            message.in_reply_to,
            message.reference_ids,
            message.size,
            Raw(message.attachments),
            ProviderView(state=message.state),
            message.tag,
            spell_whenever(message.sent_at),
            received_at,
            received_at,
            spell_time(message.updated_at),
        )


class LetterView(MessageView, kw_only=True):
    """One inbox's copy of one mail, with its bodies and its header."""

    text: str | None
    html: str | None
    extracted_text: str | None
    extracted_html: str | None
    headers: list[HeaderView]

    @classmethod
    def of(cls, letter: Letter) -> LetterView:  # type: ignore[override]
        """The letter, spelled."""
        message, body = letter.message, letter.body
        fields = msgspec.structs.asdict(MessageView.of(message))
        if letter.deliveries:
            fields["provider"] = ProviderView.of(
                message.state, letter.deliveries, letter.attempts
            )
        return cls(
            **fields,
            text=body.text,
            html=body.html,
            extracted_text=body.extracted_text,
            extracted_html=body.extracted_html,
            headers=[
                HeaderView(name=name, value=value) for name, value in letter.headers
            ],
        )


class ThreadView(View, kw_only=True):
    """One conversation within one inbox."""

    id: str
    customer_id: str
    inbox_id: str
    subject: str
    labels: list[str]
    senders: MailboxesJson
    recipients: MailboxesJson
    preview: str
    message_count: int
    unread_count: int
    size: int
    last_message_id: str
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, thread: ThreadSummary) -> ThreadView:
        """The thread, spelled."""
        return cls(
            id=thread.thread_id,
            customer_id=thread.customer_id,
            inbox_id=thread.inbox_id,
            subject=thread.subject,
            labels=thread.labels,
            senders=Raw(thread.senders),
            recipients=Raw(thread.recipients),
            preview=thread.preview,
            message_count=thread.message_count,
            unread_count=thread.unread,
            size=thread.size,
            last_message_id=thread.last_message_id,
            created_at=spell_time(thread.created_at),
            updated_at=spell_time(thread.updated_at),
        )


class ConversationView(ThreadView, kw_only=True):
    """A thread with a page of its messages, oldest first."""

    messages: list[LetterView]
    next_cursor: str | None

    @classmethod
    def of(cls, conversation: Conversation) -> ConversationView:  # type: ignore[override]
        """The conversation, spelled."""
        return cls(
            **msgspec.structs.asdict(ThreadView.of(conversation.thread)),
            messages=[LetterView.of(letter) for letter in conversation.messages],
            next_cursor=conversation.next_cursor,
        )


class EventView(View, kw_only=True):
    """A fact that happened."""

    id: str
    seq: int
    type: str
    created_at: Time
    customer_id: str
    deployment_id: str | None
    agent_id: str | None
    inbox_id: str | None
    thread_id: str | None
    message_id: str | None
    data: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]

    @classmethod
    def of(cls, event: Event) -> EventView:
        """The event, spelled."""
        return cls(
            id=event_id(event),
            seq=event.seq,
            type=event.type,
            created_at=spell_time(event.created_at),
            customer_id=event.customer_id,
            deployment_id=event.deployment_id,
            agent_id=event.agent_id,
            inbox_id=event.inbox_id,
            thread_id=event.thread_id,
            message_id=event.message_id,
            data=Raw(event.data),
        )
