"""The outbound queue: what is due is claimed, done, and settled.

A claim moves a delivery's ``due_at`` to the end of a lease and writes the holder's name;
who dies leaves a delivery that is due again. Only the holder of the lease may settle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from noinfra.model import Attempt
from noinfra.store.database import Statements, Tx
from noinfra.store.parameters import Json, Values


@frozen(kw_only=True)
class Claimed:
    """A delivery that is ours to make until the lease ends."""

    delivery_id: str
    customer_id: str
    inbox_id: str
    message_id: str
    content_id: int
    size: int
    mail_from: str
    rcpt_to: str
    destination: str
    attempts: int
    created_at: datetime
    expires_at: datetime
    wants_dsn: bool
    notify: str | None
    orcpt: str | None
    ret: str | None
    envid: str | None


@frozen(kw_only=True)
class Settlement:
    """What became of a delivery; ``event_data`` is what the event tells of it."""

    claimed: Claimed
    status: str
    due_at: datetime
    event_type: str
    event_data: dict[str, object]
    attempts: Sequence[Attempt]


@frozen(kw_only=True)
class Trouble:
    """A destination that could not be spoken with, and what was the last of it."""

    destination: str
    remote_host: str | None
    code: int | None
    response: str


class Queue:
    """The tables delivery and destination, for the worker."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def claim(
        self, lease: str, *, seconds: float, full: list[str], each: int, limit: int
    ) -> list[Claimed]:
        """Take what is due: of each destination at most so many, the oldest first.

        The walk from destination to destination is by the index, so a long backlog at
        one costs the others nothing.

        :param full: destinations at which we have enough to do.
        """
        return await self._on.many(
            Claimed,
            """
            with recursive waiting as (
                (
                    select destination from delivery
                    where status in ('queued', 'deferred')
                    order by destination limit 1
                )
                union all
                select (
                    select destination from delivery
                    where status in ('queued', 'deferred')
                    and destination > waiting.destination
                    order by destination limit 1
                )
                from waiting where destination is not null
            ),
            due as (
                select oldest.delivery_id
                from waiting
                left join destination using (destination)
                cross join lateral (
                    select delivery_id from delivery
                    where status in ('queued', 'deferred') and due_at <= now()
                    and delivery.destination = waiting.destination
                    order by due_at limit %(each)s
                    for update skip locked
                ) as oldest
                where waiting.destination <> all(%(full)s::text[])
                and (paused_until is null or paused_until <= now())
                limit %(limit)s
            )
            update delivery set lease = %(lease)s,
                due_at = now() + %(seconds)s * interval '1 second'
            from due, message, content
            where delivery.delivery_id = due.delivery_id
            and message.message_id = delivery.message_id
            and content.content_id = message.content_id
            returning delivery.delivery_id, delivery.customer_id, delivery.inbox_id,
                delivery.message_id, content.content_id, content.size,
                delivery.mail_from, delivery.rcpt_to, destination, attempts,
                delivery.created_at, expires_at, wants_dsn, notify, orcpt, ret, envid
            """,
            lease=lease,
            seconds=seconds,
            full=full,
            each=each,
            limit=limit,
        )

    async def renew(self, lease: str, delivery_ids: list[str], seconds: float) -> None:
        """We are still at it."""
        await self._on.statement(
            """
            update delivery set due_at = now() + %(seconds)s * interval '1 second'
            where delivery_id = any(%(delivery_ids)s) and lease = %(lease)s
            """,
            lease=lease,
            delivery_ids=delivery_ids,
            seconds=seconds,
        )

    async def release(self, lease: str) -> int:
        """Give back all that a holder has: we stop, or it died."""
        return await self._on.statement(
            """
            update delivery set due_at = now(), lease = null
            where lease = %(lease)s and status in ('queued', 'deferred')
            """,
            lease=lease,
        )

    async def next_due(self) -> datetime | None:
        """When the next delivery is due, if there is one."""
        found: datetime | None = await self._on.value(
            """
            select min(due_at) from delivery where status in ('queued', 'deferred')
            """
        )
        return found


