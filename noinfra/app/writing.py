"""What an agent wrote, made into a mail: recipients, subject, thread, files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from itertools import chain

import msgspec
from attrs import frozen

from noinfra.app.directory import Home
from noinfra.app.requests import NewAttachment, Written
from noinfra.errors import Invalid, TooManyRecipients
from noinfra.mail.address import mailboxes, parse_mailbox, parse_path
from noinfra.mail.bodies import attachments
from noinfra.mail.compose import Attachment, Composition, new_message_id
from noinfra.mail.mailbox import AddressError, Mailbox
from noinfra.mail.mime import decoded, parse
from noinfra.mail.quote import (
    Forwarded,
    forward_html,
    forward_subject,
    forward_text,
    reply_subject,
)
from noinfra.model import Message

# NoInfra Mail's own bound, and the smallest that others hold to.
MOST_RECIPIENTS = 50


@frozen(kw_only=True)
class Outgoing:
    """A mail before it is composed: what goes into the header, and who gets it."""

    composition: Composition
    bcc: tuple[Mailbox, ...]

    @property
    def recipients(self) -> tuple[Mailbox, ...]:
        """Everyone who gets a copy, each address once."""
        composition = self.composition
        everyone = (*composition.to, *composition.cc, *self.bcc)
        return _each_once(everyone)


@frozen(kw_only=True)
class Answered:
    """The mail that is answered or sent on, as far as the new one refers to it."""

    rfc_message_id: str | None
    reference_ids: tuple[str, ...]

    @classmethod
    def to(cls, original: Message) -> Answered:
        """RFC 5322, 3.6.4: its references, then its own id."""
        own = original.rfc_message_id
        references = (*original.reference_ids, *((own,) if own else ()))
        return cls(rfc_message_id=own, reference_ids=references)


NOTHING = Answered(rfc_message_id=None, reference_ids=())


def write(
    home: Home,
    request: Written,
    *,
    to: Iterable[Mailbox],
    cc: Iterable[Mailbox],
    subject: str,
    answered: Answered,
    now: datetime,
    files: Sequence[Attachment] = (),
    text: str | None = None,
    html: str | None = None,
) -> Outgoing:
    """Put a mail together.

    :raises Invalid: an address or a file cannot be; the field is named.
    :raises TooManyRecipients: it goes to more people than we take at once.
    """
    own = parse_path(home.address)
    composition = Composition(
        from_=Mailbox(name=home.display_name or "", address=own),
        message_id=new_message_id(home.domain, os.urandom(16)),
        date=now,
        to=tuple(to),
        cc=tuple(cc),
        reply_to=read(request.reply_to, "replyTo"),
        subject=subject,
        text=request.text if text is None else text,
        html=request.html if html is None else html,
        attachments=(*files, *(_attachment(one) for one in request.attachments)),
        headers=tuple(request.headers.items()),
        in_reply_to=answered.rfc_message_id,
        references=answered.reference_ids,
        auto_submitted=request.auto_submitted,
    )
    outgoing = Outgoing(composition=composition, bcc=read(request.bcc, "bcc"))
    count = len(outgoing.recipients)
    if count == 0:
        raise Invalid("The mail has no recipient; name one, in to.", field="to")
    if count > MOST_RECIPIENTS:
        raise TooManyRecipients(
            f"The mail has {count} recipients; at most {MOST_RECIPIENTS} are taken at "
            "once. Send several.",
            limit=MOST_RECIPIENTS,
        )
    return outgoing


def read(texts: Sequence[str], field: str) -> tuple[Mailbox, ...]:
    """Mailboxes as a caller writes them.

    :raises Invalid: one cannot be read; the field and its number are named.
    """
    found = []
    for number, text in enumerate(texts):
        try:
            mailbox = parse_mailbox(text)
            mailbox.address.ascii_domain  # noqa: B018 - raises where there is none
        except AddressError as error:
            where = f"{field}[{number}]"
            raise Invalid(f"{where}: {error}.", field=where) from error
        found.append(mailbox)
    return tuple(found)


def people(column: str) -> tuple[Mailbox, ...]:
    """The mailboxes of a stored JSON column, those that can be written to."""
    texts = msgspec.json.decode(column, type=list[str])
    found = chain.from_iterable(mailboxes(text) for text in texts)
    return tuple(one for one in found if _is_usable(one))


def _is_usable(mailbox: Mailbox) -> bool:
    """Whether it has a domain that the DNS can know; what came in may have none."""
    try:
        return bool(mailbox.address.ascii_domain)
    except AddressError:
        return False


def _each_once(everyone: Iterable[Mailbox]) -> tuple[Mailbox, ...]:
    """Each address once, however its domain is spelled; the first of each."""
    kept: dict[tuple[str, str], Mailbox] = {}
    for one in everyone:
        kept.setdefault((one.address.local, one.address.ascii_domain), one)
    return tuple(kept.values())


def answer_to(original: Message, home: Home) -> tuple[Mailbox, ...]:
    """Who an answer goes to: Reply-To before From; of our own mail, its recipients."""
    if original.direction == "outbound":
        return people(original.to_)
    return people(original.reply_to) or people(original.from_)


def everyone_else(original: Message, home: Home) -> tuple[Mailbox, ...]:
    """The other recipients of the original, without ourselves under any tag."""
    answered = {one.address.canonical for one in answer_to(original, home)}
    return _each_once(
        one
        for one in (*people(original.to_), *people(original.cc))
        if one.address.canonical not in answered and not is_self(one, home)
    )


def is_self(mailbox: Mailbox, home: Home) -> bool:
    """Whether it is the inbox's own address, or a subaddress of it."""
    try:
        return mailbox.address.base.canonical == home.address
    except AddressError:
        return False


