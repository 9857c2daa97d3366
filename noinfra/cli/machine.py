"""What doctor looks at on this machine: the disk, the ports, the certificate."""

from __future__ import annotations

import errno
import shutil
import socket
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtensionOID

from noinfra.cli.verdict import Verdict, fail, ok, warn
from noinfra.config import Config
from noinfra.ready import Ready

MIB = 1 << 20
LITTLE, TOO_LITTLE = 1024 * MIB, 100 * MIB

SOON = timedelta(days=14)


def disk(state: Path, free: int | None = None) -> Verdict:
    """Whether mail has room.

    :param free: how many octets are free, when that is known already.
    """
    if free is None:
        there = next(p for p in (state, *state.parents) if p.exists())
        free = shutil.disk_usage(there).free
    text = f"{free // MIB} MiB are free in {state}."
    remedy = "Make room: mail is refused for a while when the disk is full."
    if free < TOO_LITTLE:
        return fail("disk", text, remedy)
    return warn("disk", text, remedy) if free < LITTLE else ok("disk", text)


def ports(config: Config, ready: Ready | None) -> list[Verdict]:
    """Whether the running daemon answers, or else whether a new one could listen."""
    if ready is not None:
        return [_answers(name, at) for name, at in sorted(ready.addresses.items())]
    wanted = []
    if "edge" in config.roles:
        wanted.append(_free("edge", config.edge.interface, config.edge.port))
    if "web" in config.roles:
        wanted.append(_free("web", config.web.interface, config.web.port))
    return wanted


def _answers(name: str, address: str) -> Verdict:
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        return fail(
            f"{name} port",
            f"Nothing answers at {address} ({error}).",
            "The daemon hangs or is overloaded: read its log, then restart it.",
        )
    return ok(f"{name} port", f"The daemon answers at {address}.")


def _free(section: str, interface: str, port: int) -> Verdict:
    name, at = f"{section} port", f"{interface}:{port}"
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((interface, port))
            candidate.listen()
        except OSError as error:
            return fail(
                name,
                f"Nobody could listen at {at} ({error.strerror}).",
                _bind_remedy(error.errno, section),
            )
    return ok(name, f"{at} is free to listen at.")


def _bind_remedy(number: int | None, section: str) -> str:
    if number == errno.EADDRINUSE:
        return f"Stop the program that has the port, or set {section}.port to another."
    if number == errno.EACCES:
        return (
            f"Give the process CAP_NET_BIND_SERVICE, as etc/noinfra.service does, or "
            f"set {section}.port to one above 1023."
        )
    return f"Set {section}.interface to an address of this machine."


def certificate(config: Config, now: datetime) -> Verdict:
    """Whether STARTTLS would show a certificate that fits and lasts."""
    name = "certificate"
    if config.tls.certificate is None or config.tls.key is None:
        return warn(
            name,
            "STARTTLS uses a certificate that we signed ourselves.",
            "That encrypts, and most mail servers ask no more. For those that do, set "
            "tls.certificate and tls.key.",
        )
    try:
        pem = Path(config.tls.certificate).read_bytes()
        key = load_pem_private_key(Path(config.tls.key).read_bytes(), None)
        leaf = x509.load_pem_x509_certificates(pem)[0]
    except (OSError, ValueError, TypeError) as error:
        return fail(
            name,
            f"The certificate or its key cannot be read: {error}.",
            "Set tls.certificate and tls.key to PEM files that this user may read.",
        )
    if leaf.public_key() != key.public_key():
        return fail(
            name,
            "The key does not belong to the certificate.",
            "Set tls.certificate and tls.key to files that belong together.",
        )
    return _fits(leaf, config.hostname, now)


def _fits(leaf: x509.Certificate, hostname: str, now: datetime) -> Verdict:
    name, until = "certificate", leaf.not_valid_after_utc
    renew = "Renew it and restart the daemon."
    if not leaf.not_valid_before_utc <= now < until:
        return fail(name, f"It is not valid now (until {until:%Y-%m-%d}).", renew)
    if not any(_matches(hostname, pattern) for pattern in _names(leaf)):
        return warn(
            name,
            f"It does not name {hostname}.",
            "Use one for that name: senders that check it (MTA-STS) will not deliver.",
        )
    if until - now < SOON:
        return warn(name, f"It is valid only until {until:%Y-%m-%d}.", renew)
    return ok(name, f"It names {hostname} and is valid until {until:%Y-%m-%d}.")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        extension = leaf.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        )
    except x509.ExtensionNotFound:
        return []
    assert isinstance(extension.value, x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def _matches(hostname: str, pattern: str) -> bool:
    """RFC 9525, 6.3: a star is the whole of the leftmost label."""
    pattern = pattern.lower()
    return hostname == pattern or (
        pattern.startswith("*.") and hostname.partition(".")[2] == pattern[2:]
    )
