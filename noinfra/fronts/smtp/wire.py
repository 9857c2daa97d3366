"""What a conversation has beneath it: the transport, the peer's address, TLS."""

# ruff: noqa: D102 (the methods of Wire are described by Twisted)

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from OpenSSL.SSL import Connection
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    ISystemHandle,
    ITCPTransport,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol


class Disconnected(Exception):
    """The connection is gone; ends what waits for the client."""


class Wire(Protocol):
    """What we use of a transport, in Twisted's words."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def startTLS(self, ctx: IOpenSSLServerConnectionCreator) -> None: ...


class Outlet:
    """The way out of what we say.

    A reply goes straight into the socket: the transport would ask the reactor to call
    it in its next turn, which costs two system calls more. Once the socket has not
    taken a reply whole, and from TLS on, all goes through the transport, in its order.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._socket = plain_socket(wire)

    def write(self, octets: bytes) -> None:
        """Send octets, or have them sent."""
        if self._socket is not None:
            try:
                octets = octets[self._socket.send(octets) :]
            except OSError:
                # It is full, or fails, of which the reactor is to tell us.
                self._socket = None
            if not octets:
                return
        self._socket = None
        self._wire.write(octets)

    def close(self) -> None:
        """Leave the socket alone: TLS begins, or the connection ends."""
        self._socket = None


def plain_socket(transport: object) -> socket.socket | None:
    """The socket beneath a transport, if nothing is between them."""
    if is_tls(transport) or not ISystemHandle.providedBy(transport):
        return None
    handle = transport.getHandle()
    return handle if isinstance(handle, socket.socket) else None


def plain_address(host: str) -> str:
    """The address without a zone, and out of IPv6's mapping (RFC 4291, 2.5.5.2)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def is_tls(transport: object) -> bool:
    """Whether TLS is beneath from the first octet on (RFC 8314, 3)."""
    return isinstance(transport, TLSMemoryBIOProtocol)


def send_at_once(transport: Any) -> None:
    """Have the kernel wait for no ACK before it sends small segments."""
    if is_tls(transport):
        # Of the interfaces beneath it, TLS claims the last one only.
        transport = transport.transport
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)


def describe_tls(transport: Any) -> str:
    """The version and the cipher, for the trace field."""
    connection = transport.getHandle()
    if not isinstance(connection, Connection):
        return "TLS"
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"
