"""Secrets at rest: sealed with a key that lies beside the database, not in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noinfra.errors import ConfigurationError

_NONCE = 12


@frozen
class Seal:
    """Authenticated encryption under one key; ``name`` tells keys apart in public."""

    _key: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Eight digits that say nothing of the key but which one it is."""
        return hashlib.sha256(b"noinfra seal" + self._key).hexdigest()[:8]

    def close(self, secret: bytes, purpose: str) -> bytes:
        """Seal a secret for a purpose."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key).encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The secret again.

        :raises ConfigurationError: it was sealed with another key.
        """
        try:
            return AESGCM(self._key).decrypt(
                sealed[:_NONCE], sealed[_NONCE:], purpose.encode()
            )
        except InvalidTag as error:
            raise ConfigurationError(
                f"The {purpose} was sealed with another secret; set `secret` to the "
                "file that it was sealed with."
            ) from error


def open_seal(path: Path) -> Seal:
    """The seal of a file, which is made on first use, for our eyes only."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise ConfigurationError(
            f"The secret {path} cannot be made ({error.strerror}); "
            "see to the directory's owner and rights."
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(32))
        file.flush()
        os.fsync(file.fileno())
    return _read(path)


def _read(path: Path) -> Seal:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The secret {path} cannot be read ({error.strerror})."
        ) from error
    if len(key) != 32:
        raise ConfigurationError(
            f"The secret {path} must hold 32 octets, not {len(key)}; restore it from "
            "your backup, or move it away to begin with a new one."
        )
    return Seal(key)
