"""The endpoint of a route that asks for an operation of the catalogue."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from noinfra.app.access import Access
from noinfra.app.application import App
from noinfra.fronts.catalogue import Operation
from noinfra.fronts.rest.answer import Answer
from noinfra.fronts.rest.decode import Decoder
from noinfra.fronts.rest.dialect import Route
from noinfra.fronts.rest.exchange import Exchange
from noinfra.fronts.rest.gate import Gate
from noinfra.fronts.rest.kept import Kept, Known, is_named

#: Who asks what needs no key: somebody without any permission, of no customer.
NOBODY = Access(
    key_id="",
    customer_id="",
    deployment_id=None,
    inbox_id=None,
    permissions=frozenset(),
)


class Call:
    """Lets in whom the key permits, decodes, calls, and forms the answer."""

    def __init__(
        self, app: App, gate: Gate, route: Route, operation: Operation
    ) -> None:
        self._use_case = operation.call(app)
        self._permission = operation.permission
        self._gate = gate
        self._decode = decoder(route, operation)
        self._ask = route.ask
        self._form = route.form

    async def respond(self, exchange: Exchange) -> Answer:
        """The answer of the use case.

        :raises Refusal: of the frame or of the use case.
        """
        access = await self._admit(exchange)
        request = self._read(exchange)
        return self._form(await self._use_case(access, request))

    def _read(self, exchange: Exchange) -> Any:
        request = self._decode(
            exchange.path,
            exchange.query,
            exchange.body(),
            exchange.header("idempotency-key"),
        )
        return request if self._ask is None else self._ask(request)

    async def _admit(self, exchange: Exchange) -> Access:
        if self._permission is None:
            self._gate.stranger(exchange)
            return NOBODY
        access = await self._gate.admit(exchange)
        access.require(self._permission)
        return access


class KeptCall(Call):
    """A call that answers anew only when the mail has changed since.

    The version is asked for before the mail is read: what changes in between makes a
    kept answer useless, and never wrong. To ask for it is to be let into the inbox, so
    who gets a kept answer is decided for each request.
    """

    def __init__(
        self, app: App, gate: Gate, route: Route, operation: Operation, kept: Kept
    ) -> None:
        super().__init__(app, gate, route, operation)
        assert operation.lasts is not None, "nothing is known of how long it lasts"
        self._lasts = operation.lasts
        self._version = app.versions.of
        self._kept = kept

    async def respond(self, exchange: Exchange) -> Answer:
        """The answer of the use case, now or before.

        :raises Refusal: of the frame or of the use case.
        """
        access = await self._admit(exchange)
        uri: bytes = exchange.request.uri
        known = None if exchange.body() else self._kept.find(uri)
        request: Any = self._read(exchange) if known is None else known.request
        version = await self._version(access, request)
        if version is None:
            return self._form(await self._use_case(access, request))
        condition = exchange.header("if-none-match")
        if known is not None and known.version == version:
            if is_named(known.tag, condition):
                return _unchanged(known.tag)
            return known.answer
        tag = self._kept.tag(version, uri)
        if is_named(tag, condition):
            return _unchanged(tag)
        result = await self._use_case(access, request)
        answer = self._form(result)
        if not self._lasts(result):
            return answer
        answer = evolve(answer, headers=(*answer.headers, (b"ETag", tag)))
        self._kept.keep(uri, Known(request, version, tag, answer))
        return answer


def _unchanged(tag: bytes) -> Answer:
    return Answer(status=304, headers=((b"ETag", tag),))


def decoder(route: Route, operation: Operation) -> Decoder:
    """How a route's requests are decoded."""
    names = [
        segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")
    ]
    return Decoder(route.wire or operation.request, names, route.method)