def subject_of_reply(original: Message) -> str:
    """Re: and the original's."""
    return reply_subject(original.subject)


@frozen(kw_only=True)
class SentOn:
    """The original as a forward carries it."""

    subject: str
    text: str | None
    html: str | None
    files: tuple[Attachment, ...]


def sent_on(
    request: Written,
    original: Message,
    octets: bytes,
    text: str | None,
    html: str | None,
) -> SentOn:
    """The note, the original's text and HTML under it, and its files.

    :param octets: the original, as it is stored.
    """
    message = parse(octets)
    preamble = Forwarded(
        from_=", ".join(map(str, message.from_)),
        date=message.date,
        subject=original.subject,
        to=", ".join(map(str, message.to)),
        cc=", ".join(map(str, message.cc)),
    )
    with_html = request.html is not None or html is not None
    note_html = request.html or _as_html(request.text or "")
    return SentOn(
        subject=forward_subject(original.subject),
        text=forward_text(request.text or "", preamble, text or ""),
        html=(
            forward_html(note_html, preamble, html or _as_html(text or ""))
            if with_html
            else None
        ),
        files=tuple(
            Attachment(
                filename=part.filename or f"part-{part.path}",
                content_type=_safe_type(part.content_type),
                content=decoded(octets, part),
                content_id=part.content_id,
                inline=part.is_inline,
            )
            for part in attachments(message)
        ),
    )


def _as_html(text: str) -> str:
    lines = escape(text).replace("\r\n", "\n").replace("\n", "<br>\n")
    return f"<div>{lines}</div>"


def _safe_type(content_type: str) -> str:
    """A type that a file can have; a message within is sent on as one."""
    kind = content_type.partition("/")[0]
    if kind in ("multipart", "message") and content_type != "message/rfc822":
        return "application/octet-stream"
    return content_type


def _attachment(given: NewAttachment) -> Attachment:
    return Attachment(
        filename=given.filename,
        content_type=given.content_type,
        content=given.content,
        content_id=given.content_id,
        inline=given.inline,
    )
