"""The rows that a batch of mail amounts to, and the one statement that writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from noinfra.store.database import Tx
from noinfra.store.filing import Filing, Idempotency, NewContent, NewDelivery, Placed
from noinfra.store.parameters import Values


async def insert(
    tx: Tx, placed: Sequence[Placed], references: list[tuple[Any, ...]]
) -> dict[tuple[str, bytes], int]:
    """Write all rows of a batch, of every table, in one statement.

    :param references: rows of thread_reference, in the order of `_REFERENCE`.
    :returns: the ids of the contents, by customer and hash.
    """
    filings = [one.filing for one in placed]
    contents = {
        (one.customer_id, one.content.sha256): _content_row(
            one.customer_id, one.content
        )
        for one in filings
        if isinstance(one.content, NewContent)
    }
    rows: dict[_Table, list[tuple[Any, ...]]] = {
        # In order, so that two batches cannot wait for each other.
        _CONTENT if contents else _NO_CONTENT: (
            [contents[key] for key in sorted(contents)] or [()]
        ),
        _THREAD: _thread_rows(placed),
        _REFERENCE: references,
        _MESSAGE: [_message_row(one) for one in placed],
        _EVENT: [_event_row(one) for one in placed],
        _DELIVERY: [_delivery_row(f, one) for f in filings for one in f.deliveries],
        _IDEMPOTENCY: [
            _idempotency_row(f, f.idempotency) for f in filings if f.idempotency
        ],
    }
    written = {table: some for table, some in rows.items() if some}
    inserts = ",\n".join(f"{table.name} as ({table.insert})" for table in written)
    # Mail that somebody holds from the beginning is no news to the queue.
    due = any(not one.lease for filing in filings for one in filing.deliveries)
    found = await tx.rows(
        f"""
        with {inserts}
        select customer_id, sha256, content_id
        from (select {_WAKE_DELIVERY if due else _WAKE_READERS}) as woken
        left join new_content on true
        """,
        **{table.name: Values(table.template, some) for table, some in written.items()},
    )
    return {(row[0], row[1]): row[2] for row in found}


@frozen(eq=False)
class _Table:
    """An insert of many rows, its place for them, and the form of one row."""

    name: str
    insert: str
    template: str


_WAKE_READERS = "pg_notify('noinfra_event', '')"
_WAKE_DELIVERY = f"{_WAKE_READERS}, pg_notify('noinfra_due', '')"

# The update of nothing is what makes an existing row come back, locked against the
# sweeping of contents that no message refers to.
_CONTENT = _Table(
    "new_content",
    """
    insert into content (
        customer_id, sha256, size, octets, parts, envelope, bodystructure,
        text, html, extracted_text, extracted_html, search
    ) values %(new_content)s
    on conflict (customer_id, sha256) do update set size = excluded.size
    returning content_id, customer_id, sha256
    """,
    "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, to_tsvector('english', %s))",
)
_NO_CONTENT = _Table(
    "new_content",
    """
    select null::bigint as content_id, null::text as customer_id, null::bytea as sha256
    from (values %(new_content)s) as none where false
    """,
    "(null)",
)
_THREAD = _Table(
    "new_thread",
    """
    insert into thread (
        thread_id, customer_id, inbox_id, subject, message_count, last_message_id,
        created_at, updated_at
    ) values %(new_thread)s
    on conflict (thread_id) do update set
        message_count = thread.message_count + excluded.message_count,
        last_message_id = greatest(thread.last_message_id, excluded.last_message_id),
        updated_at = greatest(thread.updated_at, excluded.updated_at)
    """,
    "(%s, %s, %s, %s, %s, %s, %s, %s)",
)
_REFERENCE = _Table(
    "new_reference",
    """
    insert into thread_reference (inbox_id, digest, customer_id, thread_id, awaited)
    values %(new_reference)s
    on conflict (inbox_id, digest) do update set awaited = excluded.awaited
    """,
    "(%s, %s, %s, %s, %s)",
)
_MESSAGE = _Table(
    "new_message",
    """
    insert into message (
        message_id, customer_id, inbox_id, folder_id, uid, modseq, thread_id,
        direction, state, labels, mail_from, rcpt_to, tag, rfc_message_id, in_reply_to,
        reference_ids, subject, from_, to_, cc, bcc, reply_to, preview, attachments,
        size, sent_at, received_at, updated_at, key_id, receipt, flags, content_id
    )
    select
        new.message_id, new.customer_id, inbox_id, folder_id, uid, modseq, thread_id,
        direction, state, labels, mail_from, rcpt_to, tag, rfc_message_id, in_reply_to,
        reference_ids, subject, from_, to_, cc, bcc, reply_to, preview, attachments,
        new.size, sent_at, received_at, received_at, key_id, receipt, flags,
        coalesce(new.content_id, new_content.content_id)
    from (values %(new_message)s) as new (
        message_id, customer_id, inbox_id, folder_id, uid, modseq, thread_id,
        direction, state, labels, mail_from, rcpt_to, tag, rfc_message_id, in_reply_to,
        reference_ids, subject, from_, to_, cc, bcc, reply_to, preview, attachments,
        size, sent_at, received_at, key_id, receipt, flags, content_id, sha256
    )
    left join new_content on new_content.customer_id = new.customer_id
        and new_content.sha256 = new.sha256
    """,
    "(%s, %s, %s, %s::bigint, %s::bigint, %s::bigint, %s, %s, %s, %s::text[], %s, %s,"
    " %s, %s, %s, %s::text[], %s, %s::json, %s::json, %s::json, %s::json, %s::json, %s,"
    " %s::json, %s::bigint, %s::timestamptz, %s::timestamptz, %s, %s::bytea,"
    " %s::text[], %s::bigint, %s::bytea)",
)
_EVENT = _Table(
    "new_event",
    """
    insert into event (
        type, customer_id, deployment_id, agent_id, inbox_id, thread_id, message_id,
        data
    ) values %(new_event)s
    """,
    "(%s, %s, %s, %s, %s, %s, %s, %s)",
)
_DELIVERY = _Table(
    "new_delivery",
    """
    insert into delivery (
        delivery_id, customer_id, inbox_id, message_id, mail_from, rcpt_to, destination,
        lease, due_at, expires_at, wants_dsn, notify, orcpt, ret, envid
    ) values %(new_delivery)s
    """,
    # The database's clock, since it is what all holders of leases share.
    "(%s, %s, %s, %s, %s, %s, %s, %s,"
    " coalesce(clock_timestamp() + %s * interval '1 second', %s),"
    " %s, %s, %s, %s, %s, %s)",
)
_IDEMPOTENCY = _Table(
    "new_idempotency",
    """
    insert into idempotency (customer_id, scope, idempotency_key, request, message_id)
    values %(new_idempotency)s
    """,
    "(%s, %s, %s, %s, %s)",
)


def _content_row(customer_id: str, content: NewContent) -> tuple[Any, ...]:
    return (
        customer_id,
        content.sha256,
        content.size,
        content.octets,
        content.parts,
        content.envelope,
        content.bodystructure,
        content.text,
        content.html,
        content.extracted_text,
        content.extracted_html,
        content.words,
    )


def _thread_rows(placed: Sequence[Placed]) -> list[tuple[Any, ...]]:
    rows: dict[str, tuple[Any, ...]] = {}
    for one in placed:
        filing, before = one.filing, rows.get(one.thread_id)
        rows[one.thread_id] = (
            one.thread_id,
            filing.customer_id,
            filing.inbox_id,
            before[3] if before else filing.subject,
            before[4] + 1 if before else 1,
            max(before[5], filing.message_id) if before else filing.message_id,
            before[6] if before else filing.received_at,
            filing.received_at,
        )
    return list(rows.values())


def _message_row(placed: Placed) -> tuple[Any, ...]:
    one = placed.filing
    stored = isinstance(one.content, int)
    return (
        one.message_id,
        one.customer_id,
        one.inbox_id,
        one.folder_id,
        placed.uid,
        placed.modseq,
        placed.thread_id,
        one.direction,
        one.state,
        list(one.labels),
        one.mail_from,
        one.rcpt_to,
        one.tag,
        one.rfc_message_id,
        one.in_reply_to,
        list(one.reference_ids),
        one.subject,
        one.from_,
        one.to_,
        one.cc,
        one.bcc,
        one.reply_to,
        one.preview,
        one.attachments,
        one.size,
        one.sent_at,
        one.received_at,
        one.key_id,
        one.receipt,
        list(one.flags),
        one.content if stored else None,
        None if isinstance(one.content, int) else one.content.sha256,
    )


def _event_row(placed: Placed) -> tuple[Any, ...]:
    one = placed.filing
    return (
        one.event_type,
        one.customer_id,
        one.deployment_id,
        one.agent_id,
        one.inbox_id,
        placed.thread_id,
        one.message_id,
        one.event_data(placed.thread_id),
    )


def _delivery_row(filing: Filing, delivery: NewDelivery) -> tuple[Any, ...]:
    return (
        delivery.delivery_id,
        filing.customer_id,
        filing.inbox_id,
        filing.message_id,
        delivery.mail_from,
        delivery.rcpt_to,
        delivery.destination,
        delivery.lease and delivery.lease.holder,
        delivery.lease and delivery.lease.seconds,
        delivery.due_at,
        delivery.expires_at,
        delivery.wants_dsn,
        delivery.notify,
        delivery.orcpt,
        delivery.ret,
        delivery.envid,
    )


def _idempotency_row(filing: Filing, key: Idempotency) -> tuple[Any, ...]:
    return (
        filing.customer_id,
        key.scope,
        key.idempotency_key,
        key.request,
        filing.message_id,
    )
