"""Several sessions on one folder: what each of them replays is what is stored."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from noinfra.store.embedded import EmbeddedPostgres
from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, new_state, reactor, start_daemon
from tests.e2e.imapreplay import Replay

FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "todo", "$Forwarded")
MAIL = b"From: ada@example.net\r\nSubject: storm\r\n\r\nx\r\n"
# What a session is told of another's change after at most so long, in seconds.
AT_ONCE = 1.0


class TwoSessionsTest(TestCase):
    """Two daemons on one database, and an inbox, me@."""

    timeout = 240

    async def setUp(self) -> None:
        home = new_state(self)
        postgres = EmbeddedPostgres(reactor(), home)
        self.addCleanup(lambda: Deferred.fromCoroutine(postgres.stop()))
        await postgres.start()
        shared = {
            "secret": str(home / "secret.key"),
            "database": {"dsn": postgres.dsn},
            "imap": {"rate": 1e6, "burst": 1_000_000},
        }
        self.daemons: list[Daemon] = [
            await start_daemon(self, shared) for _ in range(2)
        ]
        self.apis = [Api(one.base_url, one.root_key) for one in self.daemons]
        made = await in_thread(
            self.apis[0].post, "/v1/inboxes", {"username": "me", "password": True}
        )
        self.me: str = made["address"]
        self.password: str = made["password"]

    def session(self, daemon: int) -> Replay:
        """A session that has logged in; only in threads."""
        port = self.daemons[daemon].ports["imaps"]
        return Replay(port, self.me, self.password)

    def deliver(self, daemon: int = 0) -> None:
        """Mail from outside; only in threads."""
        port = self.daemons[daemon].ports["smtp"]
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as edge:
            edge.sendmail("ada@example.net", [self.me], MAIL)


class StormTests(TwoSessionsTest):
    """Sessions that change one folder at once, in an order that a seed decides."""

    def command(self, chance: Random, session: Replay) -> None:
        """Begin a command of a session; its answer is still to come."""
        known = session.uids
        some = sorted(chance.sample(known, min(len(known), chance.randint(1, 4))))
        flags = set(chance.sample(FLAGS, chance.randint(1, 2)))
        sign = chance.choice(("+", "-", ""))
        shown = f"{sign}FLAGS ({' '.join(sorted(flags))})"
        numbers = ",".join(str(session.uids.index(uid) + 1) for uid in some)
        uids = ",".join(map(str, some))
        target = chance.choice(("INBOX", "Archive"))
        mail = f"{{{len(MAIL)}+}}\r\n{MAIL.decode()}"
        choices = {
            "append": (3, f"APPEND INBOX (\\Seen) {mail}"),
            "noop": (2, "NOOP"),
            "expunge": (2, "EXPUNGE"),
            "search": (1, "SEARCH NOT DELETED"),
            "store": (4, f"STORE {numbers} {shown}"),
            "uid store": (2, f"UID STORE {uids} {shown}"),
            "silent": (4, ""),
            "fetch": (2, f"FETCH {numbers} (FLAGS UID)"),
            "uid fetch": (1, f"UID FETCH {uids} (FLAGS)"),
            "uid expunge": (1, f"UID EXPUNGE {uids}"),
            "copy": (2, f"COPY {numbers} {target}"),
            "uid move": (1, f"UID MOVE {uids} {target}"),
        }
        names = list(choices) if some else ["append", "noop", "expunge", "search"]
        name = chance.choices(names, [choices[each][0] for each in names])[0]
        if name == "silent":
            session.store_silently(some, sign, flags)
        else:
            session.begin(choices[name][1])

    def elsewhere(self, chance: Random) -> None:
        """A change that no session makes."""
        daemon = chance.randrange(2)
        api = self.apis[daemon]
        listed: list[dict[str, Any]] = api.get(
            f"/v1/inboxes/{self.me}/messages", limit=100
        )["data"]
        messages = [one for one in listed if one["folder"] == "INBOX"]
        if not messages or chance.random() < 0.3:
            self.deliver(daemon)
            return
        one = chance.choice(messages)
        path = f"/v1/inboxes/{self.me}/messages/{quote(one['id'], safe='')}"
        if chance.random() < 0.3:
            answered = api.call("DELETE", path)
        else:
            add, remove = chance.sample(("starred", "unread", "todo"), 2)
            change = {"addLabels": [add], "removeLabels": [remove]}
            answered = api.call("PATCH", path, change)
        # The sessions may have been faster.
        assert answered.status in (200, 204, 404), answered

    def storm(self, seed: int, steps: int, extension: str = "") -> None:
        """Both sessions at once, and others between; then all agree."""
        chance = Random(seed)
        with (
            self.session(0) as one,
            # Of the same daemon, and of another, by turns.
            self.session(seed % 2) as other,
            self.session(0) as judge,
        ):
            for session in (one, other):
                if extension:
                    session.ask(f"ENABLE {extension}")
                session.select("INBOX")
            for step in range(steps):
                for session in (one, other):
                    self.command(chance, session)
                for session in (one, other):
                    # A message that is gone by now is no failure of the session.
                    session.end("OK", "NO")
                for session in (one, other):
                    session.learn()
                if chance.random() < 0.15:
                    self.elsewhere(chance)
                if step % 10 == 9 or step == steps - 1:
                    for session in (one, other):
                        session.ask("NOOP")
                        session.learn()
                    judge.select("INBOX")
                    for session in (one, other):
                        self.assertEqual(session.view, judge.view, (seed, step))
                        # And what it is told when it asks again.
                        session.ask("UID FETCH 1:* (FLAGS)")
                        self.assertEqual(session.view, judge.view, (seed, step))

    async def test_expunge(self) -> None:
        """What two sessions replay from EXPUNGE, EXISTS and FETCH is what is stored."""
        for seed in range(2):
            await in_thread(self.storm, seed, 100)

    async def test_vanished(self) -> None:
        """The same with VANISHED and modseqs, which never go back (RFC 7162)."""
        for seed in range(2, 4):
            await in_thread(self.storm, seed, 100, "QRESYNC")


class AtOnceTests(TwoSessionsTest):
    """How soon a session is told of what happened elsewhere."""

    async def test_other_process(self) -> None:
        """A session hears within a second of mail, flags and deletions by the other."""

        def waits() -> list[float]:
            with self.session(0) as there, self.session(1) as here:
                here.select("INBOX")
                here.idle()
                there.select("INBOX")
                changes: Sequence[tuple[Callable[[], object], bytes]] = (
                    (self.deliver, b"* 1 EXISTS"),
                    (lambda: there.ask("NOOP"), b""),
                    (lambda: there.ask("STORE 1 +FLAGS (todo)"), b"* 1 FETCH "),
                    (self.label, b"* 1 FETCH "),
                    (lambda: there.ask("UID MOVE 1:* Archive"), b"* 1 EXPUNGE"),
                )
                found = []
                for change, expected in changes:
                    change()
                    start = monotonic()
                    while expected and not here.hear().startswith(expected):
                        continue
                    found.append(monotonic() - start)
                here.done()
                return found

        took = await in_thread(waits)
        self.assertLess(max(took), AT_ONCE, took)

    def label(self) -> None:
        (message,) = self.apis[0].messages(self.me)
        path = f"/v1/inboxes/{self.me}/messages/{message['id']}"
        answered = self.apis[0].call("PATCH", path, {"addLabels": ["starred"]})
        assert answered.status == 200, answered

    async def test_without_idle(self) -> None:
        """One that does not idle is told with its next command, within a second."""

        def wait() -> float:
            with self.session(0) as there, self.session(1) as here:
                here.select("Archive")
                start = monotonic()
                there.begin(f"APPEND Archive {{{len(MAIL)}+}}\r\n{MAIL.decode()}")
                there.end()
                while not here.messages and monotonic() < start + 10:
                    here.ask("SEARCH ALL")
                    sleep(0.02)
                return monotonic() - start

        self.assertLess(await in_thread(wait), AT_ONCE)

    async def test_silent(self) -> None:
        """A silent STORE keeps quiet of its own change, not of others' (RFC 7162)."""

        def talk() -> None:
            with self.session(0) as there, self.session(1) as here:
                self.deliver()
                for session in (there, here):
                    session.select("INBOX")
                here.store_silently([1], "+", {"todo"})
                self.assertEqual(len(here.end()), 1)
                there.ask("STORE 1 +FLAGS (\\Flagged)")
                here.store_silently([1], "+", {"\\Seen"})
                here.end()
                flags = frozenset(("\\Seen", "\\Flagged", "todo"))
                self.assertEqual(here.view, [(1, flags)])

        await in_thread(talk)

    async def test_folder_deleted(self) -> None:
        """A folder that is deleted under a session ends it with a word."""

        def talk() -> bytes:
            with self.session(0) as there, self.session(1) as here:
                there.ask("CREATE Work")
                here.ask("SELECT Work")
                there.ask("DELETE Work")
                here.begin("NOOP")
                with self.assertRaises(AssertionError) as raised:
                    here.end()
                return bytes(raised.exception.args[0])

        self.assertIn(b"BYE [NONEXISTENT]", await in_thread(talk))
