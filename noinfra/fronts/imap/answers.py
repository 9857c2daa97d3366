"""What we answer, apart from mail itself: the one place that makes each form."""

from __future__ import annotations

from collections.abc import Iterable

from noinfra.errors import Refusal
from noinfra.fronts.imap.refusals import Bad
from noinfra.mail.imap.render import text


def untagged(octets: bytes) -> bytes:
    """A line of data."""
    return b"* %b\r\n" % octets


def untagged_ok(code: bytes, words: str) -> bytes:
    """Something to know, under a response code."""
    return b"* OK [%b] %b\r\n" % (code, text(words))


def completed(tag: bytes, verb: str, code: bytes, words: str = "") -> bytes:
    """The command is done."""
    shown = text(words or f"{verb} completed.")
    if code:
        return b"%b OK [%b] %b\r\n" % (tag, code, shown)
    return b"%b OK %b\r\n" % (tag, shown)


def refused(tag: bytes, refusal: Refusal) -> bytes:
    """The command is not done: NO, or BAD where it was none (RFC 9051, 7.1)."""
    status = b"BAD" if isinstance(refusal, Bad) else b"NO"
    code = refusal.imap.encode("ascii")
    return b"%b %b [%b] %b\r\n" % (tag, status, code, text(refusal.text))


def bye(refusal: Refusal) -> bytes:
    """The last line, with its reason."""
    return b"* BYE [%b] %b\r\n" % (refusal.imap.encode("ascii"), text(refusal.text))


def capabilities(names: Iterable[str]) -> bytes:
    """CAPABILITY and the names, without anything around them."""
    return f"CAPABILITY {' '.join(names)}".encode("ascii")
