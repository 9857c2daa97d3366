"""Folders as mail clients see them: names, counts, UIDs, and what has changed since.

Counts are columns of the folder, kept by triggers (see 0002_mailboxes.sql). What is
read here is one statement each, and so of one moment.
"""

from __future__ import annotations

import sys
from array import array

from attrs import frozen

from noinfra.store.database import Statements
from noinfra.store.mailbox_messages import FLAG_COLUMNS, FlagRow, flag_row

_COLUMNS = """
    folder_id, name, special_use, subscribed, uidvalidity, uidnext, modseq, messages,
    unseen, deleted, octets, forgotten
"""


@frozen(kw_only=True)
class Folder:
    """An IMAP mailbox of an inbox, with what STATUS tells of it.

    Which UIDs left it up to the modseq ``forgotten`` is not known any more.
    """

    folder_id: int
    name: str
    special_use: str | None
    subscribed: bool
    uidvalidity: int
    uidnext: int
    modseq: int
    messages: int
    unseen: int
    deleted: int
    octets: int
    forgotten: int


@frozen(kw_only=True)
class Snapshot:
    """A folder at one moment; ``first_unseen`` is a UID."""

    folder: Folder
    uids: array[int]
    first_unseen: int | None


@frozen(kw_only=True)
class Changes:
    """What has become of a folder after a modseq, up to its own ``modseq``.

    ``changed`` is in the order of modseq, and holds what came too. With ``more``, there
    is more after ``modseq``. When not ``complete``, UIDs may have gone that are not
    among the ``vanished``: gone is whatever the folder does not hold.
    """

    modseq: int
    uidnext: int
    changed: list[FlagRow]
    vanished: list[int]
    complete: bool
    more: bool


