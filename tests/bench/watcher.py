"""A process that reads the WebSocket of events, and notes when each message came.

It does next to nothing (RFC 6455 by hand, nothing decoded before the end), so that what
it measures is the server. It prints a line when it is connected.
"""

from __future__ import annotations

import base64
import os
import socket
import sys
import time

import msgspec

_PING, _TEXT, _PONG = 0x9, 0x1, 0xA


class Plan(msgspec.Struct, kw_only=True):
    """Where to read, and how many events of new messages to read."""

    port: int
    key: str
    count: int
    timeout: float = 60.0


class _Message(msgspec.Struct, rename="camel"):
    message_id: str | None = None


class _Data(msgspec.Struct):
    message: _Message | None = None


class _Event(msgspec.Struct):
    type: str
    data: _Data | None = None


class _Frame(msgspec.Struct):
    type: str
    event: _Event | None = None


def take_frame(octets: bytearray) -> tuple[int, bytes] | None:
    """A whole frame off the front, as opcode and payload, if one is there."""
    if len(octets) < 2:
        return None
    start, length = 2, octets[1] & 0x7F
    if length >= 126:
        start += 2 if length == 126 else 8
        if len(octets) < start:
            return None
        length = int.from_bytes(octets[2:start], "big")
    if len(octets) < start + length:
        return None
    frame = octets[0] & 0xF, bytes(octets[start : start + length])
    del octets[: start + length]
    return frame


def _octets(client: socket.socket) -> bytes:
    octets = client.recv(262_144)
    if not octets:
        raise RuntimeError("the server closed the WebSocket")
    return octets


def _connect(plan: Plan) -> tuple[socket.socket, bytearray]:
    client = socket.create_connection(("127.0.0.1", plan.port), plan.timeout)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    nonce = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        (
            f"GET /v1/events/ws?types=message.received HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {nonce}"
            f"\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {plan.key}\r\n\r\n"
        ).encode()
    )
    read = bytearray()
    while b"\r\n\r\n" not in read:
        read += _octets(client)
    head, _, rest = bytes(read).partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"no WebSocket: {head[:200]!r}")
    return client, bytearray(rest)


def _ready(client: socket.socket, read: bytearray) -> None:
    while (frame := take_frame(read)) is None:
        read += _octets(client)
    if msgspec.json.decode(frame[1], type=_Frame).type != "ready":
        raise RuntimeError(f"the server begins with {frame[1][:200]!r}")


def watch(plan: Plan) -> dict[str, float]:
    """When the event of each message came, by Message-ID, by the monotonic clock."""
    client, read = _connect(plan)
    _ready(client, read)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    came: list[tuple[float, bytes]] = []
    while len(came) < plan.count:
        read += _octets(client)
        now = time.monotonic()
        while (frame := take_frame(read)) is not None:
            if frame[0] == _TEXT:
                came.append((now, frame[1]))
            elif frame[0] == _PING:
                # A client masks (RFC 6455, 5.3); a mask of zeros changes nothing.
                payload = frame[1]
                client.sendall(bytes((0x80 | _PONG, 0x80 | len(payload))) + bytes(4))
                client.sendall(payload)
    found = {}
    for now, text in came:
        event = msgspec.json.decode(text, type=_Frame).event
        if event and event.data and event.data.message:
            found[event.data.message.message_id or ""] = now
    return found


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(watch(plan)))
