"""The HTTP frame: what every request meets, whatever it asks and in which dialect.

A resource of twisted.web that is a leaf, with a router of its own (`router` says why).
An endpoint returns an answer or raises; here, and nowhere else, refusals and bugs
become answers, what takes too long is ended, and the request is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count
from secrets import randbits
from time import time
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from noinfra.errors import Refusal, TemporaryFailure
from noinfra.fronts.rest.answer import Answer, Header
from noinfra.fronts.rest.deadlines import Deadlines
from noinfra.fronts.rest.errors import Internal
from noinfra.fronts.rest.exchange import Exchange
from noinfra.fronts.rest.request import ApiRequest
from noinfra.fronts.rest.router import Router

#: For how long a browser may keep what a preflight told it.
CORS_MAX_AGE = b"600"

_RECORD = "{peer} {method} {path} {status} {octets} {seconds:.4f} {request_id} {key_id}"

Refuse = Callable[[Refusal, str], Answer]


class Endpoint(Protocol):
    """Answers the requests of a route."""

    async def respond(self, exchange: Exchange) -> Answer | None:
        """The answer; None when the endpoint sends it by itself.

        :raises Refusal: there will be none.
        """


@frozen
class _Mounted:
    endpoint: Endpoint
    refuse: Refuse


class Frame(Resource):
    """The root of the site."""

    isLeaf = True
    _log = Logger("noinfra.web")

    def __init__(
        self,
        clock: IReactorTime,
        *,
        body_limit: int,
        timeout: float,
        origins: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.deadlines = Deadlines(clock, timeout)
        self.body_limit = body_limit
        self._clock = clock
        self._timeout = timeout
        self._origins = frozenset(origins)
        # By chance where it begins, so that no two processes give the same.
        self._names = count(randbits(63))
        self._router: Router[_Mounted] = Router()
        self._forms: list[tuple[bytes, Refuse]] = []

    def speak(self, prefix: str, refuse: Refuse) -> None:
        """Refuse in this form what is asked below a prefix and answered by nothing."""
        self._forms.append((prefix.encode(), refuse))
        self._forms.sort(key=lambda form: len(form[0]), reverse=True)

    def mount(self, method: str, path: str, endpoint: Endpoint, refuse: Refuse) -> None:
        """Let an endpoint answer a method and a path."""
        self._router.add(method, path, _Mounted(endpoint, refuse))

    def refuse(self, path: bytes, refusal: Refusal, request_id: str) -> Answer:
        """A refusal in the form of the dialect that has the path."""
        for prefix, refuse in self._forms:
            if path.startswith(prefix):
                return refuse(refusal, request_id)
        raise LookupError("no dialect speaks at the root")

    def render(self, request: ApiRequest) -> int:
        """Answer a request, some time."""
        exchange = Exchange(
            request=request,
            request_id=self.name(),
            started=self._clock.seconds(),
            cors=self._origin(request),
            body_limit=self.body_limit,
        )
        running = Deferred.fromCoroutine(self._respond(exchange))
        if not running.called:
            exchange.running = running
            self.deadlines.watch(running)
        running.addErrback(self._abandon, exchange)
        return NOT_DONE_YET

    def name(self) -> str:
        """A new identifier of a request."""
        return f"req_{next(self._names):016x}"

    def close(self) -> None:
        """End what is running."""
        self.deadlines.close()

    async def _respond(self, exchange: Exchange) -> None:
        answer = await self._answer(exchange)
        if exchange.running is not None:
            self.deadlines.forget(exchange.running)
        if answer is not None:
            await self._send(exchange, answer)
        self._record(exchange)

    async def _send(self, exchange: Exchange, answer: Answer) -> None:
        try:
            await exchange.send(answer, self.deadlines)
        except Refusal as refusal:
            # A range outside of what there is: nothing was sent yet.
            await exchange.send(
                self.refuse(exchange.request.path, refusal, exchange.request_id),
                self.deadlines,
            )

    async def _answer(self, exchange: Exchange) -> Answer | None:
        request = exchange.request
        refuse: Refuse | None = None
        try:
            method = request.method.decode("ascii", "replace")
            if method == "OPTIONS":
                return self._options(exchange)
            match = self._router.find(
                "GET" if method == "HEAD" else method, request.path
            )
            refuse = match.target.refuse
            exchange.path = match.path
            return await match.target.endpoint.respond(exchange)
        except Refusal as error:
            refusal = error
        except CancelledError:
            refusal = TemporaryFailure(
                f"This took longer than {self._timeout:g} s and was stopped; ask again."
            )
        except Exception:
            self._log.failure(
                "{request_id} {method} {path} failed",
                request_id=exchange.request_id,
                method=request.method,
                path=_printable(request.path),
            )
            refusal = Internal(
                f"This is an error of the server; its log has it as "
                f"{exchange.request_id}."
            )
        if refuse is not None:
            return refuse(refusal, exchange.request_id)
        return self.refuse(request.path, refusal, exchange.request_id)

    def _options(self, exchange: Exchange) -> Answer:
        """RFC 9110, 9.3.7, and the preflight of the Fetch standard."""
        methods = self._router.methods(exchange.request.path)
        if "GET" in methods:
            methods = [*methods, "HEAD"]
        allowed = ", ".join([*methods, "OPTIONS"]).encode()
        headers: tuple[Header, ...] = ((b"Allow", allowed),)
        if exchange.cors is not None:
            headers += (
                (b"Access-Control-Allow-Methods", allowed),
                (
                    b"Access-Control-Allow-Headers",
                    b"Authorization, Content-Type, Idempotency-Key, X-Api-Key, "
                    b"If-None-Match, Last-Event-ID",
                ),
                (b"Access-Control-Max-Age", CORS_MAX_AGE),
            )
        return Answer(status=204, headers=headers)

    def _origin(self, request: ApiRequest) -> str | None:
        """The Origin that may read the answer, if it is one of the operator's."""
        origin = request.getHeader(b"origin")
        if origin is None or not self._origins:
            return None
        name = origin.decode(errors="replace")
        if "*" in self._origins:
            return "*"
        return name if name in self._origins else None

    def _record(self, exchange: Exchange) -> None:
        # The query stays out: it may hold a key, and what somebody searched for.
        request = exchange.request
        # As Logger.info does, which takes as long as all that the line is made of.
        self._log.observer(
            {
                "log_logger": self._log,
                "log_level": LogLevel.info,
                "log_namespace": self._log.namespace,
                "log_source": None,
                "log_format": _RECORD,
                "log_time": time(),
                "peer": exchange.peer,
                "method": request.method.decode(errors="replace"),
                "path": _printable(request.path),
                "status": 499 if request.gone else request.code,
                "octets": request.sentLength,
                "seconds": self._clock.seconds() - exchange.started,
                "request_id": exchange.request_id,
                "key_id": exchange.key_id,
            }
        )

    def _abandon(self, failure: Any, exchange: Exchange) -> None:
        """The answer broke off: a closed connection is all that tells the client."""
        if exchange.gone:
            return
        self._log.failure(
            "{request_id}: the answer broke off",
            failure=failure,
            request_id=exchange.request_id,
        )
        abort = getattr(exchange.request.transport, "abortConnection", None)
        if abort is None:
            exchange.request.loseConnection()
        else:
            abort()


def _printable(path: bytes) -> str:
    """A path for the log, whatever a client has put into it."""
    text = path[:500].decode("ascii", "backslashreplace")
    return text if text.isprintable() else ascii(text)
