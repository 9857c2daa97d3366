"""ENVELOPE and BODYSTRUCTURE as IMAP sends them (RFC 3501, 7.4.2; RFC 9051, 7.5.2).

Both are rendered once, when a mail arrives, and sent as they are stored. Header values
stay encoded as they came; every string is built in one place, so that none can end
early: one of seven bits is quoted, any other is a literal, and no line break or NUL is
in either.
"""

import re
from collections.abc import Iterable

from noinfra.mail.address import Group, Mailbox, parse_address_list
from noinfra.mail.header import split_parameters, unfold
from noinfra.mail.mime import Message, Part

#: More addresses than this in one field are left out; IMAP clients show a handful.
MAX_ADDRESSES = 5000

_NIL = b"NIL"
_BREAKS = re.compile(rb"[\r\n]+")
_TO_ESCAPE = re.compile(rb'(["\\])')


def nstring(value: bytes | str | None) -> bytes:
    """A string as IMAP has it, or NIL (RFC 3501, 4.3)."""
    if value is None:
        return _NIL
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if b"\r" in value or b"\n" in value:
        value = _BREAKS.sub(b" ", value)
    if b"\0" in value:
        value = value.replace(b"\0", b"")
    if not value.isascii():
        return b"{%d}\r\n%b" % (len(value), value)
    if b'"' in value or b"\\" in value:
        value = _TO_ESCAPE.sub(rb"\\\1", value)
    return b'"%b"' % value


def envelope(message: Message) -> bytes:
    """The ENVELOPE of a message."""
    return _envelope(message.root)


def bodystructure(message: Message, *, extended: bool = True) -> bytes:
    """The BODYSTRUCTURE of a message; without extension data it is BODY."""
    return _body(message.root, extended=extended)


def _listed(items: Iterable[bytes]) -> bytes:
    return b"(" + b" ".join(items) + b")"


# ENVELOPE


def _envelope(part: Part) -> bytes:
    author = _addresses(part, "from")
    sender = _addresses(part, "sender")
    reply_to = _addresses(part, "reply-to")
    return _listed(
        (
            nstring(_value(part, "date")),
            nstring(_value(part, "subject")),
            author,
            # RFC 3501, 7.4.2: absent or empty, they are the author.
            author if sender == _NIL else sender,
            author if reply_to == _NIL else reply_to,
            _addresses(part, "to"),
            _addresses(part, "cc"),
            _addresses(part, "bcc"),
            nstring(_value(part, "in-reply-to")),
            nstring(_value(part, "message-id")),
        )
    )


def _value(part: Part, name: str) -> bytes | None:
    """The first field of the name, unfolded, still encoded."""
    value = part.values.get(name)
    return None if value is None else unfold(value)


def _addresses(part: Part, name: str) -> bytes:
    value = _value(part, name)
    if not value:
        return _NIL
    text = value.decode("utf-8", "surrogateescape")
    rendered: list[bytes] = []
    for entry in parse_address_list(text, decode=False):
        if isinstance(entry, Group):
            rendered.append(_address(None, entry.name, None))
            rendered += map(_mailbox, entry.mailboxes)
            rendered.append(_address(None, None, None))
        else:
            rendered.append(_mailbox(entry))
        if len(rendered) > MAX_ADDRESSES:
            break
    return b"(" + b"".join(rendered) + b")" if rendered else _NIL


def _mailbox(mailbox: Mailbox) -> bytes:
    # A host of NIL would open a group, so a missing one is empty.
    address = mailbox.address
    return _address(mailbox.name or None, address.local, address.domain)


def _address(name: str | None, local: str | None, host: str | None) -> bytes:
    # The second is a source route, which nobody writes any more.
    return _listed((nstring(name), _NIL, nstring(local), nstring(host)))


# BODYSTRUCTURE


def _body(part: Part, *, extended: bool) -> bytes:
    if part.is_multipart:
        return _multipart(part, extended=extended)
    items = _basic(part)
    if part.type == "message" and part.children:
        embedded = part.children[0]
        items.append(_envelope(embedded))
        items.append(_body(embedded, extended=extended))
        items.append(b"%d" % part.lines)
    elif _shown_type(part)[0] == "text":
        items.append(b"%d" % part.lines)
    if extended:
        items.append(nstring(_raw(part, "content-md5")))
        items += _extension(part)
    return _listed(items)


def _multipart(part: Part, *, extended: bool) -> bytes:
    children = b"".join(_body(child, extended=extended) for child in part.children)
    items = [children, nstring(part.subtype)]
    if extended:
        items.append(_parameters(_raw(part, "content-type")))
        items += _extension(part)
    return _listed(items)


def _basic(part: Part) -> list[bytes]:
    main, sub = _shown_type(part)
    return [
        nstring(main),
        nstring(sub),
        _parameters(_raw(part, "content-type")),
        nstring(_raw(part, "content-id")),
        nstring(_raw(part, "content-description")),
        nstring(part.encoding),
        b"%d" % part.size,
    ]


def _shown_type(part: Part) -> tuple[str, str]:
    """The type of a leaf; never one whose grammar would promise what is not there."""
    if part.type == "multipart":
        return "text", "plain"  # no boundary was found in it
    if part.content_type in ("message/rfc822", "message/global") and not part.children:
        return "application", "octet-stream"  # encoded, or nested too deeply
    return part.type, part.subtype


def _extension(part: Part) -> list[bytes]:
    return [
        _disposition(_raw(part, "content-disposition")),
        _languages(part.language),
        nstring(_raw(part, "content-location")),
    ]


def _raw(part: Part, name: str) -> bytes | None:
    return _value(part, name) or None


def _parameters(value: bytes | None) -> bytes:
    """The parameters as they came, sections and all (RFC 2231): clients read those."""
    if value is None:
        return _NIL
    _, pairs = split_parameters(value.decode("utf-8", "surrogateescape"))
    rendered = [nstring(text) for pair in pairs for text in pair]
    return _listed(rendered) if rendered else _NIL


def _disposition(value: bytes | None) -> bytes:
    if value is None:
        return _NIL
    disposition, _ = split_parameters(value.decode("utf-8", "surrogateescape"))
    # RFC 2183, 2.8, for one that says only a file's name.
    kind = disposition.lower() or "attachment"
    return _listed((nstring(kind), _parameters(value)))


def _languages(languages: tuple[str, ...]) -> bytes:
    if not languages:
        return _NIL
    if len(languages) == 1:
        return nstring(languages[0])
    return _listed(map(nstring, languages))
