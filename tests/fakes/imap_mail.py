"""The use cases behind IMAP, in memory: one inbox, agent@example.com, password "secret".

It holds what the real ones promise the front: UIDs that only grow, a modseq for each
change, pages, pieces, and refusals. Others' doings are calls of the same methods.
"""

from __future__ import annotations

import builtins
import json
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from noinfra.app.access import PRESETS, Access
from noinfra.app.directory import Home
from noinfra.app.mailbox_access import Identity
from noinfra.app.mailbox_append import Appended, AppendResult
from noinfra.app.mailbox_finding import Found
from noinfra.app.mailbox_messages import Copied, FlagRow, Row, Slice, Stored
from noinfra.app.mailboxes import Changes, Mailbox, Snapshot
from noinfra.errors import Conflict, Invalid, NotFound, Unauthenticated
from noinfra.fronts.imap import mail as protocols
from noinfra.mail.imap.render import date_time
from noinfra.mail.imap_search import (
    All,
    And,
    Flag,
    Header,
    Key,
    Modseq,
    Not,
    Or,
    Size,
    SortKey,
    Text,
    Uids,
)
from noinfra.mail.index import index
from noinfra.mail.mime import parse
from noinfra.mail.structure import bodystructure, envelope
from noinfra.mail.threading import Node, Threadable, by_references, by_subject

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAGE = 3
PIECE = 1000


@define(eq=False)
class Kept:
    """One message of the fake."""

    uid: int
    modseq: int
    flags: set[str]
    octets: bytes
    date: datetime
    content_id: int

    @property
    def shown(self) -> bytes:
        return f"({' '.join(sorted(self.flags))})".encode()

    def flag_row(self, changed: bool = True) -> FlagRow:
        return FlagRow(self.uid, self.modseq, self.shown, changed)


@define(eq=False)
class Folder:
    folder_id: int
    name: str
    special_use: str | None = None
    subscribed: bool = False
    uidnext: int = 1
    modseq: int = 1
    messages: dict[int, Kept] = field(factory=dict)
    vanished: list[tuple[int, int]] = field(factory=list)

    def add(
        self, octets: bytes, flags: Iterable[str], date: datetime, content: int
    ) -> Kept:
        self.modseq += 1
        one = Kept(
            self.uidnext, self.modseq, set(flags) - {"\\Recent"}, octets, date, content
        )
        self.messages[one.uid] = one
        self.uidnext += 1
        return one

    def drop(self, uid: int) -> None:
        self.modseq += 1
        del self.messages[uid]
        self.vanished.append((self.modseq, uid))


