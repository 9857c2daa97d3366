"""HTTP over a transport in memory, to the site as it is: channel, frame and all."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from noinfra.config import WebSettings
from noinfra.fronts.rest.channel import ApiSite
from noinfra.fronts.rest.server import make_site
from tests.fakes.web_app import SECRET, FakeApp


@frozen
class Response:
    """An answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json()["error"]["code"])

    @property
    def field(self) -> str | None:
        """The field that a refusal names."""
        named = self.json()["error"].get("details", {}).get("field")
        return None if named is None else str(named)


class Connection:
    """A client's connection to a site."""

    def __init__(self, site: ApiSite, host: str = "192.0.2.7") -> None:
        self.transport = StringTransport(
            peerAddress=IPv4Address("TCP", host, 4000),
            hostAddress=IPv4Address("TCP", "127.0.0.1", 8025),
        )
        channel = site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        self.channel: HTTPChannel = channel
        channel.makeConnection(self.transport)

    def send(self, octets: bytes) -> None:
        self.channel.dataReceived(octets)

    def received(self) -> bytes:
        octets = bytes(self.transport.value())
        self.transport.clear()
        return octets

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def answer(self) -> Response:
        return parse(self.received())


class Client:
    """Asks a site, one connection a request."""

    def __init__(self, **settings: Any) -> None:
        self.app = FakeApp()
        self.clock = Clock()
        app: Any = self.app
        self.site = make_site(app, WebSettings(**settings), self.clock)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        secret: str | None = SECRET,
        host: str = "192.0.2.7",
        **headers: str,
    ) -> Response:
        """The answer, which must be there at once."""
        connection = Connection(self.site, host)
        connection.send(request(method, path, body, secret=secret, **headers))
        octets = connection.received()
        connection.lose()
        return parse(octets)

    def put(self, method: str, path: str, body: Any, **headers: str) -> Response:
        """The answer to a JSON body."""
        return self.ask(method, path, json.dumps(body).encode(), **headers)


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    secret: str | None = SECRET,
    **headers: str,
) -> bytes:
    """A request as it is on the wire; an underscore in a name is a hyphen."""
    fields = {"Host": "127.0.0.1:8025"}
    if secret is not None:
        fields["Authorization"] = f"Bearer {secret}"
    if body is not None:
        fields["Content-Type"] = "application/json"
        fields["Content-Length"] = str(len(body))
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


def parse(octets: bytes) -> Response:
    """The first answer in some octets."""
    head, _, body = octets.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    if "content-length" in headers:
        body = body[: int(headers["content-length"])]
    return Response(int(status.split(" ")[1]), headers, body)
