"""A folder under a storm of commands: what a session replays equals what is stored."""

from __future__ import annotations

from random import Random

from attrs import define, field

from noinfra.app.requests import DeleteMessage, UpdateMessage
from tests.app.mailbox import MailboxTest
from tests.app.world import mail

FOLDERS = ("INBOX", "Archive", "Trash")
FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "$Forwarded", "to=20do")


@define
class Replay:
    """What a session knows of a folder from its first look and the changes since."""

    folder_id: int
    modseq: int
    uidnext: int
    flags: dict[int, bytes] = field(factory=dict)


class StormTests(MailboxTest):
    """Clients and the API, by turns, in an order that a seed decides."""

    async def setUp(self) -> None:
        await super().setUp()
        self.replays: dict[str, Replay] = {}

    async def begin(self, name: str) -> None:
        """Open a folder as a session does."""
        snapshot = await self.opened(name)
        box = snapshot.mailbox
        self.replays[name] = Replay(box.folder_id, box.modseq, box.uidnext)
        self.replays[name].flags = await self.flags(name)

    async def catch_up(self, name: str) -> None:
        """Replay the changes; nothing goes back, and no UID comes twice."""
        replay = self.replays[name]
        changes = await self.mailboxes.changes(
            self.who, replay.folder_id, replay.modseq
        )
        self.assertGreaterEqual(changes.modseq, replay.modseq)
        self.assertGreaterEqual(changes.uidnext, replay.uidnext)
        for row in changes.changed:
            self.assertGreater(row.modseq, replay.modseq)
            if row.uid not in replay.flags:
                self.assertGreaterEqual(row.uid, replay.uidnext)
            replay.flags[row.uid] = row.flags
        for uid in changes.vanished:
            replay.flags.pop(uid, None)
        replay.modseq, replay.uidnext = changes.modseq, changes.uidnext
        self.assertEqual(replay.flags, await self.flags(name), name)

    async def step(self, chance: Random) -> None:
        """One command, of a client or of the API."""
        name = chance.choice(FOLDERS)
        replay = self.replays[name]
        # A session may well name what is gone by now.
        known = sorted(replay.flags) or [1]
        uids = sorted(chance.sample(known, chance.randint(1, min(4, len(known)))))
        match chance.randrange(9):
            case 0:
                await self.receive(mail())
            case 1:
                await self.append(mail(), mail(), name=name, flags=[FLAGS[0]])
            case 2 | 3:
                await self.mail.store(
                    self.who,
                    replay.folder_id,
                    uids,
                    mode=chance.choice(("add", "remove", "replace")),
                    flags=chance.sample(FLAGS, chance.randint(0, 3)),
                    unchanged_since=chance.choice((None, replay.modseq)),
                )
            case 4:
                target = chance.choice(FOLDERS)
                await self.mail.copy(self.who, replay.folder_id, uids, target)
            case 5:
                target = chance.choice(FOLDERS)
                await self.mail.move(self.who, replay.folder_id, uids, target)
            case 6:
                await self.mail.expunge(
                    self.who, replay.folder_id, chance.choice((None, uids))
                )
            case _:
                await self.by_api(chance)

    async def by_api(self, chance: Random) -> None:
        """A message labelled, or deleted."""
        messages = await self.listed(self.agent, include_trash=True, include_spam=True)
        if not messages:
            return
        message = chance.choice(messages)
        inbox_id, message_id = self.agent.inbox_id, message.message_id
        if chance.random() < 0.5:
            request = DeleteMessage(inbox_id=inbox_id, message_id=message_id)
            await self.messages.delete(self.ours, request)
        else:
            await self.messages.update(
                self.ours,
                UpdateMessage(
                    inbox_id=inbox_id,
                    message_id=message_id,
                    add_labels=chance.sample(["to do", "starred", "unread"], 1),
                    remove_labels=["$Forwarded"],
                ),
            )

    async def storm(self, seed: int, steps: int) -> None:
        chance = Random(seed)
        for name in FOLDERS:
            await self.begin(name)
        for _ in range(steps):
            await self.step(chance)
            if chance.random() < 0.3:
                await self.catch_up(chance.choice(FOLDERS))
        for name in FOLDERS:
            await self.catch_up(name)
        self.assertEqual(await self.counted(), [])
        threads = await self.rows(
            "select thread_id from thread where message_count <> (select count(*)"
            " from message where message.thread_id = thread.thread_id)"
        )
        self.assertEqual(threads, [])

    async def test_seeds(self) -> None:
        """Whatever happens, the replay is what is stored, and all counts are right."""
        for seed in range(4):
            await self.storm(seed, 120)
