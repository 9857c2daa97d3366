"""What only a client that submits mail can be refused: one class a reply (RFC 4954, 6).

They join those of `noinfra.fronts.smtp.refusals`.
"""

from __future__ import annotations

from noinfra.errors import Refusal
from noinfra.fronts.smtp.refusals import Closing


class NotLoggedIn(Refusal):
    """Mail is taken from nobody who has not logged in."""

    slug, smtp = "not_logged_in", "530 5.7.0"


class NotEncrypted(Refusal):
    """The secret would cross the network in clear (RFC 4954, 4)."""

    slug, smtp = "not_encrypted", "538 5.7.11"


class UnknownMechanism(Refusal):
    """EHLO did not offer it."""

    slug, smtp = "unknown_mechanism", "504 5.5.4"


class BadExchange(Refusal):
    """What the client responds is not in base64, or not of the mechanism's form."""

    slug, smtp = "bad_exchange", "501 5.5.2"


class ExchangeTooLong(Refusal):
    """A line of the exchange is longer than our mechanisms can need."""

    slug, smtp = "exchange_too_long", "500 5.5.6"


class Cancelled(Refusal):
    """The client broke the exchange off with an asterisk."""

    slug, smtp = "cancelled", "501 5.7.0"


class CannotTell(Refusal):
    """Whether the credentials are good cannot be found out now."""

    slug, smtp = "cannot_tell", "454 4.7.0"


class TooManyLogins(Closing):
    """There were too many bad logins on this connection, or from its network."""

    slug, smtp = "too_many_logins", "421 4.7.0"
