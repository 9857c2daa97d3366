"""The selected mailbox as one session knows it (RFC 9051, 2.3.1.2).

A session's sequence numbers change only by what it is told. So what others expunge
stays here, in `gone`, until it may be said; and what a session changes itself is in
`told`, so that it does not hear of it twice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from attrs import define, field

from noinfra.app.mailbox_messages import FlagRow
from noinfra.fronts.imap.refusals import Bad
from noinfra.mail.imap.sets import Range, SequenceSet, ranges_of, within
from noinfra.mail.imap_search import Uids

# Combinations of flags that are remembered.
MOST = 10_000


@define(eq=False)
class View:
    """One session's mailbox.

    :ivar uids: those that have a sequence number, in its order.
    :ivar highest: the last UID that we know was given, be it still there or not.
    :ivar modseq: up to which change all is known.
    :ivar gone: UIDs that have a number still, but no message.
    :ivar fresh: UIDs of messages that have no number yet.
    :ivar told: the modseq of changes that were told ahead of their turn.
    :ivar saved: the UIDs that SEARCH saved.
    :ivar flags: what FLAGS named; keywords join them when they are first seen.
    :ivar flags_of: by UID, once the session has read all of them; they follow each
        change that it hears of, so that nobody has to be asked again.
    """

    name: str
    folder_id: int
    read_only: bool
    uids: array[int]
    highest: int
    modseq: int
    gone: set[int] = field(factory=set)
    fresh: set[int] = field(factory=set)
    told: dict[int, int] = field(factory=dict)
    saved: Sequence[int] = ()
    flags: list[bytes] = field(factory=list)
    flags_of: dict[int, bytes] | None = None
    _shown: set[bytes] = field(factory=set)

    # ----------------------------------------------------------------------------------
    # Numbers

    def number(self, uid: int) -> int | None:
        """The sequence number of a UID; None where it has none."""
        index = bisect_left(self.uids, uid)
        known = index < len(self.uids) and self.uids[index] == uid
        return index + 1 if known else None

    def numbers(self, uids: Sequence[int]) -> list[int]:
        """The sequence numbers of UIDs, without those that have none."""
        first = self.number(uids[0]) if uids else None
        if first is not None:
            # Many in a row are found at once.
            stop = first + len(uids)
            if self.uids[first - 1 : stop - 1].tolist() == uids:
                return list(range(first, stop))
        return [number for uid in uids if (number := self.number(uid)) is not None]

    def known(self, uids: Iterable[int]) -> list[int]:
        """The UIDs that have a number."""
        return [uid for uid in uids if self.number(uid) is not None]

    # ----------------------------------------------------------------------------------
    # Sets

    def slices(self, numbers: SequenceSet, *, uid: bool) -> list[Range]:
        """Where a set's messages are in `uids`: half-open slices, in order.

        :raises Bad: it has sequence numbers that no message has (RFC 9051, 9).
        """
        uids = self.uids
        if numbers.saved:
            return within(uids, ranges_of(self.saved))
        if uid:
            # RFC 9051, 6.4.9: UIDs that are not there are ignored, and "*" is the last.
            return within(uids, numbers.resolve(uids[-1] if uids else 0))
        if numbers.highest > len(uids) or (numbers.has_star and not uids):
            raise Bad(f"There are only {len(uids)} messages; that set names others.")
        return [(low - 1, high) for low, high in numbers.resolve(len(uids))]

    def chosen(self, numbers: SequenceSet, *, uid: bool) -> array[int]:
        """The UIDs that a set means, in order."""
        slices = self.slices(numbers, uid=uid)
        if len(slices) == 1:
            start, stop = slices[0]
            return self.uids[start:stop]
        found = array("I")
        for start, stop in slices:
            found.extend(self.uids[start:stop])
        return found

    def place(self, numbers: SequenceSet, uid: bool) -> Uids:
        """What a set means in a search, where a number that none has matches nothing.

        RFC 9051, 9 would rather have BAD; but a search harms nobody, and a client whose
        count is behind ours deserves an answer, as other servers give it.
        """
        if uid or numbers.saved:
            slices = self.slices(numbers, uid=uid)
        else:
            most = len(self.uids)
            slices = [
                (low - 1, min(high, most))
                for low, high in numbers.resolve(most)
                if 0 < low <= most
            ]
        return Uids(tuple((self.uids[i], self.uids[j - 1]) for i, j in slices))

    # ----------------------------------------------------------------------------------
    # Flags

    def new_flags(self, shown: Iterable[bytes]) -> list[bytes]:
        """Flags that are about to be shown, and that the client has not heard of.

        :param shown: flags of messages as FETCH has them, in parentheses. There are few
            combinations of them, so that most need no second look.
        """
        fresh = set(shown) - self._shown
        if not fresh:
            return []
        if len(self._shown) > MOST:
            self._shown.clear()
        self._shown |= fresh
        named = {flag for flags in fresh for flag in flags[1:-1].split()}
        found = sorted(named.difference(self.flags))
        self.flags += found
        return found

    def note(self, rows: Iterable[FlagRow]) -> None:
        """Remember the flags that messages have now, if we do so of all."""
        if self.flags_of is not None:
            self.flags_of.update((row.uid, row.flags) for row in rows)

    # ----------------------------------------------------------------------------------
    # Changes

    def arrive(self) -> bool:
        """Number what is new; tells whether there was any."""
        fresh = sorted(uid for uid in self.fresh if uid > self.highest)
        self.fresh.clear()
        if not fresh:
            return False
        self.uids.extend(fresh)
        self.highest = fresh[-1]
        return True

    def vanish(self, uids: Sequence[int] | set[int]) -> None:
        """Note what is no more, to be told when it may be."""
        self.gone.update(self.known(uids))
        self.fresh.difference_update(uids)
        if self.flags_of is not None:
            for uid in uids:
                self.flags_of.pop(uid, None)

    def forget(self) -> tuple[list[int], list[int]]:
        """Take the numbers from what is gone.

        :returns: the UIDs in order, and the sequence numbers as they are to be said:
            the last one first, so that none changes another (RFC 9051, 7.5.1).
        """
        gone, self.gone = self.gone, set()
        if not gone:
            return [], []
        uids = sorted(gone)
        numbers = self.numbers(uids)
        self.uids = array("I", [uid for uid in self.uids if uid not in gone])
        numbers.reverse()
        return uids, numbers
