"""The operator's settings: one class a section of the TOML file, each with its default.

`load` reads the file; what cannot work is one line that names the setting.
``etc/noinfra.toml`` documents every field here; a test holds the two together.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import idna
import msgspec

from noinfra.errors import ConfigurationError

Role = Literal["edge", "submission", "web", "imap", "deliver", "work"]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; a name it does not know is an error, never ignored."""


class DatabaseSettings(Section, frozen=True):
    """Where PostgreSQL is; without a DSN a private one runs in the state directory."""

    dsn: str | None = None
    connections: Positive = 8
    # How long a request waits for a connection, for instance while the server restarts.
    wait: Seconds = 10.0
    statement_timeout: Seconds = 60.0


class TlsSettings(Section, frozen=True):
    """The certificate of STARTTLS; without one a self-signed pair is made and kept."""

    certificate: str | None = None
    key: str | None = None


class EdgeSettings(Section, frozen=True):
    """The SMTP server for our domains."""

    interface: str = "127.0.0.1"
    port: Port = 2525
    # RFC 1870: octets of one message.
    size_limit: Positive = 26_214_400
    recipients: Positive = 100
    connections: Positive = 1000
    connections_per_address: Positive = 100
    # Refused commands after which the connection is closed.
    errors: Positive = 20
    idle: Seconds = 300.0
    # RFC 5321, 6.3: as many Received fields mean that the mail goes round.
    hops: Positive = 50
    # Take a bare LF as a line's end inside DATA (never as its end); a bare CR never.
    bare_lf: bool = False


class SubmissionSettings(Section, frozen=True):
    """The SMTP server for mail programs that send from an inbox (RFC 6409, 8314)."""

    interface: str = "127.0.0.1"
    # STARTTLS; 587 in the Internet.
    port: Port = 2587
    # TLS from the first octet on; 465 in the Internet.
    tls_port: Port = 2465
    size_limit: Positive = 26_214_400
    recipients: Positive = 50
    connections: Positive = 1000
    connections_per_address: Positive = 100
    errors: Positive = 20
    # Bad logins after which the connection is closed.
    login_attempts: Positive = 5
    idle: Seconds = 300.0


class WebSettings(Section, frozen=True):
    """REST, its documentation, WebSocket and server-sent events."""

    interface: str = "127.0.0.1"
    port: Port = 8025
    # How clients reach us, when that differs from the address we listen on.
    base_url: str | None = None
    body_limit: Positive = 36_700_160
    # Requests a second that one key may make in the long run, and at once.
    rate: Seconds = 200.0
    burst: Positive = 400
    request_timeout: Seconds = 60.0
    cors_origins: list[str] = msgspec.field(default_factory=list)
    # Live readers (WebSocket and server-sent events) of all keys together.
    readers: Positive = 5000


class ImapSettings(Section, frozen=True):
    """The inboxes in mail clients."""

    interface: str = "127.0.0.1"
    # TLS from the first octet on; 993 in the Internet.
    tls_port: Port = 9993
    # STARTTLS, where set; 143 in the Internet.
    port: Port | None = None
    # RFC 7889: octets of one message, and of all messages of one APPEND.
    append_limit: Positive = 26_214_400
    # A line of a command, and a command with its literals, but for mail.
    line_limit: Annotated[int, msgspec.Meta(ge=8192)] = 65_536
    command_limit: Annotated[int, msgspec.Meta(ge=8192)] = 131_072
    connections: Positive = 5000
    connections_per_address: Positive = 200
    # Commands a second that one connection may give in the long run, and at once.
    rate: Seconds = 500.0
    burst: Positive = 2000
    # Bad logins after which the connection is closed.
    login_attempts: Positive = 5
    login_time: Seconds = 60.0
    # RFC 9051, 5.4: at least half an hour.
    idle: Seconds = 1860.0
    # For a client that does not read, or not go on sending a message.
    stall: Seconds = 300.0


