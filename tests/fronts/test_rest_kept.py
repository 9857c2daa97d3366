"""Answers that are kept: true after every kind of change, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.application import App
from noinfra.app.health import Health
from noinfra.app.keys import NewKey
from noinfra.app.requests import (
    DeleteMessage,
    InboxById,
    KeyById,
    SendMessage,
    ThreadById,
    UpdateInbox,
    UpdateMessage,
    UpdateThread,
)
from noinfra.app.versions import Versions
from noinfra.config import WebSettings
from noinfra.fronts.rest.answer import Answer
from noinfra.fronts.rest.channel import ApiSite
from noinfra.fronts.rest.kept import Kept, Known, is_named
from noinfra.fronts.rest.server import make_site
from noinfra.model import Attempt
from noinfra.store.database import Database
from noinfra.store.mailbox_changing import Marks, copy, mark, move
from noinfra.store.mailboxes import Folders
from noinfra.store.messages import lock_inbox, relabel
from noinfra.store.queue import Claimed, Queue, Settlement, settle
from tests.app.world import AppTest, mail
from tests.fakes.web_app import FakeVersions
from tests.fakes.web_client import Connection, Response, parse, request
from tests.postgres import reactor

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class KeptTest(AppTest):
    """A site that keeps answers, and the agent's key."""

    async def setUp(self) -> None:
        await super().setUp()
        self.app = App(
            keys=self.keys,
            tenants=self.tenants,
            agents=self.agents,
            inboxes=self.inboxes,
            messages=self.messages,
            threads=self.threads,
            versions=Versions(self.database, self.messages.homes, reactor()),
            sending=self.sending,
            events=self.log,
            health=Health(self.database, "1"),
        )
        self.site = self.new_site(self.app)
        # Without a version nothing is kept.
        none: Any = FakeVersions()
        self.plain_site = self.new_site(evolve(self.app, versions=none))
        self.key = await self.key_for(self.ours.customer_id)

    def new_site(self, app: App) -> ApiSite:
        """A site that has kept nothing yet."""
        return make_site(app, WebSettings(rate=1e6, burst=10**6), Clock())

    async def key_for(
        self, customer_id: str | None, inbox_id: str | None = None
    ) -> NewKey:
        """A key of a customer, perhaps of one inbox alone."""
        return await self.keys.make(
            name="test", customer_id=customer_id, inbox_id=inbox_id
        )

    async def ask(
        self,
        path: str,
        secret: str | None = None,
        site: ApiSite | None = None,
        method: str = "GET",
        if_none_match: str | None = None,
    ) -> Response:
        """The answer, from the site that keeps them unless it is another."""
        connection = Connection(site or self.site)
        secret = self.key.secret if secret is None else secret
        headers = {} if if_none_match is None else {"If_None_Match": if_none_match}
        connection.send(request(method, path, None, secret=secret, **headers))
        octets = connection.received()
        while not octets:
            await deferLater(reactor(), 0.001)
            octets = connection.received()
        connection.lose()
        return parse(octets)

    @property
    def inbox_path(self) -> str:
        return f"/v1/inboxes/{self.agent.inbox_id}"

    async def paths(self) -> list[str]:
        """Everything that can be asked of the agent's mail, by one and all."""
        messages = await self.rows(
            "select message_id, thread_id from message where inbox_id = %(inbox_id)s",
            inbox_id=self.agent.inbox_id,
        )
        base = self.inbox_path
        return [
            f"{base}/messages?includeTrash=true",
            f"{base}/messages?folder=Archive",
            f"{base}/threads",
            *(f"{base}/messages/{message_id}" for message_id, _ in messages),
            *sorted({f"{base}/threads/{thread_id}" for _, thread_id in messages}),
        ]

    async def same(self, paths: Sequence[str]) -> list[bytes]:
        """That the site says what one says that keeps nothing; gives what it is."""
        said = []
        for path in paths:
            kept = await self.ask(path)
            plain = await self.ask(path, site=self.plain_site)
            self.assertEqual(kept.status, plain.status, path)
            if kept.status == 200:
                self.assertEqual(kept.body, plain.body, path)
            said.append(kept.body if kept.status == 200 else b"none")
        return said


