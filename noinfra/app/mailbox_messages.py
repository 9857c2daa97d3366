"""The messages of a folder, as mail clients fetch, flag, copy, move and expunge them.

Folders are locked by their inbox, as for all mail; a command on very many messages is
worked off in several transactions where its protocol lets it be done in part.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from attrs import define, frozen

from noinfra.app.ids import new_id
from noinfra.app.mailbox_access import Identity
from noinfra.app.mailbox_marks import marks
from noinfra.app.mailbox_names import canonical, no_folder
from noinfra.app.selecting import turn_at
from noinfra.errors import NotFound
from noinfra.store.database import Database, Tx
from noinfra.store.mailbox_changing import Mode, copy, mark, move, wake_readers
from noinfra.store.mailbox_messages import FlagRow, Row, Slice
from noinfra.store.mailbox_messages import MailboxMessages as MessageTable
from noinfra.store.mailboxes import Folder, Folders
from noinfra.store.messages import delete

__all__ = ["Copied", "FlagRow", "MailboxMessages", "Mode", "Row", "Slice", "Stored"]

_PAGE = 1000
# Octets that one query brings.
_OCTETS = 1024 * 1024
# Slices that it brings, however small.
_SLICES = 1000
# Messages that one transaction changes, so that none holds an inbox for long.
_MARKED = 5000
_DELETED = 500


@frozen(kw_only=True)
class Stored:
    """What STORE did: the flags of each message that is there, and what was refused.

    ``modified`` are UIDs that had changed since (RFC 7162, 3.1.3).
    """

    rows: list[FlagRow]
    modified: list[int]


@frozen(kw_only=True)
class Copied:
    """Where messages went (RFC 4315): old UIDs with new ones, ascending."""

    uidvalidity: int
    pairs: list[tuple[int, int]]


@define
class MailboxMessages:
    """The use cases of a folder's messages. UIDs are given in ascending order."""

    database: Database

    async def rows(
        self,
        identity: Identity,
        folder_id: int,
        uids: Sequence[int],
        wanted: frozenset[str],
    ) -> AsyncIterator[list[Row]]:
        """What FETCH tells, by pages; what is gone is left out."""
        home = identity.home
        table = MessageTable(self.database.single(home.customer_id))
        for start in range(0, len(uids), _PAGE):
            page = await table.page(
                home.inbox_id, folder_id, uids[start : start + _PAGE], wanted
            )
            if page:
                yield page

    async def slices(
        self, identity: Identity, slices: Iterable[Slice]
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Octets in order, each piece with the number of its slice.

        Small slices share a query, a large one takes several: a megabyte each. Each has
        a piece at least, if its content is there.
        """
        table = MessageTable(self.database.single(identity.home.customer_id))
        for numbers, batch in _batches(slices):
            for at, octets in await table.slices(batch):
                yield numbers[at], octets

    async def store(
        self,
        identity: Identity,
        folder_id: int,
        uids: Sequence[int],
        *,
        mode: Mode,
        flags: Sequence[str],
        unchanged_since: int | None = None,
    ) -> Stored:
        """Change flags and keywords, which are labels.

        :raises NotFound: the folder is gone.
        """
        identity.require_writing()
        wanted = marks(mode, flags)
        rows: list[FlagRow] = []
        modified: list[int] = []
        for start in range(0, len(uids), _MARKED):
            async with self.database.tenant(identity.home.customer_id) as tx:
                await _folder(tx, identity, folder_id)
                some = await mark(
                    tx,
                    identity.home.inbox_id,
                    folder_id,
                    uids[start : start + _MARKED],
                    wanted,
                    unchanged_since,
                )
                await wake_readers(tx)
            rows += some[0]
            modified += some[1]
        return Stored(rows=rows, modified=modified)

    async def copy(
        self, identity: Identity, folder_id: int, uids: Sequence[int], target: str
    ) -> Copied:
        """Into another folder or the same, all of them or none.

        :raises NotFound: there is no such folder.
        """
        identity.require_writing()
        home = identity.home
        # In one millisecond only chance orders them.
        message_ids = sorted(new_id("msg_") for _ in uids)
        async with self.database.tenant(home.customer_id) as tx:
            await _folder(tx, identity, folder_id)
            into = await _named(tx, identity, target)
            pairs: list[tuple[int, int]] = []
            if uids:
                pairs = await copy(
                    tx, home.inbox_id, folder_id, uids, into.folder_id, message_ids
                )
                await wake_readers(tx)
        return Copied(uidvalidity=into.uidvalidity, pairs=pairs)

    async def move(
        self, identity: Identity, folder_id: int, uids: Sequence[int], target: str
    ) -> Copied:
        """Into another folder or the same (RFC 6851), all of them or none.

        :raises NotFound: there is no such folder.
        """
        identity.require_writing()
        home = identity.home
        async with self.database.tenant(home.customer_id) as tx:
            await _folder(tx, identity, folder_id)
            into = await _named(tx, identity, target)
            pairs: list[tuple[int, int]] = []
            if uids:
                pairs = await move(tx, home.inbox_id, folder_id, uids, into.folder_id)
                await wake_readers(tx)
        return Copied(uidvalidity=into.uidvalidity, pairs=pairs)

    async def expunge(
        self, identity: Identity, folder_id: int, uids: Sequence[int] | None
    ) -> list[int]:
        r"""Delete what is \Deleted, of these or of all; gives the UIDs that are gone.

        What is still to be delivered stays until it is: its deliveries would go too.
        """
        identity.require_deleting()
        home = identity.home
        gone: list[int] = []
        if uids is not None and not uids:
            return gone
        while True:
            async with self.database.tenant(home.customer_id) as tx:
                await _folder(tx, identity, folder_id)
                found = await MessageTable(tx).to_expunge(
                    home.inbox_id, folder_id, uids, _DELETED
                )
                if found:
                    ids = [message_id for _, message_id in found]
                    await delete(tx, home.inbox_id, ids)
            gone += [uid for uid, _ in found]
            if len(found) < _DELETED:
                return gone


async def _folder(tx: Tx, identity: Identity, folder_id: int) -> Folder:
    """Wait for our turn at the inbox, and see that the folder is there."""
    await turn_at(tx, identity.home)
    folder = await Folders(tx).get(identity.home.inbox_id, folder_id)
    if folder is None:
        raise NotFound("The folder is gone.")
    return folder


async def _named(tx: Tx, identity: Identity, name: str) -> Folder:
    folder = await Folders(tx).named(identity.home.inbox_id, canonical(name))
    if folder is None:
        raise no_folder(name)
    return folder


def _batches(slices: Iterable[Slice]) -> Iterable[tuple[list[int], list[Slice]]]:
    """Slices in portions of bounded size, each with its number."""
    numbers: list[int] = []
    batch: list[Slice] = []
    octets = 0
    for number, one in enumerate(slices):
        for piece in _pieces(one):
            if batch and (octets + piece.length > _OCTETS or len(batch) >= _SLICES):
                yield numbers, batch
                numbers, batch, octets = [], [], 0
            numbers.append(number)
            batch.append(piece)
            octets += piece.length
    if batch:
        yield numbers, batch


def _pieces(one: Slice) -> Iterable[Slice]:
    end = one.start + one.length
    for start in range(one.start, max(end, one.start + 1), _OCTETS):
        yield Slice(one.content_id, start, min(_OCTETS, end - start))
