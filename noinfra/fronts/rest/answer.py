"""What goes back to the client."""

from __future__ import annotations

import msgspec
from attrs import frozen

from noinfra.app.letters import Octets

Header = tuple[bytes, bytes]
JSON = b"application/json"

#: One encoder for all: it keeps nothing between calls.
to_json = msgspec.json.Encoder(enc_hook=str).encode


@frozen(kw_only=True)
class Answer:
    """A status and a body, or octets in place of the body."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    octets: Octets | None = None
