"""What FETCH asks for (RFC 9051, 6.4.5): data by name, and sections of the octets."""

from __future__ import annotations

import re

from attrs import field, frozen

from noinfra.mail.imap.render import astring
from noinfra.mail.imap.scanner import (
    MAX_NUMBER,
    MAX_NUMBER64,
    ImapSyntaxError,
    Scanner,
)
from noinfra.mail.imap.sets import SequenceSet, scan_set

MAX_ITEMS = 200
MAX_FIELDS = 200

MACROS = {
    b"ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    b"FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    b"FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
DATA = frozenset(
    (
        *(b"FLAGS", b"UID", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
        # RFC 9051; RFC 7162; RFC 8474; RFC 8514.
        *(b"BODYSTRUCTURE", b"MODSEQ", b"EMAILID", b"THREADID", b"SAVEDATE"),
    )
)
TEXTS = frozenset((b"HEADER", b"TEXT", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT", b"MIME"))

_PART = re.compile(rb"[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8}){0,100}(?![0-9])")
_TEXT = re.compile(rb"[A-Za-z.]+")
_NAME = re.compile(rb"[A-Za-z0-9.]+")


@frozen
class Data:
    """A datum by its name: FLAGS, ENVELOPE and the like."""

    name: str


@frozen(kw_only=True)
class Section:
    """Octets of the message, or the size of a part.

    :ivar label: what the answer calls it, without the origin of a partial.
    :ivar part: such as "1.2"; "" is the message itself.
    :ivar text: one of `TEXTS`, or "" for the part's body (or the whole message).
    :ivar fields: the names for HEADER.FIELDS and HEADER.FIELDS.NOT, in small letters.
    :ivar partial: where to begin, and how many octets at most.
    :ivar binary: the transfer encoding is undone (RFC 3516).
    :ivar size_only: how many octets it has, instead of those.
    """

    label: bytes
    part: str = ""
    text: str = ""
    fields: frozenset[str] = field(default=frozenset())
    partial: tuple[int, int] | None = None
    peek: bool = False
    binary: bool = False
    size_only: bool = False


Item = Data | Section


@frozen(kw_only=True)
class Fetch:
    """FETCH and UID FETCH, with the modifiers of RFC 7162."""

    set: SequenceSet
    uid: bool
    items: tuple[Item, ...]
    changed_since: int | None = None
    vanished: bool = False

    @property
    def sees(self) -> bool:
        r"""Whether the messages become \Seen by it."""
        return any(isinstance(one, Section) and not one.peek for one in self.items)


def scan_fetch(scanner: Scanner, *, uid: bool) -> Fetch:
    """The arguments of FETCH."""
    numbers = scan_set(scanner)
    scanner.space()
    items = _items(scanner)
    changed_since, vanished = None, False
    if scanner.accept(b" ("):
        changed_since, vanished = _modifiers(scanner)
    if vanished and not (uid and changed_since is not None):
        # RFC 7162, 3.2.6.
        raise ImapSyntaxError("VANISHED goes with UID FETCH and CHANGEDSINCE alone.")
    names = {one.name for one in items if isinstance(one, Data)}
    if changed_since is not None and "MODSEQ" not in names:
        # RFC 7162, 3.1.4.1: it is implied.
        items.append(Data("MODSEQ"))
    if uid and "UID" not in names:
        items.insert(0, Data("UID"))
    return Fetch(
        set=numbers,
        uid=uid,
        items=tuple(dict.fromkeys(items)),
        changed_since=changed_since,
        vanished=vanished,
    )


def _items(scanner: Scanner) -> list[Item]:
    macro = MACROS.get(scanner.peek_word())
    if macro is not None:
        scanner.word()
        return [Data(name) for name in macro]
    if scanner.follows(b"("):
        return scanner.listed(lambda: _item(scanner), most=MAX_ITEMS, empty=False)
    return [_item(scanner)]


def _modifiers(scanner: Scanner) -> tuple[int | None, bool]:
    changed_since, vanished = None, False
    while True:
        word = scanner.word("CHANGEDSINCE or VANISHED")
        if word == b"CHANGEDSINCE":
            scanner.space()
            changed_since = scanner.number(most=MAX_NUMBER64)
        elif word == b"VANISHED":
            vanished = True
        else:
            raise ImapSyntaxError("FETCH knows the modifiers CHANGEDSINCE, VANISHED.")
        if scanner.accept(b")"):
            return changed_since, vanished
        scanner.space()


def _item(scanner: Scanner) -> Item:
    name = scanner.take(_NAME, "the name of a FETCH item")[0].upper()
    if name in (b"BODY", b"BODY.PEEK") and scanner.follows(b"["):
        return _body(scanner, peek=name == b"BODY.PEEK")
    if name in (b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE"):
        return _binary(scanner, name)
    if name in DATA:
        return Data(name.decode("ascii"))
    match name:
        case b"RFC822":
            return Section(label=name)
        case b"RFC822.HEADER":
            return Section(label=name, text="HEADER", peek=True)
        case b"RFC822.TEXT":
            return Section(label=name, text="TEXT")
        case b"PREVIEW":
            _preview(scanner)
            return Data("PREVIEW")
    raise ImapSyntaxError(f"FETCH has no item {name[:40].decode('ascii')}.")


def _preview(scanner: Scanner) -> None:
    """RFC 8970, 4.1: LAZY asks for no more than is ready; ours always is."""
    if scanner.accept(b" ("):
        if scanner.word() != b"LAZY":
            raise ImapSyntaxError("PREVIEW knows the modifier LAZY.")
        scanner.expect(b")")


def _body(scanner: Scanner, *, peek: bool) -> Section:
    scanner.expect(b"[")
    part, text, names = b"", b"", list[bytes]()
    if not scanner.follows(b"]"):
        part, text, names = _section(scanner)
    scanner.expect(b"]")
    spec = b".".join(filter(None, (part, text)))
    if names:
        spec += b" (%b)" % b" ".join(map(astring, names))
    return Section(
        label=b"BODY[%b]" % spec,
        part=part.decode("ascii"),
        text=text.decode("ascii"),
        fields=frozenset(name.decode("latin-1").lower() for name in names),
        partial=_partial(scanner),
        peek=peek,
    )


def _section(scanner: Scanner) -> tuple[bytes, bytes, list[bytes]]:
    part = _part(scanner)
    if part and not scanner.accept(b"."):
        return part, b"", []
    text = scanner.take(_TEXT, "HEADER, TEXT or MIME")[0].upper()
    if text not in TEXTS or (text == b"MIME" and not part):
        raise ImapSyntaxError(
            "A section is a part's number, HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT,"
            " TEXT, or MIME behind a number."
        )
    if not text.startswith(b"HEADER.FIELDS"):
        return part, text, []
    scanner.space()
    names = scanner.listed(
        lambda: scanner.astring("a field's name"), most=MAX_FIELDS, empty=False
    )
    return part, text, names


def _part(scanner: Scanner) -> bytes:
    if not scanner.follows_digit():
        return b""
    return scanner.take(_PART, "a part's number as 1.2")[0]


def _partial(scanner: Scanner) -> tuple[int, int] | None:
    if not scanner.accept(b"<"):
        return None
    # RFC 9051, 9: the offset may have 63 bits there, and does no harm here.
    start = scanner.number(most=MAX_NUMBER64)
    scanner.expect(b".")
    length = scanner.number(most=MAX_NUMBER, least=1)
    scanner.expect(b">")
    return start, length


def _binary(scanner: Scanner, name: bytes) -> Section:
    """RFC 3516, 4.2."""
    scanner.expect(b"[")
    part = _part(scanner)
    scanner.expect(b"]")
    size_only = name == b"BINARY.SIZE"
    shown = name if size_only else b"BINARY"
    return Section(
        label=b"%b[%b]" % (shown, part),
        part=part.decode("ascii"),
        partial=None if size_only else _partial(scanner),
        peek=name != b"BINARY",
        binary=True,
        size_only=size_only,
    )
