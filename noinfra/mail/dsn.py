"""Delivery status notifications as we write them (RFC 3461, 3464, 6522, 6533).

A notification goes to the reverse-path of the message that it is about, from the null
reverse-path, and says Auto-Submitted, so that nobody answers it (RFC 3834, 2).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from textwrap import wrap
from typing import Final, Literal, TypeAlias

from attrs import frozen

from noinfra.mail.address import Address, Mailbox
from noinfra.mail.encode import (
    addr_spec,
    fold,
    ids_field,
    mailboxes_field,
    neutral,
    text_field,
)
from noinfra.mail.entity import (
    Branch,
    Entity,
    Leaf,
    binary_leaf,
    is_7bit,
    message_leaf,
    pieces,
    text_leaf,
)
from noinfra.mail.trace import header_end

Action: TypeAlias = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

#: What a server replied is repeated this far.
_MAX_TEXT: Final = 900

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~]|[^\x00-\x7f]|\\x\{(?:[0-9A-F]{2,6})\})*")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def xtext_encode(text: str) -> str:
    """ASCII text as the parameters ENVID and ORCPT carry it (RFC 3461, 4)."""
    return "".join(
        one if "!" <= one <= "~" and one not in "+=" else f"+{ord(one):02X}"
        for one in text.encode("ascii").decode("ascii")
    )


def xtext_decode(text: str) -> str:
    """The text that xtext stands for; only ASCII may come out.

    :raises ValueError: it is no xtext.
    """
    decoded = _HEX.sub(lambda found: chr(int(found[1], 16)), text)
    if not _XTEXT.fullmatch(text) or not decoded.isascii():
        raise ValueError(f"{text[:80]!a} is no xtext (RFC 3461, section 4)")
    return decoded


def utf8_xtext_encode(text: str) -> str:
    """An address as utf-8-addr-xtext, which is ASCII for any server (RFC 6533, 3)."""
    return "".join(
        one if "!" <= one <= "~" and one not in "+=\\" else f"\\x{{{ord(one):02X}}}"
        for one in text
    )


def utf8_xtext_decode(text: str) -> str:
    """The address that utf-8-addr-xtext or utf-8-addr-unitext stands for.

    :raises ValueError: it is neither.
    """
    if not _UTF8_XTEXT.fullmatch(text):
        raise ValueError(f"{text[:80]!a} is no utf-8 address (RFC 6533, section 3)")
    decoded = _EMBEDDED.sub(_character, text)
    return decoded.encode("utf-8").decode("utf-8")


def _character(found: re.Match[str]) -> str:
    point = int(found[1], 16)
    if point > 0x10FFFF:
        raise ValueError(f"U+{point:X} is no character")
    return chr(point)


@frozen(kw_only=True)
class Recipient:
    """What became of the mail to one recipient (RFC 3464, 2.3).

    `original_recipient` is the decoded ORCPT, type and all; `diagnostic` is the remote
    server's reply, or ours.
    """

    address: Address
    action: Action
    status: str
    original_recipient: str | None = None
    remote_mta: str | None = None
    diagnostic: str | None = None
    last_attempt: datetime | None = None
    will_retry_until: datetime | None = None


@frozen(kw_only=True)
class Notification:
    """A delivery status notification to be written.

    `original` is the message in wire form, returned whole or only its header (RET). Its
    Message-ID, if it has one, makes the notification part of its thread.
    """

    from_: Mailbox
    to: Address
    message_id: str
    date: datetime
    reporting_mta: str
    recipients: Sequence[Recipient]
    original: bytes
    original_id: str | None
    full: bool
    envelope_id: str | None = None
    arrival_date: datetime | None = None


def compose_dsn(notification: Notification) -> bytes:
    """The notification in wire form, to be sent from the null reverse-path."""
    report = Branch(
        subtype="report",
        parameters=(("report-type=delivery-status",),),
        children=[
            text_leaf("text", "plain", explanation(notification)),
            _status_leaf(notification),
            _returned(notification),
        ],
    )
    return b"".join([*_header(notification), *pieces(report, notification.message_id)])


def _header(notification: Notification) -> Iterator[bytes]:
    to = Mailbox(name="", address=notification.to)
    utf8 = not notification.to.local.isascii()
    yield fold("Date", [format_datetime(notification.date)])
    yield mailboxes_field("From", [notification.from_], utf8=utf8)
    yield mailboxes_field("To", [to], utf8=utf8)
    yield text_field("Subject", _SUBJECTS[_worst(notification)])
    yield ids_field("Message-ID", [notification.message_id])
    if notification.original_id is not None:
        yield ids_field("In-Reply-To", [notification.original_id])
        yield ids_field("References", [notification.original_id])
    yield fold("Auto-Submitted", ["auto-replied"])
    yield fold("MIME-Version", ["1.0"])


def _worst(notification: Notification) -> Action:
    """The action that the subject tells of: a failure before all others."""
    actions = {recipient.action for recipient in notification.recipients}
    return next(action for action in _SUBJECTS if action in actions)


_SUBJECTS: Final[dict[Action, str]] = {
    "failed": "Your message was not delivered",
    "delayed": "Your message is delayed",
    "relayed": "Your message was passed on",
    "expanded": "Your message was passed on to a list",
    "delivered": "Your message was delivered",
}
_INTRODUCTIONS: Final[dict[Action, str]] = {
    "failed": "Your message could not be delivered to the following recipients. "
    "It will not be tried again.",
    "delayed": "Your message has not yet been delivered to the following recipients. "
    "Delivery goes on being tried; you need not send it again.",
    "relayed": "Your message was passed on to the servers of the following recipients, "
    "which do not tell when they deliver.",
    "expanded": "Your message was passed on to the members of the following lists.",
    "delivered": "Your message was delivered to the following recipients.",
}
#: What the sender of a failed message can do, by status (RFC 3463), the exact first.
_ADVICE: Final = (
    ("1.1", "Check the address for mistakes; the recipient is not known there."),
    ("1.2", "Check the part after the @; no such mail domain was found."),
    ("1.10", "This domain takes no mail at all; write to another address."),
    ("1", "Check the address for mistakes."),
    ("2.2", "The mailbox is full. Send the message again later."),
    ("2", "The mailbox takes no mail now. Reach the recipient in another way."),
    ("3.4", "The message is too large for this recipient. Send a smaller one."),
    ("4", "The recipient's server could not be reached. Send the message again later."),
    ("6", "Send the message in another format, such as plain text."),
    ("7", "The message was refused as a matter of policy. Read the reply above; the "
     "recipient's postmaster can tell more."),
)  # fmt: skip


def explanation(notification: Notification) -> str:
    """What happened and what to do, for people."""
    paragraphs = [f"This is the mail server at {notification.reporting_mta}."]
    for action, introduction in _INTRODUCTIONS.items():
        concerned = [one for one in notification.recipients if one.action == action]
        if concerned:
            paragraphs.append("\n".join(_wrapped(introduction)))
            paragraphs += map(_told, concerned)
    what = "message" if notification.full else "header of your message"
    paragraphs.append(f"A report for programs and the {what} are attached.")
    return "\n\n".join(paragraphs) + "\n"


def _told(recipient: Recipient) -> str:
    """One recipient's paragraph."""
    lines = [f"<{addr_spec('Final-Recipient', recipient.address)}>"]
    if recipient.diagnostic:
        who = (
            f"{neutral(recipient.remote_mta)} said"
            if recipient.remote_mta
            else "Reason"
        )
        lines += _wrapped(f"{who}: {neutral(recipient.diagnostic)}")
    if recipient.action == "delayed" and recipient.will_retry_until is not None:
        until = format_datetime(recipient.will_retry_until)
        lines += _wrapped(f"Delivery is tried until {until}.")
    if recipient.action == "failed":
        lines += _wrapped(_advice(recipient.status))
    return "\n    ".join(lines)


