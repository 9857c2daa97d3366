"""Reading reports about mail that we sent.

They are non-delivery and other status notifications (RFC 3464, 6533), reports in prose
(`bounce`), and complaints (RFC 5965). A report is an outsider's word: before an address
is suppressed, the original message that it names must be looked up, and have gone
there.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from attrs import frozen

from noinfra.mail.address import mailboxes
from noinfra.mail.bounce import (
    MAX_RECIPIENTS,
    by_address,
    is_from_system,
    looks_like_bounce,
    notice,
    read_prose,
)
from noinfra.mail.dsn import utf8_xtext_decode
from noinfra.mail.header import Field, message_ids, parse_fields, unfold
from noinfra.mail.mime import decoded
from noinfra.mail.outcome import Outcome, diagnostic_text, status_of, tells
from noinfra.mail.part import Message, Part

MAX_REPORT: Final = 256 * 1024

# RFC 3464, 2.1: groups of fields, with empty lines between them.
_BETWEEN_GROUPS = re.compile(rb"(?:[ \t]*\r?\n){2,}")
_MESSAGE_ID = re.compile(r"^Message-ID[ \t]*:\s*<([^<>\s]{1,998})>", re.I | re.M)
_GROUPS_BEGIN = re.compile(
    r"^(?:Reporting-MTA|Final-Recipient|Original-Recipient)[ \t]*:", re.I | re.M
)
_ACTIONS: Final = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})


@frozen(kw_only=True)
class Report:
    """A status notification; `standard` when it is in the form of RFC 3464.

    Identifiers are the original message's: what a report is worth depends on whether we
    know them.
    """

    recipients: tuple[Outcome, ...]
    original_message_id: str | None
    envelope_id: str | None
    reporting_mta: str | None
    standard: bool


@frozen(kw_only=True)
class Complaint:
    """A recipient's complaint (RFC 5965), such as a press on "this is spam"."""

    feedback_type: str
    recipients: tuple[str, ...]
    original_message_id: str | None
    envelope_id: str | None
    reported_domains: tuple[str, ...]
    source_ip: str | None


def read(octets: bytes, message: Message) -> Report | None:
    """The report that a message is, or None."""
    part = _part_of_type(
        message, "message", ("delivery-status", "global-delivery-status")
    )
    if part is None and not is_from_system(message):
        return None
    said = notice(octets, message)
    bounce = is_from_system(message) and looks_like_bounce(message, said.text)
    if part is not None:
        groups = _groups(decoded(octets, part))
    else:
        groups = _groups_in_text(said.text) if bounce else []
    recipients = tuple(_outcomes(groups, said.text))
    if bounce and not recipients:
        recipients = read_prose(message, said.text)
    if not recipients:
        return None
    return Report(
        recipients=recipients,
        original_message_id=_original_id(octets, message, said.rest),
        envelope_id=_of_any(groups, "original-envelope-id"),
        reporting_mta=_untyped(_of_any(groups, "reporting-mta")),
        standard=part is not None,
    )


def read_complaint(octets: bytes, message: Message) -> Complaint | None:
    """The complaint that a message is, or None."""
    part = _part_of_type(message, "message", ("feedback-report",))
    if part is None:
        return None
    fields, _, _ = parse_fields(decoded(octets, part), 0, min(part.size, MAX_REPORT))
    if not fields:
        return None
    recipients = _all(fields, "original-rcpt-to") or _all(fields, "removal-recipient")
    if not recipients:
        recipients = _original_recipients(octets, message)
    return Complaint(
        feedback_type=(_first(fields, "feedback-type") or "other").lower(),
        recipients=tuple(dict.fromkeys(map(_bare, recipients))),
        original_message_id=_original_id(octets, message, ""),
        envelope_id=_first(fields, "original-envelope-id"),
        reported_domains=tuple(_all(fields, "reported-domain")),
        source_ip=_first(fields, "source-ip"),
    )


def _part_of_type(message: Message, kind: str, subtypes: Sequence[str]) -> Part | None:
    found = (
        one for one in message.parts if one.type == kind and one.subtype in subtypes
    )
    return next(found, None)