class Folders:
    """The tables folder, expunged and subscription."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def all(self, inbox_id: str) -> list[Folder]:
        """The folders of an inbox, in no order."""
        return await self._on.many(
            Folder,
            f"select {_COLUMNS} from folder where inbox_id = %(inbox_id)s",
            inbox_id=inbox_id,
        )

    async def subscriptions(self, inbox_id: str) -> list[str]:
        """Names that are subscribed to and have no folder."""
        rows = await self._on.rows(
            "select name from subscription where inbox_id = %(inbox_id)s",
            inbox_id=inbox_id,
        )
        return [row[0] for row in rows]

    async def named(self, inbox_id: str, name: str) -> Folder | None:
        """The folder of a name."""
        return await self._on.maybe(
            Folder,
            f"""
            select {_COLUMNS} from folder
            where inbox_id = %(inbox_id)s and name = %(name)s
            """,
            inbox_id=inbox_id,
            name=name,
        )

    async def get(self, inbox_id: str, folder_id: int) -> Folder | None:
        """A folder, if it is still there."""
        return await self._on.maybe(
            Folder,
            f"""
            select {_COLUMNS} from folder
            where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
            folder_id=folder_id,
        )

    async def add(self, inbox_id: str, customer_id: str, names: list[str]) -> None:
        """Make folders, subscribed to where the name was; the inbox is locked.

        :raises UniqueViolation: a name is taken.
        """
        await self._on.statement(
            """
            with counted as (
                update inbox set uidvalidity = %(n)s + greatest(
                    uidvalidity, extract(epoch from now())::bigint
                )
                where inbox_id = %(inbox_id)s returning uidvalidity - %(n)s as base
            ),
            lapsed as (
                delete from subscription
                where inbox_id = %(inbox_id)s and name = any(%(names)s)
                returning name
            )
            insert into folder (customer_id, inbox_id, name, uidvalidity, subscribed)
            select %(customer_id)s, %(inbox_id)s, name, base + nth,
                name in (select name from lapsed)
            from counted, unnest(%(names)s::text[]) with ordinality as new (name, nth)
            """,
            inbox_id=inbox_id,
            customer_id=customer_id,
            names=names,
            n=len(names),
        )

    async def rename(self, inbox_id: str, old: str, new: str) -> None:
        """A folder and those below it; the inbox is locked.

        :raises UniqueViolation: a name is taken.
        """
        await self._on.statement(
            """
            update folder set name = %(new)s || substr(name, length(%(old)s) + 1)
            where inbox_id = %(inbox_id)s
            and (name = %(old)s or starts_with(name, %(old)s || '/'))
            """,
            inbox_id=inbox_id,
            old=old,
            new=new,
        )

    async def remove(self, folder_id: int) -> None:
        """An empty folder; that it was subscribed to is kept."""
        await self._on.statement(
            """
            with gone as (
                delete from folder where folder_id = %(folder_id)s
                returning inbox_id, name, customer_id, subscribed
            )
            insert into subscription (inbox_id, name, customer_id)
            select inbox_id, name, customer_id from gone where subscribed
            on conflict do nothing
            """,
            folder_id=folder_id,
        )

    async def has_unsettled(self, folder_id: int) -> bool:
        """Whether mail in it is still to be delivered."""
        found: bool = await self._on.value(
            """
            select exists (
                select 1 from message join delivery using (message_id)
                where folder_id = %(folder_id)s and status in ('queued', 'deferred')
            )
            """,
            folder_id=folder_id,
        )
        return found

    async def message_ids(self, folder_id: int) -> list[str]:
        """All that it holds."""
        rows = await self._on.rows(
            "select message_id from message where folder_id = %(folder_id)s",
            folder_id=folder_id,
        )
        return [row[0] for row in rows]

    async def subscribe(self, inbox_id: str, customer_id: str, name: str) -> None:
        """To a name, whether a folder has it or not."""
        await self._on.statement(
            """
            with known as (
                update folder set subscribed = true
                where inbox_id = %(inbox_id)s and name = %(name)s returning 1
            )
            insert into subscription (inbox_id, name, customer_id)
            select %(inbox_id)s, %(name)s, %(customer_id)s
            where not exists (select 1 from known) on conflict do nothing
            """,
            inbox_id=inbox_id,
            customer_id=customer_id,
            name=name,
        )

    async def unsubscribe(self, inbox_id: str, name: str) -> None:
        """From a name."""
        await self._on.statement(
            """
            with known as (
                update folder set subscribed = false
                where inbox_id = %(inbox_id)s and name = %(name)s
            )
            delete from subscription
            where inbox_id = %(inbox_id)s and name = %(name)s
            """,
            inbox_id=inbox_id,
            name=name,
        )

    async def snapshot(self, inbox_id: str, name: str) -> Snapshot | None:
        """A folder with its UIDs.

        Where most UIDs that were ever given are still there, and what has gone is
        known, what is left follows from that, and no message is looked at. Otherwise
        they are read off the index message_by_uid alone.
        """
        rows = await self._on.rows(
            f"""
            select {_COLUMNS}, case when gone.n <> uidnext - 1 - messages then (
                select string_agg(int8send(uid), ''::bytea) from (
                    select uid from message
                    where message.folder_id = folder.folder_id order by uid
                ) as in_order
            ) end, gone.uids, gone.n = uidnext - 1 - messages,
            case when unseen > 0 then (
                select min(uid) from message
                where message.folder_id = folder.folder_id and 'unread' = any(labels)
            ) end
            from folder cross join lateral (
                select count(*) as n,
                    string_agg(int8send(uid), ''::bytea order by uid) as uids
                from expunged where expunged.folder_id = folder.folder_id
                and 8 * (uidnext - 1 - messages) <= messages
            ) as gone
            where inbox_id = %(inbox_id)s and name = %(name)s
            """,
            inbox_id=inbox_id,
            name=name,
        )
        if not rows:
            return None
        *columns, there, gone, is_rest, first_unseen = rows[0]
        names = [name.strip() for name in _COLUMNS.split(",")]
        folder = Folder(**dict(zip(names, columns, strict=True)))
        return Snapshot(
            folder=folder,
            uids=_without(_uids(gone), folder.uidnext) if is_rest else _uids(there),
            first_unseen=first_unseen,
        )

    async def changes(
        self, inbox_id: str, folder_id: int, since: int, limit: int
    ) -> Changes | None:
        """What has become of a folder; None when it is gone."""
        rows = await self._on.rows(
            f"""
            with folder as (
                select folder_id, modseq, uidnext, forgotten from folder
                where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            ),
            page as (
                select {FLAG_COLUMNS} from message
                where folder_id = %(folder_id)s and modseq > %(since)s
                order by modseq limit %(limit)s
            ),
            reached as (
                select case when (select count(*) from page) = %(limit)s
                    then (select max(modseq) from page) else modseq end as modseq
                from folder
            ),
            gone as (
                select uid from expunged, reached
                where folder_id = %(folder_id)s and expunged.modseq > %(since)s
                and expunged.modseq <= reached.modseq
            )
            select 0 as kind, reached.modseq as uid, uidnext as modseq,
                null::json as labels, null::json as flags,
                forgotten <= %(since)s as complete,
                reached.modseq < folder.modseq as more
            from folder, reached
            union all
            select 1, page.*, null, null from page
            union all
            select 2, uid, null, null, null, null, null from gone
            order by 1, 3, 2
            """,
            inbox_id=inbox_id,
            folder_id=folder_id,
            since=since,
            limit=limit,
        )
        if not rows:
            return None
        return Changes(
            modseq=rows[0][1],
            uidnext=rows[0][2],
            changed=[flag_row(row[1:5]) for row in rows if row[0] == 1],
            vanished=[row[1] for row in rows if row[0] == 2],
            complete=rows[0][5],
            more=rows[0][6],
        )

    async def usage(self, inbox_id: str) -> tuple[int, int]:
        """How many messages an inbox holds, and how many octets."""
        rows = await self._on.rows(
            """
            select coalesce(sum(messages), 0)::bigint, coalesce(sum(octets), 0)::bigint
            from folder where inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
        )
        return rows[0][0], rows[0][1]

    async def forget(self) -> int:
        """Drop what was expunged a month ago; who was away longer compares all UIDs."""
        dropped: int = await self._on.value(
            """
            with dropped as (
                delete from expunged where expunged_at < now() - interval '30 days'
                returning folder_id, modseq
            ),
            noted as (
                update folder set forgotten = greatest(forgotten, last)
                from (
                    select folder_id, max(modseq) as last from dropped
                    group by folder_id
                ) as per
                where folder.folder_id = per.folder_id
            )
            select count(*) from dropped
            """
        )
        return dropped


def _uids(octets: bytes | None) -> array[int]:
    """UIDs out of eight octets each, most significant first."""
    uids = array("Q", octets or b"")
    if sys.byteorder == "little":
        uids.byteswap()
    return array("I", uids)


def _without(gone: array[int], uidnext: int) -> array[int]:
    """All UIDs that were given but for those that are gone, which are in order."""
    left, start = array("I"), 1
    for uid in (*gone, uidnext):
        left.extend(range(start, uid))
        start = uid + 1
    return left
