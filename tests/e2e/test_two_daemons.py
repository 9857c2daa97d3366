"""Several daemons on one database work as one server."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from noinfra.store.embedded import EmbeddedPostgres
from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, merged, new_state, reactor, start_daemon
from tests.e2e.live import until, watch
from tests.e2e.sink import Sink
from tests.e2e.stranger import Stranger

AGENTS = "agents.localhost"
# How long one daemon may take to hear of what the other did, in seconds.
AT_ONCE = 0.1


def took(change: Callable[[], object], seen: Callable[[], bool]) -> float:
    """Seconds from a change's answer until it is seen; it blocks."""
    change()
    start = time.monotonic()
    while not seen():
        if time.monotonic() > start + 5:
            raise TimeoutError("it is never seen")
    return time.monotonic() - start


class TwoDaemonsTests(TestCase):
    timeout = 120

    async def setUp(self) -> None:
        home = new_state(self)
        # Not the one that all tests share: who writes there for long delays our events.
        postgres = EmbeddedPostgres(reactor(), home)
        self.addCleanup(lambda: Deferred.fromCoroutine(postgres.stop()))
        await postgres.start()
        self.dsn = postgres.dsn
        # They sign with the same keys.
        self.secret = str(home / "secret.key")

    async def daemon(self, **settings: Any) -> tuple[Daemon, Api]:
        """One of them."""
        shared = {"secret": self.secret, "database": {"dsn": self.dsn}}
        daemon = await start_daemon(self, merged(shared, settings))
        return daemon, Api(daemon.base_url, daemon.root_key)

    async def test_roles(self) -> None:
        """One receives and serves, the other delivers: every mail goes out once."""
        sink = await Sink.start(self)
        outbound = {"routes": {"far.example": f"127.0.0.1:{sink.port}"}}
        front, api = await self.daemon(roles=["edge", "web"])
        back, _ = await self.daemon(roles=["deliver", "work"], outbound=outbound)
        self.assertEqual(set(front.ports), {"smtp", "web"})
        self.assertEqual(back.ports, {})
        inbox = await in_thread(api.make_inbox, "ada")
        await in_thread(send, api, inbox, 0, 100)
        await until(lambda: len(sink.subjects()) == 100)
        await in_thread(take, front.ports["smtp"], inbox, "from outside")
        (found,) = await in_thread(api.messages, inbox, direction="inbound")
        self.assertEqual(found["subject"], "from outside")
        self.assertEqual(set(sink.subjects().values()), {1})
        self.assertEqual(await back.stop(), 0)
        self.assertEqual(await front.stop(), 0)

    async def test_both(self) -> None:
        """Both do everything at once, and no mail goes out twice."""
        sink = await Sink.start(self)
        outbound = {"routes": {"far.example": f"127.0.0.1:{sink.port}"}}
        (_, api), (_, other_api) = [
            await self.daemon(outbound=outbound) for _ in range(2)
        ]
        inbox = await in_thread(api.make_inbox, "ada")
        sending = [
            in_thread(send, each, inbox, first, 150)
            for first, each in ((0, api), (150, other_api))
        ]
        for each in sending:
            await each
        await until(lambda: len(sink.subjects()) == 300)
        arrived = Counter(sink.subjects().values())
        self.assertEqual(arrived, {1: 300})
        for mail in sink.mails():
            # Whoever sent it, by the same two keys.
            self.assertEqual(mail.count(b"DKIM-Signature:"), 2)

    async def test_events(self) -> None:
        """What happens at one is told by the other at once, and in the same order."""
        (one, api), (other, other_api) = [await self.daemon() for _ in range(2)]
        readers = [
            await watch(self, each.base_url, each.root_key) for each in (one, other)
        ]
        inbox = await in_thread(api.make_inbox, "ada")

        async def wait(number: int) -> float:
            port = (one, other)[number % 2].ports["smtp"]
            await in_thread(take, port, inbox, str(number))
            start = time.monotonic()
            # The agent and its inbox are events, too.
            await until(lambda: all(len(each.events) == 3 + number for each in readers))
            return time.monotonic() - start

        waits = [await wait(number) for number in range(20)]
        self.assertLess(median(waits), AT_ONCE, waits)
        first, second = ([event["id"] for event in each.events] for each in readers)
        self.assertEqual(first, second)
        subjects = [
            event["data"]["message"]["subject"]
            for event in readers[1].events
            if event["type"] == "message.received"
        ]
        self.assertEqual(subjects, [str(number) for number in range(20)])
        found = await in_thread(other_api.messages, inbox)
        self.assertEqual(len(found), 20)

    async def test_inbox(self) -> None:
        """A new inbox receives at the other's edge at once, though it was asked before."""
        (_, api), (other, _) = [
            await self.daemon(edge={"errors": 10_000}) for _ in range(2)
        ]

        def try_once(number: int) -> float:
            with Stranger(other.ports["smtp"]) as client:
                client.reply()
                client.say(b"EHLO near.example")
                client.say(b"MAIL FROM:<x@near.example>")
                recipient = f"RCPT TO:<agent{number}@{AGENTS}>".encode()
                assert client.say(recipient).startswith(b"550 5.1.1")
                return took(
                    lambda: api.make_inbox(f"agent{number}"),
                    lambda: client.say(recipient).startswith(b"250"),
                )

        waits = [await in_thread(try_once, number) for number in range(7)]
        self.assertLess(median(waits), AT_ONCE, waits)

    async def test_suspended(self) -> None:
        """An inbox that is suspended or gone is refused by the other at once."""
        (_, api), (other, _) = [await self.daemon() for _ in range(2)]

        def try_once(number: int, code: bytes, *call: Any) -> float:
            address = api.make_inbox(f"agent{number}")
            with Stranger(other.ports["smtp"]) as client:
                client.reply()
                client.say(b"EHLO near.example")

                def told() -> bytes:
                    client.say(b"RSET")
                    client.say(b"MAIL FROM:<x@near.example>")
                    return client.say(f"RCPT TO:<{address}>".encode())[:3]

                assert told() == b"250"
                method, body = call
                return took(
                    lambda: api.call(method, f"/v1/inboxes/{address}", body),
                    lambda: told() == code,
                )

        waits = []
        for number in range(3):
            suspend = ("PATCH", {"status": "suspended"})
            waits.append(await in_thread(try_once, number, b"450", *suspend))
            waits.append(await in_thread(try_once, number + 10, b"550", "DELETE", None))
        self.assertLess(median(waits), AT_ONCE, waits)

    async def test_key(self) -> None:
        """A key revoked at one is refused by the other at once, live readers too."""
        (_, api), (other, _) = [await self.daemon() for _ in range(2)]

        async def wait() -> float:
            made = await in_thread(
                api.post, "/v1/api-keys", {"name": "x", "preset": "operator"}
            )
            known = Api(other.base_url, made["key"])
            await in_thread(known.get, "/v1/inboxes")
            reader = await watch(self, other.base_url, made["key"])
            waited = await in_thread(
                took,
                lambda: api.call("DELETE", f"/v1/api-keys/{made['id']}"),
                lambda: known.call("GET", "/v1/inboxes").status == 401,
            )
            await until(lambda: reader.closed is not None)
            self.assertEqual(reader.closed, 4401)
            return waited

        waits = [await wait() for _ in range(5)]
        self.assertLess(median(waits), AT_ONCE, waits)


def send(api: Api, inbox: str, first: int, number: int) -> None:
    """Have the agent write to as many strangers."""
    for n in range(first, first + number):
        to, subject = [f"m{n}@far.example"], f"m{n}"
        api.send(inbox, to=to, subject=subject, text=subject)


def take(port: int, inbox: str, subject: str) -> None:
    """Send a mail to the inbox."""
    with Stranger(port) as client:
        client.mail(inbox)
        reply = client.say(f"Subject: {subject}\r\n\r\nx\r\n.".encode())
        assert reply.startswith(b"250 "), reply
