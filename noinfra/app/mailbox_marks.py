r"""Flags and keywords, as a mail client writes them, in labels and flags.

\Seen is the absence of the label unread, so that to add it is to remove that.
"""

from __future__ import annotations

from collections.abc import Sequence

from noinfra.app.selecting import SYSTEM_LABELS
from noinfra.mail.imap_keywords import (
    FLAGGED,
    SEEN,
    STARRED,
    UNREAD,
    label_of,
    system_flag,
)
from noinfra.store.mailbox_changing import Marks, Mode


def marks(mode: Mode, names: Sequence[str]) -> Marks:
    r"""What STORE is to do.

    What no client may set is passed over, as \Recent is (RFC 3501, 2.3.2).
    """
    seen, labels, flags = split(names)
    if mode == "remove":
        return Marks(
            replace=False,
            add_labels=[UNREAD] if seen else [],
            remove_labels=labels,
            add_flags=[],
            remove_flags=flags,
            kept=[],
        )
    replace = mode == "replace"
    unread = replace and not seen
    return Marks(
        replace=replace,
        add_labels=[*labels, UNREAD] if unread else labels,
        remove_labels=[UNREAD] if seen else [],
        add_flags=flags,
        remove_flags=[],
        kept=sorted(SYSTEM_LABELS),
    )


def split(names: Sequence[str]) -> tuple[bool, list[str], list[str]]:
    r"""Whether \Seen is among them; the labels and the flags that the others are."""
    seen, labels, flags = False, set(), set()
    for name in names:
        flag = system_flag(name)
        if flag == SEEN:
            seen = True
        elif flag == FLAGGED:
            labels.add(STARRED)
        elif flag is not None:
            flags.add(flag)
        elif not name.startswith("\\") and (label := label_of(name)) is not None:
            labels.add(label)
    return seen, sorted(labels), sorted(flags)
