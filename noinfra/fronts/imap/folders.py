"""Mailboxes by name: LIST and its kin, and what makes and unmakes them.

RFC 9051, 6.3; RFC 5258 (LIST-EXTENDED), 5819 (LIST-STATUS), 6154 (SPECIAL-USE), 9208
(QUOTA), 8474 (OBJECTID).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from noinfra.app.mailboxes import Mailbox
from noinfra.errors import Invalid
from noinfra.fronts.imap.answers import untagged
from noinfra.fronts.imap.entering import Code, Entering
from noinfra.fronts.imap.refusals import Bad, ReadOnly
from noinfra.mail.imap.commands import (
    GetQuota,
    List,
    OneMailbox,
    Plain,
    Rename,
    Status,
)
from noinfra.mail.imap.listing import MAX_PATTERN, Pattern, parents
from noinfra.mail.imap.names import DELIMITER
from noinfra.mail.imap.render import mailbox, quoted

_SEPARATOR = quoted(DELIMITER.encode("ascii"))
_READ_ONLY = "This key may only read; use one that may update messages."


class Folders(Entering):
    """A connection that is logged in."""

    # ----------------------------------------------------------------------------------
    # What there is

    def on_NAMESPACE(self, command: Plain) -> Code:
        """RFC 9051, 6.3.10: all names are the user's own."""
        self._say(untagged(b'NAMESPACE (("" %b)) NIL NIL' % _SEPARATOR))
        return b""

    async def on_LIST(self, command: List) -> Code:
        """RFC 9051, 6.3.9; RFC 5258."""
        if command.patterns == ("",) and not command.extended:
            # What the names' delimiter is, and where they begin.
            self._say(untagged(b'LIST (\\Noselect) %b ""' % _SEPARATOR))
            return b""
        found = await self._server.mail.mailboxes.list(self._who)
        matches = _matching(command)
        selected = {one.name for one in found if _is_selected(command, one)}
        above: set[str] = set()
        if b"RECURSIVEMATCH" in command.selecting:
            # RFC 5258, 3.5: not for the sake of names that are listed themselves.
            above = _above(name for name in selected if not matches(name))
        for one in found:
            if (one.name in selected or one.name in above) and matches(one.name):
                self._say_list(command, one, one.name in above)
        return b""

    def _say_list(self, command: List, one: Mailbox, above: bool) -> None:
        octets = b"LIST (%b) %b %b" % (
            " ".join(_attributes(command, one)).encode("ascii"),
            _SEPARATOR,
            mailbox(one.name, utf8=self._utf8),
        )
        if above:
            # RFC 5258, 3.5: there is something below it that was asked for.
            octets += b' ("CHILDINFO" ("SUBSCRIBED"))'
        self._say(untagged(octets))
        if command.status and one.selectable:
            self._say_status(one, command.status)

    async def on_LSUB(self, command: List) -> Code:
        r"""RFC 3501, 6.3.9: with "%", a parent stands for what is below it."""
        found = await self._server.mail.mailboxes.list(self._who)
        subscribed = {one.name: one for one in found if one.subscribed}
        matches = _matching(command)
        for name in sorted(subscribed):
            if matches(name):
                selectable = subscribed[name].selectable
                self._say_lsub(name, b"" if selectable else b"\\Noselect")
        if command.patterns[0].endswith("%"):
            for name in sorted(_above(subscribed) - set(subscribed)):
                if matches(name):
                    self._say_lsub(name, b"\\Noselect")
        return b""

    def _say_lsub(self, name: str, attributes: bytes) -> None:
        shown = mailbox(name, utf8=self._utf8)
        self._say(untagged(b"LSUB (%b) %b %b" % (attributes, _SEPARATOR, shown)))

    async def on_STATUS(self, command: Status) -> Code:
        """RFC 9051, 6.3.11."""
        found = await self._server.mail.mailboxes.get(self._who, command.mailbox)
        self._need_selectable(found)
        self._say_status(found, command.items)
        return b""

    def _say_status(self, one: Mailbox, items: tuple[bytes, ...]) -> None:
        if b"HIGHESTMODSEQ" in items:
            self._enable_condstore()
        limit = self._server.settings.append_limit
        values: dict[bytes, bytes] = {
            b"MESSAGES": b"%d" % one.messages,
            b"RECENT": b"0",
            b"UIDNEXT": b"%d" % one.uidnext,
            b"UIDVALIDITY": b"%d" % one.uidvalidity,
            b"UNSEEN": b"%d" % one.unseen,
            b"DELETED": b"%d" % one.deleted,
            b"SIZE": b"%d" % one.octets,
            b"HIGHESTMODSEQ": b"%d" % one.modseq,
            b"APPENDLIMIT": b"%d" % limit,
            b"MAILBOXID": b"(%b)" % one.mailbox_id.encode("ascii"),
        }
        shown = b" ".join(b"%b %b" % (item, values[item]) for item in items)
        name = mailbox(one.name, utf8=self._utf8)
        self._say(untagged(b"STATUS %b (%b)" % (name, shown)))

    @staticmethod
    def _need_selectable(one: Mailbox) -> None:
        if not one.selectable:
            raise Invalid(
                f"There is no mail in {one.name}: it is a parent's name only."
            )

    # ----------------------------------------------------------------------------------
    # What there shall be

    def _need_writing(self) -> None:
        """Pass a key that may change mail.

        :raises ReadOnly: it may only read.
        """
        if self._who.read_only:
            raise ReadOnly(_READ_ONLY)

    async def on_CREATE(self, command: OneMailbox) -> Code:
        """RFC 9051, 6.3.4."""
        self._need_writing()
        made = await self._server.mail.mailboxes.create(self._who, command.mailbox)
        # RFC 8474, 4.2.
        return b"MAILBOXID (%b)" % made.mailbox_id.encode("ascii")

    async def on_DELETE(self, command: OneMailbox) -> Code:
        """RFC 9051, 6.3.5."""
        self._need_writing()
        await self._server.mail.mailboxes.delete(self._who, command.mailbox)
        return b""

    async def on_RENAME(self, command: Rename) -> Code:
        """RFC 9051, 6.3.6."""
        self._need_writing()
        await self._server.mail.mailboxes.rename(self._who, command.old, command.new)
        return b""

    async def on_SUBSCRIBE(self, command: OneMailbox) -> Code:
        """RFC 9051, 6.3.7."""
        self._need_writing()
        await self._server.mail.mailboxes.subscribe(self._who, command.mailbox)
        return b""

    async def on_UNSUBSCRIBE(self, command: OneMailbox) -> Code:
        """RFC 9051, 6.3.8."""
        self._need_writing()
        await self._server.mail.mailboxes.unsubscribe(self._who, command.mailbox)
        return b""

    # ----------------------------------------------------------------------------------
    # Quota

    def on_GETQUOTA(self, command: GetQuota) -> Code:
        """RFC 9208, 4.1.2: an inbox is one root; nothing in it has a limit as yet."""
        if command.root:
            raise Invalid('The one quota root here is "".')
        self._say(untagged(b'QUOTA "" ()'))
        return b""

    async def on_GETQUOTAROOT(self, command: OneMailbox) -> Code:
        """RFC 9208, 4.1.3."""
        found = await self._server.mail.mailboxes.get(self._who, command.mailbox)
        name = mailbox(found.name, utf8=self._utf8)
        self._say(untagged(b'QUOTAROOT %b ""' % name))
        self._say(untagged(b'QUOTA "" ()'))
        return b""


