"""A mail host on loopback that says what a test wants it to say."""

import datetime
from collections.abc import Mapping
from typing import cast

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    ITLSTransport,
)
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from noinfra.net.reactor import NetReactor

DROP = "drop"
"""Instead of a reply: the connection is closed."""
SILENCE = "silence"
"""Instead of a reply: nothing."""

DEFAULTS: Mapping[str, str] = {
    "greeting": "220 mx.example.net",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "RSET": "250 2.0.0 ok",
    "DATA": "354 go",
    ".": "250 2.0.0 queued",
    "QUIT": "221 2.0.0 bye",
    "STARTTLS": "220 2.0.0 go",
    "AUTH": "235 2.7.0 ok",
}


@define
class MailHost:
    """Takes mail.

    :ivar says: replies by verb, by whole command line, or by `greeting` and `.`.
    :ivar commands: all lines of all connections, in order.
    :ivar messages: what came between 354 and the final dot, dots undone.
    """

    extensions: tuple[str, ...] = ("PIPELINING", "SIZE 50000000", "8BITMIME", "DSN")
    says: dict[str, str] = field(factory=dict)
    certificate: PrivateCertificate | None = None
    commands: list[str] = field(factory=list)
    messages: list[bytes] = field(factory=list)
    connections: int = 0
    most_at_once: int = 0
    port: int = 0
    _open: list["_Session"] = field(factory=list)
    _listening: IListeningPort | None = None

    def listen(
        self, reactor: NetReactor, address: str = "127.0.0.1", port: int = 0
    ) -> int:
        self._listening = reactor.listenTCP(port, _Sessions(self), interface=address)
        self.port = self._listening.getHost().port
        return self.port

    async def close(self) -> None:
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
        for session in list(self._open):
            cast(ITLSTransport, session.transport).abortConnection()

    def opened(self, session: "_Session") -> None:
        self._open.append(session)
        self.connections += 1
        self.most_at_once = max(self.most_at_once, len(self._open))

    def closed(self, session: "_Session") -> None:
        self._open.remove(session)

    def drop_all(self) -> None:
        for session in list(self._open):
            cast(ITLSTransport, session.transport).loseConnection()


class _Sessions(ServerFactory):
    noisy = False

    def __init__(self, host: MailHost) -> None:
        self._host = host

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        return _Session(self._host)


class _Session(LineReceiver):
    MAX_LENGTH = 100_000

    def __init__(self, host: MailHost) -> None:
        self._host = host
        self._message = bytearray()

    def connectionMade(self) -> None:
        self._host.opened(self)
        self._answer("greeting")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._host.closed(self)

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self._host.commands.append(text)
        verb = text.partition(" ")[0].upper()
        if verb == "EHLO" and verb not in self._host.says:
            lines = ["mx.example.net", *self._host.extensions]
            for word in lines[:-1]:
                self.sendLine(f"250-{word}".encode())
            self.sendLine(f"250 {lines[-1]}".encode())
        elif self._answer(text if text in self._host.says else verb) == "354":
            self._message = bytearray(b"\r\n")
            self.setRawMode()
        elif verb == "STARTTLS" and self._host.certificate is not None:
            transport = cast(ITLSTransport, self.transport)
            transport.startTLS(self._host.certificate.options())

    def rawDataReceived(self, data: bytes) -> None:
        seen = max(0, len(self._message) - 4)
        self._message += data
        if (end := self._message.find(b"\r\n.\r\n", seen)) < 0:
            return
        whole = bytes(self._message)
        lines = whole[2:end].split(b"\r\n") if end else []
        self._host.messages.append(b"\r\n".join(x.removeprefix(b".") for x in lines))
        self._answer(".")
        self.setLineMode(whole[end + 5 :])

    def _answer(self, to: str) -> str:
        reply = self._host.says.get(to) or DEFAULTS.get(to, "502 5.5.1 What?")
        if reply == DROP:
            cast(ITLSTransport, self.transport).loseConnection()
        elif reply != SILENCE:
            self.sendLine(reply.encode())
        return reply[:3]


def certificate(name: str) -> tuple[PrivateCertificate, bytes]:
    """A certificate that signs itself, for a host name; and it alone, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PrivateCertificate.loadPEM(secret + pem), pem
