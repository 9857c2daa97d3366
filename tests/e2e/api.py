"""A caller of the REST API that blocks: for use in threads, and by scripts of tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

T = TypeVar("T")
TIMEOUT = 30.0


def in_thread(call: Callable[..., T], *arguments: Any, **named: Any) -> Deferred[T]:
    """Do what blocks elsewhere: a daemon whose output nobody reads would stand still."""
    return deferToThread(call, *arguments, **named)


@frozen
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Api:
    """The API of one daemon, with one key."""

    base_url: str
    key: str

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> Answered:
        """One request; a name of a header field has underscores for its hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Authorization"] = f"Bearer {self.key}"
        octets = None
        if body is not None:
            octets, named["Content-Type"] = json.dumps(body), "application/json"
        address = urlsplit(self.base_url)
        assert address.hostname is not None
        connection = HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, octets, named)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, fields, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Any:
        """The JSON at a path.

        :raises AssertionError: it is refused.
        """
        return self._good(self.call("GET", f"{path}?{urlencode(query)}"))

    def post(self, path: str, body: object, **headers: str) -> Any:
        """The JSON that a request is answered with.

        :raises AssertionError: it is refused.
        """
        return self._good(self.call("POST", path, body, **headers))

    @staticmethod
    def _good(answered: Answered) -> Any:
        assert answered.status < 300, (answered.status, answered.body[:500])
        return answered.json

    def make_inbox(self, username: str) -> str:
        """An agent's address."""
        made = self.post(
            "/v1/agents", {"name": username, "defaultInboxUsername": username}
        )
        return str(made["inbox"]["address"])

    def pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """All items of a list."""
        cursor: dict[str, object] = {}
        while True:
            page = self.get(path, **query, **cursor)
            yield from page["data"]
            if page["nextCursor"] is None:
                return
            cursor = {"cursor": page["nextCursor"]}

    def messages(self, inbox: str, **query: object) -> list[dict[str, Any]]:
        """All messages of an inbox, newest first."""
        return list(self.pages(f"/v1/inboxes/{inbox}/messages", limit=100, **query))

    def raw(self, inbox: str, message_id: str) -> bytes:
        """A message as it was on the wire."""
        path = f"/v1/inboxes/{inbox}/messages/{quote(message_id, safe='')}/raw"
        answered = self.call("GET", path)
        assert answered.status == 200, answered
        return answered.body

    def send(self, inbox: str, **message: object) -> dict[str, Any]:
        """Send a mail."""
        sent: dict[str, Any] = self.post(f"/v1/inboxes/{inbox}/messages", message)
        return sent

    def message(self, inbox: str, message_id: str) -> dict[str, Any]:
        """One message with its deliveries."""
        path = f"/v1/inboxes/{inbox}/messages/{message_id}"
        found: dict[str, Any] = self.get(path)
        return found
