"""The WebSocket of events: GET /v1/events/ws (RFC 6455).

::

    <- {"type": "ready", "connectionId": "con_…", "cursor": "evt_…"}
    <- {"type": "event", "event": {"id": "evt_…", "type": "message.received", …}}
    -> {"type": "subscribe", "filters": {…}, "after": "evt_…"}
    <- {"type": "subscribed", "filters": {…}, "cursor": "evt_…"}
    -> {"type": "filters", "filters": {…}}        without filters: only asks
    <- {"type": "filters", "filters": {…}}
    -> {"type": "ping"}
    <- {"type": "pong", "time": "…Z"}
    -> {"type": "list", "after": "evt_…", "limit": 100, "filters": {…}}
    <- {"type": "list", "events": […], "nextCursor": "evt_…"}
    <- {"type": "error", "code": "…", "message": "…"}    to anything else

An ``id`` in a client's frame comes back in the answer. A refusal closes the connection
with 4000 and its HTTP status (4401: no good key; 4403: no permission), and what a later
try may mend with 1013, a reader that lags among it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from attrs import frozen
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from msgspec import Meta
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.app.access import Access
from noinfra.app.events import Ended, SlowReader, Subscription
from noinfra.app.ids import new_id
from noinfra.app.requests import EventFilter, ListEvents
from noinfra.app.times import spell_time
from noinfra.errors import Forbidden, Invalid, RateLimited, Refusal, TemporaryFailure
from noinfra.fronts.catalogue import LIVE
from noinfra.fronts.rest.answer import Answer, to_json
from noinfra.fronts.rest.decode import Decoder
from noinfra.fronts.rest.errors import UpgradeRequired
from noinfra.fronts.rest.exchange import Exchange
from noinfra.fronts.rest.gate import bearer
from noinfra.fronts.rest.mail_views import EventView
from noinfra.fronts.stream import Live, decode_query, pump, text_frame
from noinfra.fronts.valve import Valve
from noinfra.model import Event

#: The largest frame and message that a client may send.
MAX_MESSAGE = 65_536
#: Commands of one client that may wait for their turn.
MAX_WAITING = 32
PING = 30.0
# RFC 6455, 7.4.1 and the registry behind it.
GOING_AWAY, POLICY, INTERNAL, TRY_AGAIN_LATER = 1001, 1008, 1011, 1013


class Command(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a client may send."""

    type: str
    id: str | int | None = None
    filters: EventFilter | None = None
    after: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None


_decode_command = Decoder(Command, (), "POST")


class Socket:
    """The endpoint: hands the connection over to Autobahn, on the same port.

    :param origins: the pages, beside our own, whose scripts may connect. Browsers ask
        nobody before they connect a WebSocket, unlike with all other requests.
    """

    def __init__(
        self, live: Live, clock: IReactorTime, origins: frozenset[str]
    ) -> None:
        self._live = live
        self._origins = origins
        self.factory = ConnectionFactory(live, clock)
        self._resource = WebSocketResource(self.factory)

    async def respond(self, exchange: Exchange) -> Answer | None:
        """Hand over.

        :raises Refusal: it is no upgrade, or not from a page that may.
        """
        upgrade = exchange.header("upgrade") or ""
        if "websocket" not in upgrade.lower() or exchange.request.method != b"GET":
            raise UpgradeRequired("Connect a WebSocket to this path (RFC 6455).")
        self._check_origin(exchange)
        self._live.readers.room()
        exchange.request.setResponseCode(101)
        self._resource.render(exchange.request)
        return None

    def _check_origin(self, exchange: Exchange) -> None:
        origin = exchange.header("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        if (
            origin.partition("://")[2].lower()
            != (exchange.header("host") or "").lower()
        ):
            raise Forbidden(
                "Pages of this origin may not connect; the operator can name it in "
                "web.cors_origins.",
                origin=origin[:200],
            )


