"""Octets: large ones in pieces, slices of them, and those that nobody needs."""

from __future__ import annotations

from noinfra.model import Body
from noinfra.store.database import Statements, Tx
from noinfra.store.filing import NewContent
from noinfra.store.parameters import PIECE


class Contents:
    """The tables content, spool and unused_content."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def slice(self, content_id: int, start: int, length: int) -> bytes:
        """Octets of a content; fewer where it ends."""
        found: bytes = await self._on.value(
            """
            select substring(octets from %(start)s for %(length)s) from content
            where content_id = %(content_id)s
            """,
            content_id=content_id,
            start=start + 1,
            length=length,
        )
        return found

    async def body(self, content_id: int) -> Body:
        """What a mail says."""
        return await self._on.one(
            Body,
            """
            select content_id, text, html, extracted_text, extracted_html
            from content where content_id = %(content_id)s
            """,
            content_id=content_id,
        )

    async def whole(self, content_ids: list[int]) -> dict[int, bytes]:
        """The octets of contents that are known to be small."""
        rows = await self._on.rows(
            "select content_id, octets from content where content_id = any(%(ids)s)",
            ids=content_ids,
        )
        return dict(rows)

    async def parts(self, content_id: int) -> str:
        """The part index, as JSON."""
        found: str = await self._on.value(
            "select parts from content where content_id = %(content_id)s",
            content_id=content_id,
        )
        return found

    async def spool(self, spool_id: str, octets: bytes) -> None:
        """Send large octets ahead, a piece a statement, so that none holds us long."""
        view = memoryview(octets)
        for piece, start in enumerate(range(0, len(octets), PIECE)):
            await self._on.statement(
                """
                insert into spool (spool_id, piece, octets)
                values (%(spool_id)s, %(piece)s, %(octets)s)
                """,
                spool_id=spool_id,
                piece=piece,
                octets=bytes(view[start : start + PIECE]),
            )

    async def sweep_spool(self) -> int:
        """Drop pieces that nobody came back for."""
        return await self._on.statement(
            "delete from spool where created_at < now() - interval '1 hour'"
        )

    async def sweep(self, limit: int = 500) -> int:
        """Look at contents that have been noted for an hour; how many those were.

        Those without a message go. One that is being taken into use is left alone.

        :raises ForeignKeyViolation: a message came in between; try again later.
        """
        looked_at: int = await self._on.value(
            """
            with old as (
                select content_id from unused_content join content using (content_id)
                where since < now() - interval '1 hour' order by since
                limit %(limit)s for update skip locked
            ),
            noted as (
                delete from unused_content using old
                where unused_content.content_id = old.content_id
                and exists (
                    select 1 from message where message.content_id = old.content_id
                )
            ),
            gone as (
                delete from content using old
                where content.content_id = old.content_id and not exists (
                    select 1 from message where message.content_id = old.content_id
                )
            )
            select count(*) from old
            """,
            limit=limit,
        )
        return looked_at


async def store_spooled(
    tx: Tx, customer_id: str, content: NewContent, spool_id: str
) -> int:
    """Make a content of pieces sent ahead; gives its id.

    Until a message refers to it, the sweeper watches it.
    """
    content_id: int = await tx.value(
        """
        insert into content (customer_id, sha256, size, octets, parts, envelope,
            bodystructure, text, html, extracted_text, extracted_html, search)
        select %(customer_id)s, %(sha256)s, %(size)s,
            (
                select string_agg(octets, ''::bytea order by piece) from spool
                where spool_id = %(spool_id)s
            ),
            %(parts)s, %(envelope)s, %(bodystructure)s, %(text)s, %(html)s,
            %(extracted_text)s, %(extracted_html)s, to_tsvector('english', %(words)s)
        on conflict (customer_id, sha256) do update set size = excluded.size
        returning content_id
        """,
        customer_id=customer_id,
        spool_id=spool_id,
        sha256=content.sha256,
        size=content.size,
        parts=content.parts,
        envelope=content.envelope,
        bodystructure=content.bodystructure,
        text=content.text,
        html=content.html,
        extracted_text=content.extracted_text,
        extracted_html=content.extracted_html,
        words=content.words,
    )
    await tx.statement(
        """
        with spooled as (delete from spool where spool_id = %(spool_id)s)
        insert into unused_content (content_id, customer_id)
        values (%(content_id)s, %(customer_id)s)
        on conflict (content_id) do update set since = now()
        """,
        spool_id=spool_id,
        content_id=content_id,
        customer_id=customer_id,
    )
    return content_id
