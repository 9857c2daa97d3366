"""What a report says of one recipient, and whether to write to the address again.

Status codes are RFC 3463's. Many servers give none, or 5.0.0, and say in words what was
wrong; a short list of the phrases that they share fills the gap. It holds no rule for a
single vendor.
"""

import re
from typing import Final, Literal, TypeAlias

from attrs import frozen

from noinfra.mail.encode import neutral

Kind: TypeAlias = Literal["hard", "soft"]

#: How much of a reply is kept and looked at.
MAX_DIAGNOSTIC: Final = 2000

# Not within a host address or a version: no digit, dot or letter around it.
_ENHANCED = re.compile(r"(?<![\w./-])([245])\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\d)")
_ADDRESS = re.compile(r"[^\s<>@\"(]{1,64}@[\w.-]{1,255}")
_REPLY = re.compile(r"(?<![\w.:/-])([45]\d\d)(?=[ \-:;,)\]<]|\Z)")

#: Details (RFC 3463, 3.2; RFC 3886; RFC 7505) that say the address itself is of no use.
_HARD_DETAILS: Final = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "3.2", "4.4"})


@frozen(kw_only=True)
class Outcome:
    """One recipient's part of a report.

    `address` is as the report spells it: an outsider's text, not yet a sound address.
    `original` is the one that the sender used, where the report tells (ORCPT).
    """

    address: str
    action: str
    status: str
    diagnostic: str | None
    remote_mta: str | None
    original: str | None

    @property
    def kind(self) -> Kind | None:
        """Hard: the address is of no use. Soft: another mail may do. None: all well."""
        if self.action not in ("failed", "delayed"):
            return None
        if self.action == "delayed" or not self.status.startswith("5"):
            return "soft"
        return "hard" if is_hard(self.status, self.diagnostic or "") else "soft"


def _phrases(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.I)


#: Words in replies and the detail that they mean, the surest first.
_MEANINGS: Final = (
    ("2.2", _phrases(
        r"(mail ?box|folder|account|inbox)('s| is| has)?( been)? (full|over)",
        r"over ?-?quota", r"quota (is )?exceeded", r"mailbox (size )?limit",
        r"(exceed\w*|over)( \w+){0,3} (quota|storage|limit)", r"(disk|storage) quota",
    )),
    ("3.4", _phrases(
        r"message (is )?too (big|large|long)", r"size limit", r"too large",
        r"message size exceed",
        r"exceeds? (the )?(maximum|fixed|max) (message |mail )?size",
    )),
    ("4.3", _phrases(
        r"not found,? try again", r"temporar", r"name server (failure|timeout)",
    )),
    ("1.2", _phrases(
        r"(host|domain)( name)?( is)? (unknown|not found|does ?n[o']t exist)",
        r"(unknown|bad|no such|unroute?able|illegal) (host|domain|mail domain)",
        r"(couldn'?t|could not|cannot) (find|resolve)( \w+){0,3} (host|domain|mail)",
        r"(no|any) host named", r"no mail exchanger", r"nxdomain",
        r"unroute?able (mail )?(address|domain)",
    )),
    ("2.1", _phrases(
        r"(account|mailbox|user|recipient)( is| has)?( been)?( currently)? "
        r"(disabled|suspended|inactive|deactivated|locked|blocked|closed)",
        r"disabled or discontinued", r"(inactive|suspended|disabled) (user|account)",
    )),
    ("1.1", _phrases(
        r"(user|recipient|mailbox|address|account|userid|name)( name)?\W+(is |was )?"
        r"(unknown|not (found|known|recogni[sz]ed|listed)|does ?n[o']t exist|invalid)",
        r"(unknown|invalid|no such|bad|non-?existent)( local| final| virtual)?"
        r"( delivery)? (user|recipient|mailbox|address|account|person|local[- ]part)",
        r"(no|any) (mailbox|user|account|one)( here)? (by|with|of) that",
        r"does(n't| not) have an? \S+ account", r"couldn'?t be found",
        r"(mailbox|address|user|recipient|account)( \S+){0,6} (doesn't|not) exist",
        r"not a (registered|valid|known)( \w+)? (user|mailbox|recipient|address)",
        r"recipnotfound", r"not listed in public name",
    )),
    ("7.1", _phrases(
        r"\bspam\b", r"(black|block) ?list", r"\b(dnsbl|rbl|dmarc|spf)\b", r"policy",
        r"unsolicited", r"(access|relaying) denied", r"not (permitted|authori[sz]ed)",
        r"rejected", r"reputation", r"blocked", r"virus", r"not allowed",
    )),
    ("4.7", _phrases(
        r"(retry|delivery) time(out)? (exceeded|expired)", r"expired", r"gave up",
        r"giving up", r"in the queue too long", r"could not be delivered for",
    )),
    ("4.1", _phrases(
        r"connection (refused|timed out|reset)", r"no route to host", r"socket error",
        r"unreachable", r"not accept our requests to connect", r"timed? ?out",
        r"unable to contact", r"could not connect", r"network error",
    )),
)  # fmt: skip


def status_of(given: str, reply: str, *, delayed: bool) -> str:
    """The best status there is (RFC 3463).

    The remote server's own code tells more than what the reporting one made of it, and
    any says more than x.0.0. Without a code, the words of the reply decide.
    """
    codes = _codes(reply) + _codes(given)
    if codes:
        return next((code for code in codes if not code.endswith(".0.0")), codes[0])
    detail = meaning(reply)
    code = _REPLY.search(reply)
    first = code[1][0] if code else "4" if delayed else "5"
    return f"{first}.{detail or '0.0'}"


def _codes(text: str) -> list[str]:
    return [".".join(found) for found in _ENHANCED.findall(text[:MAX_DIAGNOSTIC])]


def meaning(text: str) -> str | None:
    """The detail of a status that the words of a reply stand for, if they are known."""
    # Not the words of an address: spam@, blocked@.
    text = _ADDRESS.sub("<>", text[:MAX_DIAGNOSTIC])
    return next((detail for detail, words in _MEANINGS if words.search(text)), None)


def tells(text: str) -> bool:
    """Whether a text says more than that it failed, by a code or in words."""
    specific = any(not code.endswith(".0.0") for code in _codes(text))
    return specific or meaning(text) is not None


def is_hard(status: str, reply: str) -> bool:
    """Whether a failure means that the address is no good, rather than the message."""
    detail = status.partition(".")[2]
    if detail in _HARD_DETAILS:
        return meaning(reply) not in ("2.2", "3.4")
    # Many say 5.0.0, 5.2.1 or 5.5.0 and mean an unknown user. Not so where the code
    # speaks of the sender (1.7, 1.8), the size (3.4), the way (4) or a policy (7).
    vague = detail.startswith(("0.", "1.", "2.", "3.0", "5.")) and detail not in (
        "1.7",
        "1.8",
    )
    return vague and meaning(reply) in _HARD_DETAILS


def diagnostic_text(text: str) -> str | None:
    """A reply on one line, of a bounded length."""
    return neutral(text[: 2 * MAX_DIAGNOSTIC])[:MAX_DIAGNOSTIC] or None
