"""A process that sends mail by SMTP: as fast as it is taken, or at a rate of its own.

At a rate, mail is sent when its time has come, whether what went before was answered or
not (as far as there are connections), and the reply is timed from when it was due. The
result has the time of every reply, by the system's monotonic clock.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import deque

import msgspec

from tests.bench.mails import Mails


class Plan(msgspec.Struct, kw_only=True):
    """What to send; a rate of 0 is as fast as it is taken."""

    port: int
    recipients: list[str]
    series: str
    count: int
    sessions: int = 20
    rate: float = 0.0
    size: int = 4096
    host: str = "127.0.0.1"


class Result(msgspec.Struct):
    """What came of it: by Message-ID when the 250 was read, and after how long."""

    seconds: float
    replied: dict[str, float]
    waited: list[float]


class _Session:
    """One connection: a mail is two segments, as peers with PIPELINING send it."""

    def __init__(self, plan: Plan) -> None:
        self.socket = socket.create_connection((plan.host, plan.port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")
        self._expect("220")
        self.socket.sendall(b"EHLO sender.bench.example\r\n")
        self._expect("250")
        self._file.close()
        self._read = b""
        self._waiting = deque[bytes]()
        self.number = -1
        self.due = 0.0

    def _expect(self, code: str) -> None:
        while (line := self._file.readline().decode())[3:4] == "-":
            pass
        if not line.startswith(code):
            raise RuntimeError(f"the server says {line.strip()!r}")

    def begin(self, number: int, due: float, mails: Mails) -> None:
        """Send a mail's envelope."""
        self.number, self.due = number, due
        self._body = mails.octets(number) + b".\r\n"
        self._waiting.extend((b"250", b"250", b"354"))
        self.socket.sendall(
            b"MAIL FROM:<writer@bench.example>\r\nRCPT TO:<%s>\r\nDATA\r\n"
            % mails.recipient(number).encode()
        )

    def readable(self) -> bool:
        """Read replies, go on; True when the mail has been taken."""
        octets = self.socket.recv(65536)
        if not octets:
            raise RuntimeError("the server hung up")
        self._read += octets
        while b"\n" in self._read:
            line, _, self._read = self._read.partition(b"\n")
            if line[3:4] == b"-":
                continue
            if not line.startswith(self._waiting.popleft()):
                raise RuntimeError(f"the server says {line.decode().strip()!r}")
            if line.startswith(b"354"):
                self._waiting.append(b"250")
                self.socket.sendall(self._body)
            elif not self._waiting:
                return True
        return False


def send(plan: Plan) -> Result:
    """Send it all."""
    mails = Mails(plan.series, plan.recipients, plan.size)
    selector = selectors.DefaultSelector()
    idle = deque(_Session(plan) for _ in range(plan.sessions))
    for session in idle:
        selector.register(session.socket, selectors.EVENT_READ, session)
    result = Result(0.0, {}, [])
    began, number = time.monotonic(), 0
    while len(result.waited) < plan.count:
        pause = None
        while idle and number < plan.count:
            now = time.monotonic()
            due = began + number / plan.rate if plan.rate else now
            if due > now:
                pause = due - now
                break
            idle.popleft().begin(number, due, mails)
            number += 1
        for key, _ in selector.select(pause):
            session = key.data
            if session.readable():
                now = time.monotonic()
                result.replied[mails.message_id(session.number)] = now
                result.waited.append(now - session.due)
                idle.append(session)
    result.seconds = time.monotonic() - began
    return result


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(send(plan)))