def _advice(status: str) -> str:
    detail = status.partition(".")[2]
    for prefix, advice in _ADVICE:
        if detail == prefix or detail.startswith(f"{prefix}."):
            return advice
    return "Check the address, or reach the recipient in another way."


def _wrapped(text: str) -> list[str]:
    return wrap(text, 72, break_long_words=False, break_on_hyphens=False)


def _status_leaf(notification: Notification) -> Leaf:
    """message/delivery-status: fields for the message, then for each recipient."""
    blocks = [_message_block(notification)]
    blocks += map(_recipient_block, notification.recipients)
    octets = b"\r\n".join(b"".join(block) for block in blocks)
    fields = fold("Content-Type", ["message/delivery-status"])
    return Leaf(fields=fields, octets=octets, to_base64=False)


def _message_block(notification: Notification) -> Iterator[bytes]:
    # RFC 3464, 2.2: the envelope id comes first where there is one.
    if notification.envelope_id is not None:
        yield _line("Original-Envelope-Id", notification.envelope_id)
    yield _line("Reporting-MTA", f"dns; {notification.reporting_mta}")
    if notification.arrival_date is not None:
        yield _line("Arrival-Date", format_datetime(notification.arrival_date))


def _recipient_block(recipient: Recipient) -> Iterator[bytes]:
    if recipient.original_recipient is not None:
        yield _line("Original-Recipient", recipient.original_recipient)
    yield _line("Final-Recipient", _typed_address(recipient.address))
    yield _line("Action", recipient.action)
    yield _line("Status", recipient.status)
    if recipient.remote_mta is not None:
        yield _line("Remote-MTA", f"dns; {recipient.remote_mta}")
    if recipient.diagnostic is not None:
        yield _line("Diagnostic-Code", f"smtp; {recipient.diagnostic}")
    for name, moment in (
        ("Last-Attempt-Date", recipient.last_attempt),
        ("Will-Retry-Until", recipient.will_retry_until),
    ):
        if moment is not None:
            yield _line(name, format_datetime(moment))


def _typed_address(address: Address) -> str:
    """An address with its type; in ASCII whatever it is (RFC 6533, 3)."""
    written = addr_spec("Final-Recipient", address)
    if written.isascii():
        return f"rfc822; {written}"
    return f"utf-8; {utf8_xtext_encode(written)}"


def _line(name: str, text: str) -> bytes:
    """A field of a report; what a remote server said is made safe, and ASCII."""
    safe = neutral(text).encode("ascii", "replace").decode("ascii")
    words = safe[:_MAX_TEXT].split(" ")
    return fold(name, [words[0], *(f" {word}" for word in words[1:])])


def _returned(notification: Notification) -> Entity:
    """The original, or its header alone where that was asked for or all that can be.

    It is 8bit if the original is: its sender's server knew how to send it.
    """
    if notification.full:
        leaf = message_leaf(notification.original, b"", eight_bit=True)
        if leaf is not None:
            return leaf
    header = notification.original[: header_end(notification.original)]
    fields = fold("Content-Type", ["text/rfc822-headers"])
    if is_7bit(header):
        return Leaf(fields=fields, octets=header, to_base64=False)
    return binary_leaf(header, fields)
