"""SEARCH, SORT and THREAD over a folder (RFC 3501, 6.4.4; RFC 5256; RFC 5957).

PostgreSQL finds; what is sorted by base subjects and display names, which it does not
know, is sorted here, in a thread where there is much of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from attrs import define, frozen
from twisted.internet.threads import deferToThread

from noinfra.app.mailbox_access import Identity
from noinfra.errors import Invalid
from noinfra.mail.imap.structure import CC, TO, leading_group
from noinfra.mail.imap_search import SORT_KEYS, Key, SortKey
from noinfra.mail.thread import base_subject
from noinfra.mail.threading import Node, Threadable, by_references, by_subject
from noinfra.mail.words import decode_words
from noinfra.store.database import Database
from noinfra.store.mailbox_search import Search, Sortable

S = TypeVar("S")
T = TypeVar("T")

# What mail is often addressed to by a group's name ("undisclosed-recipients:;").
_TO_GROUPS = frozenset(("cc", "displayto", "to"))
# What takes a few milliseconds.
_AT_ONCE = 500


@frozen(kw_only=True)
class Found:
    """UIDs, and the highest modseq among them (RFC 7162, 3.1.5)."""

    uids: list[int]
    modseq: int | None


@define
class Finding:
    """The use cases of searching."""

    database: Database

    async def search(self, identity: Identity, folder_id: int, key: Key) -> Found:
        """What matches, by ascending UID."""
        uids, modseq = await self._search(identity).uids(
            identity.home.inbox_id, folder_id, key
        )
        return Found(uids=uids, modseq=modseq)

    async def sort(
        self, identity: Identity, folder_id: int, key: Key, by: Sequence[SortKey]
    ) -> Found:
        """What matches, sorted; what is equal in all is by ascending UID.

        :raises Invalid: there is no such sort key.
        """
        for one in by:
            if one.name not in SORT_KEYS:
                raise Invalid(f"There is no sort key {one.name}.")
        found = await self._search(identity).sortable(
            identity.home.inbox_id,
            folder_id,
            key,
            envelopes=any(one.name in _TO_GROUPS for one in by),
        )
        uids = await _worked_out(found, partial(sort, by=tuple(by)))
        modseq = max((one.modseq for one in found), default=None)
        return Found(uids=uids, modseq=modseq)

    async def thread(
        self,
        identity: Identity,
        folder_id: int,
        key: Key,
        algorithm: str,
        number: Callable[[int], int] | None = None,
    ) -> list[Node]:
        """What matches, as conversations.

        :param number: what the answer calls a message by, of its UID; the UID as such.
        :raises Invalid: there is no such algorithm.
        """
        threaded = _ALGORITHMS.get(algorithm.upper())
        if threaded is None:
            raise Invalid(f"There is no threading algorithm {algorithm}.")
        found = await self._search(identity).sortable(
            identity.home.inbox_id, folder_id, key
        )
        messages = [
            threadable(one, number(one.uid) if number else one.uid) for one in found
        ]
        return await _worked_out(messages, threaded)

    def _search(self, identity: Identity) -> Search:
        return Search(self.database.single(identity.home.customer_id))


_ALGORITHMS: dict[str, Callable[[Sequence[Threadable]], list[Node]]] = {
    "REFERENCES": by_references,
    "ORDEREDSUBJECT": by_subject,
}


async def _worked_out(found: Sequence[S], work: Callable[[Sequence[S]], T]) -> T:
    if len(found) <= _AT_ONCE:
        return work(found)
    return await deferToThread(work, found)


def threadable(one: Sortable, number: int) -> Threadable:
    """What threading wants to know (RFC 5256, 3)."""
    references = one.reference_ids or ([one.in_reply_to] if one.in_reply_to else [])
    return Threadable(
        number=number,
        message_id=one.rfc_message_id,
        references=references,
        subject=one.subject,
        date=one.sent_at,
    )


def sort(found: Sequence[Sortable], by: Sequence[SortKey]) -> list[int]:
    """The UIDs, sorted by the first key, within it by the second, and so on."""
    ordered = list(found)
    for one in reversed(by):
        ordered.sort(key=_COMPARED[one.name], reverse=one.reverse)
    return [one.uid for one in ordered]


def mailbox_of(person: str | None) -> str:
    """The local part of a mailbox in header form (RFC 5256, 3: addr-mailbox)."""
    return _address(person).rpartition("@")[0].strip('"').upper()


def display_of(person: str | None) -> str:
    """The display name, or where there is none the address (RFC 5957, 3)."""
    name = (person or "").rpartition("<")[0].strip()
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return (name or _address(person)).upper()


def group_of(one: Sortable, field: int) -> str:
    """The name of the group that a field begins with (RFC 5256, 3); "" if none does."""
    name = leading_group(one.envelope, field) if one.envelope else None
    return decode_words(name.decode("utf-8", "replace")).upper() if name else ""


def _address(person: str | None) -> str:
    return (person or "").rpartition("<")[2].removesuffix(">")


# Case is that of i;unicode-casemap as far as upper case goes (RFC 5051).
_COMPARED: dict[str, Callable[[Sortable], str | int | datetime]] = {
    "arrival": lambda one: one.received_at,
    "cc": lambda one: group_of(one, CC) or mailbox_of(one.cc),
    "date": lambda one: one.sent_at,
    "displayfrom": lambda one: display_of(one.from_),
    "displayto": lambda one: group_of(one, TO) or display_of(one.to_),
    "from": lambda one: mailbox_of(one.from_),
    "size": lambda one: one.size,
    "subject": lambda one: base_subject(one.subject).upper(),
    "to": lambda one: group_of(one, TO) or mailbox_of(one.to_),
}
