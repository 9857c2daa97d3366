r"""Labels as IMAP keywords, and back (RFC 3501, 2.3.2).

``\Seen`` is the absence of the label unread, ``\Flagged`` the label starred; what the
server itself says by received and sent has no keyword. Any other label is a keyword,
and each keyword one label: what cannot stand in an atom is ``=`` and the hexadecimal
octets of the character's UTF-8, and ``=`` is escaped only where it would be read so. A
keyword that a client invents therefore stays as it wrote it, and is a label of that
name.

Case is kept, as labels have it: ``Urgent`` and ``urgent`` are two. Keywords that are
registered (RFC 5788) are brought to their registered form, as mail clients differ.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

UNREAD = "unread"
STARRED = "starred"
# Labels that no keyword stands for.
HIDDEN = frozenset((UNREAD, STARRED, "received", "sent"))

SEEN, FLAGGED = "\\Seen", "\\Flagged"
# The flags that are kept as such, beside the labels.
KEPT = ("\\Answered", "\\Deleted", "\\Draft")
SYSTEM_FLAGS = (*KEPT, FLAGGED, SEEN)

# What a label of the API may be.
LONGEST = 100

_SYSTEM = {flag.lower(): flag for flag in SYSTEM_FLAGS}
# What clients have in common; the last five are their colours.
REGISTERED = (
    *("$Forwarded", "$MDNSent", "$SubmitPending", "$Submitted", "$Junk", "$NotJunk"),
    *("$Phishing", "$Important"),
    *("$Label1", "$Label2", "$Label3", "$Label4", "$Label5"),
)
_REGISTERED = {name.lower(): name for name in REGISTERED}
# RFC 3501, 9: what ends an atom, and what is not ASCII.
_SPECIAL = re.compile(r"[^!#$&\'+,\-./0-9:;<=>?@A-Z[^_`a-z|}~]")
_OCTETS = re.compile(r"(?:=[0-9A-F]{2}){1,4}")
_ESCAPED_EQUALS = "=3D"


def keyword_of(label: str) -> str | None:
    """The keyword of a label; None for one that has none."""
    if label in HIDDEN:
        return None
    keyword = ""
    # From the end: whether "=" must be escaped depends on what is written after it.
    for character in reversed(label):
        if _SPECIAL.match(character):
            keyword = _token(character) + keyword
        elif character == "=" and _token_at("=" + keyword, 0):
            keyword = _ESCAPED_EQUALS + keyword
        else:
            keyword = character + keyword
    return keyword


def label_of(keyword: str) -> str | None:
    """The label of a keyword, an atom; None for one that a client may not set."""
    keyword = _REGISTERED.get(keyword.lower(), keyword)
    label, at = "", 0
    while at < len(keyword):
        found = _token_at(keyword, at) if keyword[at] == "=" else None
        character, length = found or (keyword[at], 1)
        label += character
        at += length
    return None if label in HIDDEN or not 0 < len(label) <= LONGEST else label


def system_flag(name: str) -> str | None:
    """A system flag in its own case; None for what is none of those that are kept."""
    return _SYSTEM.get(name.lower())


def rendered(labels: Collection[str], flags: Iterable[str]) -> bytes:
    """The flags of a message as FETCH sends them, in parentheses."""
    names = sorted(flags)
    if STARRED in labels:
        names.append(FLAGGED)
    if UNREAD not in labels:
        names.append(SEEN)
    names += [name for name in map(keyword_of, labels) if name is not None]
    return f"({' '.join(names)})".encode("ascii")


def _token(character: str) -> str:
    octets = character.encode("utf-8", "surrogatepass")
    return "".join(f"={octet:02X}" for octet in octets)


def _token_at(keyword: str, at: int) -> tuple[str, int] | None:
    """The character that is escaped at a place, and the length of its escape."""
    equals = 0
    while keyword.startswith("3D", at + 1 + 2 * equals):
        equals += 1
    # "=3D", any number of times "3D", before what would be an escape after "=".
    octets = _OCTETS.match("=" + keyword[at + 1 + 2 * equals : at + 13 + 2 * equals])
    character = _character(octets[0]) if octets else None
    if character is None:
        return None
    return ("=", 3) if equals else (character, len(_token(character)))


def _character(escaped: str) -> str | None:
    """The one special character that an escape begins with."""
    octets = bytes.fromhex(escaped.replace("=", ""))
    for length in range(1, len(octets) + 1):
        try:
            character = octets[:length].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            continue
        return character if _SPECIAL.match(character) else None
    return None
