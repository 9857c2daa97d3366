"""Messages and threads of an inbox, as callers see them."""

from __future__ import annotations

from attrs import frozen

from noinfra.model import Attempt, Delivery, Message
from noinfra.store.database import Statements, Tx

# What the bodies of one answer may come to, in octets, before it ends.
_BODIES = 4 * 1024 * 1024

_COLUMNS = """
    message_id, message.customer_id, message.inbox_id, folder.name as folder, uid,
    message.modseq, thread_id, content_id, direction, state, labels, mail_from, rcpt_to,
    tag, rfc_message_id, in_reply_to, reference_ids, subject, from_, to_, cc, bcc,
    reply_to, preview, attachments, size, sent_at, received_at, updated_at, key_id
"""
# Without a join that PostgreSQL would have to plan.
_COLUMNS_ALONE = _COLUMNS.replace(
    "folder.name as folder",
    "(select name from folder where folder.folder_id = message.folder_id) as folder",
)


@frozen(kw_only=True)
class Selection:
    """Which messages of an inbox; None and empty set no condition.

    ``below`` and ``above`` bound the id, exclusively; people and subject match a part.
    """

    inbox_id: str
    labels: list[str]
    direction: str | None
    folder: str | None
    # Names of folders whose mail is left out.
    hidden: list[str]
    thread_id: str | None
    tag: str | None
    people: str | None
    subject: str | None
    below: str | None
    above: str | None
    unread: bool | None
    has_attachment: bool | None
    ascending: bool
    limit: int


@frozen(kw_only=True)
class StoredLetter(Message):
    """A message with its bodies, and the octets of its header section."""

    text: str | None
    html: str | None
    extracted_text: str | None
    extracted_html: str | None
    header: bytes


