"""Which state an inbox's mail is in, as a name that changes with everything in it.

Whatever files, moves, relabels or deletes mail, or settles its delivery, raises the
modseq of the folder that it is in (RFC 7162), in its own transaction. So a few short
rows tell, at the price of a glance, whether what was read of an inbox is still so. What
a claimed delivery waits for is the one exception: see `noinfra.store.queue`.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

import msgspec

from noinfra.store.database import Statements

_encode = msgspec.json.Encoder().encode


async def mail_versions(on: Statements, inbox_ids: Collection[str]) -> dict[str, str]:
    """By inbox, the same as before if nothing has changed; none of what is gone."""
    # As rows, which are hashed here: to put them together would take PostgreSQL twice
    # as long as to find them.
    rows = await on.rows(
        """
        select inbox_id, folder_id, modseq, name from folder
        where inbox_id = any(%(inbox_ids)s)
        """,
        inbox_ids=list(inbox_ids),
    )
    folders: dict[str, list[object]] = {}
    for row in sorted(rows):
        folders.setdefault(row[0], []).append(row)
    return {
        inbox_id: blake2b(_encode(of_it), digest_size=16).hexdigest()
        for inbox_id, of_it in folders.items()
    }
