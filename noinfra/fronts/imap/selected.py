"""A mailbox that is open: selecting it, its news, and leaving it.

RFC 9051, 6.3.2 and 6.4; RFC 7162 (CONDSTORE, QRESYNC), 2177 (IDLE).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from noinfra.app.mailbox_messages import FlagRow
from noinfra.app.mailboxes import Snapshot
from noinfra.errors import NotFound
from noinfra.fronts.imap.answers import untagged, untagged_ok
from noinfra.fronts.imap.entering import Code
from noinfra.fronts.imap.folders import Folders
from noinfra.fronts.imap.refusals import Bad, MailboxGone
from noinfra.fronts.imap.view import View
from noinfra.mail.imap.commands import (
    Plain,
    Qresync,
    Select,
)
from noinfra.mail.imap.render import mailbox, quoted
from noinfra.mail.imap.sets import (
    Range,
    SequenceSet,
    counted,
    is_within,
    ranges_of,
    render_numbers,
    render_ranges,
    within,
    without,
)
from noinfra.mail.imap_keywords import REGISTERED, SYSTEM_FLAGS
from noinfra.mail.imap_search import Uids

if TYPE_CHECKING:
    from noinfra.app.mailboxes import Changes
    from noinfra.fronts.imap.factory import ImapFactory

# RFC 9051, 7.5.1: while these are at work, no number of a message may change. Their UID
# forms name none.
NUMBERED = frozenset(("FETCH", "STORE", "SEARCH", "SORT", "THREAD"))
# What SELECT names; finding other keywords would mean to look at every message, so that
# they are named before they are first seen.
KNOWN = tuple(flag.encode("ascii") for flag in (*SYSTEM_FLAGS, *REGISTERED))
# There is no news before the client knows that the mailbox is open; the next command
# tells.
OPENING = frozenset(("SELECT", "EXAMINE"))
# What wants the news in any case, and what changes the mailbox itself.
FRESH = frozenset(
    (
        *("NOOP", "CHECK", "EXPUNGE", "UID EXPUNGE", "APPEND", "STORE", "UID STORE"),
        *("COPY", "UID COPY", "MOVE", "UID MOVE"),
    )
)


class Selected(Folders):
    """A connection that may have a mailbox open."""

    def __init__(self, server: ImapFactory, address: str) -> None:
        super().__init__(server, address)
        self._view: View | None = None
        self._changed = False
        self._watching: Callable[[], None] | None = None
        self._idling = False

    def _selects(self) -> bool:
        return self._view is not None

    @property
    def _open(self) -> View:
        """The selected mailbox."""
        if self._view is None:
            raise Bad("Select a mailbox first.")
        return self._view

    def _place(self, numbers: SequenceSet, uid: bool) -> Uids:
        return self._open.place(numbers, uid)

    def _enable_condstore(self) -> None:
        if b"CONDSTORE" not in self._enabled and self._view is not None:
            # RFC 7162, 3.1: where the client's knowledge begins.
            code = b"HIGHESTMODSEQ %d" % self._view.modseq
            self._say(untagged_ok(code, "Changes are told with their modseq."))
        super()._enable_condstore()

    # ----------------------------------------------------------------------------------
    # Selecting

    async def on_SELECT(self, command: Select) -> Code:
        """RFC 9051, 6.3.2."""
        return await self._select(command)

    async def on_EXAMINE(self, command: Select) -> Code:
        """RFC 9051, 6.3.3."""
        return await self._select(command)

    async def _select(self, command: Select) -> Code:
        if command.qresync is not None and b"QRESYNC" not in self._enabled:
            raise Bad("ENABLE QRESYNC before SELECT with it (RFC 7162, 3.2.5).")
        if self._view is not None:
            self._view = None
            self._say(untagged_ok(b"CLOSED", "The mailbox before is closed."))
        if command.condstore or command.qresync is not None:
            self._enable_condstore()
        await self._watch()
        self._changed = False
        found = await self._server.mail.mailboxes.open(self._who, command.mailbox)
        self._need_selectable(found.mailbox)
        read_only = command.read_only or self._who.read_only
        self._say(b"".join(map(untagged, self._described(found, read_only))))
        self._view = View(
            name=found.mailbox.name,
            folder_id=found.mailbox.folder_id,
            read_only=read_only,
            uids=found.uids,
            highest=found.mailbox.uidnext - 1,
            modseq=found.mailbox.modseq,
            flags=list(KNOWN),
        )
        known = command.qresync
        if known is not None and known.uidvalidity == found.mailbox.uidvalidity:
            await self._resynchronise(self._view, known)
        return b"READ-ONLY" if read_only else b"READ-WRITE"

    async def _watch(self) -> None:
        """Be told of changes from here on, if we are not yet."""
        if self._watching is None:
            watching = await self._server.mail.mailboxes.watch(
                self._who, self._something_changed
            )
            if self._lost:
                watching()
            else:
                self._watching = watching

    def _something_changed(self) -> None:
        self._changed = True
        if self._idling:
            self._wake()

    def _left(self) -> None:
        watching, self._watching = self._watching, None
        self._view = None
        if watching is not None:
            watching()

    def _described(self, found: Snapshot, read_only: bool) -> list[bytes]:
        """What SELECT tells of a mailbox (RFC 9051, 6.3.2; RFC 3501, 6.3.1)."""
        box = found.mailbox
        lines = [
            *_flag_lines(KNOWN, read_only),
            b"%d EXISTS" % len(found.uids),
        ]
        if not self._rev2:
            lines.append(b"0 RECENT")
            if found.first_unseen is not None:
                unseen = within(found.uids, [(found.first_unseen, found.first_unseen)])
                lines += [b"OK [UNSEEN %d] The first unseen." % j for _, j in unseen]
        lines += [
            b"OK [UIDVALIDITY %d] UIDs valid." % box.uidvalidity,
            b"OK [UIDNEXT %d] The next UID." % box.uidnext,
            b"OK [HIGHESTMODSEQ %d] The last change." % box.modseq,
            b"OK [MAILBOXID (%b)] Its id." % box.mailbox_id.encode("ascii"),
        ]
        if self._rev2:
            name = mailbox(box.name, utf8=True)
            lines.append(b"LIST () %b %b" % (quoted(b"/"), name))
        return lines

    async def _resynchronise(self, view: View, known: Qresync) -> None:
        """Tell a client that was away what it missed (RFC 7162, 3.2.5.1)."""
        ranges = known.known.resolve(0) if known.known else [(1, max(view.highest, 1))]
        same = _same_up_to(view.uids, known) if known.match else 0
        changed = await self._tell_since(
            view, known.modseq, ranges, vanished=True, same=same
        )
        await self._tell_flags(view, view.known(changed))

    @abstractmethod
    async def _tell_flags(self, view: View, uids: Sequence[int]) -> None:
        """FETCH responses with UID, FLAGS and MODSEQ."""

    async def _tell_since(
        self,
        view: View,
        since: int,
        ranges: list[Range],
        *,
        vanished: bool,
        same: int = 0,
    ) -> list[int]:
        """What is gone of the UIDs in ranges since then, and which have changed.

        What has a number still is not told as gone: that is news, and comes as such.

        :param same: up to this UID the client is known to have missed no expunge.
        """
        changed: list[int] = []
        gone: list[int] | None = []
        while True:
            changes = await self._server.mail.mailboxes.changes(
                self._who, view.folder_id, since
            )
            changed += [row.uid for row in changes.changed]
            if not changes.complete:
                gone = None
            elif gone is not None:
                gone += changes.vanished
            if not changes.more:
                break
            since = changes.modseq
        if vanished:
            if gone is None:
                left = [(max(low, same + 1), high) for low, high in ranges]
                lost = without([one for one in left if one[0] <= one[1]], view.uids)
            else:
                earlier = set(gone).difference(view.uids)
                lost = ranges_of(sorted(u for u in earlier if is_within(u, ranges)))
            if lost:
                self._say(untagged(b"VANISHED (EARLIER) " + render_ranges(lost)))
        return sorted(uid for uid in set(changed) if is_within(uid, ranges))

    # ----------------------------------------------------------------------------------
    # News

    async def _news(self, verb: str) -> None:
        view = self._view
        if view is None or verb in OPENING:
            return
        if self._changed or verb in FRESH:
            await self._catch_up(view)
        # First what is gone, so that EXISTS counts what is there (RFC 9051, 7.4.1).
        if verb not in NUMBERED:
            self._say_gone(view)
        if view.arrive():
            self._say(untagged(b"%d EXISTS" % len(view.uids)))

    async def _catch_up(self, view: View) -> None:
        """Tell what has changed; what is gone, and what is new, is only noted."""
        self._changed = False
        while True:
            changes = await self._changes(view)
            if not changes.complete:
                await self._look_again(view)
            view.vanish(changes.vanished)
            view.note(changes.changed)
            view.fresh.update(self._say_changed(view, changes.changed))
            view.modseq = changes.modseq
            if not changes.more:
                break
        view.told.clear()

    async def _changes(self, view: View) -> Changes:
        try:
            return await self._server.mail.mailboxes.changes(
                self._who, view.folder_id, view.modseq
            )
        except NotFound as error:
            raise MailboxGone(f"{view.name} was deleted. Closing.") from error

    async def _look_again(self, view: View) -> None:
        """Find out what is gone by what is left; too much has happened to be told."""
        try:
            found = await self._server.mail.mailboxes.open(self._who, view.name)
        except NotFound as error:
            raise MailboxGone(f"{view.name} was deleted. Closing.") from error
        if found.mailbox.folder_id != view.folder_id:
            raise MailboxGone(f"{view.name} is another mailbox now. Closing.")
        view.vanish({*view.uids, *view.fresh}.difference(found.uids))

    def _say_keywords(self, view: View, shown: Iterable[bytes]) -> None:
        """Name keywords before they are first seen (RFC 9051, 7.3.5)."""
        if view.new_flags(shown):
            lines = _flag_lines(view.flags, view.read_only)
            self._say(b"".join(map(untagged, lines)))

    def _say_changed(self, view: View, rows: Iterable[FlagRow]) -> list[int]:
        """Flags that others changed; gives the UIDs that have no number yet."""
        arrived = []
        for row in rows:
            number = view.number(row.uid)
            if number is None:
                arrived.append(row.uid)
            elif view.told.get(row.uid) != row.modseq:
                self._say_keywords(view, (row.flags,))
                self._say_flags(number, row)
        return arrived

    def _say_flags(self, number: int, row: FlagRow) -> None:
        if b"CONDSTORE" in self._enabled:
            shown = b"* %d FETCH (UID %d FLAGS %b MODSEQ (%d))\r\n"
            self._say(shown % (number, row.uid, row.flags, row.modseq))
        else:
            self._say(
                b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, row.uid, row.flags)
            )

    def _say_gone(self, view: View) -> None:
        """Take back the numbers of what is gone (RFC 9051, 7.5.1; RFC 7162, 3.2.10)."""
        if not view.gone:
            return
        uids, numbers = view.forget()
        if b"QRESYNC" in self._enabled:
            self._say(untagged(b"VANISHED " + render_numbers(uids)))
        else:
            self._say(b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers]))

    async def on_IDLE(self, command: Plain) -> Code:
        """RFC 2177: tell what happens when it does, until the client says DONE."""
        await self._watch()
        self._say(b"+ idling\r\n")
        until = self._deadline()
        self._idling = self._between = True
        try:
            while (line := self._reader.line()) is None:
                if self._view is not None and self._changed:
                    self._between = False
                    await self._news("IDLE")
                    self._between = True
                if not self._changed:
                    await self._more(until)
        finally:
            self._idling = self._between = False
        if line.upper() != b"DONE":
            raise Bad("IDLE ends with DONE.")
        return b""

    # ----------------------------------------------------------------------------------
    # Leaving

    def on_CHECK(self, command: Plain) -> Code:
        """RFC 3501, 6.4.1: all is on disk always."""
        return b""

    async def on_CLOSE(self, command: Plain) -> Code:
        r"""RFC 9051, 6.4.1: what is \Deleted goes without a word."""
        view = self._open
        if not view.read_only:
            await self._server.mail.messages.expunge(self._who, view.folder_id, None)
        self._view = None
        return b""

    def on_UNSELECT(self, command: Plain) -> Code:
        """RFC 9051, 6.4.2."""
        self._view = None
        return b""


def _flag_lines(known: Sequence[bytes], read_only: bool) -> list[bytes]:
    r"""The flags that there are, and those that a client may change; "\*" is any."""
    named = b" ".join(known)
    permanent = b"" if read_only else named + b" \\*"
    return [
        b"FLAGS (%b)" % named,
        b"OK [PERMANENTFLAGS (%b)] Flags that are kept." % permanent,
    ]


def _same_up_to(uids: Sequence[int], known: Qresync) -> int:
    """The last UID that the client has under the number that it has here."""
    if known.match is None:
        return 0
    numbers, theirs = (each.resolve(0) for each in known.match)
    most = len(uids)
    same = 0
    for number, uid in zip(counted(numbers, most), counted(theirs, most), strict=False):
        if number > most or uids[number - 1] != uid:
            break
        same = uid
    return same
