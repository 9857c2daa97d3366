"""A process with what our API is measured against: Klein routes that return bytes.

There is no log, no key, no database: a route, a content type, the same octets.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import react
from twisted.web.server import Site


class Quiet(Site):
    """A site without a log."""

    def log(self, request: Any) -> None:
        """Nothing."""


class Plan(msgspec.Struct, kw_only=True):
    """The port, and the answers of the two routes."""

    port: int
    listing: str
    one: str


def routes(plan: Plan) -> Klein:
    """A list and one of its things."""
    app = Klein()
    listing, one = plan.listing.encode(), plan.one.encode()

    @app.route("/v1/inboxes/<inbox_id>/messages")
    def list_messages(request: Any, inbox_id: str) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return listing

    @app.route("/v1/inboxes/<inbox_id>/messages/<message_id>")
    def get_message(request: Any, inbox_id: str, message_id: str) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return one

    return app


def main(reactor: PosixReactorBase) -> Deferred[Any]:
    """Serve until it is ended."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    site = Quiet(routes(plan).resource())
    endpoint = serverFromString(reactor, f"tcp:{plan.port}:interface=127.0.0.1")
    listening: Deferred[Any] = endpoint.listen(site)
    return listening.addCallback(lambda _: Deferred())


if __name__ == "__main__":
    react(main)
