"""The log of events: written with what they tell of, read from a cursor.

A reader's cursor is a `Position`. It is given only events whose transaction id lies
below the oldest transaction that still runs: all that can ever come before them is
there, so a reader that moves its cursor on misses nothing.
"""

from __future__ import annotations

from attrs import frozen

from noinfra.model import Event
from noinfra.store.database import Statements
from noinfra.store.parameters import Json


@frozen(order=True)
class Position:
    """A place in the log; events are in this order."""

    txid: int
    seq: int


START = Position(0, 0)


@frozen(kw_only=True)
class Wanted:
    """Which events; None and empty set no condition. A type may end in ``*``."""

    customer_id: str | None = None
    deployment_id: str | None = None
    agent_id: str | None = None
    inbox_id: str | None = None
    thread_id: str | None = None
    types: tuple[str, ...] = ()


class Events:
    """The table event."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def after(
        self, position: Position, wanted: Wanted, limit: int
    ) -> list[Event]:
        """The events that follow a position, in order."""
        return await self._on.many(
            Event,
            """
            select seq, txid, type, created_at, customer_id, deployment_id, agent_id,
                inbox_id, thread_id, message_id, data
            from event
            where (txid, seq) > (%(txid)s::text::xid8, %(seq)s)
            and txid < event_horizon(pg_current_snapshot())
            and (%(customer_id)s::text is null or customer_id = %(customer_id)s)
            and (%(deployment_id)s::text is null or deployment_id = %(deployment_id)s)
            and (%(agent_id)s::text is null or agent_id = %(agent_id)s)
            and (%(inbox_id)s::text is null or inbox_id = %(inbox_id)s)
            and (%(thread_id)s::text is null or thread_id = %(thread_id)s)
            and (%(types)s::text[] = '{}' or type = any(%(types)s::text[])
                or exists (
                    select 1 from unnest(%(types)s::text[]) as pattern
                    where right(pattern, 1) = '*'
                    and starts_with(type, left(pattern, -1))
                ))
            order by txid, seq limit %(limit)s
            """,
            txid=str(position.txid),
            seq=position.seq,
            customer_id=wanted.customer_id,
            deployment_id=wanted.deployment_id,
            agent_id=wanted.agent_id,
            inbox_id=wanted.inbox_id,
            thread_id=wanted.thread_id,
            types=list(wanted.types),
            limit=limit,
        )

    async def end(self) -> Position:
        """Where the log ends now, for a reader that wants only what comes."""
        rows = await self._on.rows(
            """
            select txid, seq from event
            where txid < event_horizon(pg_current_snapshot())
            order by txid desc, seq desc limit 1
            """
        )
        return Position(*rows[0]) if rows else START

    async def behind(self, position: Position) -> bool:
        """Whether there are events after a position, hidden ones included.

        An older transaction may keep them from readers, and end without a word.
        """
        found: bool = await self._on.value(
            """
            select exists (
                select 1 from event
                where (txid, seq) > (%(txid)s::text::xid8, %(seq)s)
            )
            """,
            txid=str(position.txid),
            seq=position.seq,
        )
        return found

    async def add(
        self,
        type: str,
        *,
        customer_id: str,
        data: dict[str, object],
        deployment_id: str | None = None,
        agent_id: str | None = None,
        inbox_id: str | None = None,
        thread_id: str | None = None,
        message_id: str | None = None,
    ) -> None:
        """Write an event, in the transaction that makes it true."""
        await self._on.statement(
            """
            with told as (
                insert into event (type, customer_id, deployment_id, agent_id, inbox_id,
                    thread_id, message_id, data)
                values (%(type)s, %(customer_id)s, %(deployment_id)s, %(agent_id)s,
                    %(inbox_id)s, %(thread_id)s, %(message_id)s, %(data)s)
            )
            select pg_notify('noinfra_event', '')
            """,
            type=type,
            customer_id=customer_id,
            deployment_id=deployment_id,
            agent_id=agent_id,
            inbox_id=inbox_id,
            thread_id=thread_id,
            message_id=message_id,
            data=Json(data),
        )
