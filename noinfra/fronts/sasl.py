"""What a client says to log in with the mechanisms PLAIN and LOGIN (RFC 4422, 4616).

Pure; a front puts the octets on its wire. An exchange is walked through with `next`,
and sent the client's responses, decoded; what it returns are the credentials.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Generator

from attrs import field, frozen

MECHANISMS = ("PLAIN", "LOGIN")
# RFC 4616, 2: each of the three strings may have 255 octets.
_MOST = 3 * 255 + 2


class BadResponse(Exception):
    """What the client said is not of the mechanism's form; the text says what is."""


@frozen(kw_only=True)
class Credentials:
    """Who logs in, and the secret that proves it."""

    address: str
    secret: str = field(repr=False)


# Yields challenges, takes responses.
Exchange = Generator[bytes, bytes, Credentials]


def exchange(mechanism: str) -> Exchange:
    """A new exchange of one of `MECHANISMS`, in capitals."""
    return {"PLAIN": _plain, "LOGIN": _login}[mechanism]()


def decoded(response: bytes) -> bytes:
    """The octets of a response in base64 (RFC 4648, 4), which may be empty.

    :raises BadResponse: it is not in base64.
    """
    try:
        return b64decode(response, validate=True)
    except binascii.Error:
        raise BadResponse("The response is not in base64 (RFC 4648, 4).") from None


def _plain() -> Exchange:
    """RFC 4616, 2: authzid NUL authcid NUL passwd."""
    response = yield b""
    words = response.split(b"\0")
    if len(words) != 3 or len(response) > _MOST or not all(words[1:]):
        raise BadResponse(
            "PLAIN is an optional identity, NUL, the address, NUL, and the secret "
            "(RFC 4616, 2)."
        )
    acts_as, address, secret = map(_text, words)
    if acts_as and acts_as.lower() != address.lower():
        raise BadResponse("Nobody acts for another here; leave the identity empty.")
    return Credentials(address=address, secret=secret)


def _login() -> Exchange:
    """Written down nowhere but in a draft that expired; Outlook wants it."""
    address = _text((yield b"Username:"))
    secret = _text((yield b"Password:"))
    if not address or not secret or len(address) + len(secret) > _MOST:
        raise BadResponse("Name the address, and then the secret.")
    return Credentials(address=address, secret=secret)


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadResponse("The credentials are not in UTF-8.") from None