class ChangeTests(KeptTest):
    """The very next answer shows each kind of change."""

    async def change(self, doing: object, changes: int = 1) -> None:
        """Let something be done, after all was read, and see that all is as it is now.

        :param changes: of how many answers, at least.
        """
        paths = await self.paths()
        before = await self.same(paths)
        await doing  # type: ignore[misc]
        after = await self.same(paths)
        different = sum(old != new for old, new in zip(before, after, strict=True))
        self.assertGreaterEqual(different, changes, "the change cannot be seen")
        await self.same(await self.paths())

    async def test_arrival(self) -> None:
        """Mail comes, and mail that answers it."""
        await self.receive(mail(message_id="1@x"))
        await self.change(self.receive(mail(message_id="2@x")), 2)
        reply = mail(message_id="3@x", header="In-Reply-To: <1@x>\r\n")
        await self.change(self.receive(reply), 3)

    async def test_labels(self) -> None:
        """Labels of a message, and of a thread."""
        message = await self.received(mail())
        label = UpdateMessage(
            inbox_id=message.inbox_id, message_id=message.message_id, add_labels=["a"]
        )
        await self.change(self.messages.update(self.ours, label), 4)
        relabelling = UpdateThread(
            inbox_id=message.inbox_id,
            thread_id=message.thread_id,
            remove_labels=["a", "unread"],
        )
        await self.change(self.threads.update(self.ours, relabelling), 4)

    async def test_deleting(self) -> None:
        """To Trash, for good, and a whole thread."""
        first = await self.received(mail(message_id="1@x"))
        reply = mail(message_id="2@x", header="In-Reply-To: <1@x>\r\n")
        second = await self.received(reply)
        other = await self.received(mail(message_id="3@x"))
        for message, permanent in ((first, False), (first, True), (second, True)):
            wanted = DeleteMessage(
                inbox_id=self.agent.inbox_id,
                message_id=message.message_id,
                permanent=permanent,
            )
            await self.change(self.messages.delete(self.ours, wanted), 2)
        thread = ThreadById(inbox_id=self.agent.inbox_id, thread_id=other.thread_id)
        await self.change(self.threads.delete(self.ours, thread), 4)

    async def test_absorbed(self) -> None:
        """A thread is taken in by another, when the mail comes that links them."""
        await self.receive(mail(message_id="root@x"))
        leaf = mail(message_id="leaf@x", header="In-Reply-To: <mid@x>\r\n")
        await self.receive(leaf)
        middle = mail(message_id="mid@x", header="In-Reply-To: <root@x>\r\n")
        await self.change(self.receive(middle), 4)
        self.assertEqual(await self.value("select count(*) from thread"), 1)

    async def test_mail_client(self) -> None:
        """Flags, copies, moves and folders of a mail client."""
        message = await self.received(mail())
        folders = (await self.home(self.agent)).folders
        inbox, archive = folders["INBOX"], folders["Archive"]
        inbox_id = self.agent.inbox_id
        seen = Marks(
            replace=False,
            add_labels=[],
            remove_labels=["unread"],
            add_flags=[],
            remove_flags=[],
            kept=[],
        )
        async with self.database.tenant(message.customer_id) as tx:
            await self.same(await self.paths())
            await mark(tx, inbox_id, inbox, [message.uid], seen, None)
            await self.same(await self.paths())
        await self.same(await self.paths())
        await self.change(
            self.transact(copy, inbox, [message.uid], archive, ["msg_0copy"]), 2
        )
        await self.change(self.transact(move, inbox, [message.uid], archive), 3)
        await self.change(self.folder("rename", inbox_id, "Archive", "Old"), 3)
        await self.folder("add", inbox_id, message.customer_id, ["Archive"])
        await self.same(await self.paths())

    async def transact(self, do: object, folder_id: int, *arguments: object) -> None:
        """As a mail client's session does."""
        assert self.ours.customer_id is not None
        async with self.database.tenant(self.ours.customer_id) as tx:
            await lock_inbox(tx, self.agent.inbox_id)
            await do(tx, self.agent.inbox_id, folder_id, *arguments)  # type: ignore[operator]

    async def folder(self, name: str, *arguments: object) -> None:
        """Change a folder."""
        assert self.ours.customer_id is not None
        async with self.database.tenant(self.ours.customer_id) as tx:
            await lock_inbox(tx, self.agent.inbox_id)
            await getattr(Folders(tx), name)(*arguments)

    async def test_deliveries(self) -> None:
        """What becomes of mail on the wire, attempt by attempt."""
        wanted = SendMessage(
            inbox_id=self.agent.inbox_id,
            to=["a@x.example", "b@y.example"],
            subject="out",
            text="Hello.",
        )
        await self.change(self.sending.send(self.ours, wanted), 2)
        # A delivery in hand is due at the end of its lease, which is renewed.
        await self.change(self.claim(), 1)
        queue = Queue(self.database.single(None))
        ids = [one.delivery_id for one in self.claimed]
        await self.change(queue.renew("me", ids, 500), 1)
        for attempt in range(2):
            await self.change(self.settle("deferred"), 1 if attempt else 2)
            await self.change(self.claim(), 1)
        await self.change(self.settle("delivered", self.claimed[:1]), 1)
        await self.change(self.settle("failed", self.claimed[1:]), 2)
        message_id = self.claimed[0].message_id
        path = f"{self.inbox_path}/messages/{message_id}"
        provider = (await self.ask(path)).json()["provider"]
        self.assertEqual((provider["state"], provider["attempts"]), ("failed", 6))
        # Now it is settled, and kept.
        self.assertIn("etag", (await self.ask(path)).headers)

    async def claim(self) -> None:
        """Take what waits, as the worker does."""
        await self.rows("update delivery set due_at = now(), lease = null returning 1")
        self.claimed = await Queue(self.database.single(None)).claim(
            "me", seconds=90, held={}, each=100, limit=100
        )
        self.assertTrue(self.claimed)

    async def settle(self, status: str, claimed: list[Claimed] | None = None) -> None:
        """Say what became of it."""
        settlements = [
            Settlement(
                claimed=one,
                status=status,
                due_at=datetime.now(UTC) + timedelta(hours=1),
                event_type=f"message.{status}",
                event_data={},
                attempts=[_attempt(one)],
            )
            for one in (self.claimed if claimed is None else claimed)
        ]
        async with self.database.system() as tx:
            await settle(tx, "me", settlements)

    async def test_other_process(self) -> None:
        """A process that shares the database alone."""
        message = await self.received(mail())
        pool = self.new_pool()
        await pool.start()

        async def elsewhere() -> None:
            async with Database(pool).tenant(message.customer_id) as tx:
                await lock_inbox(tx, message.inbox_id)
                await relabel(
                    tx,
                    message.inbox_id,
                    message_id=message.message_id,
                    add=["elsewhere"],
                    remove=[],
                )

        await self.change(elsewhere(), 4)

    async def test_inbox(self) -> None:
        """A suspended inbox shows its mail; one that is gone is not there."""
        await self.receive(mail())
        paths = await self.paths()
        suspend = UpdateInbox(inbox_id=self.agent.inbox_id, status="suspended")
        before = await self.same(paths)
        await self.inboxes.update(self.ours, suspend)
        self.assertEqual(await self.same(paths), before)
        await self.inboxes.delete(self.ours, InboxById(inbox_id=self.agent.inbox_id))
        for path in paths:
            self.assertEqual((await self.ask(path)).status, 404, path)

    async def test_deleted_elsewhere(self) -> None:
        """An inbox that another process has deleted shows nothing of its mail."""
        await self.receive(mail(subject="secret"))
        paths = await self.paths()
        await self.same(paths)
        await self.rows(
            "with gone as (delete from message returning 1) delete from inbox"
            " where inbox_id = %(inbox_id)s returning 1",
            inbox_id=self.agent.inbox_id,
        )
        for path in paths:
            self.assertNotIn(b"secret", (await self.ask(path)).body)