def _groups(body: bytes) -> list[tuple[Field, ...]]:
    """The groups of fields of a delivery-status part; the first is the message's."""
    pieces = _BETWEEN_GROUPS.split(body[:MAX_REPORT].strip())
    groups = (parse_fields(one, 0, len(one))[0] for one in pieces)
    return [group for group in groups if group]


def _groups_in_text(said: str) -> list[tuple[Field, ...]]:
    """The same where a mailer, or a broken boundary, put them among the prose."""
    first = _GROUPS_BEGIN.search(said)
    return _groups(said[first.start() :].encode("utf-8", "replace")) if first else []


def _outcomes(groups: Sequence[Sequence[Field]], said: str) -> Iterator[Outcome]:
    named = [(_recipient(group), group) for group in groups[: MAX_RECIPIENTS + 1]]
    blocks = by_address(said, [address for address, _ in named if address is not None])
    for address, group in named:
        if address is not None:
            yield _outcome(address, group, blocks[address])


def _outcome(address: str, group: Sequence[Field], block: str) -> Outcome:
    """What a group of fields says, or where that is too little, the text for people."""
    given = _first(group, "status") or ""
    action = _action(_first(group, "action"), given)
    reply = _untyped(_first(group, "diagnostic-code"))
    words = block if reply is None and not tells(given) else reply or ""
    return Outcome(
        address=address,
        action=action,
        status=status_of(given, words, delayed=action == "delayed"),
        diagnostic=diagnostic_text(reply or block),
        remote_mta=_untyped(_first(group, "remote-mta")),
        original=_address(_first(group, "original-recipient")),
    )


def _recipient(group: Sequence[Field]) -> str | None:
    """Whom a group is about; the first group, about the message, has nobody."""
    final = _address(_first(group, "final-recipient"))
    return final or _address(_first(group, "original-recipient"))


def _action(text: str | None, status: str) -> str:
    """The action; what is none (RFC 3464, 2.3.3) is told by the status."""
    action = (text or "").lower().partition(" ")[0]
    if action in _ACTIONS:
        return action
    return {"2": "delivered", "4": "delayed"}.get(status[:1], "failed")


def _address(text: str | None) -> str | None:
    """The address of a recipient field, without its type and brackets."""
    if text is None:
        return None
    kind, separator, address = text.partition(";")
    address = _bare(address if separator else text)
    if kind.strip().lower() == "utf-8":
        with suppress(ValueError):
            address = utf8_xtext_decode(address)
    return address if address.find("@") > 0 else None


def _bare(text: str) -> str:
    return text.strip().strip("<>").strip()


def _untyped(text: str | None) -> str | None:
    """A value without its type ("smtp;", "dns;"), if it has one."""
    if text is None:
        return None
    kind, separator, value = text.partition(";")
    return value.strip() if separator and " " not in kind.strip() else text.strip()


def _all(fields: Sequence[Field], name: str) -> list[str]:
    found = (one for one in fields if one.name.lower() == name)
    values = (unfold(one.value).decode("utf-8", "replace") for one in found)
    return [value for value in values if value]


def _first(fields: Sequence[Field], name: str) -> str | None:
    return next(iter(_all(fields, name)), None)


def _of_any(groups: Sequence[Sequence[Field]], name: str) -> str | None:
    return next((value for group in groups for value in _all(group, name)), None)


def _original(octets: bytes, message: Message) -> tuple[Field, ...]:
    """The header of the message that a report returns."""
    for part in message.parts[1:]:
        name = part.content_type
        if name in ("message/rfc822", "message/global") and part.children:
            return part.children[0].fields
        if name in (
            "message/rfc822",
            "message/global",
            "text/rfc822-headers",
            "message/rfc822-headers",
            "message/global-headers",
        ):
            header = decoded(octets, part)[:MAX_REPORT]
            return parse_fields(header, 0, len(header))[0]
    return ()


def _original_id(octets: bytes, message: Message, rest: str) -> str | None:
    value = _first(_original(octets, message), "message-id")
    if value is not None:
        return next(iter(message_ids(value)), None)
    found = _MESSAGE_ID.search(rest)
    return found[1] if found else None


def _original_recipients(octets: bytes, message: Message) -> list[str]:
    """To whom the message complained of was addressed."""
    to = _all(_original(octets, message), "to")
    return [str(one.address) for value in to for one in mailboxes(value)]
