"""One HTTP request and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from noinfra.errors import TooLarge, UnsupportedMediaType
from noinfra.fronts.rest.answer import Answer
from noinfra.fronts.rest.deadlines import Deadlines
from noinfra.fronts.rest.download import Span, download_headers, send_octets
from noinfra.fronts.rest.limits import Allowance
from noinfra.fronts.rest.request import ApiRequest

# RFC 9110, 15.3.5 and 15.4.5: what is said of a body would be of another's.
_BODILESS = (204, 304)


@define(eq=False, kw_only=True)
class Exchange:
    """A request on its way through the frame, and what was found out about it.

    The header fields that every answer has are the channel's to add.

    :ivar query: as it came, encoded.
    :ivar path: what the path says for the names of its pattern.
    :ivar key_id: whose request it is, for the log.
    :ivar running: the work on it, while that goes on.
    """

    request: ApiRequest
    request_id: str
    started: float
    cors: str | None
    body_limit: int
    path: Mapping[str, str] = field(factory=dict)
    allowance: Allowance | None = None
    key_id: str | None = None
    running: Deferred[None] | None = None
    _log: ClassVar[Logger] = Logger("noinfra.web")

    @property
    def gone(self) -> bool:
        """The client has closed; nothing may be written any more."""
        return self.request.gone

    @property
    def query(self) -> bytes:
        """The query as it came."""
        uri: bytes = self.request.uri
        return uri.partition(b"?")[2]

    def header(self, name: str) -> str | None:
        """A header field of the request; octets that are no UTF-8 are replaced."""
        value = self.request.getHeader(name.encode())
        return None if value is None else value.decode(errors="replace")

    @property
    def peer(self) -> str:
        """The client's address."""
        return getattr(self.request.getClientAddress(), "host", None) or "local"

    def body(self) -> bytes:
        """The request's body, of JSON or empty.

        :raises UnsupportedMediaType: it is something else.
        :raises TooLarge: it is beyond the limit.
        """
        file = self.request.content
        content: bytes = file.read() if file is not None else b""
        if not content:
            return b""
        if len(content) > self.body_limit:
            raise too_large(self.body_limit)
        _check_media_type(self.header("content-type") or "application/json")
        if self.header("content-encoding") not in (None, "", "identity"):
            raise UnsupportedMediaType("Send the body without a Content-Encoding.")
        return content

    async def send(self, answer: Answer, deadlines: Deadlines) -> None:
        """Write an answer, all of it or, to a client that goes, what it takes."""
        if self.gone:
            return
        request = self.request
        if answer.octets is None:
            self._begin(answer, len(answer.body))
            request.write(answer.body)
        else:
            span = Span.of(self.header("range"), answer.octets.size)
            self._begin(
                Answer(
                    status=206 if span.partial else answer.status,
                    content_type=answer.content_type,
                    headers=answer.headers + download_headers(answer.octets, span),
                ),
                span.length,
            )
            if request.method != b"HEAD":
                await send_octets(request, answer.octets, span, deadlines)
        if not self.gone:
            request.finish()

    def begin_stream(self, answer: Answer) -> None:
        """Write the head of an answer whose length nobody knows."""
        self._begin(answer, None)

    def _begin(self, answer: Answer, length: int | None) -> None:
        fields = {b"X-Request-Id": self.request_id.encode()}
        if answer.status in _BODILESS:
            length = None
        else:
            fields[b"Content-Type"] = answer.content_type
        if (allowance := self.allowance) is not None:
            fields[b"RateLimit-Limit"] = b"%d" % allowance.limit
            fields[b"RateLimit-Remaining"] = b"%d" % allowance.remaining
            fields[b"RateLimit-Reset"] = b"%d" % allowance.reset
        if self.cors is not None:
            fields[b"Access-Control-Allow-Origin"] = self.cors.encode()
            fields[b"Access-Control-Expose-Headers"] = _EXPOSED
            fields[b"Vary"] = b"Origin"
        fields.update(answer.headers)
        self.request.begin(answer.status, fields, length)


_EXPOSED = (
    b"ETag, X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, "
    b"RateLimit-Reset, Content-Disposition, Content-Range"
)


def too_large(limit: int) -> TooLarge:
    """The refusal of a body beyond the limit."""
    return TooLarge(f"A request has at most {limit} octets.", limit=limit)


def _check_media_type(value: str) -> None:
    media_type, _, parameters = value.partition(";")
    if media_type.strip().lower() != "application/json":
        raise UnsupportedMediaType(
            "Send JSON, and say so: Content-Type: application/json."
        )
    charset = parameters.strip().lower().replace('"', "").replace(" ", "")
    if charset.startswith("charset=") and charset not in (
        "charset=utf-8",
        "charset=us-ascii",
    ):
        raise UnsupportedMediaType("JSON is sent in UTF-8 (RFC 8259, 8.1).")
