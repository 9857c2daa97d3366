"""What is done to messages: flags, expunging, copying, moving.

RFC 9051, 6.4; RFC 7162, 3.1.3 (UNCHANGEDSINCE), 4315 (UIDPLUS), 6851 (MOVE).
"""

from __future__ import annotations

from collections.abc import Sequence

from noinfra.app.mailbox_messages import Copied, FlagRow
from noinfra.errors import NotFound
from noinfra.fronts.imap.answers import untagged_ok
from noinfra.fronts.imap.entering import Code
from noinfra.fronts.imap.refusals import ReadOnly, TryCreate
from noinfra.fronts.imap.selected import Selected
from noinfra.fronts.imap.view import View
from noinfra.mail.imap.commands import Copy, Expunge, Plain, Store
from noinfra.mail.imap.sets import render_numbers


class Changing(Selected):
    """A connection that changes messages."""

    def _writable(self) -> View:
        """The selected mailbox, when it may be changed."""
        self._need_writing()
        view = self._open
        if view.read_only:
            raise ReadOnly("The mailbox is open read-only; SELECT it for changes.")
        return view

    async def on_EXPUNGE(self, command: Plain | Expunge) -> Code:
        """RFC 9051, 6.4.3 and 6.4.9."""
        view = self._writable()
        uids = None
        if isinstance(command, Expunge):
            uids = view.chosen(command.uids, uid=True)
        gone = await self._server.mail.messages.expunge(self._who, view.folder_id, uids)
        await self._catch_up(view)
        view.vanish(gone)
        self._say_gone(view)
        if b"CONDSTORE" in self._enabled:
            # RFC 7162, 3.2.7: where the client's knowledge ends now.
            return b"HIGHESTMODSEQ %d" % view.modseq
        return b""

    async def on_STORE(self, command: Store) -> Code:
        """RFC 9051, 6.4.6; RFC 7162, 3.1.3."""
        view = self._writable()
        if command.unchanged_since is not None:
            self._enable_condstore()
        uids = view.chosen(command.set, uid=command.uid)
        stored = await self._server.mail.messages.store(
            self._who,
            view.folder_id,
            uids,
            mode=command.how,
            flags=command.flags,
            unchanged_since=command.unchanged_since,
        )
        self._say_stored(view, command, stored.rows)
        if stored.modified:
            modified = stored.modified
            if not command.uid:
                modified = view.numbers(modified)
            return b"MODIFIED " + render_numbers(modified)
        if not command.uid and len(stored.rows) < len(uids):
            return b"EXPUNGEISSUED"
        return b""

    def _say_stored(self, view: View, command: Store, rows: Sequence[FlagRow]) -> None:
        condstore = b"CONDSTORE" in self._enabled
        # RFC 7162, 3.2.3: with QRESYNC, all FETCH responses name the UID.
        by_uid = command.uid or b"QRESYNC" in self._enabled
        told = view.told
        # RFC 7162, 3.1.3: what others changed is told even if our change is silent.
        alone = _follows(view.modseq, rows)
        view.note(rows)
        if not command.silent:
            self._say_keywords(view, (row.flags for row in rows))
        for row in rows:
            number = view.number(row.uid)
            if number is None:
                continue
            if not command.silent or (row.changed and alone):
                told[row.uid] = row.modseq
            shown = b"UID %d " % row.uid if by_uid else b""
            if not command.silent:
                shown += b"FLAGS %b " % row.flags
            if condstore and (row.changed or not command.silent):
                shown += b"MODSEQ (%d) " % row.modseq
            if not command.silent or (condstore and row.changed):
                self._say(b"* %d FETCH (%b)\r\n" % (number, shown[:-1]))

    async def on_COPY(self, command: Copy) -> Code:
        """RFC 9051, 6.4.7."""
        self._need_writing()
        view = self._open
        uids = view.chosen(command.set, uid=command.uid)
        try:
            copied = await self._server.mail.messages.copy(
                self._who, view.folder_id, uids, command.mailbox
            )
        except NotFound as error:
            raise TryCreate(error.text) from error
        return _copyuid(copied)

    async def on_MOVE(self, command: Copy) -> Code:
        """RFC 9051, 6.4.8: the UIDs come first, then what is gone here."""
        view = self._writable()
        uids = view.chosen(command.set, uid=command.uid)
        try:
            moved = await self._server.mail.messages.move(
                self._who, view.folder_id, uids, command.mailbox
            )
        except NotFound as error:
            raise TryCreate(error.text) from error
        if moved.pairs:
            self._say(untagged_ok(_copyuid(moved), "Moved."))
        await self._catch_up(view)
        view.vanish([old for old, _ in moved.pairs])
        self._say_gone(view)
        return b""


def _copyuid(copied: Copied) -> bytes:
    """RFC 9051, 7.1: COPYUID, each UID of the one set with that of the other."""
    if not copied.pairs:
        return b""
    return b"COPYUID %d %b %b" % (
        copied.uidvalidity,
        render_numbers([old for old, _ in copied.pairs]),
        render_numbers([new for _, new in copied.pairs]),
    )


def _follows(modseq: int, rows: Sequence[FlagRow]) -> bool:
    """Whether nothing came between what was known up to a modseq and these changes."""
    changed = [row.modseq for row in rows if row.changed]
    return not changed or max(changed) - modseq == len(changed)
