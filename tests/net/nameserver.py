"""An authoritative name server on loopback, which can also misbehave."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    ITCPTransport,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol, ServerFactory, connectionDone
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from noinfra.net.dns_servers import Server
from noinfra.net.reactor import NetReactor

Records = Mapping[tuple[str, int], Sequence[dns.IEncodableRecord]]
Twist = Callable[[dns.Message, dns.Message], dns.Message | None]
"""Given the question and the answer, what is sent instead; None is silence."""


class NameServer:
    """Answers from records: by name and type, the payloads of twisted.names.

    :ivar asked: the questions so far: name, type, and `udp` or `tcp`.
    :ivar ttl: of every record it gives.
    """

    def __init__(self, records: Records, twist: Twist = lambda asked, answer: answer):
        self.records = records
        self.twist = twist
        self.ttl = 300
        self.asked: list[tuple[str, int, str]] = []
        self._ports: list[IListeningPort] = []
        self.streams: list[_Stream] = []

    def listen(self, reactor: NetReactor) -> Server:
        """Begin to answer, at what this returns."""
        stream = reactor.listenTCP(0, _Streams(self), interface="127.0.0.1")
        port = stream.getHost().port
        datagrams = reactor.listenUDP(port, _Datagrams(self), "127.0.0.1", 8192)
        self._ports = [stream, datagrams]
        return Server(host="127.0.0.1", port=port)

    async def close(self) -> None:
        for protocol in list(self.streams):
            cast(ITCPTransport, protocol.transport).abortConnection()
        for port in self._ports:
            await maybeDeferred(port.stopListening)

    def answer(self, octets: bytes, over: str) -> bytes | None:
        question = dns.Message()
        question.fromStr(octets)
        (query,) = question.queries
        name = query.name.name.decode("ascii").lower()
        self.asked.append((name, query.type, over))
        answer = dns.Message(question.id, answer=1, recDes=1, recAv=1)
        answer.queries = [query]
        answer.maxSize = 512 if over == "udp" else 65535
        self._fill(answer, name, query.type)
        said = self.twist(question, answer)
        return None if said is None else said.toStr()

    def _fill(self, answer: dns.Message, name: str, kind: int) -> None:
        if all(known != name for known, _ in self.records):
            answer.rCode = dns.ENAME
        while (alias := self.records.get((name, dns.CNAME))) and kind != dns.CNAME:
            answer.answers.append(self.record(name, alias[0]))
            name = str(cast(dns.Record_CNAME, alias[0]).name)
            if len(answer.answers) > 9:
                return
        for payload in self.records.get((name, kind), ()):
            answer.answers.append(self.record(name, payload))
        if not answer.answers:
            soa = dns.Record_SOA(
                b"ns.example", b"root.example", minimum=60, ttl=self.ttl
            )
            answer.authority.append(self.record("example", soa))

    def record(self, name: str, payload: dns.IEncodableRecord) -> dns.RRHeader:
        return dns.RRHeader(name.encode(), payload.TYPE, ttl=self.ttl, payload=payload)


class _Datagrams(DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        said = self._server.answer(datagram, "udp")
        if said is not None:
            cast(IUDPTransport, self.transport).write(said, addr)


class _Streams(ServerFactory):
    noisy = False

    def __init__(self, server: NameServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        return _Stream(self._server)


class _Stream(Int16StringReceiver):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connectionMade(self) -> None:
        self._server.streams.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._server.streams.remove(self)

    def stringReceived(self, string: bytes) -> None:
        said = self._server.answer(string, "tcp")
        if said is not None:
            self.sendString(said)