def _matching(command: List) -> Callable[[str], bool]:
    """Whether a name is one that the patterns mean."""
    if any(len(command.reference + one) > MAX_PATTERN for one in command.patterns):
        raise Bad(f"A pattern has at most {MAX_PATTERN} characters.")
    patterns = [Pattern(command.reference + one) for one in command.patterns]
    return lambda name: any(pattern.matches(name) for pattern in patterns)


def _is_selected(command: List, one: Mailbox) -> bool:
    """Whether the selection options mean it (RFC 5258, 3.1; RFC 6154, 2)."""
    if b"SPECIAL-USE" in command.selecting and one.special_use is None:
        return False
    if b"SUBSCRIBED" in command.selecting:
        return one.subscribed
    # A name without a mailbox is listed for what is below it.
    return one.selectable or one.has_children


def _above(names: Iterable[str]) -> set[str]:
    return {parent for name in names for parent in parents(name)}


def _attributes(command: List, one: Mailbox) -> Iterator[str]:
    if not one.selectable:
        # RFC 5258, 3: what does not exist cannot be selected; old clients know that.
        yield "\\NonExistent" if command.extended else "\\Noselect"
    yield "\\HasChildren" if one.has_children else "\\HasNoChildren"
    if one.special_use is not None:
        yield one.special_use
    asked = b"SUBSCRIBED" in command.selecting or b"SUBSCRIBED" in command.returning
    if asked and one.subscribed:
        yield "\\Subscribed"
