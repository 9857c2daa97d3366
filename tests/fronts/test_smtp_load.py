"""Guards against costs that grow faster than the input; the bounds are generous."""

from __future__ import annotations

import resource
import socket
import tracemalloc
from time import process_time

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from noinfra.fronts.smtp.reader import Reader
from noinfra.fronts.smtp.spool import Storage
from tests.fronts.smtp_edge import MemoryReceiving, connect, edge_factory
from tests.pace import within

HEAD = b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<agent@example.com>\r\nDATA\r\n"
LINE = b"." + b"x" * 75 + b"\r\n"


def seconds(octets: list[bytes]) -> float:
    """The processor time that the pieces take."""
    clock = Clock()
    protocol, transport = connect(
        edge_factory(MemoryReceiving(), clock=clock, size_limit=1 << 26)
    )
    begin = process_time()
    for piece in octets:
        protocol.dataReceived(piece)
        transport.clear()
    while transport.producerState == "paused" or len(clock.getDelayedCalls()) > 1:
        clock.advance(0)
    return process_time() - begin


class TimeTests(SynchronousTestCase):
    def test_blocks(self) -> None:
        """Ten megabytes in blocks take a moment, whatever they hold."""
        for content in (
            LINE,
            b"x",
            b"\r\n",
            b".",
            b"\r\n.",
            b"\r\n..\r\n",
            b"\r",
            b"\n",
        ):
            octets = content * (10_000_000 // len(content))
            blocks = [octets[at : at + 65536] for at in range(0, len(octets), 65536)]
            self.assertLess(seconds([HEAD, *blocks, b"\r\n.\r\n"]), 2.0, content)

    def test_single_octets(self) -> None:
        """Data octet by octet takes time in proportion."""
        octets = LINE * 2000
        pieces = [octets[at : at + 1] for at in range(len(octets))]
        self.assertLess(seconds([HEAD, *pieces]), 10.0)

    def test_commands(self) -> None:
        """A hundred thousand commands cost the same in large segments and in small."""
        noops = b"NOOP\r\n" * 100_000
        for size in (65536, 1000, 7):
            pieces = [noops[at : at + size] for at in range(0, len(noops), size)]
            self.assertLess(seconds(pieces), 6.0, size)

    def test_reader(self) -> None:
        """A million lines in one buffer are taken out one by one in linear time."""
        reader = Reader()
        reader.feed(b"NOOP\r\n" * 1_000_000)
        begin = process_time()
        while reader.line() is not None:
            pass
        self.assertLess(process_time() - begin, within(5.0))

    def test_endless_line(self) -> None:
        """A line without an end is not kept."""
        reader = Reader()
        for _ in range(1000):
            reader.feed(b"x" * 10_000)
            self.assertIsNone(reader.line())
            self.assertLess(len(reader), 3000)

    def test_long_quotes(self) -> None:
        """Arguments made to be hard to match are not."""
        for text in (
            b'"' * 2000,
            b'"\\' * 1000,
            b"<" * 2000,
            b"a=" * 1000,
            b"@a," * 600,
        ):
            for end in (b"", b">", b"> "):
                line = b"MAIL FROM:<" + text[:2020] + end + b"\r\n"
                self.assertLess(seconds([b"HELO c\r\n", line]), 0.2)


class MemoryTests(TestCase):
    async def test_large_mail(self) -> None:
        """A mail of 25 MB adds little more than itself, for a moment."""
        storage = Storage(in_thread=deferToThread)
        receiving = MemoryReceiving()
        factory = edge_factory(receiving, size_limit=26 << 20, storage=storage)
        protocol, _ = connect(factory)
        protocol.dataReceived(HEAD)
        block = LINE * 840
        tracemalloc.start()
        try:
            for _ in range(400):
                protocol.dataReceived(block)
            collecting = tracemalloc.get_traced_memory()[1]
            protocol.dataReceived(b".\r\n")
            while not receiving.mails:
                await deferToThread(lambda: None)
            received = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        size = len(receiving.contents[0])
        self.assertEqual(size, 400 * 840 * (len(LINE) - 1))
        self.assertLess(collecting, 4 << 20)
        self.assertLess(received, size + (8 << 20))

    async def test_slow_reader(self) -> None:
        """A client that never reads cannot make us keep replies."""
        factory = edge_factory(MemoryReceiving(), clock=reactor)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.addCleanup(lambda: Deferred.fromCoroutine(factory.stop(0.1)))
        number = port.getHost().port

        def pour() -> int:
            """Send what will go; it must stop somewhere."""
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                client.recv(999)
                client.settimeout(1.0)
                sent, block = 0, b"HELP\r\n" * 10_000
                try:
                    while sent < 1 << 28:
                        sent += client.send(block)
                except TimeoutError:
                    return sent
                return sent

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sent = await deferToThread(pour)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        self.assertLess(sent, 1 << 26)
        self.assertLess(grown, 32 << 10)
