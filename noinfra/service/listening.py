"""The servers of the roles that this process runs, and where they listen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.threads import deferToThreadPool

from noinfra.config import Config
from noinfra.errors import ConfigurationError
from noinfra.fronts.imap.factory import ImapFactory
from noinfra.fronts.logins import BadLogins
from noinfra.fronts.rest.server import make_site
from noinfra.fronts.smtp.factory import EdgeFactory
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.smtp.tls import Pair, ServerTls, self_signed
from noinfra.fronts.submission.factory import SubmissionFactory
from noinfra.service.parts import Parts

_BACKLOG = 1024


@frozen
class _Door:
    """A server, the setting of its port, and where it listens."""

    name: str
    setting: str
    interface: str
    port: int
    factory: IProtocolFactory


class Fronts:
    """Built first, opened when all behind them is ready, closed before it goes."""

    def __init__(self, config: Config, reactor: PosixReactorBase, parts: Parts) -> None:
        self._config = config
        self._reactor = reactor
        self._parts = parts
        self._doors: list[_Door] = []
        self._servers: list[EdgeFactory | SubmissionFactory | ImapFactory] = []
        self._listening: dict[str, IListeningPort] = {}
        # Who guesses passwords at one front has them counted at the other, too.
        self._bad_logins = BadLogins(reactor.seconds)
        self.imap: ImapFactory | None = None
        if {"edge", "submission", "imap"}.intersection(config.roles):
            self._mail_fronts(self._tls(), self._storage())
        if "web" in config.roles:
            site = make_site(parts.app, config.web, reactor)
            self._add("web", "web.port", config.web.interface, config.web.port, site)

    def open(self) -> None:
        """Listen.

        :raises ConfigurationError: a port cannot be had; its setting is named.
        """
        for door in self._doors:
            try:
                port = self._reactor.listenTCP(
                    door.port, door.factory, backlog=_BACKLOG, interface=door.interface
                )
            except CannotListenError as error:
                raise ConfigurationError(
                    f"setting {door.setting}: {door.interface}:{door.port} cannot be "
                    f"listened on ({error.socketError}); free it, or choose another, "
                    "or 0 for any."
                ) from error
            self._listening[door.name] = cast(IListeningPort, port)

    @property
    def ports(self) -> dict[str, int]:
        """The numbers of the ports, by name."""
        return {
            name: cast(IPv4Address | IPv6Address, port.getHost()).port
            for name, port in self._listening.items()
        }

    @property
    def addresses(self) -> dict[str, str]:
        """Where each is reached from this host, as ``host:port``."""
        interfaces = {door.name: door.interface for door in self._doors}
        return {
            name: f"{_reachable(interfaces[name])}:{port}"
            for name, port in self.ports.items()
        }

    async def close(self, grace: float) -> None:
        """Take nobody in any more, and let what was begun end.

        :param grace: seconds after which we wait for nobody.
        """
        for port in self._listening.values():
            await maybeDeferred(port.stopListening)
        for server in self._servers:
            await server.stop(grace)

    def _mail_fronts(self, tls: ServerTls, storage: Storage) -> None:
        roles = self._config.roles
        if "edge" in roles:
            self._add_edge(tls, storage)
        if "submission" in roles:
            self._add_submission(tls, storage)
        if "imap" in roles:
            self._add_imap(tls, storage)

    def _add_edge(self, tls: ServerTls, storage: Storage) -> None:
        settings = self._config.edge
        server = EdgeFactory(
            receiving=self._parts.receive,
            settings=settings,
            hostname=self._config.hostname,
            storage=storage,
            clock=self._reactor,
            tls=tls,
        )
        self._servers.append(server)
        self._add("smtp", "edge.port", settings.interface, settings.port, server)

    def _add_submission(self, tls: ServerTls, storage: Storage) -> None:
        settings = self._config.submission
        server = SubmissionFactory(
            submitting=self._parts.submit,
            bad_logins=self._bad_logins,
            settings=settings,
            hostname=self._config.hostname,
            storage=storage,
            clock=self._reactor,
            tls=tls,
        )
        self._servers.append(server)
        where, port = settings.interface, settings.tls_port
        self._add("submission", "submission.port", where, settings.port, server)
        self._add("submissions", "submission.tls_port", where, port, server.in_tls)

    def _add_imap(self, tls: ServerTls, storage: Storage) -> None:
        settings = self._config.imap
        server = self.imap = ImapFactory(
            mail=self._parts.mail,
            bad_logins=self._bad_logins,
            settings=settings,
            hostname=self._config.hostname,
            storage=storage,
            clock=self._reactor,
            tls=tls,
        )
        self._servers.append(server)
        where = settings.interface
        self._add("imaps", "imap.tls_port", where, settings.tls_port, server.in_tls)
        if settings.port is not None:
            self._add("imap", "imap.port", where, settings.port, server)

    def _add(
        self,
        name: str,
        setting: str,
        interface: str,
        port: int,
        factory: IProtocolFactory,
    ) -> None:
        self._doors.append(_Door(name, setting, interface, port, factory))

    def _tls(self) -> ServerTls:
        config = self._config
        if config.tls.certificate and config.tls.key:
            pair = Pair(
                certificate=Path(config.tls.certificate), key=Path(config.tls.key)
            )
        else:
            pair = self_signed(config.hostname, config.state_path / "tls")
        return ServerTls(pair)

    def _storage(self) -> Storage:
        spool = self._config.state_path / "spool"
        spool.mkdir(exist_ok=True)
        threads = self._reactor.getThreadPool()
        return Storage(
            in_thread=partial(deferToThreadPool, self._reactor, threads),
            directory=spool,
        )


def _reachable(interface: str) -> str:
    """An address that leads to what listens on this interface, as seen from here."""
    if interface in ("", "0.0.0.0"):
        return "127.0.0.1"
    if ":" in interface:
        return "[::1]" if interface == "::" else f"[{interface}]"
    return interface
