"""The certificates that STARTTLS shows, exchanged without a restart.

pyOpenSSL refuses to change a Context once it made a Connection. So `reload` builds new
ones, and puts them in use only when all of them are sound; connections go on with what
they began with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from noinfra.errors import ConfigurationError

# RFC 9325, 3.1.1. A client that knows only older ones fails in the handshake, and falls
# back to clear, which is hardly worse.
OLDEST = SSL.TLS1_2_VERSION
TlsKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
# A self-signed certificate proves nothing, so that its age matters to nobody.
LIFETIME = timedelta(days=3650)


@frozen(kw_only=True)
class Pair:
    """Where a certificate with its chain, and its key, are: two PEM files."""

    certificate: Path
    key: Path


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the server's side of TLS connections."""

    def __init__(
        self, default: Pair, by_name: Mapping[str, Pair] | None = None
    ) -> None:
        """Load the pairs.

        :param by_name: pairs for other names of ours that clients ask for by SNI.
        :raises ConfigurationError: a pair cannot be used.
        """
        self._default = default
        self._by_name = dict(by_name or {})
        self.reload()

    def reload(self) -> None:
        """Read the files again, for the connections to come.

        :raises ConfigurationError: a pair cannot be used; those in use stay.
        """
        others = {name.lower(): context(pair) for name, pair in self._by_name.items()}
        ours = context(self._default)

        def choose(connection: SSL.Connection) -> None:
            name = (connection.get_servername() or b"").decode("ascii", "replace")
            other = others.get(name.lower())
            if other is not None:
                connection.set_context(other)

        ours.set_tlsext_servername_callback(choose)
        self._context = ours

    def serverConnectionForTLS(
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> SSL.Connection:
        """A connection that is about to shake hands."""
        return SSL.Connection(self._context, None)


def context(pair: Pair) -> SSL.Context:
    """A Context with the pair in it.

    :raises ConfigurationError: it cannot be used; says which setting to look at.
    """
    chain, key = read_chain(pair.certificate), read_key(pair.key)
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(OLDEST)
    made.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # Idle connections give OpenSSL's buffers back, some 34 KiB each.
    made.set_mode(SSL.MODE_RELEASE_BUFFERS)
    made.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    made.set_session_id(b"noinfra.smtp")
    try:
        made.use_certificate(chain[0])
        for issuer in chain[1:]:
            made.add_extra_chain_cert(issuer)
        made.use_privatekey(key)
        made.check_privatekey()
    except SSL.Error as error:
        raise ConfigurationError(
            f"tls.key: {pair.key} is not the key of {pair.certificate}, or OpenSSL"
            f" takes neither ({error}); name a certificate and its own key."
        ) from error
    return made


def read_chain(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, ours first.

    :raises ConfigurationError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(_read(path, "tls.certificate"))
    except ValueError as error:
        raise ConfigurationError(
            f"tls.certificate: {path} holds no certificate in PEM ({error})."
        ) from error


def read_key(path: Path) -> TlsKey:
    """The private key of a PEM file.

    :raises ConfigurationError: there is none that can be read.
    """
    try:
        key = serialization.load_pem_private_key(_read(path, "tls.key"), password=None)
    except TypeError as error:
        raise ConfigurationError(
            f"tls.key: {path} is encrypted; store the key without a pass phrase."
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"tls.key: {path} holds no private key in PEM ({error})."
        ) from error
    if not isinstance(key, TlsKey):
        raise ConfigurationError(f"tls.key: {path} is no RSA, ECDSA or EdDSA key.")
    return key


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: {path} cannot be read ({error.strerror})."
        ) from error


def self_signed(hostname: str, directory: Path) -> Pair:
    """A pair for the host that nobody vouches for, made once and kept.

    It is enough for mail: senders encrypt without asking who is there (RFC 7435).

    :raises ConfigurationError: the directory cannot be written.
    """
    pair = Pair(certificate=directory / "smtp.crt", key=directory / "smtp.key")
    if _serves(pair, hostname):
        return pair
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _keep(pair.key, _key_pem(key))
        _keep(pair.certificate, _certificate_pem(hostname, key))
    except OSError as error:
        raise ConfigurationError(
            f"tls.certificate: none is set, and none can be made in {directory}"
            f" ({error.strerror})."
        ) from error
    return pair


def _serves(pair: Pair, hostname: str) -> bool:
    """Whether a pair is there, whole, still good, and the host's."""
    try:
        context(pair)
        certificate = read_chain(pair.certificate)[0]
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (ConfigurationError, x509.ExtensionNotFound):
        return False
    good = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=30)
    return good and hostname in names.value.get_values_for_type(x509.DNSName)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate_pem(hostname: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    # RFC 5280, A.1: a common name has at most 64 characters; no name is lost.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname[:64])])
    names = x509.SubjectAlternativeName([x509.DNSName(hostname)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _keep(path: Path, octets: bytes) -> None:
    """Write the file whole or not at all, and for nobody else's eyes."""
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
    temporary.replace(path)
