"""The arguments of MAIL, RCPT, BDAT, EHLO: from octets to values, or to a refusal.

Blanks are taken where the grammar has none but nothing else can be meant, as in
"MAIL FROM: <a@b>"; all else is as strict as RFC 5321, 4.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from attrs import frozen

from noinfra.errors import Refusal, TooLarge
from noinfra.fronts.smtp.refusals import (
    BadArguments,
    BadChunk,
    BadForwardPath,
    BadReversePath,
    NeedsSmtpUtf8,
    UnknownParameter,
)
from noinfra.mail.address import AddressError, parse_path
from noinfra.model import Forward

# What stands between the brackets; a quoted local part may hold brackets itself.
PATH = re.compile(r'(FROM|TO):[ \t]*<((?:[^"<>]|"(?:[^"\\]|\\.)*+")*+)>', re.IGNORECASE)
# RFC 5321, 4.1.2: esmtp-param, its value in UTF-8 where RFC 6531, 3.4 has it so.
PARAMETER = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f][^\x00-\x20\x7f]*))?"
)
# RFC 1870, 6.
SIZE = re.compile(r"[0-9]{1,20}")
# RFC 3461, 4; with SMTPUTF8 an original recipient may be in UTF-8 (RFC 6533, 3).
XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
ORCPT = re.compile(
    r"[A-Za-z0-9!#$%&'*/?^_`{|}~-]+;(?:[^\x00-\x20+=\x7f]|\+[0-9A-F]{2})+"
)
NOTIFY = ("success", "failure", "delay")
CHUNK = re.compile(rb"([0-9]{1,19})(?:[ \t]+(LAST))?", re.IGNORECASE)
# RFC 5321, 4.5.3.1.2; what no domain or address literal holds is shown as "?".
HELO = 255
NO_HOST = re.compile(r"[^A-Za-z0-9.:_\[\]-]")

Parameters = Mapping[str, str | None]


@frozen(kw_only=True)
class MailFrom:
    """The arguments of MAIL; an empty path is the null path."""

    path: str
    smtputf8: bool
    ret: str | None
    envid: str | None


def mail_from(arguments: bytes, size_limit: int, *, auth: bool = False) -> MailFrom:
    """Read what follows MAIL.

    :param auth: whether AUTH is offered. Its parameter is read and believed of nobody,
        which is to act as if it were <> (RFC 4954, 5).
    :raises Refusal: it is not right, or announces more octets than the limit.
    """
    known = MAIL | {"AUTH": True} if auth else MAIL
    text, parameters = _path_and_parameters(arguments, "FROM", known)
    smtputf8 = "SMTPUTF8" in parameters
    path = ""
    if text:
        path = _path(text, smtputf8, BadReversePath)
    _check_size(parameters, size_limit)
    _check_body(parameters)
    submitter = parameters.get("AUTH") or "<>"
    if submitter != "<>" and not XTEXT.fullmatch(submitter):
        raise BadArguments("AUTH is a mailbox in xtext, or <> (RFC 4954, 5).")
    ret, envid = parameters.get("RET"), parameters.get("ENVID")
    if ret is not None and ret.upper() not in ("FULL", "HDRS"):
        raise BadArguments("RET is FULL or HDRS (RFC 3461, 4.3).")
    if envid is not None and not (len(envid) <= 100 and XTEXT.fullmatch(envid)):
        raise BadArguments("ENVID is xtext of at most 100 characters (RFC 3461, 4.4).")
    return MailFrom(path=path, smtputf8=smtputf8, ret=ret and ret.lower(), envid=envid)


def rcpt_to(arguments: bytes, smtputf8: bool) -> Forward:
    """Read what follows RCPT.

    :param smtputf8: whether MAIL had SMTPUTF8.
    :raises Refusal: it is not right.
    """
    text, parameters = _path_and_parameters(arguments, "TO", RCPT)
    # RFC 5321, 4.5.1: the one mailbox that needs no domain.
    path = "postmaster"
    if text.lower() != path:
        path = _path(text, smtputf8, BadForwardPath)
    orcpt = parameters.get("ORCPT")
    if orcpt is not None and not _is_orcpt(orcpt, smtputf8):
        raise BadArguments(
            "ORCPT is a type, a semicolon and xtext, at most 500 characters"
            " (RFC 3461, 4.2)."
        )
    return Forward(path=path, notify=_notify(parameters.get("NOTIFY")), orcpt=orcpt)


def chunk(arguments: bytes) -> tuple[int, bool]:
    """Read what follows BDAT: how many octets come, and whether they are the last.

    :raises BadChunk: then nobody knows where the next command begins.
    """
    found = CHUNK.fullmatch(arguments)
    if found is None:
        raise BadChunk("Write BDAT size, or BDAT size LAST (RFC 3030, 2). Closing.")
    return int(found[1]), found[2] is not None


def helo(arguments: bytes) -> str:
    """The name a client gives itself: never refused for what it says, but made safe.

    RFC 5321, 4.1.4 forbids to refuse mail because the name is not the client's.

    :raises BadArguments: there is none.
    """
    words = arguments.decode("ascii", "replace").split(maxsplit=1)
    if not words:
        raise BadArguments("Say who you are: EHLO your.host.example")
    return NO_HOST.sub("?", words[0][:HELO])


def _path_and_parameters(
    arguments: bytes, keyword: str, known: Mapping[str, bool]
) -> tuple[str, Parameters]:
    verb = "MAIL FROM" if keyword == "FROM" else "RCPT TO"
    try:
        text = arguments.decode("utf-8")
    except UnicodeDecodeError:
        raise BadArguments("The command is not in UTF-8 (RFC 6531, 3.3).") from None
    found = PATH.match(text)
    if found is None or found[1].upper() != keyword:
        raise BadArguments(f"Write {verb}:<address>, with the angle brackets.")
    rest = text[found.end() :]
    if rest and rest[0] not in " \t":
        raise BadArguments(f"After {verb}:<address> comes a space, or nothing.")
    return found[2], _parameters(rest, known) if rest else {}


def _parameters(text: str, known: Mapping[str, bool]) -> Parameters:
    parameters: dict[str, str | None] = {}
    for word in text.strip(" \t").replace("\t", " ").split(" "):
        if not word:
            continue
        found = PARAMETER.fullmatch(word)
        if found is None:
            raise BadArguments(f"{word} is no parameter: write KEYWORD=value.")
        keyword, value = found[1].upper(), found[2]
        _check_parameter(keyword, value, known, parameters)
        parameters[keyword] = value
    return parameters


# The parameters that EHLO offers, and whether they have a value.
MAIL = {"SIZE": True, "BODY": True, "SMTPUTF8": False, "RET": True, "ENVID": True}
RCPT = {"NOTIFY": True, "ORCPT": True}


def _check_parameter(
    keyword: str, value: str | None, known: Mapping[str, bool], seen: Collection[str]
) -> None:
    if keyword not in known:
        raise UnknownParameter(f"The parameter {keyword} is not offered here.")
    if keyword in seen:
        raise BadArguments(f"The parameter {keyword} is there twice.")
    if known[keyword] and value is None:
        raise BadArguments(f"The parameter {keyword} needs a value.")
    if value is not None and not known[keyword]:
        raise BadArguments(f"The parameter {keyword} has no value.")


def _path(text: str, smtputf8: bool, wrong: type[Refusal]) -> str:
    if not (smtputf8 or text.isascii()):
        raise NeedsSmtpUtf8("An address beyond ASCII needs SMTPUTF8 with MAIL.")
    try:
        return str(parse_path(text, smtputf8=smtputf8))
    except AddressError as error:
        raise wrong(f"{error}") from None


def _check_size(parameters: Parameters, limit: int) -> None:
    size = parameters.get("SIZE")
    if size is None:
        return
    if not SIZE.fullmatch(size):
        raise BadArguments("SIZE is a number of octets (RFC 1870, 6).")
    if int(size) > limit:
        raise TooLarge(f"A message has at most {limit} octets.")


def _check_body(parameters: Parameters) -> None:
    body = (parameters.get("BODY") or "7BIT").upper()
    if body == "BINARYMIME":
        raise UnknownParameter("BINARYMIME is not offered here; send 8BITMIME.")
    if body not in ("7BIT", "8BITMIME"):
        raise BadArguments("BODY is 7BIT or 8BITMIME (RFC 6152, 2).")


def _notify(value: str | None) -> str | None:
    """RFC 3461, 4.1: NEVER alone, or any of the others once each."""
    if value is None:
        return None
    wishes = value.lower().split(",")
    sound = wishes == ["never"] or (
        len(set(wishes)) == len(wishes) and set(wishes) <= set(NOTIFY)
    )
    if not sound:
        raise BadArguments("NOTIFY is NEVER, or of SUCCESS,FAILURE,DELAY each once.")
    return ",".join(wishes)


def _is_orcpt(value: str, smtputf8: bool) -> bool:
    if len(value) > 500 or not (smtputf8 or value.isascii()):
        return False
    return ORCPT.fullmatch(value) is not None
