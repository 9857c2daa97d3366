"""An inbox's threads: listed, read, labelled, deleted."""

from __future__ import annotations

from attrs import frozen

from noinfra.app.access import Access
from noinfra.app.homes import Homes
from noinfra.app.letters import Letter, letter
from noinfra.app.listing import Listing, cursor_key, listing
from noinfra.app.requests import GetThread, ListThreads, ThreadById, UpdateThread
from noinfra.app.selecting import MESSAGE, id_at, label_changes, least, most, turn_at
from noinfra.errors import NotFound
from noinfra.store.database import Database
from noinfra.store.messages import Messages as MessageTable
from noinfra.store.messages import delete, relabel
from noinfra.store.threads import Threads as ThreadTable
from noinfra.store.threads import ThreadSummary

__all__ = ["Conversation", "ThreadSummary", "Threads"]

# Deleted this many at a time, so that no transaction holds an inbox for long.
_AT_ONCE = 500


@frozen(kw_only=True)
class Conversation:
    """A thread with a page of its messages, oldest first, and where the next begins."""

    thread: ThreadSummary
    messages: list[Letter]
    next_cursor: str | None


@frozen
class Threads:
    """The use cases of threads."""

    database: Database
    homes: Homes

    async def list(
        self, access: Access, request: ListThreads
    ) -> Listing[ThreadSummary]:
        """A page of an inbox's threads, by their newest message."""
        home = await self.homes.of(access, request.inbox_id)
        cursor = cursor_key(request.cursor, MESSAGE)
        before, after = id_at(request.before), id_at(request.after)
        found = await ThreadTable(self.database.single(home.customer_id)).page(
            home.inbox_id,
            labels=request.labels,
            below=before if request.ascending else least(before, cursor),
            above=most(after, cursor) if request.ascending else after,
            ascending=request.ascending,
            limit=request.limit + 1,
        )
        return listing(found, request.limit, lambda one: one.last_message_id)

    async def get(self, access: Access, request: GetThread) -> Conversation:
        """One thread with a page of its messages."""
        home = await self.homes.of(access, request.inbox_id)
        on = self.database.single(home.customer_id)
        thread = await ThreadTable(on).get(home.inbox_id, request.thread_id)
        if thread is None:
            raise _no_thread(request.thread_id)
        stored = await MessageTable(on).letters(
            home.inbox_id,
            request.thread_id,
            above=cursor_key(request.cursor, MESSAGE),
            limit=request.limit,
        )
        last = stored[-1].message_id if stored else thread.last_message_id
        return Conversation(
            thread=thread,
            messages=[letter(one, deliveries=[], attempts=[]) for one in stored],
            next_cursor=last if last < thread.last_message_id else None,
        )

    async def update(self, access: Access, request: UpdateThread) -> ThreadSummary:
        """Add and remove labels on each message of a thread."""
        home = await self.homes.of(access, request.inbox_id)
        add, remove = label_changes(request.add_labels, request.remove_labels)
        async with self.database.tenant(home.customer_id) as tx:
            await turn_at(tx, home)
            await relabel(
                tx, home.inbox_id, thread_id=request.thread_id, add=add, remove=remove
            )
            thread = await ThreadTable(tx).get(home.inbox_id, request.thread_id)
        if thread is None:
            raise _no_thread(request.thread_id)
        return thread

    async def delete(self, access: Access, request: ThreadById) -> None:
        """Delete a thread with its messages, for good."""
        home = await self.homes.of(access, request.inbox_id)
        on = ThreadTable(self.database.single(home.customer_id))
        ids = await on.message_ids(home.inbox_id, request.thread_id)
        if not ids:
            raise _no_thread(request.thread_id)
        for start in range(0, len(ids), _AT_ONCE):
            async with self.database.tenant(home.customer_id) as tx:
                await turn_at(tx, home)
                await delete(tx, home.inbox_id, ids[start : start + _AT_ONCE])


def _no_thread(thread_id: str) -> NotFound:
    return NotFound(f"There is no thread {thread_id} in this inbox.")
