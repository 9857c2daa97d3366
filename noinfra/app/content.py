"""What a mail's octets say, derived once when it comes: for the store, search, the API.

Everything here follows from the octets alone and can be derived again from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

import msgspec
from attrs import frozen
from twisted.internet.threads import deferToThread

from noinfra.mail.bodies import attachments
from noinfra.mail.html import to_text
from noinfra.mail.index import index
from noinfra.mail.mailbox import Mailbox
from noinfra.mail.mime import decoded, parse
from noinfra.mail.part import Message, Part
from noinfra.mail.reply import extracted
from noinfra.mail.structure import bodystructure, envelope
from noinfra.mail.text import bodies
from noinfra.mail.thread import ancestry
from noinfra.store.filing import NewContent

# Above this, octets go by pieces, and what is done to them goes to a thread.
LARGE = 256 * 1024
# Above this, so does deriving: hostile HTML takes some microseconds for each octet.
_SLOW = 64 * 1024
_PREVIEW = 200
_SUBJECT = 2000
# Mailboxes of one header field that are kept apart; the octets have them all.
_PEOPLE = 500
# RFC 5322 knows no bound; a list of references beyond this is noise.
_REFERENCES = 100
# PostgreSQL's tsvector holds a megabyte, of which a word with hyphens or slashes takes
# its octets more than twice; what is beyond this is not found by search.
_WORDS = 240 * 1024


class Attachment(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A file that came with a message; its id holds within the message.

    ``size`` counts the octets of the file itself. An inline one is shown by the HTML.
    """

    id: str
    filename: str | None
    content_type: str
    size: int
    content_id: str | None
    inline: bool


@frozen(kw_only=True)
class Derived:
    """What the store and the API want to know of a mail."""

    content: NewContent
    message: Message
    rfc_message_id: str | None
    in_reply_to: str | None
    reference_ids: tuple[str, ...]
    ancestors: tuple[str, ...]
    subject: str
    from_: str
    to_: str
    cc: str
    reply_to: str
    preview: str
    attachments: str
    sent_at: datetime | None


async def derive(octets: bytes) -> Derived:
    """Derive, in a thread where it takes long."""
    if len(octets) < _SLOW:
        return derived(octets)
    return await deferToThread(derived, octets)


def derived(octets: bytes) -> Derived:
    """All that is stored of a mail; total, as parsing is."""
    message = parse(octets)
    shown = bodies(octets, message)
    text = shown.text
    if shown.html and not (text or "").strip():
        text = to_text(shown.html)
    new = extracted(shown.text, shown.html) if text is not None else None
    files = attachment_list(octets, message)
    preview = " ".join(((new and new.text) or text or "")[: 4 * _PREVIEW].split())[
        :_PREVIEW
    ]
    people = json_of(message.from_), json_of(message.to), json_of(message.cc)
    return Derived(
        content=NewContent(
            sha256=hashlib.sha256(octets).digest(),
            size=len(octets),
            octets=octets,
            parts=msgspec.json.encode(index(message)).decode(),
            envelope=envelope(message),
            bodystructure=bodystructure(message),
            text=text,
            html=shown.html,
            # Kept apart only where something was left out.
            extracted_text=new.text
            if new and new.text != (text or "").strip()
            else None,
            extracted_html=new.html if new and new.html != shown.html else None,
            words=_words(message.subject, people, text, files),
        ),
        message=message,
        rfc_message_id=message.message_id,
        in_reply_to=next(iter(message.in_reply_to), None),
        reference_ids=message.references[-_REFERENCES:],
        ancestors=ancestry(
            message.message_id or "", message.in_reply_to, message.references
        ),
        subject=message.subject[:_SUBJECT],
        from_=people[0],
        to_=people[1],
        cc=people[2],
        reply_to=json_of(message.reply_to),
        preview=preview,
        attachments=msgspec.json.encode(files).decode(),
        sent_at=message.date,
    )


def json_of(mailboxes: Iterable[Mailbox]) -> str:
    """A JSON array of mailboxes, each in header form."""
    return msgspec.json.encode(
        [str(one) for one in islice(mailboxes, _PEOPLE)]
    ).decode()


def attachment_list(octets: bytes, message: Message) -> list[Attachment]:
    """The attachments, in order; an id is made of the part's path."""
    return [
        Attachment(
            id=attachment_id(part.path),
            filename=part.filename,
            content_type=part.content_type,
            size=_size(octets, part),
            content_id=part.content_id,
            inline=part.is_inline,
        )
        for part in attachments(message)
    ]


def attachment_id(path: str) -> str:
    """The id of the attachment that is the part with this path."""
    return f"att_{path.replace('.', '-')}"


def attachment_path(attachment_id: str) -> str | None:
    """The path of the part that an attachment's id names; None if it names none."""
    path = attachment_id.removeprefix("att_").replace("-", ".")
    well_formed = attachment_id.startswith("att_") and len(path) < 200
    return path if well_formed else None


def _size(octets: bytes, part: Part) -> int:
    if part.encoding in ("7bit", "8bit", "binary"):
        return part.size
    return len(decoded(octets, part))


def _words(
    subject: str,
    people: Sequence[str],
    text: str | None,
    files: Sequence[Attachment],
) -> str:
    names = " ".join(file.filename for file in files if file.filename)
    words = f"{subject}\n{' '.join(people)}\n{names}\n{(text or '')[:_WORDS]}"
    return words.encode()[:_WORDS].decode(errors="ignore")
