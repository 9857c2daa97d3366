"""A message as the relay carries it: its envelope, and its octets in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, cast, get_args

from attrs import frozen

from noinfra.boundaries import Envelope, Notify, Octets, Recipient
from noinfra.mail.address import parse_path
from noinfra.mail.mailbox import AddressError
from noinfra.mail.trace import header_end
from noinfra.store.contents import Contents
from noinfra.store.queue import Claimed

_PIECE = 256 * 1024
# RFC 5322 bounds no header; what is beyond is looked at by the peer itself.
_HEADER = 256 * 1024


@frozen
class StoredOctets:
    """Octets read from the store as they are sent."""

    _contents: Contents
    _content_id: int
    size: int

    async def pieces(self) -> AsyncIterator[bytes]:
        """The octets in order, in pieces of at most 256 KiB."""
        for start in range(0, self.size, _PIECE):
            yield await self._contents.slice(self._content_id, start, _PIECE)


def carried_by(contents: Contents, claimed: Claimed) -> StoredOctets:
    """The octets of a large message."""
    return StoredOctets(contents, claimed.content_id, claimed.size)


async def envelope_of(claimed: Sequence[Claimed], source: Octets | bytes) -> Envelope:
    """The envelope of one message for recipients of one destination."""
    first = claimed[0]
    eight_bit, head = await _look(source)
    addresses = [first.mail_from, *(one.rcpt_to for one in claimed)]
    return Envelope(
        mail_from=first.mail_from,
        rcpt_to=tuple(
            Recipient(
                address=one.rcpt_to,
                notify=_notify(one.notify),
                orcpt=one.orcpt or "",
            )
            for one in claimed
        ),
        octets=source,
        eight_bit=eight_bit,
        smtputf8=not head.isascii() or any(_is_utf8(one) for one in addresses if one),
        ret=cast(Literal["", "full", "hdrs"], (first.ret or "").lower()),
        envid=first.envid or "",
    )


async def _look(source: Octets | bytes) -> tuple[bool, bytes]:
    """Whether there are octets above 127, and the header section."""
    if isinstance(source, bytes):
        return not source.isascii(), source[: header_end(source[:_HEADER])]
    eight_bit, head = False, b""
    async for piece in source.pieces():
        head = head or piece[: header_end(piece)]
        eight_bit = eight_bit or not piece.isascii()
    return eight_bit, head


def _is_utf8(path: str) -> bool:
    try:
        return not parse_path(path).is_ascii
    except AddressError:
        return not path.isascii()


def _notify(asked: str | None) -> tuple[Notify, ...]:
    words = (asked or "").lower().split(",")
    return tuple(cast(Notify, word) for word in words if word in get_args(Notify))