class ScopeTests(KeptTest):
    """Who gets a kept answer."""

    async def test_scopes(self) -> None:
        """None but a key that may read the inbox, whatever was kept for another."""
        message = await self.received(mail(subject="secret"))
        sibling = await self.inbox(self.ours, "sibling")
        paths = await self.paths()
        await self.same(paths)
        own = await self.key_for(message.customer_id, message.inbox_id)
        root = await self.key_for(None)
        for path in paths:
            said = await self.ask(path)
            for key in (own, root):
                self.assertEqual((await self.ask(path, key.secret)).body, said.body)
        for stranger in (
            await self.key_for(self.theirs.customer_id),
            await self.key_for(message.customer_id, sibling.inbox_id),
        ):
            for path in paths:
                tag = (await self.ask(path)).headers["etag"]
                for known in (None, tag):
                    answer = await self.ask(path, stranger.secret, if_none_match=known)
                    self.assertEqual(answer.status, 404, path)
                    self.assertNotIn(b"secret", answer.body)

    async def test_permission(self) -> None:
        """A key that may not read mail gets none."""
        await self.receive(mail())
        paths = await self.paths()
        await self.same(paths)
        key = await self.keys.make(
            name="test",
            customer_id=self.ours.customer_id,
            permissions=frozenset(("inboxes:read",)),
        )
        for path in paths:
            self.assertEqual((await self.ask(path, key.secret)).status, 403, path)

    async def test_revoked(self) -> None:
        """A revoked key gets nothing any more."""
        await self.receive(mail())
        paths = await self.paths()
        await self.same(paths)
        await self.keys.revoke(self.ours, KeyById(key_id=self.key.key.key_id))
        for path in paths:
            self.assertEqual((await self.ask(path)).status, 401, path)

    async def test_other_ids(self) -> None:
        """The address of an inbox leads to the same; another's message does not."""
        message = await self.received(mail())
        await self.receive(mail(), self.other.address)
        path = f"/v1/inboxes/{self.agent.address}/messages/{message.message_id}"
        named = await self.ask(path)
        self.assertEqual(
            named.body, (await self.ask(path.replace(*self._names()))).body
        )
        theirs = await self.value(
            "select message_id from message where inbox_id = %(inbox_id)s",
            inbox_id=self.other.inbox_id,
        )
        answer = await self.ask(path.replace(message.message_id, theirs))
        self.assertEqual(answer.status, 404)

    def _names(self) -> tuple[str, str]:
        return self.agent.address, self.agent.inbox_id


