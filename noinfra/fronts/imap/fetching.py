"""FETCH: a page of messages after the other, and never more than the client reads.

RFC 9051, 6.4.5. What a page needs is asked for together, and said in one write. Octets
are passed on in the pieces in which the database gives them, and only while the client
takes them: whatever is fetched, little of it is in memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from attrs import evolve

from noinfra.app.mailbox_messages import Row
from noinfra.fronts.imap.entering import Code
from noinfra.fronts.imap.rows import Piece, Plan
from noinfra.fronts.imap.searching import Searching
from noinfra.fronts.imap.view import View
from noinfra.mail.imap.fetch import Data, Fetch
from noinfra.mail.imap.sets import is_within, ranges_of

_SEEN = "\\Seen"
_SEEN_OCTETS = _SEEN.encode("ascii")
# Flags that a session remembers: some ten megabytes at the most.
_REMEMBERED = 50_000
# Of how many messages the flags go in one write.
_AT_ONCE = 2000
_CHANGES = (Data("UID"), Data("FLAGS"), Data("MODSEQ"))


class NotWhole(Exception):
    """The database gave fewer octets than a message has; the answer cannot be ended."""


class Fetching(Searching):
    """A connection that reads messages."""

    async def on_FETCH(self, command: Fetch) -> Code:
        """RFC 9051, 6.4.5."""
        view = self._open
        plan = Plan(command.items)
        if "MODSEQ" in plan.names or command.changed_since is not None:
            self._enable_condstore()
        uids: Sequence[int] = view.chosen(command.set, uid=command.uid)
        if command.changed_since is not None:
            uids = await self._changed_since(view, command, uids)
        if plan.flags_alone:
            fetched = await self._fetch_flags(view, uids, plan)
        else:
            sees = command.sees and not view.read_only
            fetched = await self._fetch(view, uids, plan, sees=sees)
        if fetched < len(uids) and not command.uid:
            # RFC 5530: others have expunged what still has a number here.
            return b"EXPUNGEISSUED"
        return b""

    async def _changed_since(
        self, view: View, command: Fetch, uids: Sequence[int]
    ) -> list[int]:
        """Those that changed since a modseq; tells what is gone, where asked to."""
        chosen = ranges_of(uids)
        asked = chosen
        if command.vanished and not command.set.saved:
            asked = command.set.resolve(view.highest)
        changed = await self._tell_since(
            view, command.changed_since or 0, asked, vanished=command.vanished
        )
        return view.known(uid for uid in changed if is_within(uid, chosen))

    async def _tell_flags(self, view: View, uids: Sequence[int]) -> None:
        await self._fetch(view, uids, Plan(_CHANGES), sees=False)

    async def _fetch(
        self, view: View, uids: Sequence[int], plan: Plan, *, sees: bool
    ) -> int:
        """Answer for messages; gives how many of them are still there."""
        fetched = at = 0
        async for page in self._server.mail.messages.rows(
            self._who, view.folder_id, uids, plan.wanted
        ):
            numbered = []
            for row in page:
                at = bisect_left(view.uids, row.uid, at)
                numbered.append((at + 1, row))
            seen = await self._see(view, page) if sees else {}
            if "FLAGS" in plan.names:
                self._say_keywords(view, {row.flags for row in page})
            if seen:
                self._say_keywords(view, {row.flags for row in seen.values()})
            if plan.sections:
                await self._say_sections(plan, numbered, seen)
            else:
                self._say(plan.lines(numbered))
            fetched += len(page)
            await self._read()
        return fetched

    async def _fetch_flags(self, view: View, uids: Sequence[int], plan: Plan) -> int:
        """Flags and no more, which are remembered once all of them were read."""
        if view.flags_of is None and len(uids) == len(view.uids) <= _REMEMBERED:
            pages = self._server.mail.messages.rows(
                self._who, view.folder_id, uids, plan.wanted
            )
            view.flags_of = {row.uid: row.flags async for page in pages for row in page}
        if view.flags_of is None:
            return await self._fetch(view, uids, plan, sees=False)
        if self._changed:
            await self._catch_up(view)
        found = 0
        for start in range(0, len(uids), _AT_ONCE):
            some = [
                uid for uid in uids[start : start + _AT_ONCE] if uid in view.flags_of
            ]
            flags = [view.flags_of[uid] for uid in some]
            self._say_keywords(view, set(flags))
            self._say(plan.flag_lines(view.numbers(some), some, flags))
            found += len(some)
            await self._read()
        return found

    async def _see(self, view: View, page: Iterable[Row]) -> dict[int, Row]:
        r"""Make messages \Seen; gives those that were not, as they are now."""
        unseen = {row.uid: row for row in page if _SEEN_OCTETS not in row.flags}
        if not unseen:
            return {}
        stored = await self._server.mail.messages.store(
            self._who, view.folder_id, list(unseen), mode="add", flags=(_SEEN,)
        )
        seen = {}
        for row in stored.rows:
            view.told[row.uid] = row.modseq
            known = unseen[row.uid]
            seen[row.uid] = evolve(known, flags=row.flags, modseq=row.modseq)
        return seen

    async def _say_sections(
        self, plan: Plan, numbered: Iterable[tuple[int, Row]], seen: dict[int, Row]
    ) -> None:
        """The responses for messages of which octets are asked for."""
        pieces: list[Piece] = []
        before = b""
        for number, row in numbered:
            now = seen.get(row.uid, row)
            before += b"* %d FETCH (" % number
            before += b"".join(
                [data + b" " for data in self._data_of(plan, now, row.uid in seen)]
            )
            these, before = plan.pieces(now, before)
            pieces += these
            before += b")\r\n"
        await self._say_pieces(pieces)
        self._say(before)
        self._midway = False

    def _data_of(self, plan: Plan, row: Row, seen: bool) -> Iterable[bytes]:
        if plan.names:
            yield plan.data(row)
        if seen and "FLAGS" not in plan.names:
            yield b"FLAGS " + row.flags
        if seen and b"CONDSTORE" in self._enabled and "MODSEQ" not in plan.names:
            yield b"MODSEQ (%d)" % row.modseq

    async def _say_pieces(self, pieces: Sequence[Piece]) -> None:
        """Text and octets in turn, while the client takes them."""
        current, left = -1, 0
        gathered: list[bytes] = []
        slices = [piece.slice for piece in pieces]
        async for index, octets in self._server.mail.messages.slices(self._who, slices):
            piece = pieces[index]
            if index != current:
                _check_whole(left)
                current, left = index, piece.slice.length
                self._say(piece.before)
                self._midway = True
            left -= len(octets)
            if piece.render is None:
                self._say(octets)
            else:
                gathered.append(octets)
                if left == 0:
                    self._say(piece.render(b"".join(gathered)))
                    gathered.clear()
            if self._clogged:
                await self._read()
        _check_whole(left)


def _check_whole(left: int) -> None:
    if left:
        raise NotWhole(f"{left} octets of a message are missing.")
