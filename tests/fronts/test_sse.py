"""Server-sent events, on the site as it is."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.access import PERMISSIONS
from noinfra.app.events import Ended, SlowReader, event_id
from noinfra.errors import NotFound
from tests.fakes.web_app import SECRET, FakeSubscription, event
from tests.fakes.web_client import Client, Connection, parse, request

PATH = "/v1/events/stream"


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client()

    def open(self, path: str = PATH, **headers: str) -> Connection:
        connection = Connection(self.client.site)
        connection.send(request("GET", path, None, **headers))
        return connection

    @property
    def subscription(self) -> FakeSubscription:
        return self.client.app.events.subscriptions[-1]

    def test_begins(self) -> None:
        """First the time to reconnect after, and the place to come back to."""
        answer = self.open().answer()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertIn(b"retry: 3000\n", answer.body)
        self.assertIn(f"id: {self.subscription.cursor}\n\n".encode(), answer.body)

    def test_events(self) -> None:
        """An event has its id, and its data in one line."""
        connection = self.open()
        connection.received()
        self.subscription.offer(event(8), event(9))
        octets = connection.received()
        self.assertIn(f"id: {event_id(event(9))}\ndata: ".encode(), octets)
        lines = [line for line in octets.split(b"\n") if line.startswith(b"data: ")]
        told = json.loads(lines[0][6:])
        self.assertEqual(told["type"], "event")
        self.assertEqual(told["event"]["id"], event_id(event(8)))
        self.assertEqual(told["event"]["data"], {"subject": "Hello"})

    def test_resumes(self) -> None:
        """It goes on after ?after=, or after the header field, which is later."""
        first, later = event_id(event(1)), event_id(event(2))
        self.open(f"{PATH}?after={first}")
        self.assertEqual(self.subscription.cursor, first)
        self.open(f"{PATH}?after={first}", Last_Event_ID=later)
        self.assertEqual(self.subscription.cursor, later)

    def test_filters(self) -> None:
        """The query narrows it; a parameter that is none is refused."""
        self.open(f"{PATH}?customerId=cus_1&types=message.*,thread.created")
        self.assertEqual(self.subscription.filters.customer_id, "cus_1")
        self.assertEqual(
            self.subscription.filters.types, ["message.*", "thread.created"]
        )
        self.assertEqual(self.open(f"{PATH}?colour=red").answer().status, 400)

    def test_key(self) -> None:
        """The key may be in the query; without one it is 401."""
        connection = Connection(self.client.site)
        connection.send(request("GET", f"{PATH}?api_key={SECRET}", secret=None))
        self.assertEqual(connection.answer().status, 200)
        self.assertEqual(self.client.ask("GET", PATH, secret=None).status, 401)

    def test_permission(self) -> None:
        """Without events:read it is 403; what is not there is 404."""
        self.client.app.events.refusal = NotFound("There is no such inbox.")
        self.assertEqual(self.open(f"{PATH}?inboxId=inb_9").answer().status, 404)
        self.client.app.keys.permissions = PERMISSIONS - {"events:read"}
        self.assertEqual(self.open().answer().status, 403)

    def test_heartbeat(self) -> None:
        """A comment every 15 seconds."""
        connection = self.open()
        connection.received()
        self.client.clock.pump([1.0] * 31)
        self.assertEqual(connection.received().count(b":\n"), 2)

    def test_gone(self) -> None:
        """When the client goes, the subscription ends, and no timer stays."""
        connection = self.open()
        connection.lose()
        self.assertTrue(self.subscription.closed)
        self.client.clock.advance(60)
        self.assertEqual(self.client.clock.getDelayedCalls(), [])

    def test_slow(self) -> None:
        """A client that takes nothing is cut off, and written to no more."""
        connection = self.open()
        connection.received()
        self.subscription.offer(event(8))
        connection.channel.pauseProducing()
        self.subscription.offer(event(9))
        connection.received()
        self.subscription.offer(event(10))
        self.assertEqual(connection.received(), b"")
        self.client.clock.pump([1.0] * 62)
        self.assertTrue(connection.transport.disconnected)

    def test_catches_up(self) -> None:
        """A client that pauses for a while gets what happened meanwhile."""
        connection = self.open()
        connection.channel.pauseProducing()
        self.subscription.offer(event(9))
        self.subscription.offer(event(10))
        connection.received()
        connection.channel.resumeProducing()
        self.assertIn(event_id(event(10)).encode(), connection.received())

    def test_too_far_behind(self) -> None:
        """A reader that the log gives up is let go; it comes back with its cursor."""
        connection = self.open()
        self.subscription.end(SlowReader("behind"))
        self.assertTrue(connection.received().endswith(b"0\r\n\r\n"))
        self.assertTrue(self.subscription.closed)

    def test_ended(self) -> None:
        """A reader whose subscription ends is let go."""
        connection = self.open()
        self.subscription.end(Ended("The key was revoked."))
        self.assertTrue(connection.received().endswith(b"0\r\n\r\n"))

    def test_revoked(self) -> None:
        """Keys are looked at again every half minute."""
        connection = self.open()
        self.client.app.keys.known.clear()
        self.client.clock.pump([1.0] * 31)
        self.assertTrue(connection.received().endswith(b"0\r\n\r\n"))

    def test_full(self) -> None:
        """There are only so many readers."""
        self.client = Client(readers=1)
        self.open()
        self.assertEqual(self.open().answer().status, 503)

    def test_stop(self) -> None:
        """When the server stops, the streams end."""
        connection = self.open()
        self.client.site.stopFactory()
        self.assertTrue(connection.received().endswith(b"0\r\n\r\n"))
        connection.lose()
        self.assertEqual(self.client.clock.getDelayedCalls(), [])

    def test_head(self) -> None:
        """HEAD subscribes to nothing."""
        connection = Connection(self.client.site)
        connection.send(request("HEAD", PATH))
        self.assertEqual(parse(connection.received()).status, 200)
        self.assertEqual(self.client.app.events.subscriptions, [])
