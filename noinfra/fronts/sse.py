"""Server-sent events: GET /v1/events/stream (the HTML standard, 9.2).

First ``retry: 3000`` and the cursor as an ``id:``, so that even a reader which has seen
no event yet comes back to where it was; then one ``id:`` and ``data:`` an event,
without a name, so that a plain onmessage sees it; a comment every 15 seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from noinfra.app.events import Ended, SlowReader, Subscription
from noinfra.errors import Refusal
from noinfra.fronts.catalogue import LIVE
from noinfra.fronts.rest.answer import Answer
from noinfra.fronts.rest.exchange import Exchange
from noinfra.fronts.rest.gate import presented
from noinfra.fronts.stream import Live, decode_query, pump
from noinfra.fronts.valve import Valve
from noinfra.model import Event

RETRY = b"retry: 3000\n"
HEARTBEAT = b":\n"


@frozen
class Stream:
    """The endpoint."""

    live: Live

    async def respond(self, exchange: Exchange) -> Answer | None:
        """Begin a stream, which then goes on by itself.

        :raises Refusal: there will be none.
        """
        query = decode_query({}, exchange.query, b"")
        access = await self.live.gate.admit(exchange, in_query=query.api_key)
        access.require(LIVE)
        self.live.readers.room()
        # A browser that reconnects repeats the URL, and says in the header field how
        # far it came: that is later.
        after = exchange.header("last-event-id") or query.after
        head = Answer(
            content_type=b"text/event-stream", headers=((b"X-Accel-Buffering", b"no"),)
        )
        if exchange.request.method == b"HEAD":
            return head
        subscription = await self.live.app.events.subscribe(
            access, query.filters, after
        )
        if exchange.gone:
            subscription.close()
            return None
        exchange.begin_stream(head)
        exchange.request.write(RETRY + b"id: " + subscription.cursor.encode() + b"\n\n")
        StreamReader(
            request=exchange.request,
            secret=presented(exchange) or query.api_key or "",
            address=exchange.peer,
            subscription=subscription,
            live=self.live,
        ).begin()
        return None


@define(eq=False, kw_only=True)
class StreamReader:
    """One client that reads the stream."""

    request: Request
    secret: str
    address: str
    subscription: Subscription
    live: Live
    _valve: Valve = field(factory=Valve)
    _log = Logger("noinfra.live")

    def begin(self) -> None:
        """Write what happens, until the client goes or lags."""
        self.live.readers.add(self)
        self.request.registerProducer(self._valve, True)
        self.request.notifyFinish().addBoth(self._gone)
        Deferred.fromCoroutine(
            pump(self.subscription, self._valve, self._write, self.live.deadlines)
        ).addErrback(self._failed)

    def beat(self) -> None:
        """A comment, which no client shows."""
        if not self._valve.stopped and self._valve.waiting is None:
            self.request.write(HEARTBEAT)

    def end(self, refusal: Refusal | None) -> None:
        """Close; the client comes back, and is then told why not."""
        if self._valve.stopped:
            return
        lagging = self._valve.waiting is not None
        self._valve.stopped = True
        self.request.unregisterProducer()
        if lagging:
            # What is written now would wait behind what the client does not take.
            abort = getattr(self.request.transport, "abortConnection", None)
            if abort is not None:
                abort()
                return
        self.request.finish()

    def _write(self, events: Sequence[Event]) -> None:
        self.request.write(
            b"".join([self.live.frames.of(event).sse for event in events])
        )

    def _gone(self, _: object) -> None:
        self._valve.stopProducing()
        self.subscription.close()
        self.live.readers.discard(self)

    def _failed(self, failure: Failure) -> None:
        if self._valve.stopped:
            # The client went while its next events were awaited.
            return
        if not failure.check(SlowReader, Ended):
            self._log.failure("a stream of events broke off", failure=failure)
        self.end(None)
