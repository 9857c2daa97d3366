"""Threads of an inbox, with what their messages amount to."""

from __future__ import annotations

from attrs import frozen

from noinfra.model import Thread
from noinfra.store.database import Statements

# Each picked thread, with what its messages amount to.
_SUMMARY = """
    select thread.thread_id, thread.customer_id, thread.inbox_id, thread.subject,
        thread.message_count, thread.last_message_id, thread.created_at,
        thread.updated_at, coalesce(labelled.labels, '{}') as labels,
        coalesce(wrote.senders, '[]') as senders,
        coalesce(got.recipients, '[]') as recipients,
        coalesce(newest.preview, '') as preview, coalesce(total.size, 0) as size,
        coalesce(total.unread, 0) as unread
    from picked as thread
    left join lateral (
        select sum(message.size)::bigint as size,
            count(*) filter (where 'unread' = any(message.labels)) as unread
        from message where message.thread_id = thread.thread_id
    ) as total on true
    left join lateral (
        select array_agg(distinct label order by label) as labels
        from message, unnest(message.labels) as label
        where message.thread_id = thread.thread_id
    ) as labelled on true
    left join lateral (
        select json_agg(distinct who) as senders
        from message, json_array_elements_text(message.from_) as who
        where message.thread_id = thread.thread_id
    ) as wrote on true
    left join lateral (
        select json_agg(distinct who) as recipients
        from message, json_array_elements_text(message.to_) as who
        where message.thread_id = thread.thread_id
    ) as got on true
    left join message as newest on newest.message_id = thread.last_message_id
"""


@frozen(kw_only=True)
class ThreadSummary(Thread):
    """A thread and what its messages amount to; people are JSON arrays."""

    labels: list[str]
    senders: str
    recipients: str
    preview: str
    size: int
    unread: int


class Threads:
    """The table thread."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def page(
        self,
        inbox_id: str,
        *,
        labels: list[str],
        below: str | None,
        above: str | None,
        ascending: bool,
        limit: int,
    ) -> list[ThreadSummary]:
        """By the newest message, whose id the bounds compare.

        With all of the labels, each on some message of the thread. No plan that sorts
        the whole inbox is taken, as `noinfra.store.messages.Messages.select` explains.
        """
        order = "asc" if ascending else "desc"
        return await self._on.many(
            ThreadSummary,
            f"""
            set local enable_sort = off;
            with picked as (
                select * from thread
                where inbox_id = %(inbox_id)s
                and (%(below)s::text is null or last_message_id < %(below)s)
                and (%(above)s::text is null or last_message_id > %(above)s)
                and not exists (
                    select 1 from unnest(%(labels)s::text[]) as wanted
                    where not exists (
                        select 1 from message
                        where message.thread_id = thread.thread_id
                        and wanted = any(labels)
                    )
                )
                order by last_message_id {order} limit %(limit)s
            )
            {_SUMMARY}
            order by thread.last_message_id {order}
            """,
            inbox_id=inbox_id,
            labels=labels,
            below=below,
            above=above,
            limit=limit,
        )

    async def get(self, inbox_id: str, thread_id: str) -> ThreadSummary | None:
        """One thread of an inbox."""
        return await self._on.maybe(
            ThreadSummary,
            f"""
            with picked as (
                select * from thread
                where thread_id = %(thread_id)s and inbox_id = %(inbox_id)s
            )
            {_SUMMARY}
            """,
            inbox_id=inbox_id,
            thread_id=thread_id,
        )

    async def message_ids(self, inbox_id: str, thread_id: str) -> list[str]:
        """The ids of a thread's messages."""
        rows = await self._on.rows(
            """
            select message_id from message
            where thread_id = %(thread_id)s and inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
            thread_id=thread_id,
        )
        return [row[0] for row in rows]
