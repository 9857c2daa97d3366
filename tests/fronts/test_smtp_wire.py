"""What a conversation says leaves in its order, straight away where it can."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import ISystemHandle
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from noinfra.fronts.smtp.wire import Outlet

LARGE = b"x" * (1 << 20)


@implementer(ISystemHandle)
class SocketTransport:
    """A transport over a socket, which keeps what it is to write."""

    def __init__(self, handle: object) -> None:
        self._handle = handle
        self.kept = b""

    def getHandle(self) -> object:
        return self._handle

    def write(self, data: bytes) -> None:
        self.kept += data

    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def startTLS(self, ctx: object) -> None: ...


class OutletTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)
        self.near.setblocking(False)
        self.transport = SocketTransport(self.near)
        self.outlet = Outlet(self.transport)

    def test_straight(self) -> None:
        """A reply is in the socket at once, and the transport knows nothing of it."""
        self.outlet.write(b"250 OK\r\n")
        self.outlet.write(b"221 Bye\r\n")
        self.assertEqual(self.far.recv(100), b"250 OK\r\n221 Bye\r\n")
        self.assertEqual(self.transport.kept, b"")

    def test_full(self) -> None:
        """What a socket does not take, and all that follows, is the transport's."""
        self.outlet.write(LARGE)
        self.outlet.write(b"250 OK\r\n")
        self.far.setblocking(False)
        sent = bytearray()
        while len(sent) + len(self.transport.kept) < len(LARGE) + 8:
            sent += self.far.recv(1 << 20)
        self.assertTrue(sent)
        self.assertEqual(bytes(sent) + self.transport.kept, LARGE + b"250 OK\r\n")
        self.outlet.write(b"221 Bye\r\n")
        self.assertTrue(self.transport.kept.endswith(b"250 OK\r\n221 Bye\r\n"))

    def test_closed_socket(self) -> None:
        """A socket that fails is left to the transport, which tells of it."""
        self.near.close()
        self.outlet.write(b"250 OK\r\n")
        self.assertEqual(self.transport.kept, b"250 OK\r\n")

    def test_closed(self) -> None:
        """After the end, and inside TLS, the socket is not touched."""
        self.outlet.close()
        self.outlet.write(b"250 OK\r\n")
        self.assertEqual(self.transport.kept, b"250 OK\r\n")

    def test_no_socket(self) -> None:
        """What is no plain socket, such as TLS, is not gone around."""
        transport = SocketTransport(object())
        Outlet(transport).write(b"250 OK\r\n")
        self.assertEqual(transport.kept, b"250 OK\r\n")
