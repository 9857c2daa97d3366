"""SMTP submission over real connections on loopback: STARTTLS, and TLS from the start."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from noinfra.fronts.smtp import conversation
from noinfra.fronts.smtp.tls import ServerTls, self_signed
from noinfra.fronts.submission.factory import SubmissionFactory
from tests.fronts.submission import MemorySubmitting, plain, submission_factory
from tests.fronts.test_smtp_tls import hear, say, trusting

T = TypeVar("T")
HOST = "mx.example"


def to_its_end(client: socket.socket) -> bytes:
    """All that the server still says."""
    said = b""
    try:
        while octets := client.recv(65536):
            said += octets
    except ConnectionResetError:
        pass
    return said


class LoopbackTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.submitting = MemorySubmitting()
        self.start()

    def start(self, **settings: int) -> None:
        self.factory = submission_factory(
            self.submitting,
            clock=reactor,
            tls=ServerTls(self_signed(HOST, Path(self.mktemp()))),
            **settings,
        )
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        # Not made for servers alone, as far as types go.
        in_tls: Any = self.factory.in_tls
        self.tls_port = reactor.listenTCP(0, in_tls, interface="127.0.0.1")
        for port in (self.port, self.tls_port):
            self.addCleanup(maybeDeferred, port.stopListening)
        self.addCleanup(self.shut, self.factory)

    def shut(self, factory: SubmissionFactory) -> Deferred[None]:
        return Deferred.fromCoroutine(factory.stop(1.0))

    def in_clear(self, talk: Callable[[socket.socket], T]) -> Deferred[T]:
        """Let a client talk on the port of STARTTLS, in a thread, after the greeting."""
        number = self.port.getHost().port

        def run() -> T:
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                assert hear(client).startswith(b"220 ")
                return talk(client)

        return deferToThread(run)

    def connected(self, talk: Callable[[socket.socket], T]) -> Deferred[T]:
        """Let a client do what it wants on the port of TLS."""
        number = self.tls_port.getHost().port

        def run() -> T:
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                return talk(client)

        return deferToThread(run)

    def message(self) -> EmailMessage:
        message = EmailMessage()
        message["From"] = "agent@example.com"
        message["To"] = "a@example.net"
        message.set_content("hello")
        return message

    async def test_smtplib_starttls(self) -> None:
        """Smtplib logs in and sends over STARTTLS."""

        def run() -> None:
            port = self.port.getHost().port
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                client.ehlo()
                self.assertNotIn("auth", client.esmtp_features)
                client.starttls(context=trusting())
                client.ehlo()
                self.assertEqual(
                    client.esmtp_features["auth"].split(), ["PLAIN", "LOGIN"]
                )
                client.login("agent@example.com", "key")
                client.send_message(self.message())

        await deferToThread(run)
        ((transaction, _),) = self.submitting.mails
        self.assertEqual(transaction.client.protocol, "ESMTPSA")
        self.assertRegex(transaction.client.tls or "", r"^TLSv1\.3 TLS_\w+$")

    async def test_smtplib_tls(self) -> None:
        """Smtplib sends where TLS comes first; STARTTLS is not offered again."""

        def run() -> tuple[int, bytes]:
            port = self.tls_port.getHost().port
            with smtplib.SMTP_SSL(
                "127.0.0.1", port, timeout=10, context=trusting()
            ) as client:
                client.ehlo()
                self.assertNotIn("starttls", client.esmtp_features)
                client.login("agent@example.com", "key")
                client.send_message(self.message())
                return client.docmd("STARTTLS")

        code, _ = await deferToThread(run)
        self.assertEqual(code, 503)
        ((transaction, _),) = self.submitting.mails
        self.assertEqual(transaction.client.protocol, "ESMTPSA")
        self.assertRegex(transaction.client.tls or "", r"^TLSv1\.3 TLS_\w+$")

    async def test_bad_login(self) -> None:
        """Smtplib tells that a login is bad, and may try another."""

        def run() -> int:
            port = self.tls_port.getHost().port
            with smtplib.SMTP_SSL(
                "127.0.0.1", port, timeout=10, context=trusting()
            ) as client:
                with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
                    client.login("agent@example.com", "wrong")
                client.login("agent@example.com", "key")
                return int(caught.exception.smtp_code)

        self.assertEqual(await deferToThread(run), 535)

    async def test_injection(self) -> None:
        """What comes in clear with STARTTLS closes the connection, unexecuted."""

        def talk(client: socket.socket) -> bytes:
            say(client, b"EHLO c\r\n")
            said = say(client, b"STARTTLS\r\nAUTH PLAIN " + plain() + b"\r\n")
            return said + to_its_end(client)

        said = await self.in_clear(talk)
        self.assertTrue(said.startswith(b"501 5.5.1 "), said)
        self.assertEqual(said.count(b"\r\n"), 1)
        self.assertEqual(self.submitting.tried, [])

    async def test_injection_later(self) -> None:
        """What comes in clear after the reply to STARTTLS is no TLS, and ends it."""

        def talk(client: socket.socket) -> bytes:
            say(client, b"EHLO c\r\n")
            say(client, b"STARTTLS\r\n")
            client.sendall(b"AUTH PLAIN " + plain() + b"\r\n")
            return to_its_end(client)

        self.assertNotIn(b"235 ", await self.in_clear(talk))
        self.assertEqual(self.submitting.tried, [])

    async def test_nothing_is_kept(self) -> None:
        """EHLO and all else that was said in clear is forgotten inside TLS."""

        def talk(client: socket.socket) -> list[bytes]:
            say(client, b"EHLO c\r\n")
            say(client, b"STARTTLS\r\n")
            with trusting().wrap_socket(client) as secure:
                return [
                    say(secure, b"AUTH PLAIN " + plain() + b"\r\n"),
                    say(secure, b"EHLO c\r\n"),
                    say(secure, b"AUTH PLAIN " + plain() + b"\r\n"),
                ]

        first, _, then = await self.in_clear(talk)
        self.assertTrue(first.startswith(b"503 5.5.1 "))
        self.assertTrue(then.startswith(b"235 2.7.0 "))

    async def test_no_handshake(self) -> None:
        """Where TLS comes first, who does not begin it hears nothing and is cut off."""
        self.patch(conversation, "HANDSHAKE", 0.1)
        self.assertEqual(await self.connected(to_its_end), b"")

    async def test_clear_where_tls_comes_first(self) -> None:
        """Commands in clear are not executed there."""

        def talk(client: socket.socket) -> bytes:
            client.sendall(b"EHLO c\r\nAUTH PLAIN " + plain() + b"\r\n")
            return to_its_end(client)

        self.assertNotIn(b"250", await self.connected(talk))
        self.assertEqual(self.submitting.tried, [])

    async def test_turned_away(self) -> None:
        """Both ports share their places; for who gets none there is no handshake."""
        self.start(connections=1)

        def talk(client: socket.socket) -> bytes:
            number = self.tls_port.getHost().port
            try:
                with socket.create_connection(("127.0.0.1", number), 10) as other:
                    return to_its_end(other)
            except ConnectionResetError:
                return b""

        self.assertEqual(await self.in_clear(talk), b"")

    async def test_large(self) -> None:
        """Megabytes come through TLS as they are."""
        self.start(size_limit=1 << 24)
        octets = b"From: agent@example.com\r\n\r\n" + b"x" * 998 * 4096 + b"\r\n"

        def run() -> None:
            port = self.tls_port.getHost().port
            with smtplib.SMTP_SSL(
                "127.0.0.1", port, timeout=30, context=trusting()
            ) as client:
                client.login("agent@example.com", "key")
                client.sendmail("agent@example.com", ["a@example.net"], octets)

        await deferToThread(run)
        self.assertEqual(self.submitting.contents, [octets])
