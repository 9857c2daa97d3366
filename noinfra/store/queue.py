"""The outbound queue: what is due is claimed, done, and settled.

A claim moves a delivery's ``due_at`` to the end of a lease and writes the holder's
name; who dies leaves a delivery that is due again. Only the holder of the lease may
settle. A process that carries what it sends itself files it under its lease at once.

Destinations are walked by the index, from one to the next: however long the backlog of
one is, looking past it costs a single probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import frozen

from noinfra.model import Attempt
from noinfra.store.database import Statements
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
    # Whether the destination was in trouble.
    ill: bool
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


# Each destination that awaits something, with the time when its oldest is due.
_WAITING = """
    waiting as (
        (
            select destination, due_at from delivery
            where status in ('queued', 'deferred')
            order by destination, due_at limit 1
        )
        union all
        select following.destination, following.due_at
        from waiting cross join lateral (
            select destination, due_at from delivery
            where status in ('queued', 'deferred')
            and destination > waiting.destination
            order by destination, due_at limit 1
        ) as following
    )
"""


class Queue:
    """The tables delivery and destination, for the worker."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def claim(
        self,
        lease: str,
        *,
        seconds: float,
        held: Mapping[str, int],
        each: int,
        limit: int,
    ) -> list[Claimed]:
        """Take what is due, of each destination the oldest first, up to ``each``.

        Where there is not room for all, destinations take turns: those that have the
        fewest in hand come first, so that no backlog keeps others from their mail.

        :param held: how many we have in hand, by destination.
        """
        return await self._on.many(
            Claimed,
            f"""
            with recursive {_WAITING},
            open as (
                select destination, coalesce(n, 0) as n
                from waiting
                left join destination using (destination)
                left join unnest(%(names)s::text[], %(counts)s::int[])
                    as held (destination, n) using (destination)
                where due_at <= now() and coalesce(n, 0) < %(each)s
                and (paused_until is null or paused_until <= now())
                order by 2, due_at limit %(limit)s
            ),
            candidate as (
                select delivery_id
                from open cross join lateral (
                    select delivery_id, due_at,
                        row_number() over (order by due_at, delivery_id) as nth
                    from delivery
                    where status in ('queued', 'deferred') and due_at <= now()
                    and delivery.destination = open.destination
                    order by due_at, delivery_id
                    limit least(%(each)s - n, %(limit)s)
                ) as oldest
                order by n + nth, due_at limit %(limit)s
            ),
            due as (
                select delivery_id from delivery join candidate using (delivery_id)
                where status in ('queued', 'deferred') and due_at <= now()
                for update of delivery skip locked
            )
            update delivery set lease = %(lease)s,
                due_at = now() + %(seconds)s * interval '1 second'
            from due, message, content
            where delivery.delivery_id = due.delivery_id
            and message.message_id = delivery.message_id
            and content.content_id = message.content_id
            returning delivery.delivery_id, delivery.customer_id, delivery.inbox_id,
                delivery.message_id, content.content_id, content.size,
                delivery.mail_from, delivery.rcpt_to, destination,
                exists (
                    select from destination as found
                    where found.destination = delivery.destination and failures > 0
                ) as ill,
                attempts, delivery.created_at, expires_at, wants_dsn, notify, orcpt,
                ret, envid
            """,
            lease=lease,
            seconds=seconds,
            names=list(held),
            counts=list(held.values()),
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
        released = await self._on.statement(
            """
            update delivery set due_at = now(), lease = null
            where lease = %(lease)s and status in ('queued', 'deferred')
            """,
            lease=lease,
        )
        if released:
            # The others sleep until what they know of is due.
            await self._on.statement("select pg_notify('noinfra_due', '')")
        return released

    async def last_tried(self, delivery_id: str) -> datetime | None:
        """When the last attempt of a delivery ended, if there was one."""
        found: datetime | None = await self._on.value(
            """
            select max(finished_at) from attempt where delivery_id = %(delivery_id)s
            """,
            delivery_id=delivery_id,
        )
        return found

    async def next_due(self, full: Sequence[str] = ()) -> float | None:
        """In how many seconds the next delivery is due, if there is one.

        :param full: destinations that we cannot take more of now.
        """
        found: float | None = await self._on.value(
            f"""
            with recursive {_WAITING}
            select extract(
                epoch from min(greatest(due_at, paused_until)) - now()
            )::double precision
            from waiting left join destination using (destination)
            where destination <> all(%(full)s::text[])
            """,
            full=list(full),
        )
        return found


async def settle(on: Statements, lease: str, settlements: Sequence[Settlement]) -> int:
    """Write what became of deliveries, with their attempts, events and messages.

    :returns: how many there were: one whose lease is no longer ours is left to its new
        holder.

    All is one transaction and one round trip: who files mail waits for these inboxes.
    They are locked first, as everywhere: nobody can hold what we are about to wait for.
    """
    attempts = [(one.claimed, made) for one in settlements for made in one.attempts]
    settled = await on.rows(
        f"{_LOCK};{_SETTLE}",
        inbox_ids=sorted({one.claimed.inbox_id for one in settlements}),
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
    return len(settled)


_LOCK = """
    select 1 from inbox where inbox_id = any(%(inbox_ids)s)
    order by inbox_id for no key update
"""

# A message's state is the worst of its deliveries; sent once all are accepted. A
# statement does not see its own changes: what is settled is laid over what was.
# Whatever the state, there are more attempts now, and so another modseq.
_SETTLE = """
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
            delivery.message_id, delivery.status, type, data
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
    each as (
        select message_id, status from settled
        union all
        select message_id, status from delivery
        where message_id in (select message_id from settled)
        and delivery_id not in (select delivery_id from settled)
    ),
    now_is as (
        select message_id, case
            when bool_or(status = 'deferred') then 'deferred'
            when bool_or(status = 'queued') then 'queued'
            when bool_or(status = 'failed') then 'failed'
            else 'delivered'
        end as state
        from each group by message_id
    ),
    written as (
        update message set state = now_is.state, updated_at = now()
        from now_is
        where message.message_id = now_is.message_id and message.state <> now_is.state
        returning message.message_id, message.customer_id, message.inbox_id,
            message.state
    ),
    grown as (
        update folder set modseq = modseq + 1
        where folder_id in (
            select folder_id from message
            where message_id in (select message_id from settled)
        )
    ),
    told as (
        insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
            thread_id, message_id, data)
        select type, news.customer_id, deployment_id, agent_id, news.inbox_id,
            thread_id, message_id, data
        from (
            select 1 as nth, type, customer_id, inbox_id, message_id, data from settled
            union all
            select 2, 'message.sent', customer_id, inbox_id, message_id,
                json_build_object('state', state)
            from written where state = 'delivered'
        ) as news
        join inbox using (inbox_id) join message using (message_id)
        order by nth
    )
    select message_id, pg_notify('noinfra_event', '') from settled
"""


async def remember(
    on: Statements, troubled: Sequence[Trouble], well: Sequence[str]
) -> None:
    """Note how destinations were found.

    One in trouble is left alone for half a minute, then twice as long each time, at
    most half an hour; a good turn clears it.
    """
    if well:
        await on.statement(
            """
            with ill as (
                select destination from destination
                where destination = any(%(well)s) and failures > 0
                order by destination for update
            )
            update destination set failures = 0, paused_until = null, updated_at = now()
            from ill where destination.destination = ill.destination
            """,
            well=sorted(well),
        )
    if troubled:
        await on.statement(
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
            -- What was under way together is one trouble.
            where destination.paused_until is null
                or destination.paused_until <= now()
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
