"""Mail that is to enter a folder, as values: what `noinfra.store.placing` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import evolve, frozen


@frozen(kw_only=True)
class NewContent:
    """Octets, and what follows from them alone; ``parts`` is the part index as JSON."""

    sha256: bytes
    size: int
    octets: bytes
    parts: str
    envelope: bytes
    bodystructure: bytes
    text: str | None
    html: str | None
    extracted_text: str | None
    extracted_html: str | None
    # What search finds it by: subject, people, text and attachment names.
    words: str


@frozen
class Lease:
    """Who makes a delivery, and for how many seconds nobody else does."""

    holder: str
    seconds: float


@frozen(kw_only=True)
class NewDelivery:
    """A recipient's copy that is to leave."""

    delivery_id: str
    mail_from: str
    rcpt_to: str
    destination: str
    due_at: datetime
    expires_at: datetime
    # Whose it is from the beginning; due_at counts for nothing then.
    lease: Lease | None = None
    wants_dsn: bool = False
    notify: str | None = None
    orcpt: str | None = None
    ret: str | None = None
    envid: str | None = None


@frozen(kw_only=True)
class Idempotency:
    """The key under which a request may be sent again without a second mail."""

    scope: str
    idempotency_key: str
    request: bytes


@frozen(kw_only=True)
class Filing:
    """One message that is to enter a folder, with all that enters with it.

    ``content`` is what is to be stored, or the id of what is stored already. The
    ``ancestors`` are the keys of the mail that it follows, the closest first.
    ``thread_id`` is used when no thread takes it.
    """

    message_id: str
    customer_id: str
    deployment_id: str
    agent_id: str | None
    inbox_id: str
    folder_id: int
    thread_id: str
    content: NewContent | int
    direction: str
    state: str
    labels: Sequence[str]
    mail_from: str
    rcpt_to: str | None
    tag: str | None
    rfc_message_id: str | None
    in_reply_to: str | None
    reference_ids: Sequence[str]
    ancestors: Sequence[str]
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
    key_id: str | None
    receipt: bytes | None
    event_type: str
    # The event's data, once the thread is known.
    event_data: Callable[[str], str]
    deliveries: Sequence[NewDelivery] = ()
    idempotency: Idempotency | None = None
    # What a mail client says of it, and no label does (RFC 3501, 2.3.2).
    flags: Sequence[str] = ()

    def with_content(self, content_id: int) -> Filing:
        """The same, of a content that is stored already."""
        return evolve(self, content=content_id)


@frozen(kw_only=True)
class Filed:
    """Where a message went, and its content.

    A duplicate is one whose receipt we had already given: it went nowhere.
    """

    message_id: str
    content_id: int = 0
    thread_id: str
    uid: int
    modseq: int
    duplicate: bool = False


@frozen
class Placed:
    """A message on its way in, with the thread, UID and modseq that it got."""

    filing: Filing
    thread_id: str
    uid: int
    modseq: int
