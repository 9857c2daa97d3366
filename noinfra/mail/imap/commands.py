"""The commands of a client, one value each (RFC 9051, 6, and its extensions).

FETCH is in `fetch`, SEARCH with SORT and THREAD in `search`. A command without
arguments is its name alone.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from noinfra.mail.imap.sets import SequenceSet


@frozen(kw_only=True)
class Plain:
    """A command that stands alone: NOOP, CAPABILITY, LOGOUT, IDLE and the like."""


@frozen(kw_only=True)
class Login:
    """LOGIN (RFC 9051, 6.2.3)."""

    user: bytes
    password: bytes = field(repr=False)


@frozen(kw_only=True)
class Authenticate:
    """AUTHENTICATE (RFC 9051, 6.2.2), with an initial response or without.

    :ivar initial: as it was written, in base64; "=" is an empty one.
    """

    mechanism: bytes
    initial: bytes | None = field(repr=False)


@frozen(kw_only=True)
class Enable:
    """ENABLE (RFC 9051, 6.3.1), the names in capitals."""

    capabilities: tuple[bytes, ...]


@frozen(kw_only=True)
class Id:
    """ID (RFC 2971): what the client says of itself."""

    parameters: tuple[tuple[bytes, bytes | None], ...]


@frozen(kw_only=True)
class Qresync:
    """What a client remembers of a mailbox (RFC 7162, 3.2.5).

    :ivar known: UIDs that it has; None is all below the next.
    :ivar match: sequence numbers, and the UIDs that it believes them to be.
    """

    uidvalidity: int
    modseq: int
    known: SequenceSet | None = None
    match: tuple[SequenceSet, SequenceSet] | None = None


@frozen(kw_only=True)
class Select:
    """SELECT, and EXAMINE where read_only (RFC 9051, 6.3.2 and 6.3.3)."""

    mailbox: str
    read_only: bool
    condstore: bool = False
    qresync: Qresync | None = None


@frozen(kw_only=True)
class OneMailbox:
    """CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE, GETQUOTAROOT: one name."""

    mailbox: str


@frozen(kw_only=True)
class Rename:
    """RENAME (RFC 9051, 6.3.6)."""

    old: str
    new: str


@frozen(kw_only=True)
class List:
    """LIST (RFC 9051, 6.3.9), and LSUB as RFC 3501, 6.3.9 has it.

    :ivar selecting: SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL-USE.
    :ivar returning: SUBSCRIBED, CHILDREN, SPECIAL-USE.
    :ivar status: the items of RETURN (STATUS (…)), RFC 5819.
    :ivar extended: the command has the form of RFC 5258.
    """

    reference: str
    patterns: tuple[str, ...]
    selecting: frozenset[bytes] = frozenset()
    returning: frozenset[bytes] = frozenset()
    status: tuple[bytes, ...] = ()
    extended: bool = False


@frozen(kw_only=True)
class Status:
    """STATUS (RFC 9051, 6.3.11)."""

    mailbox: str
    items: tuple[bytes, ...]


@frozen(kw_only=True)
class Expunge:
    """UID EXPUNGE (RFC 9051, 6.4.9)."""

    uids: SequenceSet


@frozen(kw_only=True)
class Store:
    """STORE and UID STORE (RFC 9051, 6.4.6; RFC 7162, 3.1.3)."""

    set: SequenceSet
    uid: bool
    how: Literal["replace", "add", "remove"]
    silent: bool
    flags: tuple[str, ...]
    unchanged_since: int | None


@frozen(kw_only=True)
class Copy:
    """COPY and MOVE, and their UID forms."""

    set: SequenceSet
    uid: bool
    mailbox: str


@frozen(kw_only=True)
class GetQuota:
    """GETQUOTA (RFC 9208, 4.2)."""

    root: bytes


@frozen(kw_only=True)
class Compress:
    """COMPRESS (RFC 4978)."""

    mechanism: bytes
