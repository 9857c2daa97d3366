"""Which state an inbox's mail is in, as a name that changes with everything in it.

Whatever files, moves, relabels or deletes mail, or settles its delivery, raises the
modseq of the folder that it is in (RFC 7162), in its own transaction. So a few short
rows tell, at the price of a glance, whether what was read of an inbox is still so. What
a claimed delivery waits for is the one exception: see `noinfra.store.queue`.
"""

from __future__ import annotations

from noinfra.store.database import Statements


async def mail_version(on: Statements, inbox_id: str) -> str | None:
    """The same as before if nothing has changed since; None where there is no inbox.

    A row's text is unambiguous, whatever the folder's name.
    """
    found: str | None = await on.value(
        """
        select md5(string_agg((folder_id, modseq, name)::text, '' order by folder_id))
        from folder where inbox_id = %(inbox_id)s
        """,
        inbox_id=inbox_id,
    )
    return found
