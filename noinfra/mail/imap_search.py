"""What SEARCH, SORT and THREAD ask for, as a tree (RFC 3501, 6.4.4; RFC 5256).

The front makes it of the client's command: strings are decoded, sequence numbers and
``*`` are UIDs, and a date is a day. ``noinfra.store.mailbox_search`` makes SQL of it.
"""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

from attrs import frozen


@frozen
class All:
    """Every message."""


@frozen
class And:
    """Those that every key matches; of no keys, every message."""

    keys: tuple[Key, ...]


@frozen
class Or:
    """Those that one key matches, or the other."""

    one: Key
    other: Key


@frozen
class Not:
    """Those that the key does not match."""

    key: Key


@frozen
class Flag:
    """Those with a system flag, or a keyword as a client writes it."""

    name: str


@frozen
class Uids:
    """Those whose UID lies in one of the ranges, both ends included."""

    ranges: tuple[tuple[int, int], ...]


@frozen(kw_only=True)
class Arrived:
    """Those with an internal date before a day, since a day, or both."""

    before: date | None = None
    since: date | None = None


@frozen(kw_only=True)
class SentOn:
    """By the day that the Date field names, whatever its zone."""

    before: date | None = None
    since: date | None = None


@frozen(kw_only=True)
class Saved:
    """By the day when they came into the folder (RFC 8514)."""

    before: date | None = None
    since: date | None = None


@frozen(kw_only=True)
class Within:
    """Those that came longer ago, or not so long, in seconds (RFC 5032)."""

    older: int | None = None
    younger: int | None = None


@frozen(kw_only=True)
class Size:
    """Those with more octets, or fewer."""

    larger: int | None = None
    smaller: int | None = None


@frozen
class Header:
    """Those with a field of this name whose value contains a string."""

    name: str
    value: str


@frozen
class Text:
    """Those whose header or body contains a string."""

    value: str


@frozen
class Body:
    """Those whose body contains a string."""

    value: str


@frozen
class Modseq:
    """Those that have changed since, or then (RFC 7162, 3.1.5)."""

    least: int


@frozen
class EmailId:
    """Those with this content (RFC 8474)."""

    id: str


@frozen
class ThreadId:
    """Those of this conversation (RFC 8474)."""

    id: str


Key: TypeAlias = (
    All | And | Or | Not | Flag | Uids | Arrived | SentOn | Saved | Within | Size
    | Header | Text | Body | Modseq | EmailId | ThreadId
)  # fmt: skip

# RFC 5256, 3 and RFC 5957.
SORT_KEYS = frozenset(
    (
        "arrival", "cc", "date", "from", "size", "subject", "to", "displayfrom",
        "displayto",
    )
)  # fmt: skip


@frozen
class SortKey:
    """By what to sort; one of `SORT_KEYS`."""

    name: str
    reverse: bool = False
