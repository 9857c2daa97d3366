r"""Messages of a folder changed by their UIDs: flagged, copied, moved.

The inbox is locked (`noinfra.store.messages.lock_inbox`). One statement does it for
many messages: each gets a modseq of its own, in the order of UIDs (RFC 7162), and an
event. UIDs are given in ascending order, and at least one. That something left a folder
is noted by the triggers of 0002_mailboxes.sql.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from noinfra.store.database import Tx
from noinfra.store.mailbox_messages import FlagRow, bounds, flag_row, these

Mode = Literal["add", "remove", "replace"]


@frozen(kw_only=True)
class Marks:
    r"""What STORE does to labels and flags: it adds some, and then removes some.

    With ``replace``, all others go too, but for the labels in ``kept``. A message keeps
    what it has when it would have more than ``most`` labels.
    """

    replace: bool
    add_labels: list[str]
    remove_labels: list[str]
    add_flags: list[str]
    remove_flags: list[str]
    kept: list[str]
    most: int = 100


async def mark(
    tx: Tx,
    inbox_id: str,
    folder_id: int,
    uids: Sequence[int],
    marks: Marks,
    unchanged_since: int | None,
) -> tuple[list[FlagRow], list[int]]:
    """Change flags and labels; gives what the messages have now, in order.

    What has changed after ``unchanged_since`` is left alone, and its UIDs are given
    apart. Most messages have one of few combinations: the new ones are worked out once
    for each.
    """
    rows = await tx.rows(
        f"""
        with found as materialized (
            select message_id, uid, modseq, labels, flags,
                coalesce(modseq <= %(unchanged_since)s, true) as eligible
            from message
            where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            and {these(uids)}
        ),
        kind as materialized (
            select labels as old_labels, flags as old_flags, array(
                select label from unnest(labels || %(add_labels)s::text[]) as label
                where label <> all(%(remove_labels)s::text[]) and (
                    not %(replace)s or label = any(%(add_labels)s::text[])
                    or label = any(%(kept)s::text[])
                )
                group by label order by label
            ) as new_labels, array(
                select flag from unnest(flags || %(add_flags)s::text[]) as flag
                where flag <> all(%(remove_flags)s::text[])
                and (not %(replace)s or flag = any(%(add_flags)s::text[]))
                group by flag order by flag
            ) as new_flags
            from (select distinct labels, flags from found where eligible) as kinds
        ),
        change as materialized (
            select *, not (old_labels @> new_labels and new_labels @> old_labels)
                as relabelled
            from kind
            where cardinality(new_labels) <= %(most)s and not (
                old_labels @> new_labels and new_labels @> old_labels
                and old_flags @> new_flags and new_flags @> old_flags
            )
        ),
        changing as (
            select message_id, uid, new_labels, new_flags, old_labels, relabelled,
                row_number() over (order by uid) as nth
            from found join change on labels = old_labels and flags = old_flags
            where eligible
        ),
        grown as (
            update folder set modseq = modseq + n
            from (select count(*) as n from changing) as all_changing
            where folder_id = %(folder_id)s and n > 0 returning modseq - n as base
        ),
        written as (
            update message set labels = new_labels, flags = new_flags,
                modseq = base + nth, updated_at = now()
            from changing, grown where message.message_id = changing.message_id
            returning message.message_id, message.uid, message.modseq, message.labels,
                message.flags, message.customer_id, message.thread_id, old_labels,
                relabelled
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select
                case when relabelled then 'message.labels.updated'
                    else 'message.flags.updated' end,
                written.customer_id, deployment_id, agent_id, inbox_id, thread_id,
                message_id, case when relabelled then json_build_object(
                    'labels', labels,
                    'added', array(
                        select unnest(labels) except select unnest(old_labels)
                    ),
                    'removed', array(
                        select unnest(old_labels) except select unnest(labels)
                    )
                ) else json_build_object('flags', flags) end
            from written, inbox where inbox_id = %(inbox_id)s
            order by uid
        )
        select uid, modseq, array_to_json(labels), array_to_json(flags), true, true
        from written
        union all
        select uid, modseq, array_to_json(labels), array_to_json(flags), false,
            eligible
        from found where message_id not in (select message_id from written)
        order by 1
        """,
        inbox_id=inbox_id,
        folder_id=folder_id,
        unchanged_since=unchanged_since,
        replace=marks.replace,
        add_labels=marks.add_labels,
        remove_labels=marks.remove_labels,
        add_flags=marks.add_flags,
        remove_flags=marks.remove_flags,
        kept=marks.kept,
        most=marks.most,
        **bounds(uids),
    )
    return (
        [flag_row(row[:5]) for row in rows if row[5]],
        [row[0] for row in rows if not row[5]],
    )


# Where messages go: UIDs and modseqs from the folder's row.
_TARGET = """
    grown as (
        update folder set uidnext = uidnext + n, modseq = modseq + n
        from (select count(*) as n from going) as all_going
        where folder_id = %(target)s
        returning folder_id, name, uidnext - n as uid, modseq - n + 1 as modseq
    )
