"""SEARCH, SORT and THREAD, and how their results are told (RFC 9051, 6.4.4; RFC 5256).

RFC 4731 and 5267 (ESEARCH, ESORT), 5182 (SEARCHRES), 7162, 3.1.5 (MODSEQ).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import evolve

from noinfra.app.mailbox_finding import Found
from noinfra.fronts.imap.answers import untagged
from noinfra.fronts.imap.changing import Changing
from noinfra.fronts.imap.entering import Code
from noinfra.fronts.imap.view import View
from noinfra.mail.imap.render import quoted
from noinfra.mail.imap.search import Search, Sort, Thread
from noinfra.mail.imap.sets import render_numbers
from noinfra.mail.imap_search import And, Key, Uids
from noinfra.mail.threading import Node, render

_ENDS = frozenset((b"MIN", b"MAX"))
_ALL = frozenset((b"ALL",))


class Searching(Changing):
    """A connection that looks for messages."""

    async def on_SEARCH(self, command: Search) -> Code:
        """RFC 9051, 6.4.4."""
        view = self._open
        key = self._begin(view, command)
        who = self._who
        found = await self._server.mail.finding.search(who, view.folder_id, key)
        await self._tell(view, command, found, b"SEARCH")
        return b""

    async def on_SORT(self, command: Sort) -> Code:
        """RFC 5256, 3."""
        view = self._open
        key = self._begin(view, command)
        found = await self._server.mail.finding.sort(
            self._who, view.folder_id, key, command.by
        )
        await self._tell(view, command, found, b"SORT")
        return b""

    async def on_THREAD(self, command: Thread) -> Code:
        """RFC 5256, 3."""
        view = self._open
        roots = await self._server.mail.finding.thread(
            self._who, view.folder_id, _known(view, command.key), command.algorithm
        )
        if not command.uid:
            renumber(roots, view.number)
        shown = render(roots).encode("ascii")
        self._say(untagged(b"THREAD %b" % shown if shown else b"THREAD"))
        return b""

    def _begin(self, view: View, command: Search | Sort) -> Key:
        if command.modseq:
            self._enable_condstore()
        if command.returning is not None and b"SAVE" in command.returning:
            # RFC 5182, 2.1: it stays empty, should this one fail.
            view.saved = ()
        return _known(view, command.key)

    async def _tell(
        self, view: View, command: Search | Sort, found: Found, name: bytes
    ) -> None:
        uids = view.known(found.uids)
        returning = command.returning
        if returning is None and self._rev2 and name == b"SEARCH":
            # RFC 9051, 6.4.4: there is no untagged SEARCH any more.
            returning = _ALL
        numbers = uids if command.uid else view.numbers(uids)
        modseq = found.modseq if command.modseq and uids else None
        if returning is None:
            self._say(_plainly(name, numbers, modseq))
            return
        if b"SAVE" in returning:
            view.saved = sorted(saved(returning, uids))
        if returning == {b"SAVE"}:
            return
        if modseq is not None and returning - {b"SAVE"} <= _ENDS:
            modseq = await self._modseq_of(view, saved(returning, uids))
        self._say(self._extended(command.uid, returning, numbers, modseq))

    async def _modseq_of(self, view: View, uids: Sequence[int]) -> int:
        """RFC 7162, 3.1.10: where only the ends are told, theirs is the modseq."""
        highest = 0
        async for page in self._server.mail.messages.rows(
            self._who, view.folder_id, sorted(uids), frozenset()
        ):
            highest = max(highest, *(row.modseq for row in page))
        return highest

    def _extended(
        self,
        uid: bool,
        returning: frozenset[bytes],
        numbers: Sequence[int],
        modseq: int | None,
    ) -> bytes:
        """An ESEARCH response (RFC 9051, 7.3.4)."""
        pieces = [b"ESEARCH (TAG %b)" % quoted(self._tag)]
        if uid:
            pieces.append(b"UID")
        if numbers:
            if b"MIN" in returning:
                pieces.append(b"MIN %d" % numbers[0])
            if b"MAX" in returning:
                pieces.append(b"MAX %d" % numbers[-1])
            if b"ALL" in returning:
                pieces.append(b"ALL " + render_numbers(numbers))
        if b"COUNT" in returning:
            pieces.append(b"COUNT %d" % len(numbers))
        if modseq is not None:
            pieces.append(b"MODSEQ %d" % modseq)
        return untagged(b" ".join(pieces))


def _known(view: View, key: Key) -> Key:
    """The key, for those messages alone that this session has heard of."""
    last = view.uids[-1] if view.uids else 0
    return And((Uids(((1, last),) if last else ()), key))


def _plainly(name: bytes, numbers: Iterable[int], modseq: int | None) -> bytes:
    shown = "".join([f" {number}" for number in numbers]).encode("ascii")
    if modseq is not None:
        shown += b" (MODSEQ %d)" % modseq
    return untagged(name + shown)


def saved(returning: frozenset[bytes], uids: Sequence[int]) -> Sequence[int]:
    """What SAVE keeps (RFC 5182, 2.4): of MIN and MAX alone, no more than those."""
    if not uids or not returning & _ENDS or returning & {b"ALL", b"COUNT"}:
        return uids
    ends = {uids[0]} if b"MIN" in returning else set()
    if b"MAX" in returning:
        ends.add(uids[-1])
    return sorted(ends)


def renumber(roots: Iterable[Node], number: Callable[[int], int | None]) -> None:
    """Give the messages of trees other numbers; what has none is passed over."""
    left = list(roots)
    while left:
        node = left.pop()
        left += node.children
        if node.message is not None:
            changed = number(node.message.number)
            node.message = evolve(node.message, number=changed) if changed else None
