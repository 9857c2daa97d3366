"""A mail and its parts, as values (RFC 2045, 2183, 5322)."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from attrs import field, frozen

from noinfra.mail.address import Mailbox, mailboxes
from noinfra.mail.charset import decode
from noinfra.mail.header import Field, message_ids, parse_date, read_text, unfold

MAX_FILENAME = 200
MAX_REFERENCES = 200

# Marks that turn the direction of writing hide a file's true ending.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@frozen(kw_only=True)
class Part:
    """One MIME part: a header, octets[header_start:body_start], and a body up to end.

    path is IMAP's part number (RFC 3501, 6.4.5). The message itself is "" when it is a
    multipart, and "1" when it is not. The message within a message/rfc822 part "2" is
    "2.1" when it is not a multipart; when it is, its parts are "2.1", "2.2" and it is
    "2.TEXT", which is what IMAP calls its body.

    A message/rfc822 part has the message in it as its only child. A multipart in which
    no boundary was found has no children and is read as plain text. filename is for
    display: decoded, without path, controls or marks that hide an ending. lines are
    counted for text and message parts, which alone are asked for them; else 0. values
    has the raw value of the first field of each name, by the name in lower case.
    """

    path: str
    type: str
    subtype: str
    parameters: dict[str, str]
    encoding: str
    disposition: str | None
    disposition_parameters: dict[str, str]
    content_id: str | None
    description: str | None
    language: tuple[str, ...]
    location: str | None
    md5: str | None
    header_start: int
    body_start: int
    end: int
    lines: int
    fields: tuple[Field, ...] = field(repr=False)
    values: dict[str, bytes] = field(repr=False)
    children: tuple["Part", ...] = field(repr=False)

    @property
    def content_type(self) -> str:
        """Such as text/plain."""
        return f"{self.type}/{self.subtype}"

    @property
    def charset(self) -> str | None:
        """The charset parameter, as it was written."""
        return self.parameters.get("charset")

    @property
    def filename(self) -> str | None:
        """The name to show and to save under, if there is one."""
        name = self.disposition_parameters.get("filename")
        return safe_filename(name or self.parameters.get("name") or "")

    @property
    def size(self) -> int:
        """The octets of the body, as they were sent."""
        return self.end - self.body_start

    @property
    def is_multipart(self) -> bool:
        """Whether it has parts of its own; a message/rfc822 has not, in this sense."""
        return self.type == "multipart" and bool(self.children)

    @property
    def is_inline(self) -> bool:
        """Whether it is meant to be shown within the text that refers to it."""
        if self.disposition is not None:
            return self.disposition == "inline"
        return self.content_id is not None and self.type == "image"


@frozen(kw_only=True)
class Message:
    """A mail: its parts in the order of their octets, the message itself first.

    The properties read the fields of the header. Where a field that may stand once
    stands more often (RFC 5322, 3.6), a defect is noted and the first one counts.
    """

    root: Part
    parts: tuple[Part, ...]
    defects: tuple[str, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the message's header."""
        return self.root.fields

    def first(self, name: str) -> Field | None:
        """The first field of this name, in any case."""
        if name.lower() not in self.root.values:
            return None
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> tuple[Field, ...]:
        """All fields of this name, in any case."""
        return fields_named(self.fields, name)

    def part(self, path: str) -> Part | None:
        """The part with this path."""
        return next((part for part in self.parts if part.path == path), None)

    @cached_property
    def subject(self) -> str:
        """The subject, decoded; empty when there is none."""
        return read_text(self.root.values.get("subject", b""))

    @cached_property
    def message_id(self) -> str | None:
        """The Message-ID without its brackets."""
        return next(iter(self._ids("message-id")), None)

    @cached_property
    def in_reply_to(self) -> tuple[str, ...]:
        """The ids of In-Reply-To, without brackets."""
        return self._ids("in-reply-to")

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The ids of References, oldest first; of too many, the root and the last."""
        return self._ids("references")

    @cached_property
    def date(self) -> datetime | None:
        """The Date in UTC, or None when there is no sound one."""
        date = self.root.values.get("date")
        return None if date is None else parse_date(date)

    @cached_property
    def from_(self) -> tuple[Mailbox, ...]:
        """The authors."""
        return self._mailboxes("from")

    @cached_property
    def sender(self) -> tuple[Mailbox, ...]:
        """Who sent it, if not the author: the Sender field, or nothing."""
        return self._mailboxes("sender")

    @cached_property
    def reply_to(self) -> tuple[Mailbox, ...]:
        """Where the author wants replies: the Reply-To field, or nothing."""
        return self._mailboxes("reply-to")

    @cached_property
    def to(self) -> tuple[Mailbox, ...]:
        """The recipients of the To field."""
        return self._mailboxes("to")

    @cached_property
    def cc(self) -> tuple[Mailbox, ...]:
        """The recipients of the Cc field."""
        return self._mailboxes("cc")

    @cached_property
    def bcc(self) -> tuple[Mailbox, ...]:
        """The recipients of the Bcc field, which only the sender's copy has."""
        return self._mailboxes("bcc")

    def _mailboxes(self, name: str) -> tuple[Mailbox, ...]:
        found = self.root.values.get(name)
        return () if not found else mailboxes(decode(unfold(found), "utf-8")[0])

    def _ids(self, name: str) -> tuple[str, ...]:
        found = self.root.values.get(name)
        ids = () if found is None else message_ids(found)
        if len(ids) > MAX_REFERENCES:
            return (ids[0], *ids[1 - MAX_REFERENCES :])
        return ids


def fields_named(fields: Sequence[Field], name: str) -> tuple[Field, ...]:
    """The fields of this name, in any case."""
    name = name.lower()
    return tuple(one for one in fields if one.name.lower() == name)


def safe_filename(name: str) -> str | None:
    """A file's name without path and what could mislead; None if nothing is left."""
    name = _UNSEEN.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])
    name = name.strip(" \"'").rstrip(" .")
    if len(name) <= MAX_FILENAME:
        return name or None
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 20:
        return name[:MAX_FILENAME]
    return f"{stem[: MAX_FILENAME - len(ending) - 1]}.{ending}"