class ConditionTests(KeptTest):
    """If-None-Match (RFC 9110, 13.1.2)."""

    async def test_unchanged(self) -> None:
        """What the client has is not sent again, until it is another."""
        message = await self.received(mail())
        for path in await self.paths():
            first = await self.ask(path)
            tag = first.headers["etag"]
            self.assertTrue(tag.startswith('W/"'), tag)
            for site in (self.site, self.new_site(self.app)):
                answer = await self.ask(path, None, site, if_none_match=f'"a", {tag}')
                self.assertEqual((answer.status, answer.body), (304, b""))
                self.assertEqual(answer.headers["etag"], tag)
                self.assertNotIn("content-type", answer.headers)
                self.assertNotIn("content-length", answer.headers)
            head = await self.ask(path, method="HEAD", if_none_match='W/"other"')
            self.assertEqual((head.status, head.headers["etag"]), (200, tag))
        label = UpdateMessage(
            inbox_id=message.inbox_id, message_id=message.message_id, add_labels=["a"]
        )
        await self.messages.update(self.ours, label)
        path = f"{self.inbox_path}/messages/{message.message_id}"
        self.assertEqual((await self.ask(path, if_none_match=tag)).status, 200)

    async def test_kept(self) -> None:
        """What has not changed is not read again."""
        message = await self.received(mail())
        path = f"{self.inbox_path}/messages/{message.message_id}"
        first = await self.ask(path)
        # Past all use cases, and so unheard of by the version.
        await self.rows("update message set subject = 'other' returning 1")
        self.assertEqual((await self.ask(path)).body, first.body)

    async def test_version_first(self) -> None:
        """A change while the mail is read makes what is kept useless, not wrong."""
        message = await self.received(mail())
        path = f"{self.inbox_path}/messages/{message.message_id}"
        letter = self.messages.letters
        label = UpdateMessage(
            inbox_id=message.inbox_id, message_id=message.message_id, add_labels=["a"]
        )
        reading = type(letter).letter

        async def slow(own: object, *arguments: object) -> object:
            found = await reading(own, *arguments)  # type: ignore[arg-type]
            await self.messages.update(self.ours, label)
            return found

        self.patch(type(letter), "letter", slow)
        self.assertNotIn("a", (await self.ask(path)).json()["labels"])
        self.patch(type(letter), "letter", reading)
        self.assertIn("a", (await self.ask(path)).json()["labels"])


