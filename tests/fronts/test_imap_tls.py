"""IMAP over real connections on loopback, with Python's imaplib as the client."""

from __future__ import annotations

import imaplib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from noinfra.fronts.imap import connection
from noinfra.fronts.smtp.tls import ServerTls, self_signed
from tests.fronts.imap_session import SECOND, THIRD, imap_factory, memory_mail

T = TypeVar("T")
# Twisted's own modules are typed for the reactor that each platform has.
reactor: Any = installed_reactor
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 300_000


def trusting() -> ssl.SSLContext:
    """A client's context, for certificates that nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class LoopbackTests(TestCase):
    def setUp(self) -> None:
        tls = ServerTls(self_signed("imap.example", Path(self.mktemp())))
        self.mail = memory_mail()
        self.factory = imap_factory(self.mail, clock=reactor, tls=tls)
        self.clear = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.secure = reactor.listenTCP(0, self.factory.in_tls, interface="127.0.0.1")
        self.addCleanup(self.shut)

    def shut(self) -> Deferred[object]:
        closed = gatherResults(
            [maybeDeferred(port.stopListening) for port in (self.clear, self.secure)]
        )
        return closed.addCallback(
            lambda _: Deferred.fromCoroutine(self.factory.stop(1.0))
        )

    def client(self, talk: Callable[[imaplib.IMAP4], T]) -> Deferred[T]:
        """Let a client talk over TLS, in a thread."""
        number = self.secure.getHost().port

        def run() -> T:
            with imaplib.IMAP4_SSL(
                "127.0.0.1", number, ssl_context=trusting(), timeout=20
            ) as client:
                return talk(client)

        return deferToThread(run)

    def raw(self, talk: Callable[[socket.socket], T]) -> Deferred[T]:
        """Let a client talk in clear, in a thread, after the greeting."""
        number = self.clear.getHost().port

        def run() -> T:
            with socket.create_connection(("127.0.0.1", number), 20) as client:
                assert client.recv(65536).startswith(b"* OK ")
                return talk(client)

        return deferToThread(run)

    async def test_imaplib(self) -> None:
        """A client logs in, lists, selects, fetches, stores, searches, appends."""

        def talk(client: imaplib.IMAP4) -> None:
            client.login("agent@example.com", "secret")
            self.assertEqual(len(client.list()[1]), 6)
            self.assertEqual(client.select()[1], [b"3"])
            fetched = client.fetch("2:3", "(UID BODY.PEEK[])")[1]
            self.assertEqual(fetched[0], (b"2 (UID 2 BODY[] {352}", SECOND))
            self.assertEqual(fetched[2], (b"3 (UID 3 BODY[] {21}", THIRD))
            self.assertEqual(
                client.store("1", "+FLAGS", "(\\Answered)")[1],
                [b"1 (FLAGS (\\Answered))"],
            )
            self.assertEqual(client.search(None, "ANSWERED")[1], [b"1"])
            appended = client.append("Sent", "(\\Seen)", "", THIRD)
            self.assertIn(b"[APPENDUID 1 1]", appended[1][0])
            self.assertEqual(client.uid("MOVE", "1", "Trash")[0], "OK")
            self.assertEqual(client.response("EXPUNGE")[1], [b"1"])

        await self.client(talk)

    async def test_large(self) -> None:
        """A message larger than any buffer comes whole, and goes whole."""
        self.mail.deliver(LARGE)

        def talk(client: imaplib.IMAP4) -> bytes:
            client.login("agent@example.com", "secret")
            client.select()
            fetched = client.fetch("4", "BODY.PEEK[]")[1][0]
            assert isinstance(fetched, tuple)
            return fetched[1]

        self.assertEqual(await self.client(talk), LARGE)

    async def test_refused_authentication(self) -> None:
        """A wrong password is refused in the end, and the connection goes on."""

        def talk(client: imaplib.IMAP4) -> None:
            with self.assertRaisesRegex(imaplib.IMAP4.error, "AUTHENTICATIONFAILED"):
                client.login("agent@example.com", "wrong")
            client.authenticate("PLAIN", lambda _: b"\0agent@example.com\0secret")
            self.assertEqual(client.state, "AUTH")

        await self.client(talk)

    async def test_starttls(self) -> None:
        """In clear there is no login; after STARTTLS there is, and no STARTTLS."""

        def talk() -> None:
            client = imaplib.IMAP4("127.0.0.1", self.clear.getHost().port, timeout=20)
            self.assertIn("STARTTLS", client.capabilities)
            with self.assertRaisesRegex(imaplib.IMAP4.error, "PRIVACYREQUIRED"):
                client.login("agent@example.com", "secret")
            client.starttls(trusting())
            self.assertNotIn("STARTTLS", client.capabilities)
            self.assertIn("AUTH=PLAIN", client.capabilities)
            client.login("agent@example.com", "secret")
            client.logout()

        await deferToThread(talk)

    async def test_injection(self) -> None:
        """What comes in clear with STARTTLS closes the connection, unexecuted."""

        def talk(client: socket.socket) -> bytes:
            client.sendall(b"a STARTTLS\r\nb LOGIN agent@example.com secret\r\n")
            said = b""
            while octets := client.recv(65536):
                said += octets
            return said

        said = await self.raw(talk)
        self.assertTrue(said.startswith(b"* BYE [CLIENTBUG] "), said)
        self.assertEqual(said.count(b"\r\n"), 1)
        self.assertEqual(self.mail.calls, [])

    async def test_half_command(self) -> None:
        """The beginning of a command in clear is not completed within TLS."""

        def talk(client: socket.socket) -> bytes:
            client.sendall(b"a STARTTLS\r\nb LOG")
            return client.recv(65536)

        self.assertIn(b"* BYE ", await self.raw(talk))

    async def test_silent_handshake(self) -> None:
        """A handshake that does not come ends."""
        self.patch(connection, "HANDSHAKE", 0.2)

        def talk(client: socket.socket) -> bytes:
            client.sendall(b"a STARTTLS\r\n")
            assert client.recv(65536).startswith(b"a OK ")
            try:
                return client.recv(65536)
            except ConnectionResetError:
                return b""

        self.assertEqual(await self.raw(talk), b"")
