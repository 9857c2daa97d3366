"""An inbox's folders, as mail clients use them."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from attrs import define, evolve, field, frozen

from noinfra.app.events import EventLog
from noinfra.app.mailbox_access import Identity
from noinfra.app.mailbox_names import (
    INBOX,
    canonical,
    new_name,
    no_folder,
    parents,
    require_own,
)
from noinfra.app.selecting import turn_at
from noinfra.app.sharing import Shared
from noinfra.errors import Conflict, Invalid, NotFound, Refusal
from noinfra.store.database import Database, Tx
from noinfra.store.events import Events
from noinfra.store.failures import UniqueViolation
from noinfra.store.inboxes import Inboxes
from noinfra.store.mailbox_changing import move
from noinfra.store.mailboxes import Changes, Folder, Folders
from noinfra.store.messages import delete

__all__ = ["Changes", "Mailbox", "Mailboxes", "Quota", "Snapshot"]

# Changes that one answer tells of.
_CHANGES = 5000
# Folders of one inbox.
_MOST = 1000
# Deleted with a folder in one statement.
_AT_ONCE = 500


class TooManyFolders(Refusal):
    """The inbox has as many folders as we keep for one."""

    slug, http, smtp, imap = "too_many_folders", 409, "552 5.2.2", "LIMIT"


@frozen(kw_only=True)
class Mailbox:
    """A name in the list of folders, with what STATUS tells of it.

    One that is not ``selectable`` is only a part of other names, or subscribed to and
    not there; it holds nothing.
    """

    folder_id: int = 0
    name: str
    selectable: bool = True
    subscribed: bool
    special_use: str | None = None
    has_children: bool
    uidvalidity: int = 0
    uidnext: int = 0
    modseq: int = 0
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    octets: int = 0

    @property
    def mailbox_id(self) -> str:
        """MAILBOXID: it stays when the name changes (RFC 8474, 4)."""
        return f"f{self.folder_id}"


@frozen(kw_only=True)
class Snapshot:
    """A folder at one moment; ``first_unseen`` is a UID."""

    mailbox: Mailbox
    uids: array[int]
    first_unseen: int | None


@frozen(kw_only=True)
class Quota:
    """What an inbox holds."""

    messages: int
    octets: int


@define
class Mailboxes:
    """The use cases of folders."""

    database: Database
    events: EventLog
    _shared: Shared[tuple[str, str, int, int], Changes | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._shared = Shared(self._changes)

    async def get(self, identity: Identity, name: str) -> Mailbox:
        """One folder.

        :raises NotFound: there is none of this name.
        """
        on = Folders(self.database.single(identity.home.customer_id))
        folder = await on.named(identity.home.inbox_id, canonical(name))
        if folder is None:
            raise no_folder(name)
        return _mailbox(folder)

    async def create(self, identity: Identity, name: str) -> Mailbox:
        """Make a folder, with those above it.

        :raises Conflict: it is there.
        :raises Invalid: no folder may have this name.
        """
        identity.require_writing()
        home, name = identity.home, new_name(name)
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            await self._make(tx, identity, name)
            folder = await Folders(tx).named(home.inbox_id, name)
        assert folder is not None, "it was made in this transaction"
        return _mailbox(folder)

    async def _make(self, tx: Tx, identity: Identity, name: str) -> None:
        home, folders = identity.home, Folders(tx)
        taken = {folder.name for folder in await folders.all(home.inbox_id)}
        if name in taken:
            raise Conflict(f"There is a folder {name} already.")
        names = [one for one in (*parents(name), name) if one not in taken]
        if len(taken) + len(names) > _MOST:
            raise TooManyFolders(f"An inbox has at most {_MOST} folders; delete some.")
        await folders.add(home.inbox_id, home.customer_id, names)
        for one in names:
            await self._tell(tx, identity, "folder.created", {"folder": one})

    async def rename(self, identity: Identity, old: str, new: str) -> None:
        """Give a folder and those below it another name.

        INBOX stays, and its messages go to a new folder (RFC 3501, 6.3.5).
        """
        identity.require_writing()
        home, old, new = identity.home, canonical(old), new_name(new)
        if new.startswith(f"{old}/") and old != INBOX:
            raise Invalid(f"The folder {old} cannot go below itself.")
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            if old == INBOX:
                await self._empty_inbox(tx, identity, new)
            else:
                require_own(old)
                await self._rename(tx, identity, old, new)

    async def _rename(self, tx: Tx, identity: Identity, old: str, new: str) -> None:
        home, folders = identity.home, Folders(tx)
        taken = {folder.name for folder in await folders.all(home.inbox_id)}
        below = {name for name in taken if name.startswith(f"{old}/")}
        if old not in taken and not below:
            raise no_folder(old)
        if new in taken:
            raise Conflict(f"There is a folder {new} already.")
        above = [one for one in parents(new) if one not in taken]
        if above:
            await folders.add(home.inbox_id, home.customer_id, above)
        try:
            for name in (old, *sorted(below)):
                new_name(new + name.removeprefix(old))
            await folders.rename(home.inbox_id, old, new)
        except UniqueViolation as error:
            raise Conflict(f"A folder below {new} is there already.") from error
        await self._tell(
            tx, identity, "folder.renamed", {"folder": new, "renamedFrom": old}
        )

    async def _empty_inbox(self, tx: Tx, identity: Identity, new: str) -> None:
        home, folders = identity.home, Folders(tx)
        await self._make(tx, identity, new)
        target = await folders.named(home.inbox_id, new)
        snapshot = await folders.snapshot(home.inbox_id, INBOX)
        if snapshot is not None and snapshot.uids and target is not None:
            source = snapshot.folder.folder_id
            await move(tx, home.inbox_id, source, snapshot.uids, target.folder_id)

    async def delete(self, identity: Identity, name: str) -> None:
        """Drop a folder with its mail; those below it stay.

        :raises Conflict: mail in it is still on its way.
        """
        identity.require_deleting()
        home, name = identity.home, canonical(name)
        require_own(name)
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            folders = Folders(tx)
            folder = await folders.named(home.inbox_id, name)
            if folder is None:
                raise no_folder(name)
            if await folders.has_unsettled(folder.folder_id):
                raise Conflict(
                    f"Mail in the folder {name} is still on its way; try again later."
                )
            ids = await folders.message_ids(folder.folder_id)
            for start in range(0, len(ids), _AT_ONCE):
                await delete(tx, home.inbox_id, ids[start : start + _AT_ONCE])
            await folders.remove(folder.folder_id)
            await self._tell(tx, identity, "folder.deleted", {"folder": name})

    async def subscribe(self, identity: Identity, name: str) -> None:
        """Have a name in the list of subscriptions, whether it is there or not."""
        identity.require_writing()
        home, name = identity.home, new_name(name)
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            if len(await Folders(tx).subscriptions(home.inbox_id)) >= _MOST:
                raise TooManyFolders("There are too many subscriptions; drop some.")
            await Folders(tx).subscribe(home.inbox_id, home.customer_id, name)

    async def unsubscribe(self, identity: Identity, name: str) -> None:
        """Have a name in it no more."""
        identity.require_writing()
        home = identity.home
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            await Folders(tx).unsubscribe(home.inbox_id, canonical(name))

    async def open(self, identity: Identity, name: str) -> Snapshot:
        """A folder with its UIDs, in one query.

        :raises NotFound: there is none of this name.
        """
        on = Folders(self.database.single(identity.home.customer_id))
        found = await on.snapshot(identity.home.inbox_id, canonical(name))
        if found is None:
            raise no_folder(name)
        return Snapshot(
            mailbox=_mailbox(found.folder),
            uids=found.uids,
            first_unseen=found.first_unseen,
        )

    async def changes(self, identity: Identity, folder_id: int, since: int) -> Changes:
        """What has become of a folder after a modseq.

        Sessions that ask the same at once, as they do after new mail, share an answer.

        :raises NotFound: the folder is gone.
        """
        home = identity.home
        found = await self._shared.answer(
            (home.customer_id, home.inbox_id, folder_id, since)
        )
        if found is None:
            raise NotFound("The folder is gone.")
        return found

    async def _changes(self, asked: tuple[str, str, int, int]) -> Changes | None:
        customer_id, inbox_id, folder_id, since = asked
        return await Folders(self.database.single(customer_id)).changes(
            inbox_id, folder_id, since, _CHANGES
        )

    async def quota(self, identity: Identity) -> Quota:
        """What the inbox holds."""
        on = Folders(self.database.single(identity.home.customer_id))
        messages, octets = await on.usage(identity.home.inbox_id)
        return Quota(messages=messages, octets=octets)

    async def watch(
        self, identity: Identity, callback: Callable[[], None]
    ) -> Callable[[], None]:
        """Be called when something in the inbox changed; gives what ends it.

        Watch first, then open, or ask for changes.
        """
        return await self.events.watch(identity.home.inbox_id, callback)

    async def _tell(
        self, tx: Tx, identity: Identity, type: str, data: dict[str, object]
    ) -> None:
        home = identity.home
        await Events(tx).add(
            type,
            customer_id=home.customer_id,
            deployment_id=home.deployment_id,
            agent_id=home.agent_id,
            inbox_id=home.inbox_id,
            data=data,
        )
        await Inboxes(tx).tell(home.inbox_id, home.address)

    async def list(self, identity: Identity) -> list[Mailbox]:
        """All names, INBOX first, and then in order.

        Among them are those that only lead to others, and those that are subscribed to
        without being there.
        """
        folders = Folders(self.database.single(identity.home.customer_id))
        there = await folders.all(identity.home.inbox_id)
        return listed(there, await folders.subscriptions(identity.home.inbox_id))


def listed(folders: list[Folder], subscriptions: list[str]) -> list[Mailbox]:
    """The folders with the names that are none: those above, and mere subscriptions."""
    names = {folder.name for folder in folders}
    leading = {parent for name in names for parent in parents(name)}
    subscribed = set(subscriptions)
    mailboxes = [
        evolve(_mailbox(folder), has_children=folder.name in leading)
        for folder in folders
    ]
    mailboxes += [
        Mailbox(
            name=name,
            selectable=False,
            subscribed=name in subscribed,
            has_children=name in leading,
        )
        for name in (leading | subscribed) - names
    ]
    return sorted(mailboxes, key=lambda one: (one.name != INBOX, one.name))


def _mailbox(folder: Folder) -> Mailbox:
    return Mailbox(
        folder_id=folder.folder_id,
        name=folder.name,
        subscribed=folder.subscribed,
        special_use=folder.special_use,
        has_children=False,
        uidvalidity=folder.uidvalidity,
        uidnext=folder.uidnext,
        modseq=folder.modseq,
        messages=folder.messages,
        unseen=folder.unseen,
        deleted=folder.deleted,
        octets=folder.octets,
    )
