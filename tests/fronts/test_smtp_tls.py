"""STARTTLS over real connections on loopback, and the certificates that it shows."""

from __future__ import annotations

import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from noinfra.errors import ConfigurationError
from noinfra.fronts.smtp import conversation
from noinfra.fronts.smtp.tls import Pair, ServerTls, self_signed
from tests.fronts.smtp_edge import MemoryReceiving, edge_factory

T = TypeVar("T")
HOST = "mx.example"


def trusting() -> ssl.SSLContext:
    """A client's context, for certificates that nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def say(client: socket.socket, octets: bytes) -> bytes:
    """What the server says to the octets, up to a last line of a reply."""
    client.sendall(octets)
    return hear(client)


def hear(client: socket.socket) -> bytes:
    said = b""
    while not (said.endswith(b"\r\n") and said.split(b"\r\n")[-2][3:4] == b" "):
        octets = client.recv(65536)
        if not octets:
            break
        said += octets
    return said


def common_name(client: ssl.SSLSocket) -> str:
    """Whose certificate the server showed."""
    certificate = x509.load_der_x509_certificate(client.getpeercert(True) or b"")
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value)


class LoopbackTests(TestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        self.pair = self_signed(HOST, directory)
        self.other = self_signed("other.example", directory / "other")
        self.tls = ServerTls(self.pair, {"Other.example": self.other})
        self.receiving = MemoryReceiving()
        self.factory = edge_factory(self.receiving, clock=reactor, tls=self.tls)
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(self.shut)

    def shut(self) -> Deferred[object]:
        closed = maybeDeferred(self.port.stopListening)
        return closed.addCallback(
            lambda _: Deferred.fromCoroutine(self.factory.stop(1.0))
        )

    def client(self, talk: Callable[[socket.socket], T]) -> Deferred[T]:
        """Let a client talk, in a thread, after the greeting."""
        number = self.port.getHost().port

        def run() -> T:
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                assert hear(client).startswith(b"220 ")
                return talk(client)

        return deferToThread(run)

    async def test_mail(self) -> None:
        """Mail over TLS is received as such, and nothing said in clear is known."""

        def talk(client: socket.socket) -> list[bytes]:
            replies = [say(client, b"EHLO c\r\n")]
            replies.append(say(client, b"MAIL FROM:<clear@example.net>\r\n"))
            replies.append(say(client, b"STARTTLS\r\n"))
            with trusting().wrap_socket(client) as secure:
                replies.append(say(secure, b"RCPT TO:<agent@example.com>\r\n"))
                replies.append(say(secure, b"MAIL FROM:<a@example.net>\r\n"))
                replies.append(say(secure, b"EHLO c\r\n"))
                replies.append(say(secure, b"STARTTLS\r\n"))
                say(secure, b"MAIL FROM:<a@example.net>\r\n")
                say(secure, b"RCPT TO:<agent@example.com>\r\n")
                say(secure, b"DATA\r\n")
                replies.append(say(secure, b"x\r\n.\r\n"))
                replies.append(say(secure, b"QUIT\r\n"))
                self.assertEqual(secure.recv(1), b"")
            return replies

        replies = await self.client(talk)
        self.assertIn(b"STARTTLS", replies[0])
        self.assertNotIn(b"STARTTLS", replies[5])
        starts = [reply[:9] for reply in replies[2:5]]
        self.assertEqual(starts, [b"220 2.0.0", b"503 5.5.1", b"503 5.5.1"])
        starts = [reply[:9] for reply in replies[6:]]
        self.assertEqual(starts, [b"503 5.5.1", b"250 2.0.0", b"221 2.0.0"])
        client = self.receiving.mails[0][0].client
        self.assertEqual(client.protocol, "ESMTPS")
        self.assertRegex(client.tls or "", r"^TLSv1\.3 TLS_\w+$")

    async def test_injection(self) -> None:
        """What comes in clear with STARTTLS closes the connection, unexecuted."""

        def talk(client: socket.socket) -> bytes:
            say(client, b"EHLO c\r\n")
            said = say(client, b"STARTTLS\r\nMAIL FROM:<injected@example.net>\r\n")
            return said + client.recv(99)

        said = await self.client(talk)
        self.assertTrue(said.startswith(b"501 5.5.1 "), said)
        self.assertEqual(said.count(b"\r\n"), 1)

    async def test_held_back(self) -> None:
        """The handshake goes on when much input before STARTTLS was held back."""

        def talk(client: socket.socket) -> bytes:
            noops = 30_000
            client.sendall(b"NOOP\r\n" * noops + b"STARTTLS\r\n")
            said = b""
            while said.count(b"\r\n") <= noops:
                said += client.recv(65536)
            with trusting().wrap_socket(client) as secure:
                return say(secure, b"NOOP\r\n")

        self.assertEqual(await self.client(talk), b"250 2.0.0 OK\r\n")

    async def test_injection_later(self) -> None:
        """What comes in clear after the reply to STARTTLS is no TLS, and ends it."""

        def talk(client: socket.socket) -> bytes:
            say(client, b"EHLO c\r\n")
            say(client, b"STARTTLS\r\n")
            client.sendall(b"MAIL FROM:<injected@example.net>\r\n" * 10)
            said = b""
            try:
                while octets := client.recv(99):
                    said += octets
            except ConnectionResetError:
                return said
            return said

        self.assertNotIn(b"250 ", await self.client(talk))
        self.assertEqual(self.receiving.asked, [])

    async def test_handshake_time(self) -> None:
        """A client that never shakes hands is cut off."""
        self.patch(conversation, "HANDSHAKE", 0.1)

        def talk(client: socket.socket) -> bytes:
            say(client, b"EHLO c\r\n")
            say(client, b"STARTTLS\r\n")
            try:
                return client.recv(99)
            except ConnectionResetError:
                return b""

        self.assertEqual(await self.client(talk), b"")

    async def test_old_version(self) -> None:
        """TLS 1.2 is the oldest version that we speak."""

        def talk(client: socket.socket) -> str | None:
            say(client, b"EHLO c\r\n")
            say(client, b"STARTTLS\r\n")
            context = trusting()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with context.wrap_socket(client) as secure:
                return secure.version()

        self.assertEqual(await self.client(talk), "TLSv1.2")

    async def shown(self, name: str) -> str:
        def talk(client: socket.socket) -> str:
            say(client, b"EHLO c\r\n")
            say(client, b"STARTTLS\r\n")
            with trusting().wrap_socket(client, server_hostname=name) as secure:
                say(secure, b"NOOP\r\n")
                return common_name(secure)

        return await self.client(talk)

    async def test_names(self) -> None:
        """The certificate is that of the name asked for, else ours."""
        self.assertEqual(await self.shown("other.example"), "other.example")
        self.assertEqual(await self.shown("unknown.example"), HOST)

    async def test_reload(self) -> None:
        """A new certificate is shown after reload; a broken one changes nothing."""
        self.assertEqual(await self.shown(HOST), HOST)
        for old, new in (
            (self.pair.certificate, self.other.certificate),
            (self.pair.key, self.other.key),
        ):
            old.write_bytes(new.read_bytes())
        self.assertEqual(await self.shown(HOST), HOST)
        self.tls.reload()
        self.assertEqual(await self.shown(HOST), "other.example")
        self.pair.key.write_bytes(b"none")
        with self.assertRaises(ConfigurationError):
            self.tls.reload()
        self.assertEqual(await self.shown(HOST), "other.example")

    async def test_resumption(self) -> None:
        """A session can be resumed, which saves the next handshake its cost."""

        def talk(session: ssl.SSLSession | None) -> Callable[[socket.socket], object]:
            def start(client: socket.socket) -> object:
                say(client, b"EHLO c\r\n")
                say(client, b"STARTTLS\r\n")
                with context.wrap_socket(client, session=session) as secure:
                    say(secure, b"NOOP\r\n")
                    return secure.session_reused if session else secure.session

            return start

        context = trusting()
        session = await self.client(talk(None))
        assert isinstance(session, ssl.SSLSession)
        self.assertTrue(await self.client(talk(session)))

    async def test_spoke_too_soon(self) -> None:
        """Input that is there before our greeting gets 421, and no greeting."""
        number = self.port.getHost().port
        # We have connected and spoken before the reactor gets its turn.
        with socket.create_connection(("127.0.0.1", number), 10) as client:
            client.sendall(b"EHLO c\r\n")
            said = await deferToThread(hear, client)
        self.assertTrue(said.startswith(b"421 4.7.0 "), said)


class CertificateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def test_kept(self) -> None:
        """A self-signed pair is made once, is for our eyes only, and names the host."""
        pair = self_signed(HOST, self.directory)
        self.assertEqual(stat.S_IMODE(pair.key.stat().st_mode), 0o600)
        octets = pair.certificate.read_bytes(), pair.key.read_bytes()
        self.assertEqual(self_signed(HOST, self.directory), pair)
        self.assertEqual((pair.certificate.read_bytes(), pair.key.read_bytes()), octets)
        self.assertEqual(len(list(self.directory.iterdir())), 2)

    def test_made_anew(self) -> None:
        """A pair that is broken, or another host's, is made anew."""
        pair = self_signed(HOST, self.directory)
        before = pair.certificate.read_bytes()
        pair.key.write_bytes(b"")
        self_signed(HOST, self.directory)
        self.assertNotEqual(pair.certificate.read_bytes(), before)
        before = pair.certificate.read_bytes()
        self_signed("new.example", self.directory)
        self.assertNotEqual(pair.certificate.read_bytes(), before)

    def test_long_name(self) -> None:
        """A host name longer than a common name can be has a certificate as well."""
        name = ".".join(["a" * 30] * 4)
        ServerTls(self_signed(name, self.directory))

    def refusal(self, certificate: bytes | None, key: bytes | None) -> str:
        self.directory.mkdir(exist_ok=True)
        pair = Pair(certificate=self.directory / "c", key=self.directory / "k")
        for path, octets in ((pair.certificate, certificate), (pair.key, key)):
            path.unlink(missing_ok=True)
            if octets is not None:
                path.write_bytes(octets)
        return str(self.assertRaises(ConfigurationError, ServerTls, pair))

    def test_errors(self) -> None:
        """What is wrong names the setting to look at."""
        pair = self_signed(HOST, self.directory)
        other = self_signed(HOST, self.directory / "other")
        certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
        self.assertIn("tls.certificate", self.refusal(None, key))
        self.assertIn("tls.certificate", self.refusal(b"nonsense", key))
        self.assertIn("tls.certificate", self.refusal(key, key))
        self.assertIn("tls.key", self.refusal(certificate, None))
        self.assertIn("tls.key", self.refusal(certificate, b"nonsense"))
        self.assertIn("tls.key", self.refusal(certificate, other.key.read_bytes()))

    def test_no_directory(self) -> None:
        """Where no pair can be kept, the operator hears of the setting."""
        self.directory.write_bytes(b"a file")
        error = self.assertRaises(
            ConfigurationError, self_signed, HOST, self.directory / "x"
        )
        self.assertIn("tls.certificate", str(error))
