"""Every refusal that a caller can meet: one class, one text, one code per protocol.

A front turns a `Refusal` into its protocol's words in one place and adds nothing. What
is not a `Refusal` is a bug of ours: 500 to HTTP, 451 to SMTP, never a permanent code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):
    """We will not do it, and the text says why and what to do.

    :ivar slug: the stable name of the refusal, for programs.
    :ivar http: the status of RFC 9110.
    :ivar smtp: the reply code of RFC 5321 and the enhanced code of RFC 3463.
    :ivar imap: the response code of RFC 5530, without brackets.
    :ivar details: what a program may want to know, by name.
    """

    slug: ClassVar[str] = "refused"
    http: ClassVar[int] = 400
    smtp: ClassVar[str] = "550 5.7.1"
    imap: ClassVar[str] = "CANNOT"

    def __init__(self, text: str, **details: object) -> None:
        super().__init__(text)
        self.text = text
        self.details: Mapping[str, object] = details


class TemporaryFailure(Refusal):
    """We cannot do it now; nothing was done, and the same request may work later."""

    slug, http, smtp, imap = "unavailable", 503, "451 4.3.0", "UNAVAILABLE"
    retry_after = 5


class Invalid(Refusal):
    """The request is not well formed, or says what cannot be."""

    slug, http, smtp, imap = "validation_error", 400, "501 5.5.4", "CLIENTBUG"


class Unauthenticated(Refusal):
    """No key, or one that we do not know."""

    slug, http, smtp, imap = "unauthorized", 401, "535 5.7.8", "AUTHENTICATIONFAILED"


class Forbidden(Refusal):
    """The key is good, but does not hold the permission or the scope."""

    slug, http, smtp, imap = "forbidden", 403, "550 5.7.1", "NOPERM"


class NotFound(Refusal):
    """There is no such thing, or it belongs to somebody else, which looks the same."""

    slug, http, smtp, imap = "not_found", 404, "550 5.1.1", "NONEXISTENT"


class NoSuchInbox(NotFound):
    """The address is in a domain of ours, but no inbox has it."""

    slug, smtp = "no_such_inbox", "550 5.1.1"


class RelayDenied(Refusal):
    """The address is not in a domain of ours, and we relay for nobody."""

    slug, http, smtp, imap = "relay_denied", 403, "550 5.7.1", "NOPERM"


class InboxSuspended(Refusal):
    """The inbox exists, but takes and sends nothing now."""

    slug, http, smtp, imap = "inbox_suspended", 409, "450 4.2.1", "UNAVAILABLE"


class Conflict(Refusal):
    """It clashes with what is there."""

    slug, http, smtp, imap = "conflict", 409, "550 5.5.0", "ALREADYEXISTS"


class IdempotencyMismatch(Conflict):
    """The Idempotency-Key was used for another request."""

    slug = "idempotency_mismatch"


class TooLarge(Refusal):
    """It has more octets than we take."""

    slug, http, smtp, imap = "too_large", 413, "552 5.3.4", "TOOBIG"


class TooManyRecipients(Refusal):
    """One mail names more recipients than we take at once."""

    slug, http, smtp, imap = "too_many_recipients", 400, "452 4.5.3", "LIMIT"


class RateLimited(Refusal):
    """Too much at once; the details tell when to come back, in seconds."""

    slug, http, smtp, imap = "rate_limited", 429, "450 4.7.1", "LIMIT"

    def __init__(self, text: str, *, retry_after: float, **details: object) -> None:
        super().__init__(text, retryAfter=retry_after, **details)
        self.retry_after = retry_after


class MailLoop(Refusal):
    """The mail has passed so many servers that it must be going round."""

    slug, http, smtp, imap = "mail_loop", 409, "554 5.4.6", "CANNOT"


class BadContent(Refusal):
    """The mail's octets break a rule that we hold everyone to."""

    slug, http, smtp, imap = "bad_content", 400, "554 5.6.0", "CANNOT"


class MethodNotAllowed(Refusal):
    """The path exists, but not with this method."""

    slug, http = "method_not_allowed", 405


class UnsupportedMediaType(Refusal):
    """The body is not of a type that we read here."""

    slug, http = "unsupported_media_type", 415


class NotAcceptable(Refusal):
    """A range or a form was asked for that cannot be given."""

    slug, http = "range_not_satisfiable", 416


class ConfigurationError(Exception):
    """The operator's settings cannot work; the text names the one, and the remedy."""
