"""A process that asks by HTTP/1.1, over several connections that are kept.

Each connection sends a request when the answer to the one before is there.
"""

from __future__ import annotations

import re
import selectors
import socket
import sys
import time

import msgspec

from tests.bench.table import percentile

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Plan(msgspec.Struct, kw_only=True):
    """Whole requests, which all take turns; so many of them, or for so many seconds."""

    port: int
    requests: list[bytes]
    connections: int = 16
    count: int = 0
    seconds: float = 0.0


class Result(msgspec.Struct):
    """Times in seconds; began by time.time(). An answer of 400 or more is failed.

    refused: the first of those.
    """

    count: int
    failed: int
    began: float
    seconds: float
    median: float
    p99: float
    refused: str = ""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds


def request(method: str, path: str, key: str = "", body: bytes = b"") -> bytes:
    """A whole request."""
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    head += [f"Authorization: Bearer {key}"] if key else []
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, octets: bytes) -> None:
        self._read: list[bytes] = []
        self._missing: int | None = None
        self.began = time.monotonic()
        self.socket.sendall(octets)

    def readable(self) -> bool:
        """Read; True when the whole answer is there."""
        octets = self.socket.recv(1 << 20)
        if not octets:
            raise RuntimeError("the server hung up")
        self._read.append(octets)
        if self._missing is None:
            head, end, body = b"".join(self._read).partition(b"\r\n\r\n")
            if not end:
                return False
            self.status = int(head[9:12])
            length = _LENGTH.search(head)
            self._missing = int(length[1]) - len(body) if length else 0
        else:
            self._missing -= len(octets)
        return self._missing <= 0

    def text(self) -> str:
        """The answer."""
        return b"".join(self._read).decode(errors="replace")


def ask(plan: Plan) -> Result:
    """Ask it all."""
    selector = selectors.DefaultSelector()
    connections = [_Connection(plan.port) for _ in range(plan.connections)]
    waited: list[float] = []
    failed = asked = 0
    refused = ""
    wall, began = time.time(), time.monotonic()
    end = began + plan.seconds

    def more() -> bool:
        return asked < plan.count if plan.count else time.monotonic() < end

    running = 0
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        if more():
            connection.ask(plan.requests[asked % len(plan.requests)])
            asked, running = asked + 1, running + 1
    while running:
        for key, _ in selector.select():
            connection = key.data
            if not connection.readable():
                continue
            waited.append(time.monotonic() - connection.began)
            if connection.status >= 400:
                failed += 1
                refused = refused or connection.text()
            if more():
                connection.ask(plan.requests[asked % len(plan.requests)])
                asked += 1
            else:
                running -= 1
    seconds = time.monotonic() - began
    return Result(
        count=len(waited),
        failed=failed,
        began=wall,
        seconds=seconds,
        median=percentile(waited, 0.5),
        p99=percentile(waited, 0.99),
        refused=refused,
    )


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(ask(plan)))