@define(eq=False)
class MemoryMail:
    """All of it."""

    address: str = "agent@example.com"
    secret: str = "secret"
    permissions: frozenset[str] = PRESETS["runtime"]
    good: bool = True
    # How long each call takes, and from which modseq on expunges are remembered.
    delay: Callable[[], Deferred[None]] = lambda: succeed(None)
    remembered: int = 0
    calls: list[str] = field(factory=list)
    folders: dict[str, Folder] = field(factory=dict)
    subscriptions: set[str] = field(factory=set)
    watchers: list[Callable[[], None]] = field(factory=list)
    contents: dict[int, bytes] = field(factory=dict)
    _next: int = 1

    def __attrs_post_init__(self) -> None:
        self.make("INBOX")
        for name in ("Archive", "Drafts", "Sent", "Spam", "Trash"):
            self.make(name, "\\Junk" if name == "Spam" else f"\\{name}")

    def make(self, name: str, special_use: str | None = None) -> Folder:
        folder = Folder(
            self._next,
            name,
            special_use,
            subscribed=special_use is not None or name == "INBOX",
        )
        self._next += 1
        self.folders[name] = folder
        return folder

    def deliver(
        self,
        octets: bytes,
        flags: Iterable[str] = (),
        name: str = "INBOX",
        date: datetime = NOON,
    ) -> int:
        """A message comes."""
        number = len(self.contents) + 1
        self.contents[number] = octets
        uid = self.folders[name].add(octets, flags, date, number).uid
        self.changed()
        return uid

    def changed(self) -> None:
        for watcher in list(self.watchers):
            watcher()

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await self.delay()

    # Logins

    async def login(self, address: str, secret: str) -> Identity:
        await self._called("login")
        if secret == "bug":
            raise ZeroDivisionError
        if address.lower() != self.address or secret != self.secret:
            raise Unauthenticated("The address and the secret do not belong together.")
        return Identity(
            home=Home(
                inbox_id="inb_1",
                customer_id="cus_1",
                deployment_id="dep_1",
                agent_id=None,
                address=self.address,
                display_name=None,
                suspended=False,
                archived=False,
                folders={},
            ),
            access=Access(
                key_id="key_1",
                customer_id="cus_1",
                deployment_id=None,
                inbox_id=None,
                permissions=self.permissions,
            ),
        )

    async def still_good(self, identity: Identity) -> bool:
        return self.good

    # Mailboxes

    async def list(self, identity: Identity) -> builtins.list[Mailbox]:
        await self._called("list")
        names = {*self.folders, *self.subscriptions}
        for name in self.folders:
            levels = name.split("/")
            names.update("/".join(levels[:n]) for n in range(1, len(levels)))
        return [
            self._mailbox(name)
            for name in sorted(names, key=lambda name: (name != "INBOX", name))
        ]

    def _mailbox(self, name: str) -> Mailbox:
        folder = self.folders.get(name)
        kept = list(folder.messages.values()) if folder else []
        return Mailbox(
            folder_id=folder.folder_id if folder else 0,
            name=name,
            selectable=folder is not None,
            subscribed=folder.subscribed if folder else name in self.subscriptions,
            special_use=folder.special_use if folder else None,
            has_children=any(other.startswith(f"{name}/") for other in self.folders),
            uidvalidity=1,
            uidnext=folder.uidnext if folder else 0,
            modseq=folder.modseq if folder else 0,
            messages=len(kept),
            unseen=sum("\\Seen" not in one.flags for one in kept),
            deleted=sum("\\Deleted" in one.flags for one in kept),
            octets=sum(len(one.octets) for one in kept),
        )

    def _named(self, name: str) -> Folder:
        if name not in self.folders:
            raise NotFound(f"There is no mailbox {name}.")
        return self.folders[name]

    def _by_id(self, folder_id: int) -> Folder:
        for folder in self.folders.values():
            if folder.folder_id == folder_id:
                return folder
        raise NotFound("The mailbox is gone.")

    async def get(self, identity: Identity, name: str) -> Mailbox:
        await self._called("get")
        self._named(name)
        return self._mailbox(name)

    async def create(self, identity: Identity, name: str) -> Mailbox:
        await self._called("create")
        if name in self.folders:
            raise Conflict(f"There is a mailbox {name} already.")
        self.make(name)
        return self._mailbox(name)

    async def rename(self, identity: Identity, old: str, new: str) -> None:
        self._named(old)
        for name in [
            one for one in self.folders if one == old or one.startswith(f"{old}/")
        ]:
            folder = self.folders.pop(name)
            folder.name = new + name.removeprefix(old)
            self.folders[folder.name] = folder

    async def delete(self, identity: Identity, name: str) -> None:
        if self._named(name).special_use or name == "INBOX":
            raise Invalid(f"{name} cannot be deleted.")
        del self.folders[name]
        self.changed()

    async def subscribe(self, identity: Identity, name: str) -> None:
        if name in self.folders:
            self.folders[name].subscribed = True
        else:
            self.subscriptions.add(name)

    async def unsubscribe(self, identity: Identity, name: str) -> None:
        self.subscriptions.discard(name)
        if name in self.folders:
            self.folders[name].subscribed = False

    async def open(self, identity: Identity, name: str) -> Snapshot:
        await self._called("open")
        folder = self._named(name)
        uids = sorted(folder.messages)
        unseen = [uid for uid in uids if "\\Seen" not in folder.messages[uid].flags]
        return Snapshot(
            mailbox=self._mailbox(name),
            uids=array("I", uids),
            first_unseen=unseen[0] if unseen else None,
        )

    async def changes(self, identity: Identity, folder_id: int, since: int) -> Changes:
        await self._called("changes")
        folder = self._by_id(folder_id)
        kept = sorted(
            (one for one in folder.messages.values() if one.modseq > since),
            key=lambda one: one.modseq,
        )
        page, more = kept[:PAGE], len(kept) > PAGE
        until = page[-1].modseq if more else folder.modseq
        return Changes(
            modseq=until,
            uidnext=folder.uidnext,
            changed=[one.flag_row() for one in page],
            vanished=sorted(
                uid
                for modseq, uid in folder.vanished
                if since < modseq <= until and since >= self.remembered
            ),
            complete=since >= self.remembered,
            more=more,
        )

    async def watch(
        self, identity: Identity, callback: Callable[[], None]
    ) -> Callable[[], None]:
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    # Messages

    async def rows(
        self,
        identity: Identity,
        folder_id: int,
        uids: Sequence[int],
        wanted: frozenset[str],
    ) -> AsyncIterator[builtins.list[Row]]:
        folder = self._by_id(folder_id)
        for start in range(0, len(uids), PAGE):
            await self._called("rows")
            page = [
                self._row(folder.messages[uid], wanted)
                for uid in uids[start : start + PAGE]
                if uid in folder.messages
            ]
            if page:
                yield page

    @staticmethod
    def _row(one: Kept, wanted: frozenset[str]) -> Row:
        message = parse(one.octets)
        columns = {
            "internaldate": date_time(one.date),
            "savedate": date_time(one.date),
            "envelope": envelope(message),
            "bodystructure": bodystructure(message),
            "parts": json.dumps(index(message)),
            "preview": "A preview",
        }
        return Row(
            uid=one.uid,
            modseq=one.modseq,
            flags=one.shown,
            content_id=one.content_id,
            size=len(one.octets),
            message_id=f"msg_{one.uid}",
            thread_id=f"thr_{one.uid}",
            **{name: value for name, value in columns.items() if name in wanted},  # type: ignore[arg-type]  # attrs has no typed way to fill fields by name
        )

    async def slices(
        self, identity: Identity, slices: Iterable[Slice]
    ) -> AsyncIterator[tuple[int, bytes]]:
        for number, one in enumerate(slices):
            octets = self.contents[one.content_id][one.start : one.start + one.length]
            for start in range(0, max(len(octets), 1), PIECE):
                await self.delay()
                yield number, octets[start : start + PIECE]

    async def store(
        self,
        identity: Identity,
        folder_id: int,
        uids: Sequence[int],
        *,
        mode: Literal["replace", "add", "remove"],
        flags: Sequence[str],
        unchanged_since: int | None = None,
    ) -> Stored:
        await self._called("store")
        folder = self._by_id(folder_id)
        rows, modified = [], []
        for uid in uids:
            one = folder.messages.get(uid)
            if one is None:
                continue
            if unchanged_since is not None and one.modseq > unchanged_since:
                modified.append(uid)
                continue
            named = {flag for flag in flags if flag != "\\Recent"}
            now = (
                named
                if mode == "replace"
                else one.flags | named
                if mode == "add"
                else one.flags - named
            )
            changed = now != one.flags
            if changed:
                folder.modseq += 1
                one.modseq, one.flags = folder.modseq, set(now)
            rows.append(one.flag_row(changed))
        self.changed()
        return Stored(rows=rows, modified=modified)

    async def copy(
        self, identity: Identity, folder_id: int, uids: Sequence[int], target: str
    ) -> Copied:
        await self._called("copy")
        source, folder = self._by_id(folder_id), self._named(target)
        pairs = []
        for uid in [uid for uid in uids if uid in source.messages]:
            one = source.messages[uid]
            pairs.append(
                (uid, folder.add(one.octets, one.flags, one.date, one.content_id).uid)
            )
        self.changed()
        return Copied(uidvalidity=1, pairs=pairs)

    async def move(
        self, identity: Identity, folder_id: int, uids: Sequence[int], target: str
    ) -> Copied:
        copied = await self.copy(identity, folder_id, uids, target)
        for uid, _ in copied.pairs:
            self._by_id(folder_id).drop(uid)
        self.changed()
        return copied

    async def expunge(
        self, identity: Identity, folder_id: int, uids: Sequence[int] | None
    ) -> builtins.list[int]:
        await self._called("expunge")
        folder = self._by_id(folder_id)
        gone = [
            uid
            for uid, one in sorted(folder.messages.items())
            if "\\Deleted" in one.flags and (uids is None or uid in uids)
        ]
        for uid in gone:
            folder.drop(uid)
        self.changed()
        return gone

    # Appending

    async def append(
        self, identity: Identity, name: str, messages: Sequence[Appended]
    ) -> AppendResult:
        await self._called("append")
        self._named(name)
        uids = [
            self.deliver(one.octets, one.flags, name, one.internaldate or NOON)
            for one in messages
        ]
        return AppendResult(uidvalidity=1, uids=uids)

    # Finding

    async def search(self, identity: Identity, folder_id: int, key: Key) -> Found:
        await self._called("search")
        found = self._found(folder_id, key)
        return Found(
            uids=[one.uid for one in found],
            modseq=max((one.modseq for one in found), default=None),
        )

    def _found(self, folder_id: int, key: Key) -> builtins.list[Kept]:
        return [
            one
            for _, one in sorted(self._by_id(folder_id).messages.items())
            if matches(key, one)
        ]

    async def sort(
        self, identity: Identity, folder_id: int, key: Key, by: Sequence[SortKey]
    ) -> Found:
        found = self._found(folder_id, key)
        for one in reversed(by):
            found.sort(
                key=lambda each: len(each.octets) if one.name == "size" else each.uid,
                reverse=one.reverse,
            )
        return Found(
            uids=[one.uid for one in found],
            modseq=max((one.modseq for one in found), default=None),
        )

    async def thread(
        self, identity: Identity, folder_id: int, key: Key, algorithm: str
    ) -> builtins.list[Node]:
        messages = []
        for one in self._found(folder_id, key):
            message = parse(one.octets)
            messages.append(
                Threadable(
                    number=one.uid,
                    message_id=message.message_id,
                    references=message.references,
                    subject=message.subject,
                    date=message.date or NOON,
                )
            )
        return (
            by_references(messages)
            if algorithm == "REFERENCES"
            else by_subject(messages)
        )


def matches(key: Key, one: Kept) -> bool:
    """Whether a key means a message; those keys that dialogues have."""
    match key:
        case All():
            return True
        case And(keys):
            return all(matches(each, one) for each in keys)
        case Or(first, other):
            return matches(first, one) or matches(other, one)
        case Not(inner):
            return not matches(inner, one)
        case Flag(name):
            return name in one.flags
        case Uids(ranges):
            return any(low <= one.uid <= high for low, high in ranges)
        case Size(larger=larger, smaller=smaller):
            size = len(one.octets)
            return (larger is None or size > larger) and (
                smaller is None or size < smaller
            )
        case Header(name, value):
            found = parse(one.octets).first(name)
            return found is not None and value.lower().encode() in found.value.lower()
        case Text(value):
            return value.lower().encode() in one.octets.lower()
        case Modseq(least):
            return one.modseq >= least
    return True


_logins: type[protocols.Logins] = MemoryMail
_mailboxes: type[protocols.Mailboxes] = MemoryMail
_messages: type[protocols.Messages] = MemoryMail
_appending: type[protocols.Appending] = MemoryMail
_finding: type[protocols.Finding] = MemoryMail
