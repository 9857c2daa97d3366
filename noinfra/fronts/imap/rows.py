"""What FETCH answers, out of what is prepared: text around octets that are ready.

`Plan` turns a client's items into a way to answer for one row after another. Where all
items are data, that is one formatting a message. Where there are sections of the
octets, it is a list of `Piece`s: what to say, and which octets to say after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from attrs import frozen

from noinfra.app.mailbox_messages import Row, Slice
from noinfra.fronts.imap.refusals import UnknownEncoding
from noinfra.mail.imap.fetch import Data, Item, Section
from noinfra.mail.imap.render import NIL, literal, utf8_string
from noinfra.mail.imap.structure import basic_body
from noinfra.mail.index import Indexed, section
from noinfra.mail.transfer import ENCODINGS, transfer_decode

# For each item: how it is written, the row's attribute, and what has to be asked for.
_PREPARED: dict[str, tuple[bytes, str, str]] = {
    "UID": (b"UID %d", "uid", ""),
    "FLAGS": (b"FLAGS %b", "flags", ""),
    "RFC822.SIZE": (b"RFC822.SIZE %d", "size", ""),
    "MODSEQ": (b"MODSEQ (%d)", "modseq", ""),
    "INTERNALDATE": (b"INTERNALDATE %b", "internaldate", "internaldate"),
    "SAVEDATE": (b"SAVEDATE %b", "savedate", "savedate"),
    "ENVELOPE": (b"ENVELOPE %b", "envelope", "envelope"),
    "BODYSTRUCTURE": (b"BODYSTRUCTURE %b", "bodystructure", "bodystructure"),
}
_FLAGS_ALONE = (("FLAGS",), ("UID", "FLAGS"), ("FLAGS", "UID"))
_ENTRIES = msgspec.json.Decoder(list[dict[str, Any]])
_IDENTITY = frozenset(("7bit", "8bit", "binary", ""))

Value = Callable[[Row], bytes | int]


def _body(row: Row) -> bytes:
    return basic_body(row.bodystructure or b"")


def _email_id(row: Row) -> bytes:
    return (row.email_id or "").encode("ascii")


def _thread_id(row: Row) -> bytes:
    return (row.thread_id or "").encode("ascii")


def _preview(row: Row) -> bytes:
    return NIL if row.preview is None else utf8_string(row.preview)


_DERIVED: dict[str, tuple[bytes, Value, str]] = {
    "BODY": (b"BODY %b", _body, "bodystructure"),
    "EMAILID": (b"EMAILID (%b)", _email_id, ""),
    "THREADID": (b"THREADID (%b)", _thread_id, ""),
    "PREVIEW": (b"PREVIEW %b", _preview, "preview"),
}


@frozen
class Piece:
    """Text, and octets behind it: as they are, or as `render` has them.

    :ivar length: how many octets there must be.
    """

    before: bytes
    slice: Slice
    render: Callable[[bytes], bytes] | None = None


class Plan:
    """How to answer the items of one FETCH."""

    def __init__(self, items: Sequence[Item]) -> None:
        data = [item for item in items if isinstance(item, Data)]
        self.sections = [item for item in items if isinstance(item, Section)]
        self.names = {item.name for item in data}
        self._order = tuple(item.name for item in data)
        self.wanted = frozenset(filter(None, map(_column, data)))
        if any(one.text or one.part or one.binary for one in self.sections):
            self.wanted |= {"parts"}
        self._template = b" ".join(map(_format, data))
        self._values = _values(data)
        self._selectors = {
            one.label: _selector(one.fields)
            for one in self.sections
            if one.text.startswith("HEADER.FIELDS")
        }

    def data(self, row: Row) -> bytes:
        """The data of a message, without the sections."""
        return self._template % self._values(row)

    def lines(self, numbered: Iterable[tuple[int, Row]]) -> bytes:
        """The responses for messages whose items are all data."""
        template = b"* %d FETCH (" + self._template + b")\r\n"
        values = self._values
        return b"".join([template % (number, *values(row)) for number, row in numbered])

    @property
    def flags_alone(self) -> bool:
        """Whether nothing but flags is asked for, and whose they are."""
        return not self.sections and self._order in _FLAGS_ALONE

    def flag_lines(
        self, numbers: Iterable[int], uids: Iterable[int], flags: Iterable[bytes]
    ) -> bytes:
        """The responses where flags are alone."""
        template = b"* %d FETCH (" + self._template + b")\r\n"
        columns = {"UID": uids, "FLAGS": flags}
        ordered = [columns[name] for name in self._order]
        return b"".join(
            [template % line for line in zip(numbers, *ordered, strict=True)]
        )

    def pieces(self, row: Row, before: bytes) -> tuple[list[Piece], bytes]:
        """The sections of a message.

        :param before: what is to be said before the first of them.
        :returns: the pieces, and what is to be said behind the last one.
        :raises UnknownEncoding: a part cannot be decoded.
        """
        entries = _entries(row) if "parts" in self.wanted else []
        pieces: list[Piece] = []
        for item in self.sections:
            place = _place(item, row, entries)
            before += item.label
            if place is None:
                before += b" NIL "
            else:
                piece = self._piece(item, row, entries, place, before)
                pieces.append(piece)
                before = b" "
        return pieces, before[:-1]

    def _piece(
        self,
        item: Section,
        row: Row,
        entries: list[Indexed],
        place: tuple[int, int],
        before: bytes,
    ) -> Piece:
        start, end = place
        render: Callable[[bytes], bytes] | None = None
        if item.binary:
            render = _decoding(item, _encoding(item, entries))
        elif item.label in self._selectors:
            select = self._selectors[item.label]
            exclude = item.text.endswith("NOT")
            render = _selecting(item, select, exclude)
        if render is not None:
            octets = Slice(content_id=row.content_id, start=start, length=end - start)
            return Piece(before, octets, render)
        if item.partial is not None:
            before += b"<%d>" % item.partial[0]
            start = min(start + item.partial[0], end)
            end = min(start + item.partial[1], end)
        length = end - start
        return Piece(
            before + b" {%d}\r\n" % length,
            Slice(content_id=row.content_id, start=start, length=length),
        )


def _column(item: Data) -> str:
    return (_PREPARED.get(item.name) or _DERIVED[item.name])[2]


def _format(item: Data) -> bytes:
    return (_PREPARED.get(item.name) or _DERIVED[item.name])[0]


def _values(items: Sequence[Data]) -> Callable[[Row], tuple[Any, ...]]:
    """What fills the template; in one step where the row has it all."""
    if len(items) > 1 and all(item.name in _PREPARED for item in items):
        return attrgetter(*(_PREPARED[item.name][1] for item in items))
    each: list[Value] = [
        attrgetter(_PREPARED[item.name][1])
        if item.name in _PREPARED
        else _DERIVED[item.name][1]
        for item in items
    ]
    return lambda row: tuple([value(row) for value in each])


def _entries(row: Row) -> list[Indexed]:
    entries: list[Any] = _ENTRIES.decode(row.parts or "[]")
    return entries


def _place(item: Section, row: Row, entries: list[Indexed]) -> tuple[int, int] | None:
    """Where the octets of a section are; None if there is no such section."""
    text = "HEADER" if item.text.startswith("HEADER") else item.text
    name = ".".join(filter(None, (item.part, text)))
    return section(entries, name) if name else (0, row.size)


# Fields of a header


def _selector(names: Iterable[str]) -> re.Pattern[bytes]:
    """What matches whole fields of these names, continuation lines and all."""
    either = b"|".join(re.escape(name.encode("latin-1")) for name in sorted(names))
    return re.compile(
        rb"^(?:%b)[ \t]*+:.*+\n?(?:[ \t].*+\n?)*+" % either,
        re.IGNORECASE | re.MULTILINE,
    )


def _selecting(
    item: Section, selector: re.Pattern[bytes], exclude: bool
) -> Callable[[bytes], bytes]:
    def render(header: bytes) -> bytes:
        if exclude:
            return _partly(item, selector.sub(b"", header))
        return _partly(item, b"".join(selector.findall(header)) + b"\r\n")

    return render


def _partly(item: Section, octets: bytes) -> bytes:
    """What stands behind the label: the octets, or a part of them."""
    if item.partial is None:
        return b" " + literal(octets)
    start, length = item.partial
    return b"<%d> " % start + literal(octets[start : start + length])


# Decoded parts


def _encoding(item: Section, entries: list[Indexed]) -> str:
    """The transfer encoding of a part.

    :raises UnknownEncoding: we cannot undo it.
    """
    if not item.part:
        return ""
    entry = next((one for one in entries if one["p"] == item.part), None)
    encoding = entry.get("x", "").lower() if entry else ""
    if encoding not in ENCODINGS and encoding not in _IDENTITY:
        raise UnknownEncoding(
            f"Part {item.part} is in the encoding {encoding[:40]}; fetch it as BODY."
        )
    return encoding


def _decoding(item: Section, encoding: str) -> Callable[[bytes], bytes]:
    def render(octets: bytes) -> bytes:
        decoded = transfer_decode(octets, encoding)
        if item.size_only:
            return b" %d" % len(decoded)
        shown = _partly(item, decoded)
        # RFC 3516, 4.2: only a literal8 may hold NUL.
        head, brace, rest = shown.partition(b"{")
        return b"%b~%b%b" % (head, brace, rest) if b"\0" in rest else shown

    return render
