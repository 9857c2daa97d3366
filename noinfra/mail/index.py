"""The part index: what is stored of a mail's structure, to serve parts by substring.

It is a JSON array with an object for each part, in the order of Message.parts (a
message within another follows the part that holds it). Keys are short, since there is
one for each part of each mail, and left out where they say nothing:

    p  the part's path             t  its type, such as text/plain
    h  where its header begins     b  where its body begins     e  where it ends
    x  its transfer encoding, if not 7bit                       c  its charset
    d  its disposition             n  its file name             i  its Content-ID
    a  1 if it is an attachment    m  1 if the next entry is the message within it
"""

from collections.abc import Sequence
from typing import Required, TypedDict

from noinfra.mail.bodies import attachments
from noinfra.mail.part import Message, Part


class Indexed(TypedDict, total=False):
    """One part in the index."""

    p: Required[str]
    t: Required[str]
    h: Required[int]
    b: Required[int]
    e: Required[int]
    x: str
    c: str
    d: str
    n: str
    i: str
    a: int
    m: int


def index(message: Message) -> list[Indexed]:
    """The index of a message, ready for JSON."""
    attached = {part.path for part in attachments(message)}
    return [_indexed(part, attached=part.path in attached) for part in message.parts]


def _indexed(part: Part, *, attached: bool) -> Indexed:
    entry: Indexed = {
        "p": part.path,
        "t": part.content_type,
        "h": part.header_start,
        "b": part.body_start,
        "e": part.end,
    }
    if part.encoding != "7bit":
        entry["x"] = part.encoding
    if part.charset:
        entry["c"] = part.charset
    if part.disposition:
        entry["d"] = part.disposition
    if part.filename:
        entry["n"] = part.filename
    if part.content_id:
        entry["i"] = part.content_id
    if attached:
        entry["a"] = 1
    if part.type == "message" and part.children:
        entry["m"] = 1
    return entry


def section(entries: Sequence[Indexed], name: str) -> tuple[int, int] | None:
    """Where the octets of an IMAP section lie, from and to; None if it does not exist.

    A section is "", HEADER, TEXT, 1.2, 1.2.MIME, 1.2.HEADER or 1.2.TEXT (RFC 3501,
    6.4.5); HEADER.FIELDS is a selection out of HEADER, and left to the caller.
    """
    path, _, word = name.upper().rpartition(".")
    if word.isdigit() or not word:
        path, word = name, ""
    number = _find(entries, path)
    if number is None:
        return None
    entry = entries[number]
    if word in ("HEADER", "TEXT") and path:
        if not entry.get("m"):
            return None
        entry = entries[number + 1]
    if word in ("HEADER", "MIME"):
        return (entry["h"], entry["b"]) if path or word == "HEADER" else None
    if word == "TEXT" or path:
        return entry["b"], entry["e"]
    return (entry["h"], entry["e"]) if not word else None


def _find(entries: Sequence[Indexed], path: str) -> int | None:
    if not path:
        return 0 if entries else None
    return next((n for n, entry in enumerate(entries) if entry["p"] == path), None)
