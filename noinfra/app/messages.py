"""An inbox's messages: listed, read, labelled, deleted."""

from __future__ import annotations

from attrs import frozen

from noinfra.app.access import Access
from noinfra.app.homes import Homes
from noinfra.app.letters import Letter, Letters, Octets, raw
from noinfra.app.listing import Listing, cursor_key, listing
from noinfra.app.requests import (
    AttachmentById,
    DeleteMessage,
    ListMessages,
    MessageById,
    UpdateMessage,
)
from noinfra.app.selecting import MESSAGE, id_at, label_changes, least, most, turn_at
from noinfra.errors import NotFound
from noinfra.model import Message
from noinfra.store.database import Database
from noinfra.store.messages import Messages as MessageTable
from noinfra.store.messages import Selection, delete, move, relabel


@frozen
class Messages:
    """The use cases of messages."""

    database: Database
    homes: Homes
    letters: Letters

    async def list(self, access: Access, request: ListMessages) -> Listing[Message]:
        """A page of an inbox's messages, newest first unless asked otherwise.

        What is in Trash and Spam is left out, unless its folder is asked for.
        """
        home = await self.homes.of(access, request.inbox_id)
        cursor = cursor_key(request.cursor, MESSAGE)
        before, after = id_at(request.before), id_at(request.after)
        hidden = []
        if request.folder is None:
            hidden += [] if request.include_trash else ["Trash"]
            hidden += [] if request.include_spam else ["Spam"]
        selection = Selection(
            inbox_id=home.inbox_id,
            labels=request.labels,
            direction=request.direction,
            folder=request.folder,
            hidden=hidden,
            thread_id=request.thread_id,
            tag=request.tag,
            people=request.from_,
            subject=request.subject,
            below=before if request.ascending else least(before, cursor),
            above=most(after, cursor) if request.ascending else after,
            unread=request.unread,
            has_attachment=request.has_attachment,
            ascending=request.ascending,
            limit=request.limit + 1,
        )
        found = await MessageTable(self.database.single(home.customer_id)).select(
            selection
        )
        return listing(found, request.limit, lambda one: one.message_id)

    async def get(self, access: Access, request: MessageById) -> Letter:
        """One message, with all that there is to say of it."""
        home = await self.homes.of(access, request.inbox_id)
        return await self.letters.letter(home, request.message_id)

    async def raw(self, access: Access, request: MessageById) -> Octets:
        """One message as it is stored (RFC 5322)."""
        home = await self.homes.of(access, request.inbox_id)
        message = await self.letters.message(home, request.message_id)
        return raw(self.database, message)

    async def attachment(self, access: Access, request: AttachmentById) -> Octets:
        """A file that came with a message."""
        home = await self.homes.of(access, request.inbox_id)
        return await self.letters.attachment(
            home, request.message_id, request.attachment_id
        )

    async def update(self, access: Access, request: UpdateMessage) -> Message:
        """Add and remove labels."""
        home = await self.homes.of(access, request.inbox_id)
        add, remove = label_changes(request.add_labels, request.remove_labels)
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            await relabel(
                tx,
                home.inbox_id,
                message_id=request.message_id,
                add=add,
                remove=remove,
            )
            message = await MessageTable(tx).get(home.inbox_id, request.message_id)
        if message is None:
            raise NotFound(f"There is no message {request.message_id} in this inbox.")
        return message

    async def delete(self, access: Access, request: DeleteMessage) -> None:
        """To Trash; for good when it is there already, or when asked for."""
        home = await self.homes.of(access, request.inbox_id)
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            message = await MessageTable(tx).get(home.inbox_id, request.message_id)
            if message is None:
                raise NotFound(
                    f"There is no message {request.message_id} in this inbox."
                )
            ids = [message.message_id]
            if request.permanent or message.folder == "Trash":
                await delete(tx, home.inbox_id, ids)
            else:
                await move(tx, home.inbox_id, ids, "Trash")