@frozen
class _Timers:
    """Timers under the name by which Autobahn calls for them."""

    clock: IReactorTime

    def call_later(
        self, delay: float, call: Callable[..., object], *args: object
    ) -> IDelayedCall:
        """Call some time."""
        return self.clock.callLater(delay, call, *args)


class ConnectionFactory(WebSocketServerFactory):  # type: ignore[misc]
    """Makes connections; Autobahn has no types."""

    def __init__(self, live: Live, clock: IReactorTime) -> None:
        super().__init__(server="noinfra", reactor=clock)
        # Autobahn would take its timers from the global reactor in any case.
        self._batched_timer = _Timers(clock)
        self.live = live
        self.protocol = Connection
        self.setProtocolOptions(
            webStatus=False,
            maxFramePayloadSize=MAX_MESSAGE,
            maxMessagePayloadSize=MAX_MESSAGE,
            autoPingInterval=PING,
            autoPingTimeout=PING,
            openHandshakeTimeout=10,
            closeHandshakeTimeout=2,
            # A protocol error is closed with its code, not by hanging up.
            failByDrop=False,
            tcpNoDelay=True,
        )


class Connection(WebSocketServerProtocol):  # type: ignore[misc]
    """One client."""

    factory: ConnectionFactory
    secret = ""
    address = ""
    _open = False
    _access: Access
    _log = Logger("noinfra.live")

    def onConnect(self, request: Any) -> None:
        """The handshake is good; whoever it is learns the rest by a close code."""
        self.secret = bearer(
            request.headers.get("authorization")
        ) or request.headers.get("x-api-key", "")
        self._query = self.http_request_uri.partition("?")[2].encode()

    def onOpen(self) -> None:
        """The connection stands."""
        self._open = True
        self._live = self.factory.live
        self._valve = Valve()
        self._filters = EventFilter()
        self._subscription: Subscription | None = None
        self._commands: deque[bytes] = deque()
        self._working = True
        self.address = getattr(self.transport.getPeer(), "host", None) or "local"
        # twisted.web's channel is the transport's producer still.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self._valve, True)
        self._live.readers.add(self)
        Deferred.fromCoroutine(self._begin()).addErrback(self._broken)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A command; they are done one after the other."""
        if len(self._commands) >= MAX_WAITING:
            self._close(POLICY, "Too many commands at once.")
            return
        self._commands.append(payload)
        if not self._working:
            Deferred.fromCoroutine(self._work()).addErrback(self._broken)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone, or was never made."""
        if self._open:
            self._live.readers.discard(self)
            self._valve.stopProducing()
            self._commands.clear()
            self._stop_reading()

    def beat(self) -> None:
        """Nothing: Autobahn pings."""

    def end(self, refusal: Refusal | None) -> None:
        """Close, and say why."""
        self._stop_reading()
        if refusal is None:
            self._close(GOING_AWAY, "The server stops.")
        else:
            self._close(close_code(refusal), refusal.text)

    async def _begin(self) -> None:
        query = decode_query({}, self._query, b"")
        self.secret = self.secret or query.api_key or ""
        self._access = await self._live.gate.check(self.secret, self.address)
        self._live.gate.count(self._access)
        self._access.require(LIVE)
        await self._read("ready", None, query.filters, query.after)
        await self._work()

    async def _read(
        self, answer: str, id: str | int | None, filters: EventFilter, after: str | None
    ) -> None:
        """Read with these filters from now on; the answer precedes the first event."""
        subscription = await self._live.app.events.subscribe(
            self._access, filters, after
        )
        cursor = subscription.cursor
        self._stop_reading()
        if self._valve.stopped:
            subscription.close()
            return
        self._filters, self._subscription = filters, subscription
        match answer:
            case "ready":
                self._say("ready", None, connectionId=new_id("con_"), cursor=cursor)
            case "subscribed":
                self._say("subscribed", id, filters=filters, cursor=cursor)
            case _:
                self._say("filters", id, filters=filters)

        def tell(events: Sequence[Event]) -> None:
            if self._subscription is subscription:
                frames = [self._live.frames.of(event).websocket for event in events]
                self._write(b"".join(frames))

        def failed(failure: Failure) -> None:
            # One that was replaced, or whose client is gone, ends unheard.
            if self._subscription is subscription:
                self._broken(failure)

        Deferred.fromCoroutine(
            pump(subscription, self._valve, tell, self._live.deadlines)
        ).addErrback(failed)

    def _stop_reading(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()

    async def _work(self) -> None:
        """Do the commands that wait, one after the other."""
        self._working = True
        while self._commands:
            payload = self._commands.popleft()
            try:
                self._live.gate.count(self._access)
                command = _decode_command({}, b"", payload)
            except Refusal as refusal:
                self._say_refusal(refusal, None)
                continue
            try:
                await self._do(command)
            except Refusal as refusal:
                self._say_refusal(refusal, command.id)
        self._working = False

    async def _do(self, command: Command) -> None:
        match command.type:
            case "subscribe":
                filters = command.filters or EventFilter()
                await self._read("subscribed", command.id, filters, command.after)
            case "filters" if command.filters is not None:
                await self._read("filters", command.id, command.filters, None)
            case "filters":
                self._say("filters", command.id, filters=self._filters)
            case "ping":
                self._say("pong", command.id, time=spell_time(datetime.now(UTC)))
            case "list":
                await self._list(command)
            case _:
                raise Invalid(
                    f"There is no command {command.type[:50]}; there are subscribe, "
                    "filters, ping and list.",
                    field="type",
                )

    async def _list(self, command: Command) -> None:
        filters = command.filters or self._filters
        request = ListEvents(
            **msgspec.structs.asdict(filters),
            after=command.after,
            limit=100 if command.limit is None else command.limit,
        )
        page = await self._live.app.events.list(self._access, request)
        events = [EventView.of(event) for event in page.items]
        self._say("list", command.id, events=events, nextCursor=page.next_cursor)

    def _say(self, type: str, id: str | int | None, **fields: object) -> None:
        told = {"type": type} if id is None else {"type": type, "id": id}
        self._write(text_frame(to_json({**told, **fields})))

    def _say_refusal(self, refusal: Refusal, id: str | int | None) -> None:
        more = {"details": refusal.details} if refusal.details else {}
        self._say("error", id, code=refusal.slug, message=refusal.text, **more)

    def _write(self, frames: bytes) -> None:
        # Not by sendMessage, which would frame an event anew for each of its readers,
        # and holds what we send to the limit of what we take.
        if self.state == self.STATE_OPEN:
            self.transport.write(frames)

    async def _ended(self) -> None:
        """The log ended the subscription: the key was revoked, or the server stops."""
        await self._live.gate.check(self.secret, self.address)
        self.end(None)

    def _close(self, code: int, reason: str) -> None:
        # Not by sendClose, which takes an application for one that may not say 1001,
        # 1008 or 1013.
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=close_reason(reason))

    def _broken(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, Refusal):
            self.end(error)
        elif isinstance(error, SlowReader):
            self._stop_reading()
            self._close(TRY_AGAIN_LATER, "Too slow; come back with your cursor.")
        elif isinstance(error, Ended):
            Deferred.fromCoroutine(self._ended()).addErrback(self._broken)
        elif not self._valve.stopped:
            self._log.failure("a WebSocket broke", failure=failure)
            self._stop_reading()
            self._close(INTERNAL, "An error of the server.")


def close_code(refusal: Refusal) -> int:
    """4000 and the HTTP status, unless a later try may be better."""
    if isinstance(refusal, TemporaryFailure | RateLimited):
        return TRY_AGAIN_LATER
    return 4000 + refusal.http


def close_reason(text: str) -> bytes:
    """As much of a text as fits into a close frame (RFC 6455, 5.5)."""
    return text.encode()[:123].decode(errors="ignore").encode()
