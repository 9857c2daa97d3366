"""Composing a message in wire form from what a caller said.

What a caller gave and what cannot stand in a message is refused with `ComposeError`,
which names the field; nothing is silently dropped but identifiers that other people's
software made and that no header can hold. Time and identifiers come as arguments, so
the same composition always gives the same octets. There is no Bcc: who else receives a
message is the envelope's matter.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from itertools import chain
from typing import Final

from attrs import frozen

from noinfra.mail.address import Mailbox
from noinfra.mail.encode import (
    LINE,
    ComposeError,
    check_field_name,
    check_text,
    encoded_words,
    fold,
    ids_field,
    mailboxes_field,
    neutral,
    parameter_words,
    parameters_field,
    text_field,
)
from noinfra.mail.entity import (
    Branch,
    Entity,
    Leaf,
    binary_leaf,
    message_leaf,
    pieces,
    text_leaf,
)

#: Octets of References that we write: the root, and as many of the last as fit.
MAX_REFERENCES: Final = 3000

#: Fields that a caller may not set as headers of his own: the composition makes them,
#: or they would claim what only a server on the way can know.
STRUCTURAL: Final = frozenset(
    {
        "arc-authentication-results",
        "arc-message-signature",
        "arc-seal",
        "authentication-results",
        "bcc",
        "cc",
        "date",
        "delivered-to",
        "dkim-signature",
        "from",
        "in-reply-to",
        "message-id",
        "mime-version",
        "received",
        "received-spf",
        "references",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
    }
)
_STRUCTURAL_PREFIXES: Final = ("content-", "resent-")

_TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}")
_PARAMETER = re.compile(rf"[ ]*;[ ]*({_TOKEN})=(?:({_TOKEN})|\"((?:[^\"\\]|\\.)*)\")")
_ID = re.compile(r"[!-;=?-~]{1,900}")
_URI = re.compile(r"(?:https?|mailto):[!-;=?-~]+", re.I)


@frozen(kw_only=True)
class Attachment:
    """A file that goes with a message.

    `inline` with a `content_id` is one that the HTML shows by cid:; a content type of
    message/rfc822 is a message forwarded whole.
    """

    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None
    inline: bool = False


@frozen(kw_only=True)
class Composition:
    """All that makes a message; identifiers are without their angle brackets."""

    from_: Mailbox
    message_id: str
    date: datetime
    sender: Mailbox | None = None
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    auto_submitted: str | None = None
    #: URIs, the preferred one first (RFC 2369, 3.2).
    list_unsubscribe: tuple[str, ...] = ()
    #: A POST to the https URI unsubscribes (RFC 8058).
    one_click: bool = False


def compose(composition: Composition) -> bytes:
    """The message in wire form.

    :raises ComposeError: a value cannot stand in a message.
    """
    return b"".join(compose_pieces(composition))


def compose_pieces(composition: Composition) -> Iterator[bytes]:
    """The same in pieces of at most some 80 KB, or a text's length.

    All that can be refused is refused before the first piece.
    """
    header = b"".join(_header(composition))
    entity = _entity(composition)
    return chain([header], pieces(entity, composition.message_id))


def needs_smtputf8(composition: Composition) -> bool:
    """Whether an address in the header makes it UTF-8 (RFC 6532).

    Then the next server must offer SMTPUTF8 (RFC 6531). A domain alone does not: it
    goes as A-labels.
    """
    lists = (composition.to, composition.cc, composition.reply_to)
    mailboxes = [composition.from_, *chain.from_iterable(lists)]
    if composition.sender is not None:
        mailboxes.append(composition.sender)
    return not all(mailbox.address.local.isascii() for mailbox in mailboxes)


def new_message_id(domain: str, random_bytes: bytes) -> str:
    """A new identifier, without angle brackets, from at least 16 octets of chance."""
    if len(random_bytes) < 16:
        raise ValueError("a Message-ID needs 16 octets of chance, or two may be alike")
    return f"{random_bytes.hex()}@{domain}"


def forwarded(octets: bytes, subject: str) -> Attachment:
    """A message to be forwarded whole, as an attachment."""
    name = neutral(subject)[:80] or "message"
    return Attachment(
        filename=f"{name}.eml", content_type="message/rfc822", content=octets
    )


def _header(composition: Composition) -> Iterator[bytes]:
    """All fields but those of the root entity."""
    yield from _originator_fields(composition)
    yield from _identification_fields(composition)
    yield from _list_fields(composition)
    yield from _own_fields(composition)
    yield fold("MIME-Version", ["1.0"])


def _originator_fields(composition: Composition) -> Iterator[bytes]:
    utf8 = needs_smtputf8(composition)
    if composition.date.tzinfo is None:
        raise ComposeError("Date", "has no time zone; give one, such as UTC")
    yield fold("Date", [format_datetime(composition.date)])
    yield mailboxes_field("From", [composition.from_], utf8=utf8)
    # RFC 5322, 3.6.2: Sender is not used where it says the same as From.
    if composition.sender not in (None, composition.from_):
        yield mailboxes_field("Sender", _some(composition.sender), utf8=utf8)
    for name, mailboxes in (
        ("Reply-To", composition.reply_to),
        ("To", composition.to),
        ("Cc", composition.cc),
    ):
        if mailboxes:
            yield mailboxes_field(name, mailboxes, utf8=utf8)
    if not composition.to and not composition.cc:
        # Some servers refuse a message without any recipient field.
        yield fold("To", ["undisclosed-recipients:;"])
    if composition.subject:
        yield text_field("Subject", composition.subject, utf8=utf8)


def _some(mailbox: Mailbox | None) -> list[Mailbox]:
    return [] if mailbox is None else [mailbox]


def _identification_fields(composition: Composition) -> Iterator[bytes]:
    if not _ID.fullmatch(composition.message_id):
        raise ComposeError("Message-ID", "is no identifier; leave it to the server")
    yield ids_field("Message-ID", [composition.message_id])
    if composition.in_reply_to is not None and _ID.fullmatch(composition.in_reply_to):
        yield ids_field("In-Reply-To", [composition.in_reply_to])
    if references := trim_references(composition.references):
        yield ids_field("References", references)


def trim_references(references: Iterable[str]) -> tuple[str, ...]:
    """The root and the latest references, in their order, of a bounded length.

    Identifiers that no header can hold (other software's) are left out.
    """
    usable = list(dict.fromkeys(one for one in references if _ID.fullmatch(one)))
    if not usable:
        return ()
    root, *others = usable
    room = MAX_REFERENCES - len(root)
    latest: list[str] = []
    for one in reversed(others):
        room -= len(one) + 3
        if room < 0:
            break
        latest.append(one)
    return (root, *reversed(latest))


def _list_fields(composition: Composition) -> Iterator[bytes]:
    if composition.auto_submitted is not None:
        yield text_field("Auto-Submitted", composition.auto_submitted)
    uris = composition.list_unsubscribe
    for uri in uris:
        if not _URI.fullmatch(uri):
            raise ComposeError("List-Unsubscribe", f"{uri[:80]!a} is no usable URI")
    if uris:
        rest = [f" <{uri}>" for uri in uris[1:]]
        words = [f"<{uris[0]}>", *rest]
        yield fold("List-Unsubscribe", [*(f"{w}," for w in words[:-1]), words[-1]])
    if composition.one_click:
        if not any(uri.lower().startswith("https:") for uri in uris):
            raise ComposeError("List-Unsubscribe-Post", "needs an https URI to post to")
        yield fold("List-Unsubscribe-Post", ["List-Unsubscribe=One-Click"])


def _own_fields(composition: Composition) -> Iterator[bytes]:
    """The caller's own headers."""
    taken = set(STRUCTURAL)
    if composition.auto_submitted is not None:
        taken.add("auto-submitted")
    if composition.list_unsubscribe:
        taken |= {"list-unsubscribe", "list-unsubscribe-post"}
    utf8 = needs_smtputf8(composition)
    for name, value in composition.headers:
        check_field_name("headers", name)
        lower = name.lower()
        if lower in taken or lower.startswith(_STRUCTURAL_PREFIXES):
            raise ComposeError(name, "cannot be set as a header; it is made for you")
        yield text_field(name, value, utf8=utf8)


def _entity(composition: Composition) -> Entity:
    """The tree: mixed over alternative over related, each only where it is needed."""
    shown: list[Leaf] = []
    others: list[Leaf] = []
    for attachment in composition.attachments:
        where = shown if _is_shown(composition, attachment) else others
        where.append(_attachment(attachment))
    body = _body(composition, shown)
    if not others:
        return body
    return Branch(subtype="mixed", children=[body, *others])


def _is_shown(composition: Composition, attachment: Attachment) -> bool:
    """Whether the HTML shows an attachment; without HTML nothing can."""
    inline = attachment.inline and attachment.content_id is not None
    return inline and composition.html is not None


def _body(composition: Composition, shown: Sequence[Leaf]) -> Entity:
    if composition.html is None:
        return text_leaf("text", "plain", composition.text or "")
    html: Entity = text_leaf("html", "html", composition.html)
    if shown:
        # RFC 2387, 3.1: the type parameter is the root's.
        related = (('type="text/html"',),)
        html = Branch(subtype="related", children=[html, *shown], parameters=related)
    if composition.text is None:
        return html
    plain = text_leaf("text", "plain", composition.text)
    return Branch(subtype="alternative", children=[plain, html])


def _attachment(attachment: Attachment) -> Leaf:
    name = attachment.filename
    extra = _disposition(attachment)
    if attachment.content_id is not None:
        bare = attachment.content_id.removeprefix("<").removesuffix(">")
        if not _ID.fullmatch(bare):
            raise ComposeError("contentId", "is no identifier; use letters and digits")
        extra += ids_field("Content-ID", [bare])
    media_type, parameters = _content_type(attachment.content_type)
    if media_type == "message/rfc822":
        leaf = message_leaf(attachment.content, extra)
        if leaf is not None:
            return leaf
        # As a file, whose name tells what it is: so no server needs 8BITMIME.
        media_type, parameters = "application/octet-stream", []
    if name:
        parameters.append(_name_parameter(name))
    fields = parameters_field("Content-Type", media_type, parameters)
    return binary_leaf(attachment.content, fields + extra)


def _disposition(attachment: Attachment) -> bytes:
    kind = "inline" if attachment.inline else "attachment"
    named = [parameter_words("filename", "filename", attachment.filename)]
    named = named if attachment.filename else []
    return parameters_field("Content-Disposition", kind, named)


def _name_parameter(name: str) -> list[str]:
    """The file's name as Content-Type has it, for clients that do not know RFC 2231.

    Encoded words may not stand within quotes (RFC 2047, 5), yet it is what Outlook and
    Gmail write and what old readers understand; all others read the filename first.
    """
    if name.isascii() and len(name) < LINE - 16:
        return parameter_words("filename", "name", name)
    words = encoded_words(check_text("filename", name))
    return [" ".join([f'name="{words[0]}', *words[1:]]) + '"']


def _content_type(text: str) -> tuple[str, list[list[str]]]:
    """A caller's content type and its parameters, but for those that we make."""
    field = "contentType"
    media = _MEDIA_TYPE.match(check_text(field, text.strip()))
    if media is None:
        raise ComposeError(field, f"{text[:80]!a} is none; give one like image/png")
    media_type = media[0].lower()
    if media_type.startswith("multipart/") or (
        media_type.startswith("message/") and media_type != "message/rfc822"
    ):
        raise ComposeError(field, f"{media_type} cannot be attached as a file")
    parameters, end = [], media.end()
    while found := _PARAMETER.match(text.strip(), end):
        end = found.end()
        value = found[2] or re.sub(r"\\(.)", r"\1", found[3] or "")
        if found[1].lower() not in ("name", "boundary"):
            parameters.append(parameter_words(field, found[1].lower(), value))
    if text.strip()[end:].strip(" ;"):
        raise ComposeError(field, f"{text[:80]!a} has a parameter that is broken")
    return media_type, parameters
