"""An inbox opened as a mail client does, for the tests of the app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noinfra.app.access import PRESETS
from noinfra.app.homes import Homes
from noinfra.app.mailbox_access import Identity, Logins
from noinfra.app.mailbox_append import Appended, Appending
from noinfra.app.mailbox_finding import Finding
from noinfra.app.mailbox_messages import MailboxMessages, Row, Stored
from noinfra.app.mailboxes import Mailboxes, Snapshot
from noinfra.app.passwords import Passwords
from tests.app.world import AppTest


class MailboxTest(AppTest):
    """What a session of a mail client can ask."""

    async def setUp(self) -> None:
        await super().setUp()
        self.passwords = Passwords(self.database)
        self.logins = Logins(
            self.database, self.keys, Homes(self.directory), self.passwords
        )
        self.mailboxes = Mailboxes(self.database, self.log)
        self.mail = MailboxMessages(self.database)
        self.appending = Appending(self.database, self.filer)
        self.finding = Finding(self.database)
        self.who = Identity(home=await self.home(self.agent), access=self.ours)
        self.stranger = Identity(home=await self.home(self.other), access=self.theirs)
        self.reader = Identity(
            home=self.who.home,
            access=type(self.ours)(
                key_id="key_reader",
                customer_id=self.ours.customer_id,
                deployment_id=None,
                inbox_id=None,
                permissions=PRESETS["read-only"],
            ),
        )

    async def opened(self, name: str = "INBOX") -> Snapshot:
        """A folder as it is now; its UIDs are those of its messages."""
        snapshot = await self.mailboxes.open(self.who, name)
        rows = await self.rows(
            "select uid from message where folder_id = %(id)s order by uid",
            id=snapshot.mailbox.folder_id,
        )
        self.assertEqual(list(snapshot.uids), [row[0] for row in rows])
        return snapshot

    async def folder_id(self, name: str = "INBOX") -> int:
        """By what it is known within."""
        return (await self.opened(name)).mailbox.folder_id

    async def append(
        self, *octets: bytes, name: str = "INBOX", flags: Sequence[str] = ()
    ) -> list[int]:
        """Put mail into a folder; its UIDs."""
        result = await self.appending.append(
            self.who, name, [Appended(octets=one, flags=flags) for one in octets]
        )
        return result.uids

    async def fetch(self, name: str = "INBOX", *wanted: str) -> list[Row]:
        """All that a folder holds."""
        snapshot = await self.opened(name)
        pages = self.mail.rows(
            self.who, snapshot.mailbox.folder_id, snapshot.uids, frozenset(wanted)
        )
        return [row async for page in pages for row in page]

    async def flags(self, name: str = "INBOX") -> dict[int, bytes]:
        """The flags of all that a folder holds, by UID."""
        return {row.uid: row.flags for row in await self.fetch(name)}

    async def store(
        self, uids: Sequence[int], mode: Any, *flags: str, **more: Any
    ) -> Stored:
        """Change flags in INBOX."""
        return await self.mail.store(
            self.who, await self.folder_id(), uids, mode=mode, flags=flags, **more
        )

    async def told(self, *types: str) -> list[str]:
        """The types of the events of the inbox, in order."""
        rows = await self.rows(
            "select type from event where inbox_id = %(id)s order by txid, seq",
            id=self.agent.inbox_id,
        )
        return [row[0] for row in rows if not types or row[0] in types]

    async def counted(self) -> list[tuple[Any, ...]]:
        """Folders whose counts are not what their messages amount to."""
        return await self.rows(
            """
            select name, messages, unseen, deleted, octets, held.*
            from folder left join lateral (
                select count(*) as n, count(*) filter (
                    where 'unread' = any(labels)
                ) as u, count(*) filter (
                    where %(deleted)s = any(flags)
                ) as d, coalesce(sum(size), 0) as o, coalesce(max(modseq), 0) as m
                from message where message.folder_id = folder.folder_id
            ) as held on true
            where (messages, unseen, deleted, octets) <> (n, u, d, o)
            or m > folder.modseq
            """,
            deleted="\\Deleted",
        )
