"""SMTP dialogues as text, played against a client over a transport in memory."""

from collections.abc import Coroutine
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection

from noinfra.net.settings import Timeouts
from noinfra.net.smtp import SmtpClient

T = TypeVar("T")


class MailTransport(StringTransportWithDisconnection):
    """What a TCP connection has besides."""

    no_delay = False
    slow = False
    """Whether a producer is told at once to pause."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        if self.slow:
            producer.pauseProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def abortConnection(self) -> None:
        self.loseConnection()


class Session:
    """A client on a transport, and the server's part as a script.

    A script has lines `C: …`, which the client must have sent, and `S: …`, which it is
    given; `S:` alone is the end of the connection. Lines of one side that follow each
    other go in one segment.
    """

    def __init__(self, *, singly: bool = False) -> None:
        """:param singly: whether the server's octets arrive one at a time."""
        self.clock = Clock()
        self.transport = MailTransport()
        self.client = SmtpClient(self.clock, Timeouts(), "mx.example.net", "192.0.2.1")
        self.transport.protocol = self.client
        self.client.makeConnection(self.transport)
        self._singly = singly

    def start(self, doing: Coroutine[Deferred[object], object, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(doing)

    def play(self, script: str) -> None:
        lines = [line.strip() for line in script.splitlines() if line.strip()]
        for i, line in enumerate(lines):
            side, _, text = line.partition(":")
            if side == "C":
                self._expect(text.strip())
            elif not text:
                self.transport.loseConnection()
            elif lines[i + 1 : i + 2] and lines[i + 1].startswith("S: "):
                self._say(text, more=True)
            else:
                self._say(text)
        rest = self.transport.value()
        assert not rest, f"The client said more: {rest!r}"

    _held = b""

    def _say(self, text: str, more: bool = False) -> None:
        self._held += text.strip().encode() + b"\r\n"
        if not more:
            octets, self._held = self._held, b""
            step = 1 if self._singly else len(octets)
            for start in range(0, len(octets), step):
                self.client.dataReceived(octets[start : start + step])

    def _expect(self, line: str) -> None:
        wanted, sent = line.encode() + b"\r\n", self.transport.value()
        assert sent.startswith(wanted), f"wanted {wanted!r}, sent {sent!r}"
        self.transport.clear()
        self.transport.write(sent[len(wanted) :])
