"""Which state an inbox's mail is in, as a name that changes with everything in it.

Whatever files, moves, relabels or deletes mail, or settles its delivery, raises the
modseq of the folder that it is in (RFC 7162), in its own transaction. So a few short
rows tell, at the price of a glance, whether what was read of an inbox is still so. What
a claimed delivery waits for is the one exception: see `noinfra.store.queue`.
"""

from __future__ import annotations

from collections.abc import Collection

from noinfra.store.database import Statements


async def mail_versions(on: Statements, inbox_ids: Collection[str]) -> dict[str, str]:
    """By inbox, the same as before if nothing has changed; none of what is gone.

    A row's text is unambiguous, whatever the folder's name.
    """
    rows = await on.rows(
        """
        select inbox_id, inbox_id || '.' || md5(
            string_agg((folder_id, modseq, name)::text, '' order by folder_id)
        )
        from folder where inbox_id = any(%(inbox_ids)s) group by inbox_id
        """,
        inbox_ids=list(inbox_ids),
    )
    return {row[0]: row[1] for row in rows}
