"""Reply lines (RFC 5321, 4.2; RFC 2034): the one place that makes them."""

from __future__ import annotations

import re
from textwrap import wrap

from noinfra.errors import Refusal

# RFC 5321, 4.5.3.1.5: a reply line has 512 octets with its codes and CRLF.
TEXT = 480
# RFC 5321, 4.2: the text is HT and printable ASCII; we do without HT.
CONTROL = re.compile(r"[^\x20-\x7e]+")


def reply(code: int, enhanced: str, text: str) -> bytes:
    """One reply, on as many lines as its text needs.

    What is not ASCII is spelled in escapes: the reader may not know SMTPUTF8.

    :param enhanced: "" where RFC 2034, 4 allows none (greeting, HELO, EHLO, 3yz).
    """
    text = printable(text)
    lines = wrap(text, TEXT) if len(text) > TEXT else [text]
    prefix = f" {enhanced} " if enhanced else " "
    rest = "".join(f"{code}-{prefix[1:]}{line}\r\n" for line in lines[:-1])
    return f"{rest}{code}{prefix}{lines[-1]}\r\n".encode("ascii")


def refused(refusal: Refusal) -> bytes:
    """The reply to a command that we refuse."""
    code, _, enhanced = refusal.smtp.partition(" ")
    return reply(int(code), enhanced, refusal.text)


def printable(text: str) -> str:
    """One line of printable ASCII: line ends are spaces, the rest is escaped."""
    escaped = " ".join(text.split()).encode("ascii", "backslashreplace").decode("ascii")
    return CONTROL.sub("?", escaped)