class Messages:
    """The table message, read and changed."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def select(self, selection: Selection) -> list[Message]:
        """In the order of their ids, which is the order of arrival.

        A page is read off the index that has this order, from its bound on, and costs
        the same wherever it is. Left to itself, PostgreSQL sorts the whole inbox where
        it expects few rows to fit; and that it does until it has statistics of a new
        table, or where a folder's name is compared in a join. So the names become ids
        first, and no plan with a sort is taken (until the transaction ends).
        """
        order = "asc" if selection.ascending else "desc"
        return await self._on.many(
            Message,
            f"""
            set local enable_sort = off;
            select {_COLUMNS_ALONE} from message
            where inbox_id = %(inbox_id)s
            and (%(labels)s = '{{}}' or labels @> %(labels)s::text[])
            and (%(direction)s::text is null or direction = %(direction)s)
            and folder_id <> all(array(
                select folder_id from folder where inbox_id = %(inbox_id)s
                and (name = any(%(hidden)s::text[]) or name <> %(folder)s::text)
            ))
            and (%(thread_id)s::text is null or thread_id = %(thread_id)s)
            and (%(tag)s::text is null or tag = %(tag)s)
            and (%(people)s::text is null
                or strpos(lower(from_::text), lower(%(people)s)) > 0)
            and (%(subject)s::text is null
                or strpos(lower(subject), lower(%(subject)s)) > 0)
            and (%(below)s::text is null or message_id < %(below)s)
            and (%(above)s::text is null or message_id > %(above)s)
            and (%(unread)s::boolean is null
                or ('unread' = any(labels)) = %(unread)s)
            and (%(has_attachment)s::boolean is null
                or (json_array_length(attachments) > 0) = %(has_attachment)s)
            order by message_id {order} limit %(limit)s
            """,
            inbox_id=selection.inbox_id,
            labels=selection.labels,
            direction=selection.direction,
            folder=selection.folder,
            hidden=selection.hidden,
            thread_id=selection.thread_id,
            tag=selection.tag,
            people=selection.people,
            subject=selection.subject,
            below=selection.below,
            above=selection.above,
            unread=selection.unread,
            has_attachment=selection.has_attachment,
            limit=selection.limit,
        )

    async def get(self, inbox_id: str, message_id: str) -> Message | None:
        """One message of an inbox."""
        return await self._on.maybe(
            Message,
            f"""
            select {_COLUMNS} from message join folder using (folder_id)
            where message_id = %(message_id)s and message.inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
            message_id=message_id,
        )

    async def letter(self, inbox_id: str, message_id: str) -> StoredLetter | None:
        """With its bodies; of the header section at most 256 KiB."""
        return await self._on.maybe(
            StoredLetter,
            f"""
            select {_COLUMNS}, text, html, extracted_text, extracted_html,
                substring(
                    head from 1 for coalesce(
                        nullif(position('\\x0d0a0d0a'::bytea in head), 0) + 1, 262144
                    )
                ) as header
            from message join folder using (folder_id)
            join (select content_id, text, html, extracted_text, extracted_html,
                    substring(octets from 1 for 262144) as head from content
            ) as content using (content_id)
            where message_id = %(message_id)s and message.inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
            message_id=message_id,
        )

    async def letters(
        self, inbox_id: str, thread_id: str, *, above: str | None, limit: int
    ) -> list[StoredLetter]:
        """A thread's messages with their bodies, oldest first, from above an id.

        At most so many, and no more once their bodies are `_BODIES` octets: whoever
        writes to a thread decides how large they are.
        """
        return await self._on.many(
            StoredLetter,
            f"""
            with candidate as (
                select message_id, content_id from message
                where thread_id = %(thread_id)s and inbox_id = %(inbox_id)s
                and (%(above)s::text is null or message_id > %(above)s)
                order by message_id limit %(limit)s
            ),
            page as (
                select message_id, sum(
                    coalesce(octet_length(text), 0) + coalesce(octet_length(html), 0)
                    + coalesce(octet_length(extracted_text), 0)
                    + coalesce(octet_length(extracted_html), 0)
                ) over (
                    order by message_id
                    rows between unbounded preceding and 1 preceding
                ) as before
                from candidate join content using (content_id)
            )
            select {_COLUMNS}, text, html, extracted_text, extracted_html,
                ''::bytea as header
            from message join folder using (folder_id)
            join (select content_id, text, html, extracted_text, extracted_html
                from content
            ) as content using (content_id)
            where message_id in (
                select message_id from page where coalesce(before, 0) < {_BODIES}
            )
            order by message_id
            """,
            inbox_id=inbox_id,
            thread_id=thread_id,
            above=above,
            limit=limit,
        )

    async def newest_of_thread(self, inbox_id: str, thread_id: str) -> Message | None:
        """What an answer to the thread answers."""
        return await self._on.maybe(
            Message,
            f"""
            select {_COLUMNS} from message join folder using (folder_id)
            where thread_id = %(thread_id)s and message.inbox_id = %(inbox_id)s
            order by message_id desc limit 1
            """,
            inbox_id=inbox_id,
            thread_id=thread_id,
        )

    async def deliveries(self, message_id: str) -> list[Delivery]:
        """One for each recipient of an outbound message."""
        return await self._on.many(
            Delivery,
            """
            select delivery_id, customer_id, inbox_id, message_id, mail_from, rcpt_to,
                destination, status, attempts, created_at, due_at, expires_at,
                settled_at, remote_host, code, response, wants_dsn, notify, orcpt, ret,
                envid
            from delivery where message_id = %(message_id)s order by delivery_id
            """,
            message_id=message_id,
        )

    async def attempts(self, message_id: str) -> list[Attempt]:
        """Every attempt at every recipient, in order."""
        return await self._on.many(
            Attempt,
            """
            select delivery_id, rcpt_to, started_at, finished_at, attempt.remote_host,
                remote_address, attempt.code, enhanced, attempt.response, tls
            from attempt join delivery using (delivery_id)
            where message_id = %(message_id)s order by attempt_id
            """,
            message_id=message_id,
        )


async def lock_inbox(tx: Tx, inbox_id: str) -> bool:
    """Wait for our turn at an inbox, as `noinfra.store.placing` does; False: gone."""
    return bool(
        await tx.statement(
            "select 1 from inbox where inbox_id = %(inbox_id)s for no key update",
            inbox_id=inbox_id,
        )
    )


async def relabel(
    tx: Tx,
    inbox_id: str,
    *,
    message_id: str | None = None,
    thread_id: str | None = None,
    add: list[str],
    remove: list[str],
) -> list[str]:
    """Add and remove labels of a message, or of all of a thread; gives the changed.

    Each changed message gets a new modseq (RFC 7162) and an event. The inbox is locked.
    """
    rows = await tx.rows(
        """
        with wanted as (
            select message_id, folder_id, array(
                select distinct label from unnest(labels || %(add)s::text[]) as label
                where label <> all(%(remove)s::text[]) order by label
            ) as labels, labels as before
            from message where inbox_id = %(inbox_id)s
            and (message_id = %(message_id)s or thread_id = %(thread_id)s)
        ),
        changed as (
            select message_id, folder_id, labels, row_number() over (
                partition by folder_id order by message_id
            ) as nth
            from wanted where not (labels @> before and before @> labels)
        ),
        grown as (
            update folder set modseq = folder.modseq + n
            from (
                select folder_id, count(*) as n from changed group by folder_id
            ) as per
            where folder.folder_id = per.folder_id
            returning folder.folder_id, folder.modseq - n as base
        ),
        written as (
            update message set labels = changed.labels, updated_at = now(),
                modseq = grown.base + changed.nth
            from changed join grown using (folder_id)
            where message.message_id = changed.message_id
            returning message.message_id, message.customer_id, message.inbox_id,
                message.thread_id, message.labels
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select 'message.labels.updated', written.customer_id, deployment_id,
                agent_id, inbox_id, thread_id, message_id, json_build_object(
                    'labels', labels, 'added', %(add)s::text[],
                    'removed', %(remove)s::text[]
                )
            from written join inbox using (inbox_id)
        )
        select message_id, pg_notify('noinfra_event', '') from written
        """,
        inbox_id=inbox_id,
        message_id=message_id,
        thread_id=thread_id,
        add=add,
        remove=remove,
    )
    return [row[0] for row in rows]


async def move(tx: Tx, inbox_id: str, message_ids: list[str], folder: str) -> int:
    """Into another folder of the inbox, where they get new UIDs (RFC 6851).

    The inbox is locked. Each moved message has an event of its deletion when it goes to
    Trash.
    """
    return await tx.statement(
        """
        with target as (
            select folder_id from folder
            where inbox_id = %(inbox_id)s and name = %(folder)s
        ),
        moving as (
            select message_id, row_number() over (order by message_id) - 1 as nth
            from message, target
            where message_id = any(%(message_ids)s) and inbox_id = %(inbox_id)s
            and message.folder_id <> target.folder_id
        ),
        grown as (
            update folder set uidnext = uidnext + n, modseq = modseq + n
            from (select count(*) as n from moving) as moved, target
            where folder.folder_id = target.folder_id
            returning folder.folder_id, uidnext - n as uid, modseq - n + 1 as modseq
        ),
        written as (
            update message set folder_id = grown.folder_id, uid = grown.uid + nth,
                modseq = grown.modseq + nth, updated_at = now(), saved_at = now()
            from moving, grown where message.message_id = moving.message_id
            returning message.message_id, message.customer_id, message.inbox_id,
                message.thread_id
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select %(type)s, written.customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id,
                json_build_object('folder', %(folder)s, 'permanent', false)
            from written join inbox using (inbox_id)
        )
        select pg_notify('noinfra_event', '') from written
        """,
        inbox_id=inbox_id,
        message_ids=message_ids,
        folder=folder,
        type="message.deleted" if folder == "Trash" else "message.moved",
    )


async def delete(tx: Tx, inbox_id: str, message_ids: list[str]) -> int:
    """For good, with their deliveries; a thread that is left empty goes too.

    The inbox is locked.
    """
    return await tx.statement(
        """
        with gone as (
            delete from message
            where message_id = any(%(message_ids)s) and inbox_id = %(inbox_id)s
            returning message_id, customer_id, inbox_id, thread_id, content_id
        ),
        unused as (
            insert into unused_content (content_id, customer_id)
            select distinct content_id, customer_id from gone order by content_id
            on conflict (content_id) do update set since = now()
        ),
        left_over as (
            select thread_id, (
                select count(*) from message
                where message.thread_id = per.thread_id
                and message_id <> all(%(message_ids)s)
            ) as n, (
                select max(message_id) from message
                where message.thread_id = per.thread_id
                and message_id <> all(%(message_ids)s)
            ) as last_message_id
            from (select distinct thread_id from gone) as per
        ),
        emptied as (
            delete from thread using left_over
            where thread.thread_id = left_over.thread_id and n = 0
        ),
        forgotten as (
            delete from thread_reference using left_over
            where thread_reference.thread_id = left_over.thread_id and n = 0
        ),
        shortened as (
            update thread set message_count = n,
                last_message_id = left_over.last_message_id, updated_at = now()
            from left_over where thread.thread_id = left_over.thread_id and n > 0
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select 'message.deleted', gone.customer_id, deployment_id, agent_id,
                inbox_id, thread_id, message_id,
                json_build_object('permanent', true)
            from gone join inbox using (inbox_id)
        )
        select pg_notify('noinfra_event', '') from gone
        """,
        inbox_id=inbox_id,
        message_ids=message_ids,
    )
