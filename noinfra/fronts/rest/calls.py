"""The endpoint of a route that asks for an operation of the catalogue."""

from __future__ import annotations

from noinfra.app.access import Access
from noinfra.app.application import App
from noinfra.fronts.catalogue import Operation
from noinfra.fronts.rest.answer import Answer
from noinfra.fronts.rest.decode import Decoder
from noinfra.fronts.rest.dialect import Route
from noinfra.fronts.rest.exchange import Exchange
from noinfra.fronts.rest.gate import Gate

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
        request = self._decode(
            exchange.path,
            exchange.query,
            exchange.body(),
            exchange.header("idempotency-key"),
        )
        if self._ask is not None:
            request = self._ask(request)
        return self._form(await self._use_case(access, request))

    async def _admit(self, exchange: Exchange) -> Access:
        if self._permission is None:
            self._gate.stranger(exchange)
            return NOBODY
        access = await self._gate.admit(exchange)
        access.require(self._permission)
        return access


def decoder(route: Route, operation: Operation) -> Decoder:
    """How a route's requests are decoded."""
    names = [
        segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")
    ]
    return Decoder(route.wire or operation.request, names, route.method)
