"""A reader of live events: Autobahn's WebSocket client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.e2e.daemon import reactor

PATIENCE = 20.0


class WebSocket(WebSocketClientProtocol):  # type: ignore[misc]
    """A connection and what came by it; Autobahn has no types.

    :ivar frames: what the server said, as JSON.
    :ivar closed: the code with which it closed, once it has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.gone: Deferred[None] = Deferred()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.frames.append(json.loads(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.closed = code
        self.gone.callback(None)

    def say(self, **command: object) -> None:
        """Send a command."""
        self.sendMessage(json.dumps(command).encode())

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that came, in order."""
        return [one["event"] for one in self.frames if one["type"] == "event"]

    def of_type(self, type: str) -> list[dict[str, Any]]:
        """The frames of a type."""
        return [one for one in self.frames if one["type"] == type]


async def watch(test: TestCase, base_url: str, key: str, query: str = "") -> WebSocket:
    """Connect, and stay until the end of the test; the server has said `ready`."""
    address = urlsplit(base_url)
    factory = WebSocketClientFactory(
        f"ws://{address.netloc}/v1/events/ws{query}",
        headers={"Authorization": f"Bearer {key}"},
    )
    factory.noisy = False
    client = WebSocket()
    factory.buildProtocol = lambda _: _of(factory, client)
    assert address.hostname is not None and address.port is not None
    reactor().connectTCP(address.hostname, address.port, factory)

    async def leave() -> None:
        client.sendClose()
        await client.gone

    test.addCleanup(lambda: Deferred.fromCoroutine(leave()))
    await until(lambda: bool(client.of_type("ready")))
    return client


def _of(factory: WebSocketClientFactory, client: WebSocket) -> WebSocket:
    client.factory = factory
    return client


async def until(come: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for something to be so.

    :raises TimeoutError: it is not, for too long.
    """
    deadline = reactor().seconds() + patience
    while not come():
        if reactor().seconds() > deadline:
            raise TimeoutError("it did not happen")
        await deferLater(reactor(), 0.002)
