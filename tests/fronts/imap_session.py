"""An IMAP server in memory, and the mail in it."""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Connection
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import alsoProvides, implementer

from noinfra.config import ImapSettings
from noinfra.fronts.imap.appending import Session
from noinfra.fronts.imap.factory import ImapFactory
from noinfra.fronts.imap.mail import Mail
from noinfra.fronts.logins import BadLogins
from noinfra.fronts.smtp.spool import Storage
from tests.fakes.imap_mail import MemoryMail

FIRST = b"""\
From: Alice <alice@example.net>\r
To: agent@example.com\r
Subject: First\r
Message-ID: <1@example.net>\r
Date: Mon, 1 Jun 2026 10:00:00 +0000\r
\r
Hello.\r
"""
SECOND = b"""\
From: bob@example.net\r
To: agent@example.com\r
Subject: Re: First\r
In-Reply-To: <1@example.net>\r
References: <1@example.net>\r
Message-ID: <2@example.net>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=x\r
\r
--x\r
Content-Type: text/plain\r
\r
One.\r
--x\r
Content-Type: application/octet-stream\r
Content-Transfer-Encoding: base64\r
\r
AAEC\r
--x--\r
"""
THIRD = b"Subject: Third\r\n\r\n3\r\n"


class SecureTransport(StringTransport):
    """As if TLS were beneath; that counts as TCP to Twisted."""

    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def setTcpKeepAlive(self, enabled: bool) -> None: ...


@implementer(IOpenSSLServerConnectionCreator)
class NoTls:
    """Makes no connections."""

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        raise NotImplementedError


class Forgiving(BadLogins):
    """Holds nothing against anybody."""

    def failed(self, network: str, account: str) -> float:
        return 0.0


def memory_mail() -> MemoryMail:
    """Three messages in the INBOX: unseen, seen, flagged."""
    mail = MemoryMail()
    mail.deliver(FIRST)
    mail.deliver(SECOND, ["\\Seen"])
    mail.deliver(THIRD, ["\\Flagged"])
    return mail


def imap_factory(
    mail: MemoryMail,
    *,
    clock: IReactorTime | None = None,
    tls: IOpenSSLServerConnectionCreator | None = None,
    bad_logins: BadLogins | None = None,
    **settings: Any,
) -> ImapFactory:
    """A factory that answers at once, with low limits."""
    limits = {"append_limit": 2000, "command_limit": 8192, "line_limit": 8192}
    return ImapFactory(
        mail=Mail(
            logins=mail, mailboxes=mail, messages=mail, appending=mail, finding=mail
        ),
        settings=ImapSettings(**{**limits, **settings}),
        hostname="imap.example",
        storage=Storage(in_thread=maybeDeferred),
        clock=clock or Clock(),
        tls=tls or NoTls(),
        bad_logins=bad_logins or Forgiving(lambda: 0.0),
    )


def connect(
    factory: ImapFactory, peer: str = "192.0.2.1", *, secure: bool = True
) -> tuple[Session, StringTransport]:
    """A connection, as if within TLS."""
    session = factory.buildProtocol(IPv4Address("TCP", peer, 40000))
    assert isinstance(session, Session)
    kind = SecureTransport if secure else StringTransport
    transport = kind(peerAddress=IPv4Address("TCP", peer, 40000))
    if secure:
        alsoProvides(transport, ISSLTransport)
    session.makeConnection(transport)
    return session, transport


class Client:
    """Says things, and hears the answers."""

    def __init__(
        self, factory: ImapFactory, *, secure: bool = True, login: bool = True
    ) -> None:
        self.session, self.transport = connect(factory, secure=secure)
        self.greeting = self.heard()
        if login:
            self.says(b"l LOGIN agent@example.com secret")

    def says(self, line: bytes) -> bytes:
        """Say a line, and hear all that comes of it."""
        return self.sends(line + b"\r\n")

    def sends(self, octets: bytes) -> bytes:
        """Send octets, and hear all that comes of it."""
        self.session.dataReceived(octets)
        return self.heard()

    def heard(self) -> bytes:
        """What was said since."""
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets
