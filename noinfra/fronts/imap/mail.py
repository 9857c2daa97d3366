"""What the IMAP front asks of the use cases behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Literal, Protocol

from attrs import frozen

from noinfra.app.mailbox_access import Identity
from noinfra.app.mailbox_append import Appended, AppendResult
from noinfra.app.mailbox_finding import Found
from noinfra.app.mailbox_messages import Copied, Row, Slice, Stored
from noinfra.app.mailboxes import Changes, Mailbox, Snapshot
from noinfra.mail.imap_search import Key, SortKey
from noinfra.mail.threading import Node

# UIDs in ascending order, such as an array of them.
Uids = Sequence[int]


class Logins(Protocol):
    """Whose a name and a secret are."""

    async def login(self, address: str, secret: str) -> Identity:
        """The inbox, and what may be done in it.

        :raises Unauthenticated: name or secret are wrong.
        :raises Forbidden: the key may not read mail.
        """

    async def still_good(self, identity: Identity) -> bool:
        """Whether the same login would succeed now."""


class Mailboxes(Protocol):
    """The folders of an inbox."""

    async def list(self, identity: Identity) -> list[Mailbox]:
        """All names: INBOX first, then in order."""

    async def get(self, identity: Identity, name: str) -> Mailbox:
        """One of them."""

    async def create(self, identity: Identity, name: str) -> Mailbox:
        """Make one, with its parents."""

    async def rename(self, identity: Identity, old: str, new: str) -> None:
        """Give it, and what is below it, another name."""

    async def delete(self, identity: Identity, name: str) -> None:
        """Drop it with its mail; what is below it stays."""

    async def subscribe(self, identity: Identity, name: str) -> None:
        """Remember the name."""

    async def unsubscribe(self, identity: Identity, name: str) -> None:
        """Forget it."""

    async def open(self, identity: Identity, name: str) -> Snapshot:
        """Its messages at this moment."""

    async def changes(self, identity: Identity, folder_id: int, since: int) -> Changes:
        """What became of it since a modseq."""

    async def watch(
        self, identity: Identity, callback: Callable[[], None]
    ) -> Callable[[], None]:
        """Be told that something in the inbox changed, until it is called off."""


class Messages(Protocol):
    """The messages of a folder."""

    def rows(
        self, identity: Identity, folder_id: int, uids: Uids, wanted: frozenset[str]
    ) -> AsyncIterator[list[Row]]:
        """What is prepared of messages, in pages."""

    def slices(
        self, identity: Identity, slices: Iterable[Slice]
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Octets of messages, in pieces, each with the index of its slice."""

    async def store(
        self,
        identity: Identity,
        folder_id: int,
        uids: Uids,
        *,
        mode: Literal["replace", "add", "remove"],
        flags: Sequence[str],
        unchanged_since: int | None = None,
    ) -> Stored:
        """Change flags."""

    async def copy(
        self, identity: Identity, folder_id: int, uids: Uids, target: str
    ) -> Copied:
        """Copy all of them, or none."""

    async def move(
        self, identity: Identity, folder_id: int, uids: Uids, target: str
    ) -> Copied:
        """Move all of them, or none."""

    async def expunge(
        self, identity: Identity, folder_id: int, uids: Uids | None
    ) -> list[int]:
        r"""Drop what is \Deleted, of these or of all; tells what is gone."""


class Appending(Protocol):
    """New messages from the client."""

    async def append(
        self, identity: Identity, name: str, messages: Sequence[Appended]
    ) -> AppendResult:
        """File all of them, or none."""


class Finding(Protocol):
    """Searches."""

    async def search(self, identity: Identity, folder_id: int, key: Key) -> Found:
        """The messages that match, by UID."""

    async def sort(
        self, identity: Identity, folder_id: int, key: Key, by: Sequence[SortKey]
    ) -> Found:
        """The messages that match, in the order asked for."""

    async def thread(
        self, identity: Identity, folder_id: int, key: Key, algorithm: str
    ) -> list[Node]:
        """The messages that match, as conversations; numbers are UIDs."""


@frozen(kw_only=True)
class Mail:
    """All of them."""

    logins: Logins
    mailboxes: Mailboxes
    messages: Messages
    appending: Appending
    finding: Finding