class OutboundSettings(Section, frozen=True):
    """The queue's way out."""

    paused: bool = False
    # "host:port" that takes all mail, and how we log in there.
    smarthost: str | None = None
    smarthost_user: str | None = None
    smarthost_password: str | None = None
    # "example.net" = "127.0.0.1:2626"; "*.example.org" means its subdomains, "*" all.
    routes: dict[str, str] = msgspec.field(default_factory=dict)
    # What we call ourselves in EHLO; our hostname when not set.
    helo: str | None = None
    source_address: str | None = None
    port: Port = 25
    ipv6: bool = True
    # Whether the DNS may send us to addresses that are not public, as within a company.
    private_addresses: bool = True
    tls: Literal["opportunistic", "required", "never"] = "opportunistic"
    connections: Positive = 100
    connections_per_destination: Positive = 10
    messages_per_connection: Positive = 100
    # RFC 5321, 4.5.4.1.
    lifetime_days: Seconds = 5.0
    first_retry: Seconds = 300.0
    longest_retry: Seconds = 14_400.0
    # RFC 5321, 4.5.3.2; the data timeouts are fixed by the RFC.
    connect_timeout: Seconds = 30.0
    command_timeout: Seconds = 300.0


class DnsSettings(Section, frozen=True):
    """Resolvers as "address" or "address:port"; the system's when there are none."""

    servers: list[str] = msgspec.field(default_factory=list)
    timeout: Seconds = 3.0


class Config(Section, frozen=True):
    """All settings; the defaults make a server that one machine can try at once."""

    state: str = "var"
    # Our name in HELO, Received and Message-ID; must resolve to us in production.
    hostname: str = "mail.agents.localhost"
    # The shared domain in which inboxes are made when no other is named.
    domain: str = "agents.localhost"
    # The inbox that mail to postmaster and abuse reaches; postmaster@ our domain.
    postmaster: str | None = None
    # Seals private keys in the database; state/secret.key when not set. Daemons that
    # share a database and sign mail should share it.
    secret: str | None = None
    roles: list[Role] = msgspec.field(
        default_factory=lambda: ["edge", "submission", "web", "imap", "deliver", "work"]
    )
    database: DatabaseSettings = msgspec.field(default_factory=DatabaseSettings)
    tls: TlsSettings = msgspec.field(default_factory=TlsSettings)
    edge: EdgeSettings = msgspec.field(default_factory=EdgeSettings)
    submission: SubmissionSettings = msgspec.field(default_factory=SubmissionSettings)
    web: WebSettings = msgspec.field(default_factory=WebSettings)
    imap: ImapSettings = msgspec.field(default_factory=ImapSettings)
    outbound: OutboundSettings = msgspec.field(default_factory=OutboundSettings)
    dns: DnsSettings = msgspec.field(default_factory=DnsSettings)

    @property
    def state_path(self) -> Path:
        """The state directory, absolute."""
        return Path(self.state).absolute()


def decode(document: dict[str, Any], source: str) -> Config:
    """Settings from a parsed document.

    :param source: what to call the document in an error.
    :raises ConfigurationError: it names the setting, what is wrong, and where.
    """
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        setting = path.rstrip("`")
        where = f"setting {setting}" if setting else "the top level"
        raise ConfigurationError(_printable(f"{source}: {where}: {reason}.")) from error
    for name in ("hostname", "domain"):
        _check_domain(getattr(config, name), name, source)
    if bool(config.tls.certificate) != bool(config.tls.key):
        raise ConfigurationError(
            f"{source}: tls.certificate and tls.key go together; set both or neither."
        )
    if not config.roles:
        raise ConfigurationError(f"{source}: setting roles: name at least one role.")
    return config


def load(path: Path | None, state: Path | None = None) -> Config:
    """Settings from a TOML file, or the defaults when there is no path.

    A relative ``state`` in the file counts from the file's directory.

    :param state: a state directory that overrides the file's.
    """
    if path is None:
        config = decode({}, "the defaults")
    else:
        config = decode(_read(path), str(path))
        config = msgspec.structs.replace(
            config, state=str(path.absolute().parent / config.state)
        )
    if state is not None:
        config = msgspec.structs.replace(config, state=str(state.absolute()))
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); name a file with --config."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}.") from error


def _printable(text: str) -> str:
    """One line, whatever names a document has."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _check_domain(value: str, name: str, source: str) -> None:
    try:
        ascii_form = idna.encode(value, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ConfigurationError(
            f"{source}: setting {name}: {value!r} is no domain name ({error})."
        ) from error
    if ascii_form != value.lower() or value != value.lower():
        raise ConfigurationError(
            f"{source}: setting {name}: write it in lower case and as {ascii_form}."
        )
