"""A client that says whatever it likes, over a real socket; it blocks."""

from __future__ import annotations

import socket
import ssl
from typing import Self


class Stranger:
    """One connection."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self._socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), timeout
        )
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, octets: bytes) -> None:
        """Say it; whether the other side still listens is its own matter."""
        self._socket.sendall(octets)

    def reply(self) -> bytes:
        """The next reply, all of its lines; empty at the end of the connection."""
        reply = b""
        while True:
            line = self._line()
            reply += line
            if line[3:4] != b"-":
                return reply

    def _line(self) -> bytes:
        while b"\n" not in self._read:
            try:
                more = self._socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                line, self._read = self._read, b""
                return line
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line + b"\n"

    def hears(self, text: bytes, seconds: float) -> bool:
        """Whether this is said within a time."""
        before = self._socket.gettimeout()
        self._socket.settimeout(seconds)
        try:
            return text in self.reply()
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(before)

    def shut(self) -> None:
        """Say no more, but listen."""
        self._socket.shutdown(socket.SHUT_WR)

    def say(self, line: bytes) -> bytes:
        """A command, and the reply to it."""
        self.send(line + b"\r\n")
        return self.reply()

    def rest(self) -> list[bytes]:
        """The first words of all replies until the connection ends."""
        codes = []
        while reply := self.reply():
            codes.append(reply[:3])
        return codes

    def starttls(self) -> bytes:
        """Begin to speak TLS, to whoever it is."""
        reply = self.say(b"STARTTLS")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)
        return reply

    def mail(self, *recipients: str, mail_from: str = "x@near.example") -> bytes:
        """Greet and begin a mail, up to the reply to DATA."""
        self.reply()
        self.say(b"EHLO near.example")
        self.say(f"MAIL FROM:<{mail_from}>".encode())
        for one in recipients:
            self.say(f"RCPT TO:<{one}>".encode())
        return self.say(b"DATA")
