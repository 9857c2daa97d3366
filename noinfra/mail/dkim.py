"""DKIM signing (RFC 6376; RFC 8463 for Ed25519): relaxed/relaxed, SHA-256, no l=.

dkimpy signs with RSA in pure Python (6 ms a message) and runs two regular expressions
over every octet of the body (300 ms for 5 MB). So signing is our own: OpenSSL by way
of `cryptography`, and a body hash that takes the body in pieces, so that a caller can
spread a large one over many turns of the reactor.
"""

import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from attrs import field, frozen
from attrs.validators import matches_re
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Algorithm: TypeAlias = Literal["rsa-sha256", "ed25519-sha256"]

#: How much of a body is looked at in one go; larger pieces leave the processor's cache.
PIECE: Final = 64 * 1024

#: Signed once more often than they occur, so that none can be added (RFC 6376, 8.15).
OVERSIGNED: Final = (
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
)
#: Signed where they occur. A mailing list may add these without breaking a signature.
SIGNED: Final = (
    "Sender",
    "Auto-Submitted",
    "Content-Disposition",
    "Content-ID",
    "Content-Description",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Post",
    "Resent-From",
    "Resent-To",
    "Resent-Date",
    "Resent-Message-ID",
)

_DOMAIN: Final = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_FIELD = re.compile(rb"(?m)^([!-9;-~]+)[ \t]*:((?:[^\n]|\n(?=[ \t]))*)\n?")
_BLANKS = re.compile(rb"[ \t\r\n]+")
_RUN = re.compile(rb"[ \t]{2,}|\t")


@frozen(kw_only=True)
class SigningKey:
    """A key as it is stored; the selector is where its record stands in the DNS."""

    selector: str = field(validator=matches_re(_DOMAIN))
    algorithm: Algorithm
    private_pem: str = field(repr=False)


def generate_rsa(selector: str, bits: int = 2048) -> SigningKey:
    """A new RSA key (RFC 8301 asks for at least 1024 bits, and for 2048)."""
    private = generate_private_key(public_exponent=65537, key_size=bits)
    return _key(selector, "rsa-sha256", private)


def generate_ed25519(selector: str) -> SigningKey:
    """A new Ed25519 key; to be used beside an RSA one, as not all verify it."""
    return _key(selector, "ed25519-sha256", Ed25519PrivateKey.generate())


def _key(
    selector: str, algorithm: Algorithm, private: RSAPrivateKey | Ed25519PrivateKey
) -> SigningKey:
    pem = private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ).decode("ascii")
    return SigningKey(selector=selector, algorithm=algorithm, private_pem=pem)


def dns_record(key: SigningKey) -> str:
    """The text of the TXT record at <selector>._domainkey.<domain>.

    Longer than 255 octets for RSA: whoever publishes it splits it into strings.
    """
    private = _load(key)
    if isinstance(private, Ed25519PrivateKey):
        # RFC 8463, 4: the bare 32 octets, not a SubjectPublicKeyInfo.
        octets = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={b64encode(octets).decode('ascii')}"
    octets = private.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return f"v=DKIM1; k=rsa; p={b64encode(octets).decode('ascii')}"


def _load(key: SigningKey) -> RSAPrivateKey | Ed25519PrivateKey:
    private = load_pem_private_key(key.private_pem.encode("ascii"), None)
    wanted = RSAPrivateKey if key.algorithm == "rsa-sha256" else Ed25519PrivateKey
    if not isinstance(private, wanted):
        raise ValueError(
            f"the key {key.selector} is not one for {key.algorithm}; generate it again"
        )
    return private


@frozen
class Signer:
    """A key ready for use: parsing the PEM costs as much as signing, so keep this."""

    key: SigningKey
    _private: RSAPrivateKey | Ed25519PrivateKey = field(init=False, repr=False)

    @_private.default
    def _parse(self) -> RSAPrivateKey | Ed25519PrivateKey:
        return _load(self.key)

    def sign(self, octets: bytes) -> bytes:
        """The raw signature over canonical header octets."""
        if isinstance(self._private, Ed25519PrivateKey):
            # RFC 8463, 3: Ed25519 signs the SHA-256 digest, as if it were a message.
            return self._private.sign(sha256(octets).digest())
        return self._private.sign(octets, PKCS1v15(), SHA256())


class BodyHash:
    """SHA-256 of a body under the relaxed canonicalisation (RFC 6376, 3.4.4).

    Feed the body in pieces of any size. What cannot be settled before the next piece
    is kept: the number of lines so far empty at the end, and a blank or a CR.
    """

    def __init__(self) -> None:
        self._hash = sha256()
        self._empty_lines = 0
        self._held = b""
        self._any = False

    def update(self, octets: bytes | memoryview) -> None:
        """Take in the next octets of the body."""
        view = memoryview(octets)
        for start in range(0, len(view), PIECE):
            self._take(self._held + view[start : start + PIECE])

    def _take(self, piece: bytes) -> None:
        # Most pieces (base64, plain prose) need no change: three searches at memory
        # speed decide, and the regular expression runs on the others only.
        if b"\t" in piece or b"  " in piece:
            piece = _RUN.sub(b" ", piece)
        if b" \r" in piece:
            piece = piece.replace(b" \r\n", b"\r\n")
        end = len(piece)
        end -= piece.endswith(b"\r", 0, end)
        end -= piece.endswith(b" ", 0, end)
        self._held = piece[end:]
        self._emit(piece[:end])

    def _emit(self, settled: bytes) -> None:
        content, empty_lines = _split_empty_lines(settled)
        if content:
            self._hash.update(b"\r\n" * self._empty_lines)
            self._hash.update(content)
            self._empty_lines, self._any = 0, True
        self._empty_lines += empty_lines

    def digest(self) -> bytes:
        """The hash of all that was taken in; nothing may follow."""
        # A body without a final line end gets one in transit; a blank before is then
        # at the end of a line.
        self._emit(b"" if self._held == b" " else self._held)
        self._held = b""
        if self._any:
            self._hash.update(b"\r\n")
        return self._hash.digest()


