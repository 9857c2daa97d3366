"""What only an IMAP client can be refused: one class an answer, its code in one row.

They join `noinfra.errors`, and become answers at the same place (`answers.refused`). A
`Bad` is the client's error in the protocol, and answered BAD; a `Closing` refusal is
BYE, the last thing that we say on its connection.
"""

from __future__ import annotations

from noinfra.errors import Refusal, TemporaryFailure, TooLarge


class Bad(Refusal):
    """The command is none, or not now, or not with these arguments."""

    slug, imap = "bad_command", "CLIENTBUG"


class NotOffered(Refusal):
    """A mechanism, or a way, that we do not have."""

    slug, imap = "not_offered", "CANNOT"


class ReadOnly(Refusal):
    """The mailbox is open for reading alone, or the key may do no more."""

    slug, imap = "read_only", "NOPERM"


class TryCreate(Refusal):
    """The mailbox that something was to go to does not exist (RFC 9051, 7.1)."""

    slug, imap = "try_create", "TRYCREATE"


class UnknownCharset(Refusal):
    """A search in a character set that we do not know (RFC 9051, 7.1)."""

    slug, imap = "bad_charset", "BADCHARSET (US-ASCII UTF-8)"


class UnknownEncoding(Refusal):
    """A part whose transfer encoding we cannot undo (RFC 3516, 4.3)."""

    slug, imap = "unknown_encoding", "UNKNOWN-CTE"


class NeedsTls(Refusal):
    """A password in clear (RFC 9051, 11.3; RFC 5530)."""

    slug, imap = "needs_tls", "PRIVACYREQUIRED"


class Throttled(Refusal):
    """Too many logins failed here; the password was not looked at (RFC 5530)."""

    slug, imap = "throttled", "LIMIT"


class CompressedAlready(Refusal):
    """Compression is on (RFC 4978, 3)."""

    slug, imap = "compressed", "COMPRESSIONACTIVE"


class LiteralRefused(TooLarge):
    """A literal that is too large; its command is not whole, but may have a tag."""

    def __init__(self, text: str, tag: bytes | None) -> None:
        super().__init__(text)
        self.tag = tag


class ServerBug(TemporaryFailure):
    """A bug of ours (RFC 5530)."""

    imap = "SERVERBUG"


class Cancelled(Refusal):
    """The client took its own command back."""

    slug, imap = "cancelled", "CANNOT"


class Closing(Refusal):
    """A refusal after which the connection ends (RFC 9051, 7.1.5)."""

    imap = "CLIENTBUG"


class LineTooLong(Closing):
    """A line beyond all that extensions can need (RFC 7162, 4)."""

    slug, imap = "line_too_long", "LIMIT"


class BareLine(Closing):
    """A line holds a bare CR or LF, or a NUL: trust nothing behind it."""

    slug = "bare_line"


class FarTooLarge(Closing):
    """A literal that comes at once, and is so large that reading it helps nobody."""

    slug, imap = "too_large", "TOOBIG"


class Injected(Closing):
    """There is more in clear behind STARTTLS (RFC 9051, 6.2.1; CVE-2011-0411)."""

    slug = "injected"


class TooManyErrors(Closing):
    """The client sent too much that is no command."""

    slug = "too_many_errors"


class TooManyLogins(Closing):
    """Too many logins failed on one connection."""

    slug, imap = "too_many_logins", "LIMIT"


class TooManyConnections(Closing):
    """There are as many connections as we take, in all or from this address."""

    slug, imap = "too_many_connections", "LIMIT"


class TimedOut(Closing):
    """The client fell silent, or did not log in (RFC 9051, 5.4)."""

    slug, imap = "timed_out", "UNAVAILABLE"


class LoginEnded(Closing):
    """The key was revoked, or the password changed, that the client logged in with."""

    slug, imap = "login_ended", "EXPIRED"


class MailboxGone(Closing):
    """Somebody deleted the mailbox that is selected here (RFC 2180, 3)."""

    slug, imap = "mailbox_gone", "NONEXISTENT"


class Stopping(Closing):
    """Our service stops."""

    slug, imap = "stopping", "UNAVAILABLE"
