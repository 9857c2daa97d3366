"""What noinfra needs of the outside world: Protocols and the values that cross them.

There is no logic here. Each Protocol has a provider in noinfra.net and a fake in
tests/fakes. Units, everywhere in this module: sizes are octets, times are datetimes in
UTC that know their zone, host names are lower-case A-labels without a final dot.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal, Protocol

from attrs import frozen


class DnsFailure(Exception):
    """A name could not be looked up; the text says which and why."""


class NoSuchDomain(DnsFailure):
    """The name does not exist (NXDOMAIN), whatever type of record is asked for."""


class DnsTemporary(DnsFailure):
    """No answer, or none that can be believed, for now: timeout, SERVFAIL, nonsense."""


@frozen(kw_only=True)
class MailExchange:
    """One MX record; the null MX of RFC 7505 has the host ""."""

    preference: int
    host: str


class Resolver(Protocol):
    """Asks the DNS. CNAMEs are followed.

    Every method returns an empty tuple when the name exists without such records.

    :raises NoSuchDomain: the name does not exist.
    :raises DnsTemporary: it is not known now; try again later.
    """

    async def a(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses, dotted."""

    async def aaaa(self, name: str) -> tuple[str, ...]:
        """The IPv6 addresses, in the compressed form of RFC 5952."""

    async def mx(self, name: str) -> tuple[MailExchange, ...]:
        """The mail exchanges, best preference first, equals in no order."""

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """The text records, the strings of each joined without a space."""

    async def ptr(self, address: str) -> tuple[str, ...]:
        """The names that the reverse zone gives for an IPv4 or IPv6 address."""


class Octets(Protocol):
    """A message's octets with CRLF line ends, brought in pieces so that none is copied.

    pieces may be called more than once: a second host may have to be tried.
    """

    @property
    def size(self) -> int:
        """How many octets the pieces amount to."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The octets in order, in pieces of at most 256 KiB, cut anywhere."""


Status = Literal["delivered", "deferred", "failed"]
Notify = Literal["never", "success", "failure", "delay"]


@frozen(kw_only=True)
class Recipient:
    """A forward-path, and what its sender wants to hear of it (RFC 3461, 4.1, 4.2)."""

    address: str
    notify: tuple[Notify, ...] = ()
    """Empty: the sender did not say."""
    orcpt: str = ""
    """The original recipient as `addr-type;xtext`, sent on as it came; "" is none."""


@frozen(kw_only=True)
class Envelope:
    """One message on its way to recipients that share a destination."""

    mail_from: str
    """The reverse-path; "" for a notification, which must not itself be answered."""
    rcpt_to: tuple[Recipient, ...]
    octets: Octets | bytes
    eight_bit: bool = False
    """The octets hold some above 127, so the peer must offer 8BITMIME (RFC 6152)."""
    smtputf8: bool = False
    """The header holds UTF-8, so the peer must offer SMTPUTF8 (RFC 6531)."""
    ret: Literal["", "full", "hdrs"] = ""
    """How much of the message a DSN is to return (RFC 3461, 4.3); "" is not said."""
    envid: str = ""
    """The sender's own mark for the envelope, in xtext (RFC 3461, 4.4); "" is none."""


@frozen(kw_only=True)
class Attempt:
    """One host tried for one recipient, and what came of it."""

    remote_host: str
    """The host's name; "" when none was reached for, as when routing failed."""
    remote_address: str
    """Its IP address; "" likewise."""
    code: int | None
    """The SMTP reply code; None when no reply decided, as after a timeout."""
    enhanced: str
    """The enhanced status code (RFC 3463); class and zeros if the peer gave none."""
    text: str
    """The reply's text, or ours; one line, printable, at most 500 characters."""
    tls: str | None
    """Protocol, cipher, and `verified` or `unverified`; None when in clear."""
    started_at: datetime
    finished_at: datetime


@frozen(kw_only=True)
class Outcome:
    """What became of one recipient."""

    rcpt_to: str
    status: Status
    attempts: tuple[Attempt, ...]
    """Every host tried, in order; at least one, and the last decided."""
    dsn_passed_on: bool = False
    """The peer offers DSN and was told RET, ENVID, NOTIFY, ORCPT: reports are its duty.

    Where this is false and success was to be reported, that duty ends with us: report
    `relayed` (RFC 3461, 5.2.2)."""
    uncertain: bool = False
    """The peer fell silent after the final dot: it may have the message already."""
    put_off: bool = False
    """We stop before anybody decided: this was no try, and the next one is due now."""


class Relay(Protocol):
    """Carries messages to other mail hosts."""

    async def deliver(self, domain: str, envelope: Envelope) -> tuple[Outcome, ...]:
        """Try once to deliver to recipients that all belong to one domain.

        Connections are kept and shared: call it for many envelopes at once.

        :returns: one outcome for each recipient, in the envelope's order. What the
            network or the peer does wrong is an outcome; an exception is a bug of ours,
            or came out of the envelope's octets.
        """
