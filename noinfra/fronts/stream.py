"""What the two live fronts share: who may read, events encoded once, readers that lag.

A reader is a subscription to the log and a connection. Its coroutine takes a batch,
writes it, and waits while the client does not keep up; meanwhile the events gather in
the subscription, whose backlog is bounded. A reader that falls too far behind, or stays
behind too long, is closed: it can come back with its cursor and has lost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Protocol

import msgspec
from attrs import frozen
from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from noinfra.app.application import App
from noinfra.app.events import SlowReader, Subscription
from noinfra.app.requests import EventFilter
from noinfra.errors import Refusal, TemporaryFailure
from noinfra.fronts.catalogue import LIVE
from noinfra.fronts.rest.answer import to_json
from noinfra.fronts.rest.deadlines import Deadlines
from noinfra.fronts.rest.decode import Decoder
from noinfra.fronts.rest.gate import Gate
from noinfra.fronts.rest.mail_views import EventView
from noinfra.fronts.valve import Valve
from noinfra.model import Event

#: Seconds between two signs of life, and how many of those between looks at the keys.
BEAT = 15.0
BEATS_A_CHECK = 2
#: So many of the latest events are kept as they are written.
RECENT = 1024


class LiveQuery(EventFilter, kw_only=True, frozen=True):
    """What the query of a live front may say.

    A browser's WebSocket and EventSource can set no header field, so the key may come
    in the query here, and nowhere else.
    """

    after: Annotated[str, Meta(max_length=64)] | None = None
    api_key: Annotated[str, Meta(max_length=512)] | None = msgspec.field(
        default=None, name="api_key"
    )

    @property
    def filters(self) -> EventFilter:
        """The conditions alone."""
        return EventFilter(
            **{name: getattr(self, name) for name in EventFilter.__struct_fields__}
        )


decode_query = Decoder(LiveQuery, (), "GET")


@frozen
class Frame:
    """An event as it is written to a WebSocket, and to server-sent events."""

    websocket: bytes
    sse: bytes


class Frames:
    """Encodes each event once, however many read it."""

    def __init__(self) -> None:
        self._recent: dict[tuple[int, int], Frame] = {}

    def of(self, event: Event) -> Frame:
        """The event, encoded."""
        place = (event.txid, event.seq)
        frame = self._recent.get(place)
        if frame is None:
            frame = self._recent[place] = _encode(event)
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        return frame


def _encode(event: Event) -> Frame:
    view = EventView.of(event)
    body = to_json({"type": "event", "event": view})
    # JSON escapes line ends within strings, and PostgreSQL may have some between them.
    line = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return Frame(
        websocket=text_frame(body),
        sse=b"id: " + view.id.encode() + b"\ndata: " + line + b"\n\n",
    )


def text_frame(payload: bytes) -> bytes:
    """A text message in one frame, as a server sends it: unmasked (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


class Reader(Protocol):
    """Somebody who reads events, over whatever connection."""

    @property
    def secret(self) -> str:
        """The key it came with."""

    @property
    def address(self) -> str:
        """Where it came from."""

    def beat(self) -> None:
        """Show that the server is there."""

    def end(self, refusal: Refusal | None) -> None:
        """Close: for a reason, or because the server stops."""


class Readers:
    """All that read, of both fronts: counted, kept awake, and sent away."""

    _log = Logger("noinfra.live")

    def __init__(self, clock: IReactorTime, gate: Gate, limit: int) -> None:
        self._gate = gate
        self._limit = limit
        self._readers: set[Reader] = set()
        self._beats = 0
        self._beating = LoopingCall(self._beat)
        self._beating.clock = clock

    def room(self) -> None:
        """Pass, or refuse one reader more.

        :raises TemporaryFailure: there are too many.
        """
        if len(self._readers) >= self._limit:
            raise TemporaryFailure("There are too many live readers; come back later.")

    def add(self, reader: Reader) -> None:
        """Keep a reader awake until it is discarded."""
        self._readers.add(reader)
        if not self._beating.running:
            self._beating.start(BEAT, now=False)

    def discard(self, reader: Reader) -> None:
        """The reader has gone."""
        self._readers.discard(reader)
        if not self._readers and self._beating.running:
            self._beating.stop()

    def close(self) -> None:
        """Send all away: the server stops."""
        for reader in list(self._readers):
            reader.end(None)
            self.discard(reader)

    def __len__(self) -> int:
        return len(self._readers)

    def _beat(self) -> None:
        self._beats += 1
        for reader in list(self._readers):
            reader.beat()
        if self._beats % BEATS_A_CHECK == 0:
            Deferred.fromCoroutine(self._check(list(self._readers))).addErrback(
                lambda failure: self._log.failure("keys were not checked", failure)
            )

    async def _check(self, readers: Iterable[Reader]) -> None:
        """Close those whose key was revoked while they read."""
        for reader in readers:
            try:
                access = await self._gate.check(reader.secret, reader.address)
                access.require(LIVE)
            except TemporaryFailure:
                # The database is away; that is no fault of the reader's.
                return
            except Refusal as refusal:
                reader.end(refusal)


@frozen
class Live:
    """What every live connection needs."""

    app: App
    gate: Gate
    readers: Readers
    frames: Frames
    deadlines: Deadlines


async def pump(
    subscription: Subscription,
    valve: Valve,
    write: Callable[[Sequence[Event]], None],
    deadlines: Deadlines,
) -> None:
    """Write what happens until the client is gone.

    :raises SlowReader: the client is, and too far behind.
    """
    while not valve.stopped:
        batch = await subscription.next_batch()
        if valve.stopped:
            return
        write(batch)
        if (waiting := valve.waiting) is not None:
            await _catch_up(waiting, deadlines)


async def _catch_up(waiting: Deferred[None], deadlines: Deadlines) -> None:
    deadlines.watch(waiting)
    try:
        await waiting
    except CancelledError as error:
        raise SlowReader("The reader took nothing for too long.") from error
    finally:
        deadlines.forget(waiting)
