"""Messages with what they say, and the octets behind them, in slices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from attrs import frozen
from twisted.internet.threads import deferToThread

from noinfra.app.content import LARGE, attachment_path
from noinfra.app.directory import Home
from noinfra.errors import NotFound
from noinfra.mail.header import decode_text, parse_fields
from noinfra.mail.index import Indexed
from noinfra.mail.transfer import transfer_decode
from noinfra.model import Attempt, Body, Delivery, Message
from noinfra.store.contents import Contents
from noinfra.store.database import Database
from noinfra.store.messages import Messages, StoredLetter

_SLICE = 512 * 1024


@frozen(kw_only=True)
class Letter:
    """A message, what it says, its header fields, and what became of it on the wire."""

    message: Message
    body: Body
    headers: list[tuple[str, str]]
    deliveries: list[Delivery]
    attempts: list[Attempt]

    @property
    def settled(self) -> bool:
        """Whether no delivery of it waits; when one that does is due may change."""
        return all(one.settled_at is not None for one in self.deliveries)


@frozen(kw_only=True)
class Octets:
    """Something to download; ``read`` gives the octets from a start, so many."""

    size: int
    content_type: str
    filename: str | None
    read: Callable[[int, int], Awaitable[bytes]]

    async def pieces(
        self, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The octets from start to end, in pieces of at most 512 KiB."""
        end = self.size if end is None else min(end, self.size)
        while start < end:
            piece = await self.read(start, min(_SLICE, end - start))
            if not piece:
                return
            yield piece
            start += len(piece)


@frozen
class Letters:
    """Reads what is in an inbox."""

    database: Database

    async def message(self, home: Home, message_id: str) -> Message:
        """One message.

        :raises NotFound: it is not in this inbox.
        """
        found = await Messages(self.database.single(home.customer_id)).get(
            home.inbox_id, message_id
        )
        if found is None:
            raise _no_message(message_id)
        return found

    async def letter(self, home: Home, message_id: str) -> Letter:
        """One message with all that there is to say of it."""
        on = Messages(self.database.single(home.customer_id))
        stored = await on.letter(home.inbox_id, message_id)
        if stored is None:
            raise _no_message(message_id)
        outbound = stored.direction == "outbound"
        return letter(
            stored,
            deliveries=await on.deliveries(message_id) if outbound else [],
            attempts=await on.attempts(message_id) if outbound else [],
        )

    async def body(self, message: Message) -> Body:
        """What a message says."""
        return await Contents(self.database.single(message.customer_id)).body(
            message.content_id
        )

    async def octets(self, message: Message) -> bytes:
        """The whole mail as it is stored."""
        whole = raw(self.database, message)
        return b"".join([piece async for piece in whole.pieces()])

    async def attachment(
        self, home: Home, message_id: str, attachment_id: str
    ) -> Octets:
        """A file of a message, decoded.

        :raises NotFound: the message has no such file.
        """
        message = await self.message(home, message_id)
        contents = Contents(self.database.single(message.customer_id))
        parts = msgspec.json.decode(await contents.parts(message.content_id))
        path = attachment_path(attachment_id)
        part: Indexed | None = next(
            (one for one in parts if one["p"] == path and one.get("a")), None
        )
        if part is None:
            raise NotFound(
                f"The message {message_id} has no attachment {attachment_id}."
            )
        return await self._file(message, part)

    async def _file(self, message: Message, part: Indexed) -> Octets:
        encoding = part.get("x", "7bit")
        begin, length = part["b"], part["e"] - part["b"]
        contents = Contents(self.database.single(message.customer_id))
        stored = Octets(
            size=length,
            content_type=part["t"],
            filename=part.get("n"),
            read=lambda start, n: contents.slice(message.content_id, begin + start, n),
        )
        if encoding in ("7bit", "8bit", "binary"):
            return stored
        encoded = b"".join([piece async for piece in stored.pieces()])
        if length < LARGE:
            decoded = transfer_decode(encoded, encoding)
        else:
            decoded = await deferToThread(transfer_decode, encoded, encoding)
        return Octets(
            size=len(decoded),
            content_type=stored.content_type,
            filename=stored.filename,
            read=_reading(decoded),
        )


def raw(database: Database, message: Message) -> Octets:
    """A mail as it is stored, for download."""
    contents = Contents(database.single(message.customer_id))
    return Octets(
        size=message.size,
        content_type="message/rfc822",
        filename=f"{message.message_id}.eml",
        read=lambda start, length: contents.slice(message.content_id, start, length),
    )


def letter(
    stored: StoredLetter,
    deliveries: list[Delivery],
    attempts: list[Attempt],
) -> Letter:
    """A letter from its row; where nothing was left out, the extract is the text."""
    fields = parse_fields(stored.header, 0, len(stored.header))[0]
    return Letter(
        message=stored,
        body=Body(
            content_id=stored.content_id,
            text=stored.text,
            html=stored.html,
            extracted_text=_or(stored.extracted_text, stored.text),
            extracted_html=_or(stored.extracted_html, stored.html),
        ),
        headers=[(field.name, decode_text(field)) for field in fields],
        deliveries=deliveries,
        attempts=attempts,
    )


def _or(extracted: str | None, whole: str | None) -> str | None:
    return whole if extracted is None else extracted


def _reading(octets: bytes) -> Callable[[int, int], Awaitable[bytes]]:
    async def read(start: int, length: int) -> bytes:
        return octets[start : start + length]

    return read


def _no_message(message_id: str) -> NotFound:
    return NotFound(f"There is no message {message_id} in this inbox.")
