"""Reading non-delivery reports that are prose: before RFC 3464, or beside it.

Every mailer words them differently, yet they have a form in common: a text from a
mailer-daemon that names each recipient at the beginning of a line, or after words such
as "could not be delivered to", says what happened below or behind, and ends with the
header of the original message. That form is read here, and nothing that only one vendor
does.

Such a report proves little, as anybody can write one. Its reader believes it only where
the original message is one that was sent, and to that recipient.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from attrs import frozen

from noinfra.mail.html import to_text
from noinfra.mail.outcome import Outcome, diagnostic_text, status_of, tells
from noinfra.mail.part import Message, Part
from noinfra.mail.text import part_text

#: How much of a notice is read.
MAX_NOTICE: Final = 64 * 1024
MAX_RECIPIENTS: Final = 100
MAX_SUBJECT: Final = 500

_ADDRESS = r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[\w.-]{1,255}\w"
_SENDERS = re.compile(
    r"mailer[- _]?daemon|post_?master|mail[. ]?deliver|no-?reply|bounce|administrator",
    re.I,
)
_SUBJECTS = re.compile(
    r"undeliver|not delivered|fail(ed|ure)? (notice|delivery)|non[- ]?delivery|"
    r"could ?n[o']t be|returned (mail|message|to sender)|returning message|"
    r"(deliver|mail|message).{0,20}(fail|error|problem|delay|status|notification)|"
    r"delayed (mail|\d)",
    re.I,
)
_FAILED = re.compile(
    r"(un|not |n't )(be |been |able to )?deliver|fail|error|did not reach|returned|"
    r"reject|problem|unable to|invalid|unknown|(?<!\d)5\d\d[ -]",
    re.I,
)
_DELAYED = re.compile(
    r"warning message only|this is a warning only|(has been|is|message) delayed|"
    r"still being retried|not yet (been )?delivered|will be retried|delayed mail|"
    r"will (continue|keep) (to try|trying)|delivery (status notification \()?delay",
    re.I,
)
_NOT_DELIVERED = re.compile(
    r"(could|can)(not| not|n't) be delivered|unable to deliver|failed to deliver", re.I
)
# Where the original message, or its header, begins in a notice of one part.
_ORIGINAL = re.compile(
    r"^[ \t]*[-*=_]{2,40} ?[^\n]{0,40}(?:copy of|original|returned|unsent|undelivered)"
    r" ?[^\n]{0,40}(?:message|mail|text)"
    r"|^[ \t]*[-*=_]{2,40}[^\n]{0,20}header of the original"
    r"|^[ \t]*(?:below|included|this) (?:is|this line is) a copy of"
    r"|^[ \t]*(?:the )?(?:original )?(?:message|mail)(?: headers?)?"
    r" (?:follows?|as follows)"
    r"|^original message headers:"
    r"|^(?:Received|Return-Path|DKIM-Signature|X-Received)[ \t]*:",
    re.I | re.M,
)
_AT_LINE = re.compile(
    rf"^[ \t>*•]*(?:[45]\d\d[ -]+)?[<\"'(\[]*({_ADDRESS})(?=[>\"')\]:;,.\s]|$)", re.M
)
_AFTER_WORDS = re.compile(
    r"(?:deliver\w{0,5}(?: \w{1,20}){0,3} to|(?:message|mail) to|recipients?|userid|"
    r"(?:recipient )?address|fail\w{0,4} to|undeliverable to|affected|following)"
    rf"[ \t:]*\s?<?({_ADDRESS})",
    re.I,
)
_RCPT = re.compile(rf"RCPT TO: ?<?({_ADDRESS})>?", re.I)
_BRACKETED = re.compile(rf"<({_ADDRESS})>")


@frozen(kw_only=True)
class Notice:
    """The prose of a report, and the rest of its only text: the original, as a rule."""

    text: str
    rest: str


def is_from_system(message: Message) -> bool:
    """Whether a mail claims to come from a mail system; cheap, as all mail is asked."""
    if message.first("x-failed-recipients") is not None:
        return True
    names = [f"{one.name[:100]} {one.address.local[:100]}" for one in message.from_[:5]]
    return not names or any(map(_SENDERS.search, names))


def looks_like_bounce(message: Message, said: str) -> bool:
    """Whether a mail from a mail system tells of a failure or a delay."""
    if message.first("x-failed-recipients") is not None:
        return True
    subject = message.subject[:MAX_SUBJECT]
    if _SUBJECTS.search(subject) and _FAILED.search(f"{subject} {said}"):
        return True
    returned = any(part.type == "message" for part in message.parts)
    return returned and bool(_NOT_DELIVERED.search(said))


def notice(octets: bytes, message: Message) -> Notice:
    """The text that was written for people, up to where the original begins."""
    parts = list(_prose(message.root))
    plain = [part for part in parts if part.subtype != "html"]
    texts = [_text(octets, part) for part in plain or parts]
    whole = "\n".join(texts)[:MAX_NOTICE]
    cut = _ORIGINAL.search(whole)
    if cut is None:
        return Notice(text=whole, rest="")
    return Notice(text=whole[: cut.start()], rest=whole[cut.start() :])


def _prose(part: Part) -> Iterator[Part]:
    """The texts of the report itself, none of the message that it returns."""
    if part.type == "message" or part.subtype == "rfc822-headers":
        return
    if part.children:
        for child in part.children:
            yield from _prose(child)
    elif part.type in ("text", "multipart"):
        yield part


def _text(octets: bytes, part: Part) -> str:
    text = part_text(octets, part, limit=MAX_NOTICE)
    return to_text(text) if part.subtype == "html" else text


def read_prose(message: Message, said: str) -> tuple[Outcome, ...]:
    """What a notice says of its recipients."""
    delayed = bool(_DELAYED.search(f"{message.subject[:MAX_SUBJECT]}\n{said}"))
    found = recipients(message, said)
    blocks = by_address(said, found)
    return tuple(
        _outcome(address, blocks[address], said, delayed=delayed) for address in found
    )


def recipients(message: Message, said: str) -> list[str]:
    """The addresses that a notice is about, by the surest sign that it gives."""
    failed = message.first("x-failed-recipients")
    named = failed.value.decode("utf-8", "replace") if failed else ""
    own = {str(one.address).lower() for one in (*message.from_, *message.to)}
    for sign in (
        re.findall(_ADDRESS, named),
        _AT_LINE.findall(said),
        _AFTER_WORDS.findall(said),
        _RCPT.findall(said),
        _BRACKETED.findall(said),
    ):
        addresses = list(dict.fromkeys(sign))
        # The sender may have written to himself; mostly he is only named as the sender.
        others = [one for one in addresses if one.lower() not in own]
        if addresses:
            return (others or addresses)[:MAX_RECIPIENTS]
    return []


def by_address(said: str, addresses: Sequence[str]) -> dict[str, str]:
    """What stands in a text from where an address is first named to the next one."""
    starts = {address: max(said.find(address), 0) for address in addresses}
    in_order = sorted(set(starts.values()))
    ends = dict(pairwise(in_order))
    return {address: said[start : ends.get(start)] for address, start in starts.items()}


def _outcome(address: str, behind: str, said: str, *, delayed: bool) -> Outcome:
    """What is said of one recipient: on its line, else below it, else anywhere."""
    scopes = (behind.partition("\n")[0], behind, said)
    reply = next((scope for scope in scopes if tells(scope)), behind)
    return Outcome(
        address=address,
        action="delayed" if delayed else "failed",
        status=status_of("", reply, delayed=delayed),
        diagnostic=diagnostic_text(reply),
        remote_mta=None,
        original=None,
    )