def _split_empty_lines(octets: bytes) -> tuple[bytes, int]:
    """Cut off the line ends at the very end: what is before them, and how many."""
    bare = octets.rstrip(b"\r\n")
    # Bare CRs and LFs are content, so count whole line ends only, from the right.
    ends = octets[len(bare) :].replace(b"\r\n", b"\0")
    kept = ends.rstrip(b"\0")
    return bare + kept.replace(b"\0", b"\r\n"), len(ends) - len(kept)


def sign(
    octets: bytes,
    domain: str,
    signers: Sequence[Signer],
    *,
    now: datetime,
    oversigned: Sequence[str] = OVERSIGNED,
    signed: Sequence[str] = SIGNED,
    body_hash: bytes | None = None,
) -> bytes:
    """The DKIM-Signature fields to put before a message in wire form, one per signer.

    `body_hash` is the digest of a `BodyHash` that has been fed already, for a caller
    that does not want a large body hashed in one go.
    """
    if not re.fullmatch(_DOMAIN, domain):
        raise ValueError(f"{domain!r} is no domain in ASCII; give it as A-labels")
    header, body = split_header(octets)
    if body_hash is None:
        hashing = BodyHash()
        hashing.update(body)
        body_hash = hashing.digest()
    names, canonical = _select(header, oversigned, signed)
    made = []
    for signer in signers:
        unsigned = _signature_field(signer.key, domain, names, body_hash, now)
        # RFC 6376, 3.7: the field itself comes last, its b= empty, with no line end.
        signature = signer.sign(canonical + _relaxed(b"DKIM-Signature", unsigned))
        made.append(b"DKIM-Signature:" + unsigned + _folded_base64(signature))
    return b"".join(made)


def split_header(octets: bytes) -> tuple[bytes, memoryview]:
    """The header with its last line end, and the body, of a message in wire form."""
    if octets.startswith(b"\r\n"):
        return b"", memoryview(octets)[2:]
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return octets, memoryview(b"")
    return octets[: end + 2], memoryview(octets)[end + 4 :]


def _select(
    header: bytes, oversigned: Iterable[str], signed: Iterable[str]
) -> tuple[list[bytes], bytes]:
    """The names for h=, and the canonical fields in that order.

    Of a name that occurs several times, the lowest field comes first (RFC 6376, 5.4.2).
    """
    fields = defaultdict[bytes, list[bytes]](list)
    for name, value in _FIELD.findall(header):
        fields[name.lower()].append(_relaxed(name, value) + b"\r\n")
    names: list[bytes] = []
    chosen: list[bytes] = []
    for names_of, extra in ((oversigned, 1), (signed, 0)):
        for name in names_of:
            present = fields.pop(name.lower().encode("ascii"), [])
            names += [name.encode("ascii")] * (len(present) + extra)
            chosen += reversed(present)
    return names, b"".join(chosen)


def _relaxed(name: bytes, value: bytes) -> bytes:
    """A field under the relaxed canonicalisation (RFC 6376, 3.4.2), without its end."""
    return name.lower() + b":" + _BLANKS.sub(b" ", value).strip(b" ")


def _signature_field(
    key: SigningKey, domain: str, names: list[bytes], body_hash: bytes, now: datetime
) -> bytes:
    """The value of a DKIM-Signature field up to and with its empty b=."""
    head = (
        f" v=1; a={key.algorithm}; c=relaxed/relaxed;\r\n"
        f"\td={domain}; s={key.selector};\r\n"
        f"\tt={int(now.timestamp())}; bh={b64encode(body_hash).decode('ascii')};\r\n"
    )
    return head.encode("ascii") + b"".join(_folded_names(names)) + b"\tb="


def _folded_names(names: list[bytes]) -> Iterator[bytes]:
    """The h= tag; blanks may stand around its colons (RFC 6376, 3.5)."""
    line = b"\th="
    for number, name in enumerate(names, 1):
        item = name + (b";" if number == len(names) else b":")
        if len(line) + len(item) > 76:
            yield line + b"\r\n"
            line = b"\t "
        line += item
    yield line + b"\r\n"


def _folded_base64(signature: bytes) -> bytes:
    text = b64encode(signature)
    lines = [text[start : start + 72] for start in range(0, len(text), 72)]
    return b"\r\n\t ".join(lines) + b"\r\n"
