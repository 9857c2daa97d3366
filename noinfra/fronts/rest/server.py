"""The composition of the HTTP fronts: dialects, documents and live streams."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from noinfra.app.application import App
from noinfra.config import WebSettings
from noinfra.fronts.catalogue import OPERATIONS
from noinfra.fronts.rest.calls import Call, KeptCall
from noinfra.fronts.rest.channel import ApiSite
from noinfra.fronts.rest.dialect import Dialect
from noinfra.fronts.rest.docs import STYLE, render_docs
from noinfra.fronts.rest.frame import Frame
from noinfra.fronts.rest.gate import Gate
from noinfra.fronts.rest.kept import Kept
from noinfra.fronts.rest.native import NATIVE
from noinfra.fronts.rest.openapi import describe, release
from noinfra.fronts.rest.pages import Page
from noinfra.fronts.sse import Stream
from noinfra.fronts.stream import Frames, Live, Readers
from noinfra.fronts.websocket import Socket

DIALECTS: tuple[Dialect, ...] = (NATIVE,)


def make_site(
    app: App,
    settings: WebSettings,
    clock: IReactorTime,
    dialects: Iterable[Dialect] = DIALECTS,
) -> ApiSite:
    """The site that the web endpoint listens with.

    :param clock: the reactor; all of the fronts' timers are its own.
    """
    frame = Frame(
        clock,
        body_limit=settings.body_limit,
        timeout=settings.request_timeout,
        origins=settings.cors_origins,
    )
    gate = Gate(app.keys.authenticate, settings.rate, settings.burst, clock.seconds)
    kept = Kept(release())
    for dialect in dialects:
        mount(frame, gate, app, dialect, kept)
    readers = Readers(clock, gate, settings.readers)
    live = Live(app, gate, readers, Frames(), frame.deadlines)
    socket = Socket(live, clock, frozenset(settings.cors_origins))
    frame.mount("GET", "/v1/events/stream", Stream(live), NATIVE.refuse)
    frame.mount("GET", "/v1/events/ws", socket, NATIVE.refuse)
    _mount_documents(frame, settings.base_url)

    def closing() -> None:
        readers.close()
        frame.close()
        socket.factory.stopFactory()

    return ApiSite(
        frame,
        clock,
        settings.request_timeout,
        opening=socket.factory.startFactory,
        closing=closing,
    )


def mount(frame: Frame, gate: Gate, app: App, dialect: Dialect, kept: Kept) -> None:
    """Let the frame speak a dialect."""
    frame.speak(dialect.prefix, dialect.refuse)
    for route in dialect.routes:
        operation = OPERATIONS[route.operation]
        if operation.lasts is None:
            call = Call(app, gate, route, operation)
        else:
            call = KeptCall(app, gate, route, operation, kept)
        frame.mount(route.method, route.path, call, dialect.refuse)


def _mount_documents(frame: Frame, base_url: str | None) -> None:
    document = describe(NATIVE, base_url or "/")
    for path, page in (
        ("/openapi.json", Page.of_json(document)),
        ("/docs", Page.of_html(render_docs(document), STYLE)),
    ):
        frame.mount("GET", path, page, NATIVE.refuse)
