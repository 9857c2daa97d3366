"""The daemon: everything built top to bottom, started in order, stopped in reverse.

This is the only place that knows all the packages. `roles` say which parts a process
runs; several processes on one database need no other coordination than that of the
database: leases, SKIP LOCKED and NOTIFY.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.app.agents import Agents
from noinfra.app.application import App
from noinfra.app.bootstrap import ROOT_KEY_FILE, Bootstrap
from noinfra.app.deliver import Deliver
from noinfra.app.directory import Directory
from noinfra.app.events import EventLog
from noinfra.app.filer import Filer
from noinfra.app.health import Health
from noinfra.app.homes import Homes
from noinfra.app.inboxes import Inboxes
from noinfra.app.keys import Keys
from noinfra.app.letters import Letters
from noinfra.app.localdelivery import LocalDelivery
from noinfra.app.mailbox_access import Logins
from noinfra.app.messages import Messages
from noinfra.app.notify import Notifier
from noinfra.app.passwords import Passwords
from noinfra.app.receive import Receive
from noinfra.app.release import Release
from noinfra.app.seal import open_seal
from noinfra.app.send import Send
from noinfra.app.settling import Schedule, Settler
from noinfra.app.signing import Signing
from noinfra.app.submit import Submit
from noinfra.app.tenants import Tenants
from noinfra.app.threads import Threads
from noinfra.app.upkeep import Upkeep
from noinfra.app.versions import Versions
from noinfra.config import Config, OutboundSettings
from noinfra.errors import ConfigurationError, TemporaryFailure
from noinfra.fronts.logins import BadLogins
from noinfra.fronts.rest.server import make_site
from noinfra.fronts.smtp.factory import EdgeFactory
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.smtp.tls import Pair, ServerTls, self_signed
from noinfra.fronts.submission.factory import SubmissionFactory
from noinfra.net.dns import DnsResolver
from noinfra.net.dns_servers import Server
from noinfra.net.reactor import NetReactor
from noinfra.net.relay import SmtpRelay
from noinfra.net.settings import NextHop, Timeouts, next_hop
from noinfra.net.settings import OutboundSettings as RelaySettings
from noinfra.ready import Ready
from noinfra.store.database import Database, session
from noinfra.store.embedded import EmbeddedFailure, EmbeddedPostgres
from noinfra.store.failures import Unavailable
from noinfra.store.listener import Listener
from noinfra.store.migrate import MigrationFailed, SchemaTooNew, migrate
from noinfra.store.pool import Pool

# How long what is under way may take when we stop, in seconds.
_GRACE = 10.0
_UPKEEP = 60.0
_BACKLOG = 1024


@frozen(kw_only=True)
class _Parts:
    """What the roles share."""

    app: App
    directory: Directory
    receive: Receive
    submit: Submit
    bootstrap: Bootstrap
    database: Database


class Daemon(MultiService):
    """The whole server, as a service.

    :ivar whenReady: fires with `Ready` once everything listens; fails when it cannot.
    :ivar exit_status: 0 unless the start failed.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: PosixReactorBase,
        progress: Callable[[str], object],
    ) -> None:
        super().__init__()
        self._config = config
        self._reactor = reactor
        self._progress = progress
        self._running = AsyncExitStack()
        self._starting: Deferred[None] | None = None
        self.whenReady: Deferred[Ready] = Deferred()
        self.exit_status = 0

    def startService(self) -> None:
        """Begin to start; `whenReady` tells the rest."""
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._failed)

    def stopService(self) -> Deferred[None]:
        """Stop what was started, in reverse, wherever the start has come to."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        if self._starting is not None:
            self._starting.cancel()
        await self._running.aclose()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self.exit_status = 1
        expected = failure.check(
            ConfigurationError,
            EmbeddedFailure,
            MigrationFailed,
            SchemaTooNew,
            TemporaryFailure,
        )
        if expected is None:
            self._log.failure("the server could not start", failure)
            self._progress(
                f"The server could not start: {failure.value!r}; see the log"
            )
        else:
            self._progress(" ".join(str(failure.value).split()))
        self.whenReady.errback(failure)
        if self._reactor.running:
            self._reactor.stop()

    async def _start(self) -> None:
        config, state = self._config, self._config.state_path
        os.umask(0o077)
        dsn = await self._database_server()
        await self._migrate(dsn)
        pool = Pool(
            self._reactor,
            dsn,
            size=config.database.connections,
            acquire_timeout=config.database.wait,
            setup=session(config.database.statement_timeout),
        )
        await self._reach(pool.start(config.database.wait))
        self._running.push_async_callback(pool.close)
        parts = self._build(Database(pool))
        shared = f"postmaster@{config.domain}"
        await parts.bootstrap.prepare(None if config.postmaster else shared)
        made = await parts.bootstrap.root_key(state)
        deliver = await self._start_deliver(parts)
        await self._listen_to_database(dsn, parts, deliver)
        self._start_upkeep(parts)
        ports = self._open_fronts(parts)
        ready = self._ready(ports, made)
        ready.write(state)
        self._running.callback(Ready.remove, state)
        # The collector's walks over what never goes are half of the tail latency.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 50)
        self._log.info("ready: {ready}", ready=ready)
        self.whenReady.callback(ready)

    async def _database_server(self) -> str:
        """The DSN of the configured server, or of a private one, started."""
        if self._config.database.dsn is not None:
            return self._config.database.dsn
        postgres = EmbeddedPostgres(
            self._reactor, self._config.state_path, self._progress
        )
        self._running.push_async_callback(postgres.stop)
        await postgres.start()
        return postgres.dsn

    async def _migrate(self, dsn: str) -> None:
        await self._reach(migrate(self._reactor, dsn, self._progress))

    async def _reach(self, trying: Awaitable[object]) -> None:
        try:
            await trying
        except Unavailable as error:
            setting = (
                "setting database.dsn"
                if self._config.database.dsn
                else "the private PostgreSQL"
            )
            raise ConfigurationError(f"{setting}: {error}") from error

    def _build(self, database: Database) -> _Parts:
        config = self._config
        directory = Directory(
            database=database,
            domains=frozenset((config.domain,)),
            postmaster=config.postmaster or f"postmaster@{config.domain}",
        )
        homes = Homes(directory)
        letters = Letters(database)
        filer = Filer(database)
        passwords = Passwords(database)
        inboxes = Inboxes(database, directory, homes, config.domain, passwords)
        secret = Path(config.secret) if config.secret else None
        release = Release(
            filer=filer,
            signing=Signing(
                database, open_seal(secret or config.state_path / "secret.key")
            ),
            lifetime=timedelta(days=config.outbound.lifetime_days),
        )
        app = App(
            keys=Keys(database, directory),
            tenants=Tenants(database),
            agents=Agents(database, inboxes),
            inboxes=inboxes,
            messages=Messages(database, homes, letters),
            threads=Threads(database, homes),
            versions=Versions(database, homes, self._reactor),
            sending=Send(
                database=database,
                homes=homes,
                letters=letters,
                release=release,
                size_limit=config.edge.size_limit,
            ),
            events=EventLog(database, homes, self._reactor),
            health=Health(database, _release()),
        )
        return _Parts(
            app=app,
            directory=directory,
            receive=Receive(
                directory=directory,
                filer=filer,
                hostname=config.hostname,
                hops=config.edge.hops,
            ),
            submit=Submit(
                logins=Logins(database, app.keys, homes, passwords),
                directory=directory,
                release=release,
                hostname=config.hostname,
            ),
            bootstrap=Bootstrap(database, inboxes, app.keys),
            database=database,
        )

    async def _start_deliver(self, parts: _Parts) -> Deliver | None:
        config = self._config
        if "deliver" not in config.roles:
            return None
        net = cast(NetReactor, self._reactor)
        resolver = DnsResolver(
            net,
            [_dns_server(text) for text in config.dns.servers],
            _timeouts(config.dns.timeout),
        )
        relay = SmtpRelay(net, resolver, relay_settings(config), random.Random())
        lease = f"{config.hostname}:{config.state_path}"
        deliver = Deliver(
            database=parts.database,
            directory=parts.directory,
            relay=relay,
            local=LocalDelivery(parts.receive),
            settler=Settler(parts.database, lease),
            notifier=Notifier(
                parts.database, parts.receive, parts.directory.postmaster
            ),
            schedule=Schedule(
                first=timedelta(seconds=config.outbound.first_retry),
                longest=timedelta(seconds=config.outbound.longest_retry),
                chance=random.random,
            ),
            clock=self._reactor,
            lease=lease,
            paused=config.outbound.paused,
        )

        async def stop() -> None:
            closing = Deferred.fromCoroutine(relay.close(_GRACE))
            await deliver.stop(_GRACE)
            await closing

        await deliver.start()
        self._running.push_async_callback(stop)
        return deliver

    async def _listen_to_database(
        self, dsn: str, parts: _Parts, deliver: Deliver | None
    ) -> None:
        app, directory = parts.app, parts.directory

        def key_changed(key_id: str) -> None:
            app.keys.forget()
            app.events.revoked(key_id)

        def due(_: str) -> None:
            if deliver is not None:
                deliver.wake()

        hears: dict[str, Callable[[str], object]] = {
            "noinfra_event": lambda _: app.events.wake(),
            "noinfra_due": due,
            "noinfra_inbox": directory.forget,
            "noinfra_key": key_changed,
        }

        def missed() -> None:
            app.events.missed()
            due("")
            directory.forget("")
            app.keys.forget()

        def heard(channel: str, payload: str) -> None:
            hears[channel](payload)

        listener = Listener(
            self._reactor,
            dsn,
            hears,
            heard,
            missed,
        )
        await listener.start(self._config.database.wait)
        self._running.callback(listener.stop)
        self._running.callback(app.events.stop)

    def _start_upkeep(self, parts: _Parts) -> None:
        if "work" not in self._config.roles:
            return
        upkeep = LoopingCall(
            lambda: Deferred.fromCoroutine(Upkeep(parts.database).run())
        )
        upkeep.clock = self._reactor
        upkeep.start(_UPKEEP, now=False)
        self._running.callback(upkeep.stop)

    def _open_fronts(self, parts: _Parts) -> dict[str, IListeningPort]:
        config, ports = self._config, {}
        if {"edge", "submission"}.intersection(config.roles):
            tls, storage = self._tls(), self._storage()
        if "edge" in config.roles:
            factory = self._edge(parts, tls, storage)
            self._running.push_async_callback(factory.stop, _GRACE)
            edge = config.edge
            ports["smtp"] = self._listen("edge", edge.interface, edge.port, factory)
        if "submission" in config.roles:
            server = self._submission(parts, tls, storage)
            self._running.push_async_callback(server.stop, _GRACE)
            own = config.submission
            ports["submission"] = self._listen(
                "submission", own.interface, own.port, server
            )
            ports["submissions"] = self._listen(
                "submission", own.interface, own.tls_port, server.in_tls, "tls_port"
            )
        if "web" in config.roles:
            site = make_site(parts.app, config.web, self._reactor)
            web = config.web
            ports["web"] = self._listen("web", web.interface, web.port, site)
        return ports

    def _tls(self) -> ServerTls:
        config, state = self._config, self._config.state_path
        if config.tls.certificate and config.tls.key:
            pair = Pair(
                certificate=Path(config.tls.certificate), key=Path(config.tls.key)
            )
        else:
            pair = self_signed(config.hostname, state / "tls")
        return ServerTls(pair)

    def _storage(self) -> Storage:
        spool = self._config.state_path / "spool"
        spool.mkdir(exist_ok=True)
        return Storage(
            in_thread=partial(
                deferToThreadPool, self._reactor, self._reactor.getThreadPool()
            ),
            directory=spool,
        )

    def _edge(self, parts: _Parts, tls: ServerTls, storage: Storage) -> EdgeFactory:
        return EdgeFactory(
            receiving=parts.receive,
            settings=self._config.edge,
            hostname=self._config.hostname,
            storage=storage,
            clock=self._reactor,
            tls=tls,
        )

    def _submission(
        self, parts: _Parts, tls: ServerTls, storage: Storage
    ) -> SubmissionFactory:
        return SubmissionFactory(
            submitting=parts.submit,
            bad_logins=BadLogins(self._reactor.seconds),
            settings=self._config.submission,
            hostname=self._config.hostname,
            storage=storage,
            clock=self._reactor,
            tls=tls,
        )

    def _listen(
        self,
        section: str,
        interface: str,
        port: int,
        factory: IProtocolFactory,
        setting: str = "port",
    ) -> IListeningPort:
        try:
            listening = self._reactor.listenTCP(
                port, factory, backlog=_BACKLOG, interface=interface
            )
        except CannotListenError as error:
            raise ConfigurationError(
                f"setting {section}.{setting}: {interface}:{port} cannot be listened "
                f"on ({error.socketError}); free it, or choose another, or 0 for any."
            ) from error

        async def stop() -> None:
            await maybeDeferred(listening.stopListening)

        self._running.push_async_callback(stop)
        return cast(IListeningPort, listening)

    def _ready(self, listening: dict[str, IListeningPort], made: bool) -> Ready:
        config = self._config
        ports = {
            name: cast(IPv4Address | IPv6Address, port.getHost()).port
            for name, port in listening.items()
        }
        interfaces = {
            "smtp": config.edge.interface,
            "submission": config.submission.interface,
            "submissions": config.submission.interface,
            "web": config.web.interface,
        }
        addresses = {
            name: f"{_reachable(interfaces[name])}:{port}"
            for name, port in ports.items()
        }
        web = addresses.get("web")
        return Ready(
            base_url=config.web.base_url or (f"http://{web}" if web else ""),
            ports=ports,
            addresses=addresses,
            domain=config.domain,
            hostname=config.hostname,
            root_key_file=str(config.state_path / ROOT_KEY_FILE),
            root_key_made=made,
            pid=os.getpid(),
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


def _timeouts(total: float) -> tuple[float, ...]:
    """Three rounds, each longer than the one before."""
    return total / 7, total * 2 / 7, total * 4 / 7


def _reachable(interface: str) -> str:
    """An address that leads to what listens on this interface, as seen from here."""
    if interface in ("", "0.0.0.0"):
        return "127.0.0.1"
    if ":" in interface:
        return "[::1]" if interface == "::" else f"[{interface}]"
    return interface


def _release() -> str:
    try:
        return version("noinfra")
    except PackageNotFoundError:
        return "unreleased"
