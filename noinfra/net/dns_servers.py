"""Asking DNS servers one question, until one gives an answer that can be believed.

twisted.names moves the packets: a fresh random port and identifier for each question,
answers only from the address that was asked. Its own way through several servers is
not used: it takes SERVFAIL for the answer, starts at a dead first server every time,
and asks again for ever when a reply over TCP is truncated too.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.defer import TimeoutError as NoAnswerInTime
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import BindError, ConnectError
from twisted.names import dns
from twisted.names.client import Resolver as NamesResolver

from noinfra.boundaries import DnsTemporary
from noinfra.net.reactor import NetReactor

IN_FLIGHT = 256
"""Questions at once; each holds a socket."""

_NO_ANSWER = (NoAnswerInTime, ConnectError, BindError, OSError)


@frozen(kw_only=True)
class Server:
    """A recursive name server, by its IP address."""

    host: str
    port: int = 53

    @classmethod
    def at(cls, text: str) -> "Server":
        """Read `address`, `address:port` or `[address]:port`.

        :raises ValueError: it is none of these.
        """
        host, port = text, "53"
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":") or "53"
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        ip_address(host)
        return cls(host=host, port=int(port))


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[Server, ...]:
    """The servers that the system names; the local host where it names none.

    The file is a few lines on a local disk, and read once, before the reactor runs.
    """
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        lines = []
    words = [line.split() for line in lines]
    named = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"]
    return tuple(Server(host=host) for host in named) or (Server(host="127.0.0.1"),)


class _Alone:
    """The controller that a DNSProtocol must have; one question needs none."""

    def connectionMade(self, protocol: dns.DNSProtocol) -> None:
        """The question is put by who connected."""

    def connectionLost(self, protocol: dns.DNSProtocol) -> None:
        """The question then runs into its timeout."""

    def messageReceived(self, message: dns.Message, protocol: dns.DNSProtocol) -> None:
        """An answer to nothing that was asked is not read."""


class Servers:
    """The name servers, in the order in which they are to be asked."""

    def __init__(
        self,
        reactor: NetReactor,
        servers: Sequence[Server],
        timeouts: Sequence[float] = (1, 2, 4),
    ) -> None:
        """:param timeouts: seconds for each server, in the first round and the next."""
        self._reactor = reactor
        self._order = list(servers)
        self._timeouts = tuple(timeouts)
        self._places = DeferredSemaphore(IN_FLIGHT)

    async def ask(self, name: str, kind: int) -> dns.Message:
        """The answer, or the word that the name does not exist (dns.ENAME).

        :raises DnsTemporary: no server gave either.
        """
        await self._places.acquire()
        try:
            return await self._rounds(dns.Query(name.encode("ascii"), kind))
        finally:
            self._places.release()

    async def _rounds(self, query: dns.Query) -> dns.Message:
        trouble = "there is no server to ask"
        for seconds in self._timeouts:
            for server in tuple(self._order):
                try:
                    message = await self._of(server, query, seconds)
                except _NO_ANSWER as error:
                    self._put_last(server)
                    trouble = f"{server.host}: {str(error) or 'no answer in time'}"
                else:
                    if message.rCode in (dns.OK, dns.ENAME):
                        return message
                    trouble = f"{server.host} answers with code {message.rCode}"
        name = query.name.name.decode("ascii")
        kind = dns.QUERY_TYPES.get(query.type, str(query.type))
        raise DnsTemporary(f"{kind} of {name} cannot be looked up now: {trouble}.")

    async def _of(
        self, server: Server, query: dns.Query, seconds: float
    ) -> dns.Message:
        asked = NamesResolver(
            servers=[(server.host, server.port)], reactor=self._reactor
        )
        message: dns.Message = await asked.queryUDP([query], (seconds,))
        if _answers(message, query) and message.trunc:
            message = await self._by_tcp(server, query, seconds)
        if not _answers(message, query) or message.trunc:
            raise OSError("the answer is to another question, or cut short")
        return message

    async def _by_tcp(
        self, server: Server, query: dns.Query, seconds: float
    ) -> dns.Message:
        kind = TCP6ClientEndpoint if ":" in server.host else TCP4ClientEndpoint
        endpoint = kind(self._reactor, server.host, server.port, timeout=seconds)
        protocol = await connectProtocol(
            endpoint, dns.DNSProtocol(_Alone(), self._reactor)
        )
        try:
            message: dns.Message = await protocol.query([query], seconds)
            return message
        finally:
            protocol.transport.abortConnection()

    def _put_last(self, server: Server) -> None:
        self._order.remove(server)
        self._order.append(server)


def _answers(message: dns.Message, query: dns.Query) -> bool:
    """Whether it is a reply, and to this question (RFC 5452, 3)."""
    return bool(message.answer) and [
        (q.name, q.type, q.cls) for q in message.queries
    ] == [(query.name, query.type, query.cls)]
