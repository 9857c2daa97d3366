"""What a server does to a mail that a mail program hands it (RFC 6409, 6 and 8).

The body and its MIME structure stay as they were sent. The header must be one that all
readers read alike: it is our domain that signs it, and our word that its authors are
who they say.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from attrs import frozen

from noinfra.mail.address import Mailbox, mailboxes
from noinfra.mail.addresslist import Reader
from noinfra.mail.charset import decode
from noinfra.mail.header import Field, message_ids, parse_fields, unfold
from noinfra.mail.mailbox import QUOTED_STRING, Address
from noinfra.mail.part import fields_named
from noinfra.mail.trace import add_missing, header_end, strip_fields

# A field and the lines that it is folded onto. Readers differ on white space before the
# colon (RFC 5322, 4.5), and on a first line that is indented and continues nothing.
_FIELDS = re.compile(rb"(?:[!-9;-~]++:[^\n\0]*+(?:\n[ \t][^\n\0]*+)*+(?:\n|\Z))*+")
_COMMENT = re.compile(r"\([^()]*+\)")
#: RFC 5322, 3.6: these stand once at most, and readers differ on which of two counts.
_ONCE: Final = (
    *("from", "sender", "reply-to", "to", "cc", "subject", "date"),
    *("message-id", "in-reply-to", "references"),
)


class Unfit(ValueError):
    """A mail that we do not put our name to; the text says what is wrong with it."""


@frozen(kw_only=True)
class Submitted:
    """A mail made ready to be signed, and whom its header names.

    The recipients are those of To and Cc.
    """

    octets: bytes
    authors: tuple[Address, ...]
    sender: tuple[Address, ...]
    recipients: tuple[Address, ...]


def submitted(octets: bytes, *, date: datetime, message_id: str) -> Submitted:
    """Take off what is nobody's business, and add what is missing.

    Bcc is for the envelope alone (RFC 5322, 3.6.3), and Return-Path for the end of the
    way (RFC 5321, 4.4).

    :param message_id: without brackets, for a mail that has none.
    :raises Unfit: its header is not sound, or names no author.
    """
    fields = _fields(octets)
    authors = _addresses(fields, "From")
    if not authors:
        raise Unfit("The header has no From; say who writes (RFC 5322, 3.6).")
    identifier = fields_named(fields, "Message-ID")
    dropped = ["Bcc", "Return-Path"]
    if identifier and not message_ids(identifier[0].value):
        dropped.append("Message-ID")
    stripped = strip_fields(octets, dropped)
    return Submitted(
        octets=add_missing(stripped, date=date, message_id=message_id),
        authors=authors,
        sender=_addresses(fields, "Sender"),
        recipients=tuple(
            mailbox.address
            for name in ("To", "Cc")
            for field in fields_named(fields, name)
            for mailbox in mailboxes(decode(unfold(field.value), "utf-8")[0])
        ),
    )


def _fields(octets: bytes) -> tuple[Field, ...]:
    """The fields of a header without any defect."""
    end = header_end(octets)
    sound = _FIELDS.match(octets, 0, end)
    if sound is None or sound.end() != end:
        line = octets.count(b"\n", 0, sound.end() if sound else 0) + 1
        raise Unfit(
            f"Line {line} of the header is no field; an empty line ends the header "
            "(RFC 5322, 2.2)."
        )
    fields, _, defects = parse_fields(octets, 0, end)
    if defects:
        raise Unfit(f"The header has {defects[0]}.")
    for name in _ONCE:
        if len(fields_named(fields, name)) > 1:
            raise Unfit(f"The header has more than one {name.title()} (RFC 5322, 3.6).")
    return fields


def _addresses(fields: Iterable[Field], name: str) -> tuple[Address, ...]:
    """The addresses of an originator field; each of its entries must have one."""
    found: list[Address] = []
    for field in fields_named(tuple(fields), name):
        value = decode(unfold(field.value), "utf-8")[0]
        reader = Reader(value, decode=True)
        entries = reader.entries()
        for entry in entries:
            # RFC 6854 would let a group in; nobody could answer it.
            if not isinstance(entry, Mailbox) or not entry.address.domain:
                raise Unfit(f"{name} is no list of addresses (RFC 5322, 3.6.2).")
            found.append(entry.address)
        # Of "a@b <c@d>" some readers show the one, some the other.
        plain = _COMMENT.sub("", QUOTED_STRING.sub("", value)).count("@")
        if not entries or reader.junk is not None or plain != len(entries):
            raise Unfit(f'{name} cannot be read; write "Name" <address>.')
    return tuple(found)
