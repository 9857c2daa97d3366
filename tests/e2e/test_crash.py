"""What was answered with 250 outlives every crash, and is there once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, reactor, start_daemon
from tests.e2e.live import until
from tests.e2e.load import Load, Tally, announced, tally
from tests.e2e.sink import Sink

INBOXES = ("ada", "bob", "eve")


def api_of(daemon: Daemon) -> Api:
    return Api(daemon.base_url, daemon.root_key)


def postmaster(state: Path) -> int:
    """The process of the daemon's own PostgreSQL."""
    file = state / "postgres" / "data" / "postmaster.pid"
    return int(file.read_text().split()[0])


def backends(postmaster: int) -> list[int]:
    """The processes that serve the daemon's connections."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            title = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # It has just gone.
        # As in "postgres: noinfra postgres [local] idle".
        if int(parent) == postmaster and b"[local]" in title:
            found.append(int(entry.name))
    return found


async def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        await deferLater(reactor(), 0.05)
    return not Path(f"/proc/{pid}").exists()


class InboundTests(TestCase):
    """The daemon, or its database, is killed while mail comes in."""

    timeout = 240

    async def check(self, api: Api, load: Load) -> Tally:
        """Nothing lost, nothing doubled, nothing in parts, and all of it announced."""
        found = await in_thread(tally, api, load)
        self.assertEqual((found.lost, found.doubled, found.torn), (0, 0, 0), found)
        inboxes = load.inboxes
        self.assertEqual(await in_thread(announced, api, inboxes), (0, 0))
        return found

    async def test_kill_daemon(self) -> None:
        """SIGKILL, again and again, and once with the database as in a power cut."""
        daemon = await start_daemon(self)
        inboxes = [await in_thread(api_of(daemon).make_inbox, one) for one in INBOXES]
        load = Load(0, inboxes)
        for round in range(4):
            load = Load(daemon.ports["smtp"], inboxes, load.accepted, load.unknown)
            load.start()
            await load.until(len(load.accepted) + 150)
            server = postmaster(daemon.state)
            daemon.process.send_signal(signal.SIGKILL)
            if round == 3:
                os.kill(server, signal.SIGKILL)
            await daemon.process.end()
            await load.stop()
            daemon = await start_daemon(self, state=daemon.state)
            self.assertEqual(load.refused, Counter())
        found = await self.check(api_of(daemon), load)
        self.assertGreaterEqual(found.accepted, 600)
        self.assertEqual(await daemon.stop(), 0)

    async def test_kill_database(self) -> None:
        """Peers hear 451 at worst, and all goes on within seconds."""
        daemon = await start_daemon(self)
        inboxes = [await in_thread(api_of(daemon).make_inbox, one) for one in INBOXES]
        load = Load(daemon.ports["smtp"], inboxes)
        load.start()
        for round in range(4):
            await load.until(len(load.accepted) + 100)
            server = postmaster(daemon.state)
            if round % 2:
                os.kill(backends(server)[0], signal.SIGKILL)
            else:
                os.kill(server, signal.SIGKILL)
        await load.until(len(load.accepted) + 100)
        await load.stop()
        self.assertEqual([x for x in load.refused if not x.startswith("451 ")], [])
        self.assertEqual(load.unknown, {})
        self.assertLess(load.longest, 10)
        await self.check(api_of(daemon), load)
        self.assertEqual(await daemon.stop(), 0)

    async def test_stop(self) -> None:
        """SIGTERM under load: a clean end, and not even a 250 that went unheard."""
        daemon = await start_daemon(self)
        inboxes = [await in_thread(api_of(daemon).make_inbox, one) for one in INBOXES]
        load = Load(daemon.ports["smtp"], inboxes)
        load.start()
        await load.until(200)
        server = postmaster(daemon.state)
        self.assertEqual(await daemon.stop(), 0)
        await load.stop()
        self.assertTrue(await gone(server))
        again = await start_daemon(self, state=daemon.state)
        found = await self.check(api_of(again), load)
        self.assertEqual(found.unheard, 0)


class OutboundTests(TestCase):
    """The daemon is killed while mail goes out."""

    timeout = 240

    async def test_kill_daemon(self) -> None:
        """Everything is delivered after all, and hardly anything twice."""
        sink = await Sink.start(self)
        routes = {"outbound": {"routes": {"far.example": f"127.0.0.1:{sink.port}"}}}
        daemon = await start_daemon(self, routes)
        inbox = await in_thread(api_of(daemon).make_inbox, "ada")
        sent: list[str] = []
        for _ in range(3):
            before = len(sent)
            sent += await in_thread(send_many, api_of(daemon), inbox, before, 100)
            while len(sink.subjects()) < before + 30:
                await deferLater(reactor(), 0.01)
            await daemon.stop(signal.SIGKILL)
            daemon = await start_daemon(self, routes, state=daemon.state)
        await until_delivered(api_of(daemon), inbox, len(sent))
        arrived = sink.subjects()
        self.assertEqual(set(arrived), set(sent))
        twice = [subject for subject, n in arrived.items() if n > 1]
        # At most what was under way in the three moments.
        self.assertLess(len(twice), 60, twice)
        self.assertEqual(await daemon.stop(), 0)

    async def test_stop(self) -> None:
        """What waits for its turn when we stop goes out at once when we are back."""
        # A second for every message, of which ten go at once.
        sink = await Sink.start(self, "-w", "1")
        routes = {"outbound": {"routes": {"far.example": f"127.0.0.1:{sink.port}"}}}
        daemon = await start_daemon(self, routes)
        inbox = await in_thread(api_of(daemon).make_inbox, "ada")
        sent = await in_thread(send_many, api_of(daemon), inbox, 0, 40)
        self.assertEqual(await daemon.stop(), 0)
        self.assertLess(len(sink.subjects()), 40)
        daemon = await start_daemon(self, routes, state=daemon.state)
        await until(lambda: len(sink.subjects()) == 40, 10)
        self.assertEqual(sink.subjects(), Counter(sent))

    # The relay's word that we stop is taken for the peer's, and puts mail off.


def send_many(api: Api, inbox: str, first: int, number: int) -> list[str]:
    """Have the agent write to as many strangers."""
    subjects = [f"mail-{n}" for n in range(first, first + number)]
    for subject in subjects:
        api.send(inbox, to=[f"{subject}@far.example"], subject=subject, text=subject)
    return subjects


async def until_delivered(api: Api, inbox: str, number: int) -> None:
    """Wait until as many messages have left."""
    states: Counter[str] = Counter()
    while states != {"delivered": number}:
        await deferLater(reactor(), 0.2)
        found = await in_thread(api.messages, inbox, direction="outbound")
        states = Counter(one["provider"]["state"] for one in found)