"""


async def copy(
    tx: Tx,
    inbox_id: str,
    folder_id: int,
    uids: Sequence[int],
    target: int,
    message_ids: list[str],
) -> list[tuple[int, int]]:
    """Into a folder, with flags and dates; gives old UIDs with new ones, in order.

    :param message_ids: the copies' own, ascending, one for each UID.
    """
    rows = await tx.rows(
        f"""
        with going as materialized (
            select message_id, uid, row_number() over (order by uid) - 1 as nth
            from message
            where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            and {these(uids)}
        ),
        {_TARGET},
        written as (
            insert into message (message_id, customer_id, inbox_id, folder_id, uid,
                modseq, thread_id, content_id, direction, state, labels, flags,
                mail_from, rcpt_to, tag, rfc_message_id, in_reply_to, reference_ids,
                subject, from_, to_, cc, bcc, reply_to, preview, attachments, size,
                sent_at, received_at, updated_at, key_id)
            select new.message_id, customer_id, inbox_id, grown.folder_id,
                grown.uid + going.nth, grown.modseq + going.nth, thread_id, content_id,
                direction, state, labels, flags, mail_from, rcpt_to, tag,
                rfc_message_id, in_reply_to, reference_ids, subject, from_, to_, cc,
                bcc, reply_to, preview, attachments, size, sent_at, received_at, now(),
                key_id
            from going join message using (message_id)
            join unnest(%(message_ids)s::text[]) with ordinality
                as new (message_id, nth) on new.nth = going.nth + 1
            cross join grown
            returning message_id, customer_id, inbox_id, thread_id, uid
        ),
        lengthened as (
            update thread set message_count = message_count + n,
                last_message_id = greatest(thread.last_message_id, last),
                updated_at = now()
            from (
                select thread_id, count(*) as n, max(message_id) as last
                from written group by thread_id
            ) as per
            where thread.thread_id = per.thread_id
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select 'message.copied', written.customer_id, deployment_id, agent_id,
                inbox_id, thread_id, message_id, json_build_object('folder', grown.name)
            from written join inbox using (inbox_id) cross join grown
            order by written.uid
        )
        select going.uid, grown.uid + nth from going, grown order by 1
        """,
        inbox_id=inbox_id,
        folder_id=folder_id,
        target=target,
        message_ids=message_ids,
        **bounds(uids),
    )
    return [(row[0], row[1]) for row in rows]


async def move(
    tx: Tx, inbox_id: str, folder_id: int, uids: Sequence[int], target: int
) -> list[tuple[int, int]]:
    """Into a folder (RFC 6851); gives old UIDs with new ones, in order.

    The events are those of `noinfra.store.messages.move`.
    """
    rows = await tx.rows(
        f"""
        with going as materialized (
            select message_id, uid, row_number() over (order by uid) - 1 as nth
            from message
            where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            and {these(uids)}
        ),
        {_TARGET},
        written as (
            update message set folder_id = grown.folder_id, uid = grown.uid + nth,
                modseq = grown.modseq + nth, updated_at = now(), saved_at = now()
            from going, grown where message.message_id = going.message_id
            returning message.message_id, message.customer_id, message.inbox_id,
                message.thread_id, message.uid
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select
                case when grown.name = 'Trash' then 'message.deleted'
                    else 'message.moved' end,
                written.customer_id, deployment_id, agent_id, inbox_id, thread_id,
                message_id,
                json_build_object('folder', grown.name, 'permanent', false)
            from written join inbox using (inbox_id) cross join grown
            order by written.uid
        )
        select going.uid, grown.uid + nth from going, grown order by 1
        """,
        inbox_id=inbox_id,
        folder_id=folder_id,
        target=target,
        **bounds(uids),
    )
    return [(row[0], row[1]) for row in rows]


async def wake_readers(tx: Tx) -> None:
    """Have the readers of the log told, when this is committed."""
    await tx.statement("select pg_notify('noinfra_event', '')")
