"""The WebSocket of events, on the site as it is, frame by frame."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.access import PERMISSIONS
from noinfra.app.events import Ended, SlowReader, event_id
from noinfra.errors import Forbidden, NotFound, RateLimited, TemporaryFailure
from noinfra.fronts.stream import text_frame
from noinfra.fronts.websocket import MAX_WAITING, close_code, close_reason
from tests.fakes.web_app import SECRET, FakeSubscription, event
from tests.fakes.web_client import Client, Connection, request

PATH = "/v1/events/ws"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A frame as a client sends it (RFC 6455, 5.2), under a mask of zeros."""
    length = len(payload)
    size = (
        bytes((0x80 | length,))
        if length < 126
        else b"\xfe" + length.to_bytes(2, "big")
        if length < 65536
        else b"\xff" + length.to_bytes(8, "big")
    )
    return bytes((0x80 | opcode,)) + size + b"\0\0\0\0" + payload


class Peer:
    """A client with an open WebSocket."""

    def __init__(self, client: Client, path: str = PATH, **headers: str) -> None:
        self.connection = Connection(client.site)
        self.transport = self.connection.transport
        self.transport.protocol = self.connection.channel
        self.connection.send(request("GET", path, None, **{**UPGRADE, **headers}))
        head, _, self.rest = self.connection.received().partition(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])

    def send(self, command: Any) -> None:
        self.raw(masked(json.dumps(command).encode()))

    def raw(self, octets: bytes) -> None:
        self.transport.protocol.dataReceived(octets)

    def frames(self) -> list[tuple[int, bytes]]:
        """The opcodes and payloads of what has come."""
        octets, self.rest = self.rest + self.connection.received(), b""
        found = []
        while octets:
            length, start = octets[1], 2
            if length == 126:
                length, start = int.from_bytes(octets[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(octets[2:10], "big"), 10
            found.append((octets[0] & 15, octets[start : start + length]))
            octets = octets[start + length :]
        return found

    def told(self) -> list[Any]:
        return [json.loads(payload) for opcode, payload in self.frames() if opcode == 1]

    def closed(self) -> int | None:
        """The code of the close frame, if one has come."""
        for opcode, payload in self.frames():
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")
        return None

    def lose(self) -> None:
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))


class SocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client()

    def open(self, path: str = PATH, **headers: str) -> Peer:
        return Peer(self.client, path, **headers)

    @property
    def subscription(self) -> FakeSubscription:
        return self.client.app.events.subscriptions[-1]

    def test_ready(self) -> None:
        """The first frame says ready, and where reading begins."""
        peer = self.open()
        self.assertEqual(peer.status, 101)
        (ready,) = peer.told()
        self.assertEqual(ready["type"], "ready")
        self.assertEqual(ready["cursor"], self.subscription.cursor)
        self.assertTrue(ready["connectionId"].startswith("con_"))

    def test_events(self) -> None:
        """Events come as they happen, in order."""
        peer = self.open()
        peer.frames()
        self.subscription.offer(event(8), event(9))
        self.subscription.offer(event(10))
        told = peer.told()
        self.assertEqual([one["type"] for one in told], ["event"] * 3)
        self.assertEqual(
            [one["event"]["id"] for one in told],
            [event_id(event(number)) for number in (8, 9, 10)],
        )

    def test_query(self) -> None:
        """The query may hold the key, the conditions and the cursor."""
        after = event_id(event(1))
        peer = self.open(
            f"{PATH}?customerId=cus_1&api_key={SECRET}&after={after}&types=message.*",
            Authorization="",
        )
        self.assertEqual(peer.told()[0]["cursor"], after)
        self.assertEqual(self.subscription.filters.customer_id, "cus_1")
        self.assertEqual(self.subscription.filters.types, ["message.*"])

    def test_refused(self) -> None:
        """Who may not read is closed with 4000 and the HTTP status."""
        self.assertEqual(self.open(Authorization="Bearer wrong").closed(), 4401)
        self.assertEqual(self.open(Authorization="").closed(), 4401)
        self.assertEqual(self.open(f"{PATH}?colour=red").closed(), 4400)
        self.client.app.events.refusal = NotFound("There is no such inbox.")
        self.assertEqual(self.open().closed(), 4404)
        self.client.app.events.refusal = TemporaryFailure("Not now.")
        self.assertEqual(self.open().closed(), 1013)
        self.client.app.keys.permissions = PERMISSIONS - {"events:read"}
        self.assertEqual(self.open().closed(), 4403)

    def test_no_upgrade(self) -> None:
        """A plain request is 426."""
        answer = self.client.ask("GET", PATH)
        self.assertEqual((answer.status, answer.headers["upgrade"]), (426, "websocket"))

    def test_origin(self) -> None:
        """A page of another site may not connect; our own, and the named ones, may."""
        self.client = Client(cors_origins=["https://app.example"])
        self.assertEqual(self.open(Origin="https://evil.example").status, 403)
        self.assertEqual(self.open(Origin="null").status, 403)
        self.assertEqual(self.open(Origin="https://app.example").status, 101)
        self.assertEqual(self.open(Origin="http://127.0.0.1:8025").status, 101)

    def test_subscribe(self) -> None:
        """Subscribing sets the conditions, from a cursor on; the old ones are gone."""
        peer = self.open()
        peer.frames()
        old = self.subscription
        after = event_id(event(3))
        filters = {"inboxId": "inb_1", "types": ["message.received"]}
        peer.send({"type": "subscribe", "id": 7, "filters": filters, "after": after})
        (answer,) = peer.told()
        self.assertEqual(
            (answer["type"], answer["id"], answer["cursor"]), ("subscribed", 7, after)
        )
        self.assertEqual(answer["filters"]["inboxId"], "inb_1")
        self.assertTrue(old.closed)
        old.offer(event(4))
        self.assertEqual(peer.frames(), [])
        self.subscription.offer(event(5))
        self.assertEqual(len(peer.told()), 1)

    def test_filters(self) -> None:
        """The filters are told, and set where some are given."""
        peer = self.open(f"{PATH}?inboxId=inb_1")
        peer.frames()
        peer.send({"type": "filters"})
        self.assertEqual(peer.told()[0]["filters"]["inboxId"], "inb_1")
        peer.send({"type": "filters", "filters": {"types": ["thread.*"]}})
        (answer,) = peer.told()
        self.assertEqual(answer["filters"]["types"], ["thread.*"])
        self.assertEqual(self.subscription.filters.types, ["thread.*"])

    def test_ping(self) -> None:
        """A ping is answered with the time, and with its id."""
        peer = self.open()
        peer.frames()
        peer.send({"type": "ping", "id": "a"})
        (answer,) = peer.told()
        self.assertEqual((answer["type"], answer["id"]), ("pong", "a"))
        self.assertTrue(answer["time"].endswith("Z"))

    def test_list(self) -> None:
        """A page of the log, under the conditions that hold."""
        peer = self.open(f"{PATH}?inboxId=inb_1")
        peer.frames()
        peer.send({"type": "list", "limit": 5, "after": event_id(event(1))})
        (answer,) = peer.told()
        self.assertEqual((answer["type"], answer["nextCursor"]), ("list", "next"))
        self.assertEqual(answer["events"][0]["type"], "message.received")
        asked = self.client.app.asked[-1][2]
        self.assertEqual((asked.limit, asked.inbox_id), (5, "inb_1"))

    def test_bad_commands(self) -> None:
        """What is no command is told so, and the connection stays."""
        peer = self.open()
        peer.frames()
        for payload in (b"", b"{", b"[]", b'{"type": 1}', b'{"type": "x", "y": 1}'):
            peer.raw(masked(payload))
        peer.send({"type": "dance", "id": 1})
        peer.send({"type": "list", "limit": 0})
        peer.send({"type": "subscribe", "filters": {"colour": "red"}})
        told = peer.told()
        self.assertEqual([one["type"] for one in told], ["error"] * 8)
        self.assertEqual(told[5]["id"], 1)
        self.assertEqual(told[7]["details"], {"field": "filters.colour"})
        peer.send({"type": "ping"})
        self.assertEqual(peer.told()[0]["type"], "pong")

    def test_refused_command(self) -> None:
        """A refusal of a command is told, and what was read is read on."""
        peer = self.open()
        peer.frames()
        self.client.app.events.refusal = NotFound("There is no such inbox.")
        peer.send({"type": "subscribe", "id": 1, "filters": {"inboxId": "inb_9"}})
        (answer,) = peer.told()
        self.assertEqual((answer["code"], answer["id"]), ("not_found", 1))
        self.subscription.offer(event(9))
        self.assertEqual(peer.told()[0]["type"], "event")

    def test_haste(self) -> None:
        """Commands count as requests do."""
        self.client = Client(rate=1.0, burst=2)
        peer = self.open()
        peer.frames()
        peer.send({"type": "ping"})
        peer.send({"type": "ping"})
        self.assertEqual(
            [one.get("code", one["type"]) for one in peer.told()],
            ["pong", "rate_limited"],
        )

    def test_too_large(self) -> None:
        """A message beyond the limit closes with 1009."""
        peer = self.open()
        peer.frames()
        peer.raw(masked(b"x" * 70_000))
        self.assertEqual(peer.closed(), 1009)

    def test_no_mask(self) -> None:
        """A frame without a mask closes with 1002 (RFC 6455, 5.1)."""
        peer = self.open()
        peer.frames()
        peer.raw(text_frame(b"{}"))
        self.assertEqual(peer.closed(), 1002)

    def test_flood(self) -> None:
        """Commands that wait beyond a bound close with 1008."""
        peer = self.open()
        peer.frames()
        self.client.app.answers["events.list"] = Deferred()
        for _ in range(MAX_WAITING + 2):
            peer.send({"type": "list"})
        self.assertEqual(peer.closed(), 1008)

    def test_slow(self) -> None:
        """A reader that takes nothing for a minute is closed with 1013."""
        peer = self.open()
        peer.frames()
        valve: Any = peer.transport.producer
        valve.pauseProducing()
        self.subscription.offer(event(8))
        peer.frames()
        self.subscription.offer(event(9))
        self.assertEqual(peer.frames(), [])
        code = None
        for _ in range(65):
            self.client.clock.advance(1.0)
            for opcode, payload in peer.frames():
                if opcode == 8:
                    code = int.from_bytes(payload[:2], "big")
                elif opcode == 9:
                    peer.raw(masked(payload, 10))
        self.assertEqual(code, 1013)

    def test_too_far_behind(self) -> None:
        """A reader that the log gives up is closed with 1013."""
        peer = self.open()
        self.subscription.end(SlowReader("behind"))
        self.assertEqual(peer.closed(), 1013)

    def test_ended(self) -> None:
        """A reader whose key was revoked is closed with 4401, else with 1001."""
        peer = self.open()
        self.subscription.end(Ended("The server stops."))
        self.assertEqual(peer.closed(), 1001)
        peer = self.open()
        self.client.app.keys.known.clear()
        self.subscription.end(Ended("The key was revoked."))
        self.assertEqual(peer.closed(), 4401)

    def test_pinged(self) -> None:
        """The protocol pings every half minute, and hangs up on silence."""
        peer = self.open()
        peer.frames()
        self.client.clock.pump([1.0] * 31)
        self.assertIn(9, [opcode for opcode, _ in peer.frames()])
        self.client.clock.pump([1.0] * 31)
        self.assertTrue(peer.transport.disconnected)

    def test_gone(self) -> None:
        """When the client goes, its subscription ends and no timer stays."""
        peer = self.open()
        peer.lose()
        self.assertTrue(self.subscription.closed)
        self.client.clock.pump([1.0] * 60)
        self.assertEqual(self.client.clock.getDelayedCalls(), [])

    def test_full(self) -> None:
        """There are only so many readers."""
        self.client = Client(readers=1)
        self.open()
        self.assertEqual(self.open().status, 503)

    def test_stop(self) -> None:
        """When the server stops, it says so."""
        peer = self.open()
        self.client.site.stopFactory()
        self.assertEqual(peer.closed(), 1001)

    def test_one_encoding(self) -> None:
        """However many read an event, it is encoded once."""
        peers = [self.open() for _ in range(3)]
        one = event(8)
        for subscription in self.client.app.events.subscriptions:
            subscription.offer(one)
        self.assertEqual(len({peer.frames()[-1][1] for peer in peers}), 1)


class FrameTests(SynchronousTestCase):
    def test_lengths(self) -> None:
        """The length is written in as few octets as it needs (RFC 6455, 5.2)."""
        self.assertEqual(text_frame(b"x" * 125)[:2], b"\x81\x7d")
        self.assertEqual(text_frame(b"x" * 126)[:4], b"\x81\x7e\x00\x7e")
        self.assertEqual(
            text_frame(b"x" * 65536)[:10], b"\x81\x7f" + b"\0\0\0\0\0\1\0\0"
        )

    def test_codes(self) -> None:
        """4000 and the status, or 1013."""
        self.assertEqual(close_code(Forbidden("No.")), 4403)
        self.assertEqual(close_code(RateLimited("Slowly.", retry_after=1)), 1013)

    def test_reasons(self) -> None:
        """A reason has at most 123 octets, and whole characters."""
        self.assertEqual(len(close_reason("é" * 100)), 122)