class StoreTests(SynchronousTestCase):
    """How much is kept."""

    def known(self, octets: int = 0) -> Known:
        return Known(
            InboxById(inbox_id="inb_1"), "1", b"tag", Answer(body=b"x" * octets)
        )

    def test_least_recent(self) -> None:
        """What nobody asks for goes first, and room is never exceeded."""
        kept = Kept("1", most=10_000)
        for number in range(9):
            kept.keep(b"%d" % number, self.known())
            kept.find(b"0")
        self.assertIsNotNone(kept.find(b"0"))
        kept.keep(b"more", self.known(3000))
        self.assertIsNotNone(kept.find(b"0"))
        self.assertIsNone(kept.find(b"1"))
        self.assertLessEqual(kept.octets, 10_000)

    def test_replaced(self) -> None:
        """An answer takes the place of the one before, whatever its size."""
        kept = Kept("1", largest=5000)
        kept.keep(b"a", self.known(2000))
        kept.keep(b"a", self.known(1000))
        once = kept.octets
        kept.keep(b"a", self.known(1000))
        self.assertEqual(kept.octets, once)
        kept.keep(b"a", self.known(6000))
        self.assertIsNone(kept.find(b"a"))
        self.assertEqual(kept.octets, 0)

    def test_tags(self) -> None:
        """A tag is of the release, the version and the path together."""
        tags = {
            Kept(release).tag(version, uri)
            for release, version, uri in (
                ("1", "2", b"3"),
                ("1", "2", b"4"),
                ("1", "3", b"3"),
                ("2", "2", b"3"),
                ("1", "23", b""),
                ("12", "3", b""),
            )
        }
        self.assertEqual(len(tags), 6)

    def test_named(self) -> None:
        """Tags are compared weakly."""
        for condition, found in (
            ('W/"a"', True),
            ('"a"', True),
            ('"b" ,W/"a"', True),
            ('"b"', False),
            ("*", False),
            ("", False),
            (None, False),
        ):
            self.assertEqual(is_named(b'W/"a"', condition), found, condition)


def _attempt(claimed: Claimed) -> Attempt:
    return Attempt(
        delivery_id=claimed.delivery_id,
        rcpt_to=claimed.rcpt_to,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=claimed.attempts),
        remote_host="mx.example",
        remote_address="192.0.2.1",
        code=250,
        enhanced="2.0.0",
        response="said",
        tls=None,
    )