async def settle(tx: Tx, lease: str, settlements: Sequence[Settlement]) -> int:
    """Write what became of deliveries, their attempts, and their events.

    A delivery whose lease is no longer ours is left to its new holder.
    """
    attempts = [(one.claimed, made) for one in settlements for made in one.attempts]
    settled = await tx.rows(
        """
        with done (delivery_id, status, due_at, remote_host, code, response,
            type, data) as (values %(done)s),
        settled as (
            update delivery set status = done.status, due_at = done.due_at,
                attempts = attempts + 1, lease = null,
                remote_host = done.remote_host, code = done.code,
                response = done.response,
                settled_at = case when done.status in ('delivered', 'failed')
                    then now() end
            from done where delivery.delivery_id = done.delivery_id
            and lease = %(lease)s
            returning delivery.delivery_id, delivery.customer_id, delivery.inbox_id,
                delivery.message_id, type, data
        ),
        tried as (
            insert into attempt (customer_id, delivery_id, started_at, finished_at,
                remote_host, remote_address, code, enhanced, response, tls)
            select settled.customer_id, delivery_id, started_at, finished_at,
                remote_host, remote_address, code, enhanced, response, tls
            from (values %(attempts)s) as made (delivery_id, started_at, finished_at,
                remote_host, remote_address, code, enhanced, response, tls)
            join settled using (delivery_id)
        ),
        told as (
            insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                thread_id, message_id, data)
            select type, settled.customer_id, deployment_id, agent_id,
                settled.inbox_id, thread_id, message_id, data
            from settled join inbox using (inbox_id) join message using (message_id)
        )
        select message_id, pg_notify('noinfra_event', '') from settled
        """,
        lease=lease,
        done=Values(
            "(%s, %s, %s::timestamptz, %s, %s::int, %s, %s, %s::json)",
            [_done_row(one) for one in settlements],
        ),
        attempts=Values(
            "(%s, %s::timestamptz, %s::timestamptz, %s, %s, %s::int, %s, %s, %s)",
            [_attempt_row(claimed, one) for claimed, one in attempts] or [(None,) * 9],
        ),
    )
    await _sum_up(tx, sorted({row[0] for row in settled}))
    return len(settled)


async def _sum_up(tx: Tx, message_ids: list[str]) -> None:
    """A message's state is the worst of its deliveries; sent once all are accepted."""
    await tx.statement(
        """
        with before as (
            select message_id, state from message
            where message_id = any(%(message_ids)s)
            order by message_id for no key update
        ),
        now_is as (
            select message_id, before.state as was, case
                when bool_or(status = 'deferred') then 'deferred'
                when bool_or(status = 'queued') then 'queued'
                when bool_or(status = 'failed') then 'failed'
                else 'delivered'
            end as state
            from before join delivery using (message_id) group by message_id, was
        ),
        written as (
            update message set state = now_is.state, updated_at = now()
            from now_is
            where message.message_id = now_is.message_id and was <> now_is.state
            returning message.message_id, message.customer_id, message.inbox_id,
                message.thread_id, message.state
        )
        insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
            thread_id, message_id, data)
        select 'message.sent', written.customer_id, deployment_id, agent_id,
            inbox_id, thread_id, message_id, json_build_object('state', state)
        from written join inbox using (inbox_id) where state = 'delivered'
        """,
        message_ids=message_ids,
    )


async def remember(tx: Tx, troubled: Sequence[Trouble], well: Sequence[str]) -> None:
    """Note how destinations were found.

    One in trouble is left alone for half a minute, then twice as long each time, at
    most half an hour; a good turn clears it.
    """
    if well:
        await tx.statement(
            """
            update destination set failures = 0, paused_until = null, updated_at = now()
            where destination = any(%(well)s) and failures > 0
            """,
            well=sorted(well),
        )
    if troubled:
        await tx.statement(
            """
            insert into destination (destination, failures, paused_until, remote_host,
                code, response)
            values %(troubled)s
            on conflict (destination) do update set
                failures = destination.failures + 1,
                paused_until = now()
                    + least(30 * 2 ^ least(destination.failures, 10), 1800)
                    * interval '1 second',
                remote_host = excluded.remote_host,
                code = excluded.code,
                response = excluded.response,
                updated_at = now()
            """,
            troubled=Values(
                "(%s, 1, now() + interval '30 seconds', %s, %s, %s)",
                [
                    (one.destination, one.remote_host, one.code, one.response)
                    for one in sorted(troubled, key=lambda one: one.destination)
                ],
            ),
        )


def _done_row(one: Settlement) -> tuple[object, ...]:
    last = one.attempts[-1] if one.attempts else None
    return (
        one.claimed.delivery_id,
        one.status,
        one.due_at,
        last.remote_host if last else None,
        last.code if last else None,
        last.response if last else None,
        one.event_type,
        Json(one.event_data),
    )


def _attempt_row(claimed: Claimed, one: Attempt) -> tuple[object, ...]:
    return (
        claimed.delivery_id,
        one.started_at,
        one.finished_at,
        one.remote_host,
        one.remote_address,
        one.code,
        one.enhanced,
        one.response,
        one.tls,
    )
