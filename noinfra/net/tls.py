"""TLS towards mail hosts, where an unverified certificate still beats none (RFC 7435).

Twisted's own client options break the handshake when the certificate does not fit. Here
it goes on, and whether the certificate would have done is noted for who must know.
"""

from ipaddress import ip_address
from pathlib import Path

from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_PEER, Connection, Context
from service_identity.exceptions import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


def client_context(ca_file: Path | None = None) -> Context:
    """Twisted's choice of versions and ciphers, and the system's certificates.

    Reading those takes some 20 ms, so one context serves all connections.
    """
    context: Context = CertificateOptions().getContext()
    context.set_default_verify_paths()
    if ca_file is not None:
        context.load_verify_locations(str(ca_file))
    return context


@implementer(IOpenSSLClientConnectionCreator)
class Handshake:
    """One handshake with one host."""

    def __init__(self, context: Context, host: str) -> None:
        self._context = context
        self._host = host
        self._trusted = True
        self._connection: Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        """Called by Twisted when the handshake begins."""
        connection = Connection(self._context, None)
        # RFC 6066, 3: an address is no server name.
        if not _is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        connection.set_verify(VERIFY_PEER, self._note)
        self._connection = connection
        return connection

    def _note(
        self, connection: Connection, certificate: X509, error: int, depth: int, ok: int
    ) -> bool:
        self._trusted = self._trusted and bool(ok)
        return True

    @property
    def verified(self) -> bool:
        """Whether the certificate is trusted and names the host."""
        if self._connection is None or not self._trusted:
            return False
        verify = verify_ip_address if _is_address(self._host) else verify_hostname
        try:
            verify(self._connection, self._host)
        except (VerificationError, CertificateError, ValueError):
            return False
        return True

    def described(self) -> str:
        """Protocol, cipher, and whether verified, as in an Attempt."""
        if self._connection is None:
            return ""
        version = self._connection.get_protocol_version_name()
        cipher = self._connection.get_cipher_name() or ""
        return f"{version} {cipher} {'verified' if self.verified else 'unverified'}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
