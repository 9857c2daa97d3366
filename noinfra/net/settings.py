"""What an operator may decide about mail on its way out. Times are in seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import field, frozen

Tls = Literal["never", "opportunistic", "required", "verified"]
"""Whether to speak TLS to a host.

`opportunistic` takes what is offered, unverified, and falls back to clear; `required`
defers without encryption; `verified` asks also for a certificate that fits the host.
"""


@frozen(kw_only=True)
class NextHop:
    """A host that takes mail for us by configuration, whatever the MX records say.

    With a user, TLS must be verified before the password is shown (RFC 4954, 9), so
    `tls` then counts as `verified`.
    """

    host: str
    """A name, looked up by A and AAAA only, or an IP address."""
    port: int = 25
    tls: Tls = "opportunistic"
    user: str = ""
    password: str = field(default="", repr=False)


@frozen(kw_only=True)
class Timeouts:
    """How long to wait for a peer; the defaults are those of RFC 5321, 4.5.3.2."""

    connect: float = 30
    greeting: float = 300
    tls: float = 60
    command: float = 300
    """For EHLO, MAIL, RCPT, RSET and AUTH."""
    data: float = 120
    block: float = 180
    """For the peer to take in a piece of the message."""
    final: float = 600
    quit: float = 5


@frozen(kw_only=True)
class OutboundSettings:
    """How mail leaves this host."""

    helo_name: str
    """The name that EHLO gives: it should resolve to the source address, and back."""
    our_names: frozenset[str] = frozenset()
    """Names of ours in MX records, besides helo_name: mail is not sent back to them."""
    our_addresses: frozenset[str] = frozenset()
    source_ipv4: str = ""
    """The local address to send from; "" leaves the choice to the system."""
    source_ipv6: str = ""
    ipv6: bool = True
    """Whether AAAA records are used."""
    port: int = 25
    """The port of hosts that are found by DNS."""
    tls: Tls = "opportunistic"
    """The policy towards hosts that are found by DNS."""
    ca_file: Path | None = None
    """Certificates to trust besides the system's, in PEM."""
    smarthost: NextHop | None = None
    """Takes all mail for which routes has no entry."""
    routes: Mapping[str, NextHop] = field(factory=dict)
    """By `example.net`, `*.example.net` (what is below it) or `*` (anything)."""
    private_addresses: bool = False
    """Whether the DNS may send us to addresses that are not public, as in a lab."""
    max_addresses: int = 10
    """How many addresses are tried for one message before it is deferred."""
    connections: int = 200
    connections_per_destination: int = 10
    messages_per_connection: int = 100
    recipients_per_message: int = 100
    """RFC 5321, 4.5.3.1.8: every host must take 100."""
    idle: float = 10
    """How long an unused connection is kept."""
    shun: float = 60
    """How long an address that did not let us in is left alone."""
    timeouts: Timeouts = Timeouts()


def next_hop(text: str) -> NextHop:
    """Read `host`, `host:port`, `[address]` or `[address]:port`.

    :raises ValueError: it is none of these; the text says so.
    """
    host, port = _split(text.strip())
    if not host or not 0 < port < 65536:
        raise ValueError(f"{text!r} is no host: write host:port or [address]:port.")
    return NextHop(host=host.lower(), port=port)


def _split(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
    elif text.count(":") > 1:
        host, rest = text, ""
    else:
        host, colon, rest = text.partition(":")
        rest = colon + rest
    if not rest:
        return host, 25
    if rest.startswith(":") and rest[1:].isascii() and rest[1:].isdecimal():
        return host, int(rest[1:])
    return "", 0
