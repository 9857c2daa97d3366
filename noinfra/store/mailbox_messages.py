r"""The messages of a folder by their UIDs, as FETCH wants them: a statement for many.

UIDs are given in ascending order, and at least one. What is gone is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import msgspec
from attrs import frozen

from noinfra.mail.imap_keywords import rendered
from noinfra.store.database import Statements
from noinfra.store.rows import Row as Columns

# What `flag_row` makes its value of.
FLAG_COLUMNS = (
    "message.uid, message.modseq, array_to_json(message.labels),"
    " array_to_json(message.flags)"
)


@frozen
class FlagRow:
    """A message's flags, as FETCH sends them; whether they were changed just now."""

    uid: int
    modseq: int
    flags: bytes
    changed: bool = True


@frozen
class Row:
    """What FETCH tells of a message; None is what was not wanted.

    Bytes are ready to be sent. ``parts`` is JSON (see `noinfra.mail.index`).
    """

    uid: int
    modseq: int
    flags: bytes
    content_id: int
    size: int
    message_id: str
    thread_id: str
    internaldate: bytes | None = None
    savedate: bytes | None = None
    envelope: bytes | None = None
    bodystructure: bytes | None = None
    parts: str | None = None
    preview: str | None = None

    @property
    def email_id(self) -> str:
        """EMAILID: what is the same has the same (RFC 8474, 5.1)."""
        return email_id(self.content_id)


@frozen
class Slice:
    """Octets of a content: from where, and how many."""

    content_id: int
    start: int
    length: int


def email_id(content_id: int) -> str:
    """The EMAILID of a content."""
    return f"c{content_id}"


def flag_row(columns: Columns) -> FlagRow:
    """From a row with `FLAG_COLUMNS`."""
    uid, modseq, labels, flags, *changed = columns
    return FlagRow(uid, modseq, _flags(labels, flags), *changed)


@lru_cache(maxsize=4096)
def _flags(labels: str, flags: str) -> bytes:
    # A folder has few combinations of labels, however many messages.
    return rendered(msgspec.json.decode(labels), msgspec.json.decode(flags))


_DATE = """convert_to(to_char({}, '"\\""DD-Mon-YYYY HH24:MI:SS" +0000\\""'), 'utf8')"""
_OPTIONAL = {
    "internaldate": _DATE.format("received_at"),
    "savedate": _DATE.format("coalesce(saved_at, received_at)"),
    "envelope": "content.envelope",
    "bodystructure": "content.bodystructure",
    "parts": "content.parts",
    "preview": "preview",
}
_OF_CONTENT = frozenset(("envelope", "bodystructure", "parts"))


def these(uids: Sequence[int] | None) -> str:
    """The condition that holds for these UIDs, or for all; `bounds` are its parameters.

    A run of them, as in ``1:*``, is read off the index in one walk.
    """
    if uids is None:
        return "true"
    if uids[-1] - uids[0] + 1 == len(uids):
        return "uid between %(first)s and %(last)s"
    return "uid = any(%(uids)s::bigint[])"


def bounds(uids: Sequence[int] | None) -> dict[str, object]:
    """The parameters of `these`."""
    if uids is None:
        return {}
    if uids[-1] - uids[0] + 1 == len(uids):
        return {"first": uids[0], "last": uids[-1]}
    return {"uids": list(uids)}


class MailboxMessages:
    """The table message, as a folder shows it."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def page(
        self,
        inbox_id: str,
        folder_id: int,
        uids: Sequence[int],
        wanted: Collection[str],
    ) -> list[Row]:
        """These messages, in ascending order, those that are there."""
        columns = ", ".join(
            text if name in wanted else "null" for name, text in _OPTIONAL.items()
        )
        content = (
            "" if _OF_CONTENT.isdisjoint(wanted) else "join content using (content_id)"
        )
        rows = await self._on.rows(
            f"""
            select {FLAG_COLUMNS}, content_id, message.size, message_id, thread_id,
                {columns}
            from message {content}
            where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            and {these(uids)} order by uid
            """,
            inbox_id=inbox_id,
            folder_id=folder_id,
            **bounds(uids),
        )
        return [
            Row(uid, modseq, _flags(labels, flags), *rest)
            for uid, modseq, labels, flags, *rest in rows
        ]

    async def slices(self, slices: Sequence[Slice]) -> list[tuple[int, bytes]]:
        """Octets, each with the number of its slice, in order; without what is gone."""
        return [
            (number - 1, octets)
            for number, octets in await self._on.rows(
                """
                select nth, substring(octets from start for length)
                from unnest(%(content_ids)s::bigint[], %(starts)s::int[],
                    %(lengths)s::int[])
                    with ordinality as wanted (content_id, start, length, nth)
                join content using (content_id) order by nth
                """,
                content_ids=[one.content_id for one in slices],
                starts=[one.start + 1 for one in slices],
                lengths=[one.length for one in slices],
            )
        ]

    async def sent_before(
        self, inbox_id: str, folder_id: int, rfc_message_id: str
    ) -> int | None:
        """The UID of what we sent within a day under this Message-ID."""
        rows = await self._on.rows(
            """
            select uid from message
            where inbox_id = %(inbox_id)s and folder_id = %(folder_id)s
            and direction = 'outbound' and md5(rfc_message_id) = md5(%(id)s)
            and rfc_message_id = %(id)s and 'sent' = any(labels)
            and received_at > now() - interval '1 day' order by uid desc limit 1
            """,
            inbox_id=inbox_id,
            folder_id=folder_id,
            id=rfc_message_id,
        )
        return rows[0][0] if rows else None

    async def to_expunge(
        self, inbox_id: str, folder_id: int, uids: Sequence[int] | None, limit: int
    ) -> list[tuple[int, str]]:
        r"""UID and message_id of what is \Deleted, and not still to be delivered."""
        rows = await self._on.rows(
            f"""
            select uid, message_id from message
            where folder_id = %(folder_id)s and inbox_id = %(inbox_id)s
            and '\\Deleted' = any(flags) and {these(uids)}
            and not exists (
                select 1 from delivery where delivery.message_id = message.message_id
                and status in ('queued', 'deferred')
            )
            order by uid limit %(limit)s
            """,
            inbox_id=inbox_id,
            folder_id=folder_id,
            limit=limit,
            **bounds(uids),
        )
        return [(row[0], row[1]) for row in rows]
