"""HTTP/1.1 connections that refuse in time what twisted.web would first read whole.

twisted.web takes a body of any size (into a temporary file), and waits for one that
arrives an octet a minute. Here the declared length is looked at before the body is read
(and before 100 Continue is said), chunks are counted as they come, and a request has to
arrive at some speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.server import Site

from noinfra.errors import Refusal
from noinfra.fronts.rest.answer import Answer
from noinfra.fronts.rest.errors import LongLine, SlowRequest
from noinfra.fronts.rest.exchange import too_large
from noinfra.fronts.rest.frame import Frame
from noinfra.fronts.rest.request import ApiRequest, head

if TYPE_CHECKING:
    from collections.abc import Callable

#: Octets a second that a request's body must come at, after the first seconds.
SLOWEST = 16_384


class Channel(HTTPChannel):
    """A connection of one client."""

    site: ApiSite
    # One of twisted.web's own defaults; 500 header fields are nobody's.
    maxHeaders = 100
    _since: float | None = None
    _received = 0
    _handling = False
    _refused = False
    _host: IAddress | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take octets, if they come at some speed."""
        if self._refused:
            self._discard(data)
            return
        now = self.site.reactor.seconds()
        if self._since is None:
            self._since, self._received = now, 0
        self._received += len(data)
        if not self._handling and now - self._since > self._patience():
            self._refuse(SlowRequest("The request came too slowly; send it again."))
            return
        super().dataReceived(data)

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        """Write the head of what twisted.web itself answers."""
        fields = {name: b", ".join(v) for name, v in headers.getAllRawHeaders()}
        fields.pop(b"Server", None)
        self._write(head(int(code), fields))

    def headerReceived(self, line: bytes) -> bool:
        """Take a header field."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # twisted.web reads Content-Length with int(), which has a limit of its own.
            self._respondToBadRequestAndDisconnect()
            return False

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long; twisted.web would hang up without a word."""
        self._refuse(
            LongLine(
                f"The request line and each header field have at most "
                f"{self.MAX_LENGTH} octets; send what is longer in a body."
            )
        )

    def allHeadersReceived(self) -> None:
        """Refuse a body that is too large before any of it is read."""
        if self.length is None or self.length <= self.site.frame.body_limit:
            super().allHeadersReceived()
        else:
            self._refuse(too_large(self.site.frame.body_limit))

    def accepts(self, octets: int) -> bool:
        """Whether a body may be so long; if not, the request is refused."""
        if octets > self.site.frame.body_limit and not self._refused:
            self._refuse(too_large(self.site.frame.body_limit))
        return not self._refused

    def rawDataReceived(self, data: bytes) -> None:
        """Take a piece of a body, or throw it away."""
        if self._refused:
            self._discard(data)
        else:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is here."""
        if self._refused:
            self.loseConnection()
            return
        self._handling = True
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """The answer is given; the next request may come."""
        self._handling = False
        self._since = None
        super().requestDone(request)

    def getHost(self) -> IAddress:
        """Our own address, which the kernel need not be asked for each request."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def _patience(self) -> float:
        return float(self.timeOut or 60.0) + self._received / SLOWEST

    def _refuse(self, refusal: Refusal) -> None:
        """Answer at once, and close when the client has stopped sending.

        Closing while octets are still unread would reset the connection, and the
        client might lose the answer (RFC 9112, 9.6); so a while they are thrown away.
        """
        self._refused = True
        self._discarded = 0
        request_id = self.site.frame.name()
        path = getattr(self, "_path", b"/").partition(b"?")[0]
        answer = self.site.frame.refuse(path, refusal, request_id)
        self._write(_plain(answer, request_id))
        self.setTimeout(5)

    def _write(self, octets: bytes) -> None:
        if self.transport is not None:
            self.transport.write(octets)

    def _discard(self, data: bytes) -> None:
        # The timeout is not renewed: five seconds are all that is given.
        self._discarded += len(data)
        if self._discarded > self.site.frame.body_limit:
            self.loseConnection()


class ApiSite(Site):
    """The site: every path is the frame's.

    :ivar frame: the root resource.
    """

    requestFactory = ApiRequest
    # Without twisted.web's proxy that can switch to HTTP/2, and has its type.
    protocol = Channel  # type: ignore[assignment]
    displayTracebacks = False

    def __init__(
        self,
        frame: Frame,
        reactor: Any,
        timeout: float,
        opening: Callable[[], None],
        closing: Callable[[], None],
    ) -> None:
        super().__init__(
            frame, timeout=timeout, reactor=reactor, parsePOSTFormSubmission=False
        )
        self.frame = frame
        self._opening = opening
        self._closing = closing

    def startFactory(self) -> None:
        """Begin; twisted.web's own log, whose lines show queries, stays off."""
        self._opening()

    def stopFactory(self) -> None:
        """End the readers and whatever still runs."""
        self._closing()

    def log(self, request: Any) -> None:
        """Nothing: the frame logs."""

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone."""
        return [b"http/1.1"]


def _plain(answer: Answer, request_id: str) -> bytes:
    fields = {
        b"Content-Type": answer.content_type,
        b"Content-Length": b"%d" % len(answer.body),
        b"X-Request-Id": request_id.encode(),
        b"Connection": b"close",
    }
    fields.update(answer.headers)
    return head(answer.status, fields) + answer.body
