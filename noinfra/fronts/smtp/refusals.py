"""What only an SMTP client can be refused: one class a reply, its codes in one row.

They join `noinfra.errors`, and become reply lines at the same place (`reply.refused`).
A `Closing` refusal is the last thing that we say on its connection.
"""

from __future__ import annotations

from noinfra.errors import Refusal


class UnknownCommand(Refusal):
    """The verb is none of ours (RFC 5321, 4.2.4)."""

    slug, smtp = "unknown_command", "500 5.5.1"


class NotOffered(Refusal):
    """The verb is one of SMTP's, but this port does not do it (RFC 5321, 4.2.4)."""

    slug, smtp = "not_offered", "502 5.5.1"


class BadSequence(Refusal):
    """The command is good, but not now (RFC 5321, 4.1.4)."""

    slug, smtp = "bad_sequence", "503 5.5.1"


class BadArguments(Refusal):
    """The command's arguments are not of its syntax."""

    slug, smtp = "bad_arguments", "501 5.5.4"


class BadForwardPath(Refusal):
    """The recipient's path is no path."""

    slug, smtp = "bad_forward_path", "501 5.1.3"


class BadReversePath(Refusal):
    """The sender's path is no path."""

    slug, smtp = "bad_reverse_path", "501 5.1.7"


class NeedsSmtpUtf8(Refusal):
    """A path that is not ASCII, and no SMTPUTF8 with MAIL (RFC 6531, 3.5)."""

    slug, smtp = "needs_smtputf8", "553 5.6.7"


class UnknownParameter(Refusal):
    """A parameter of MAIL or RCPT that EHLO did not offer (RFC 5321, 4.1.1.11)."""

    slug, smtp = "unknown_parameter", "555 5.5.4"


class LineTooLong(Refusal):
    """A command line beyond what its extensions can need (RFC 5321, 4.5.3.1.4)."""

    slug, smtp = "line_too_long", "500 5.5.2"


class BareLineEnd(Refusal):
    """The data holds a CR or an LF outside a CRLF (RFC 5321, 2.3.8)."""

    slug, smtp = "bare_line_end", "550 5.6.0"


class StorageFull(Refusal):
    """There is no room on disk to collect the data in."""

    slug, smtp = "storage_full", "452 4.3.1"


class Closing(Refusal):
    """A refusal after which the connection ends (RFC 5321, 3.8)."""


class BareLine(Closing):
    """A command line holds a bare CR or LF, or a NUL: trust nothing behind it."""

    slug, smtp = "bare_line", "500 5.5.2"


class BadChunk(Closing):
    """A BDAT that does not tell how many octets of data come after it."""

    slug, smtp = "bad_chunk", "501 5.5.4"


class FarTooLarge(Closing):
    """So much beyond the limit that reading on to its end helps nobody."""

    slug, smtp = "too_large", "552 5.3.4"


class Injected(Closing):
    """There is more in clear behind STARTTLS (RFC 3207, 4.2; CVE-2011-0411)."""

    slug, smtp = "injected", "501 5.5.1"


class Foreign(Closing):
    """The client speaks another protocol, most likely from somebody's browser."""

    slug, smtp = "foreign", "421 4.7.0"


class TooManyErrors(Closing):
    """The client was refused too often."""

    slug, smtp = "too_many_errors", "421 4.7.0"


class TooManyTransactions(Closing):
    """The client has begun as many transactions as one connection may."""

    slug, smtp = "too_many_transactions", "421 4.7.0"


class TooManyConnections(Closing):
    """There are as many connections as we take, in all or from this address."""

    slug, smtp = "too_many_connections", "421 4.7.0"


class SpokeTooSoon(Closing):
    """The client did not wait for our greeting (RFC 5321, 3.1)."""

    slug, smtp = "spoke_too_soon", "421 4.7.0"


class TimedOut(Closing):
    """The client fell silent, or took all too long (RFC 5321, 4.5.3.2.7)."""

    slug, smtp = "timed_out", "421 4.4.2"


class Stopping(Closing):
    """Our service stops (RFC 5321, 3.8)."""

    slug, smtp = "stopping", "421 4.3.2"
