"""The way out, as the operator's settings want it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import cast

from twisted.internet.posixbase import PosixReactorBase

from noinfra.app.deliver import Deliver
from noinfra.app.localdelivery import LocalDelivery
from noinfra.app.notify import Notifier
from noinfra.app.settling import Schedule, Settler
from noinfra.config import Config, OutboundSettings
from noinfra.errors import ConfigurationError
from noinfra.net.dns import DnsResolver
from noinfra.net.dns_servers import Server
from noinfra.net.reactor import NetReactor
from noinfra.net.relay import SmtpRelay
from noinfra.net.settings import NextHop, Timeouts, next_hop
from noinfra.net.settings import OutboundSettings as RelaySettings
from noinfra.service.parts import Parts


def make_relay(config: Config, reactor: PosixReactorBase) -> SmtpRelay:
    """What carries mail to other hosts.

    :raises ConfigurationError: a host in the settings cannot be read.
    """
    resolver = make_resolver(config, reactor)
    settings = relay_settings(config)
    return SmtpRelay(
        cast(NetReactor, reactor), resolver, settings, random.SystemRandom()
    )


def make_resolver(config: Config, reactor: PosixReactorBase) -> DnsResolver:
    """What asks the DNS: the servers of the settings, or the system's.

    :raises ConfigurationError: a server cannot be read.
    """
    servers = [_dns_server(text) for text in config.dns.servers]
    total = config.dns.timeout
    # Three rounds, each longer than the one before.
    rounds = (total / 7, total * 2 / 7, total * 4 / 7)
    return DnsResolver(cast(NetReactor, reactor), servers, rounds)


def make_deliver(
    config: Config, reactor: PosixReactorBase, parts: Parts, relay: SmtpRelay
) -> Deliver:
    """The worker of the queue; its lease is this process's alone."""
    lease = f"{config.hostname}:{config.state_path}"
    return Deliver(
        database=parts.database,
        directory=parts.directory,
        relay=relay,
        local=LocalDelivery(parts.receive),
        settler=Settler(parts.database, lease),
        notifier=Notifier(parts.database, parts.receive, parts.directory.postmaster),
        schedule=Schedule(
            first=timedelta(seconds=config.outbound.first_retry),
            longest=timedelta(seconds=config.outbound.longest_retry),
            chance=random.random,
        ),
        clock=reactor,
        lease=lease,
        paused=config.outbound.paused,
    )


def relay_settings(config: Config) -> RelaySettings:
    """The operator's settings in the relay's words.

    :raises ConfigurationError: a host cannot be read; the setting is named.
    """
    outbound = config.outbound
    source = outbound.source_address or ""
    return RelaySettings(
        helo_name=outbound.helo or config.hostname,
        our_names=frozenset((config.hostname,)),
        source_ipv4="" if ":" in source else source,
        source_ipv6=source if ":" in source else "",
        ipv6=outbound.ipv6,
        port=outbound.port,
        tls=outbound.tls,
        smarthost=_smarthost(outbound),
        routes={
            name.lower(): _hop(text, f'outbound.routes."{name}"')
            for name, text in outbound.routes.items()
        },
        private_addresses=outbound.private_addresses,
        connections=outbound.connections,
        connections_per_destination=outbound.connections_per_destination,
        messages_per_connection=outbound.messages_per_connection,
        timeouts=Timeouts(
            connect=outbound.connect_timeout,
            greeting=outbound.command_timeout,
            command=outbound.command_timeout,
        ),
    )


def _smarthost(outbound: OutboundSettings) -> NextHop | None:
    if outbound.smarthost is None:
        return None
    hop = _hop(outbound.smarthost, "outbound.smarthost")
    return NextHop(
        host=hop.host,
        port=hop.port,
        user=outbound.smarthost_user or "",
        password=outbound.smarthost_password or "",
    )


def _hop(text: str, setting: str) -> NextHop:
    try:
        return next_hop(text)
    except ValueError as error:
        raise ConfigurationError(f"setting {setting}: {error}") from error


def _dns_server(text: str) -> Server:
    try:
        return Server.at(text)
    except ValueError as error:
        raise ConfigurationError(
            f"setting dns.servers: {text!r} is no address; write 192.0.2.1 or "
            "192.0.2.1:53."
        ) from error
