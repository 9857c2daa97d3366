"""The daemon's life: started in order, stopped in reverse."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.app.bootstrap import ROOT_KEY_FILE
from noinfra.app.deliver import Deliver
from noinfra.app.upkeep import Upkeep
from noinfra.config import Config
from noinfra.errors import ConfigurationError, TemporaryFailure
from noinfra.ready import Ready
from noinfra.service.listening import Fronts
from noinfra.service.outbound import make_deliver, make_relay
from noinfra.service.parts import Parts, build
from noinfra.store.database import Database, session
from noinfra.store.embedded import EmbeddedFailure, EmbeddedPostgres
from noinfra.store.failures import Unavailable
from noinfra.store.listener import Listener
from noinfra.store.migrate import MigrationFailed, SchemaTooNew, migrate
from noinfra.store.pool import Pool

# How long what is under way may take when we stop, in seconds.
_GRACE = 10.0
_UPKEEP = 60.0


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
        parts = build(config, Database(pool), self._reactor)
        shared = f"postmaster@{config.domain}"
        await parts.bootstrap.prepare(None if config.postmaster else shared)
        made = await parts.bootstrap.root_key(state)
        deliver = await self._start_deliver(parts)
        fronts = Fronts(config, self._reactor, parts)
        await self._listen_to_database(dsn, parts, deliver, fronts)
        self._start_upkeep(parts)
        self._running.push_async_callback(fronts.close, _GRACE)
        fronts.open()
        ready = self._ready(fronts, made)
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

    async def _start_deliver(self, parts: Parts) -> Deliver | None:
        if "deliver" not in self._config.roles:
            return None
        relay = make_relay(self._config, self._reactor)
        deliver = make_deliver(self._config, self._reactor, parts, relay)

        async def stop() -> None:
            closing = Deferred.fromCoroutine(relay.close(_GRACE))
            await deliver.stop(_GRACE)
            await closing

        await deliver.start()
        # What is sent here, and not by another process, it carries from memory.
        parts.release.carrier = deliver
        self._running.push_async_callback(stop)
        return deliver

    async def _listen_to_database(
        self, dsn: str, parts: Parts, deliver: Deliver | None, fronts: Fronts
    ) -> None:
        app, directory = parts.app, parts.directory

        def key_changed(key_id: str) -> None:
            app.keys.forget()
            app.events.revoked(key_id)
            if fronts.imap is not None:
                fronts.imap.recheck(key_id)

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
            if fronts.imap is not None:
                fronts.imap.recheck()

        def heard(channel: str, payload: str) -> None:
            hears[channel](payload)

        listener = Listener(self._reactor, dsn, hears, heard, missed)
        await listener.start(self._config.database.wait)
        self._running.callback(listener.stop)
        self._running.callback(app.events.stop)

    def _start_upkeep(self, parts: Parts) -> None:
        if "work" not in self._config.roles:
            return
        upkeep = LoopingCall(
            lambda: Deferred.fromCoroutine(Upkeep(parts.database).run())
        )
        upkeep.clock = self._reactor
        upkeep.start(_UPKEEP, now=False)
        self._running.callback(upkeep.stop)

    def _ready(self, fronts: Fronts, made: bool) -> Ready:
        config, addresses = self._config, fronts.addresses
        web = addresses.get("web")
        return Ready(
            base_url=config.web.base_url or (f"http://{web}" if web else ""),
            ports=fronts.ports,
            addresses=addresses,
            domain=config.domain,
            hostname=config.hostname,
            root_key_file=str(config.state_path / ROOT_KEY_FILE),
            root_key_made=made,
            pid=os.getpid(),
        )
