"""The Relay: mail goes to a destination's hosts over connections that are shared.

Hosts are tried in the route's order until one decides about each recipient; who could
not be reached at all, or threw us out, has decided nothing (RFC 5321, 5.1). Once the
final dot is out no other host is tried, since the first may have the message.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from noinfra.boundaries import Attempt, Envelope, Outcome, Relay, Resolver, Status
from noinfra.net.places import Closing, Place, Places
from noinfra.net.reactor import NetReactor
from noinfra.net.reply import MAX_TEXT
from noinfra.net.route import Route, Router, Target
from noinfra.net.settings import OutboundSettings, Tls
from noinfra.net.smtp import SmtpClient
from noinfra.net.tls import client_context
from noinfra.net.transaction import transact
from noinfra.net.verdict import (
    SessionEnded,
    TlsFailed,
    Unroutable,
    Verdict,
    broken,
    deferred,
)

MAX_SHUNNED = 10_000

_STOPPING = evolve(
    deferred(421, "4.3.2", "This server is about to stop."), put_off=True
)


class SmtpRelay:
    """Delivers by SMTP."""

    _log = Logger()

    def __init__(
        self,
        reactor: NetReactor,
        resolver: Resolver,
        settings: OutboundSettings,
        random: Random,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._router = Router(resolver, settings, random)
        self._context = client_context(settings.ca_file)
        self._places = Places(
            reactor,
            limit=settings.connections,
            limit_of_destination=settings.connections_per_destination,
            messages=settings.messages_per_connection,
            idle=settings.idle,
        )
        self._shunned: OrderedDict[Target, tuple[float, Verdict]] = OrderedDict()
        self._clients: set[SmtpClient] = set()
        self._connecting: set[Deferred[SmtpClient]] = set()
        self._closing = False

    async def deliver(self, domain: str, envelope: Envelope) -> tuple[Outcome, ...]:
        """Try once to deliver, as Relay has it."""
        tally = _Tally(self._reactor, envelope)
        try:
            route = await self._router.route(domain)
            place = await self._places.take(route.name)
        except Unroutable as unroutable:
            tally.note(tally.open, unroutable.verdict)
            return tally.outcomes()
        except Closing:
            tally.note(tally.open, _STOPPING)
            return tally.outcomes()
        try:
            await self._deliver(place, route, tally)
        finally:
            self._places.give_back(place)
        return tally.outcomes()

    async def close(self, grace: float = 10) -> None:
        """Take no more mail, and end all connections; what is under way gets a while.

        :param grace: how long, in seconds, before it is broken off.
        """
        self._closing = True
        self._places.close()
        for attempt in list(self._connecting):
            attempt.cancel()
        over = self._reactor.callLater(grace, self._break_off)
        while self._clients:
            await next(iter(self._clients)).closed
        if over.active():
            over.cancel()

    def _break_off(self) -> None:
        for client in list(self._clients):
            client.abandon("This server stopped.")

    async def _deliver(self, place: Place, route: Route, tally: "_Tally") -> None:
        if place.client is not None:
            await self._send(place.client, tally)
        for target in route.targets:
            if not tally.open:
                return
            if self._closing:
                tally.note(tally.open, _STOPPING)
                return
            place.client = await self._reach(target, route, tally)
            if place.client is not None:
                await self._send(place.client, tally)

    async def _send(self, client: SmtpClient, tally: "_Tally") -> None:
        """Send to all recipients still open, in as many transactions as it takes."""
        open_, limit = list(tally.open), self._settings.recipients_per_message
        while open_ and client.ended is None:
            batch, open_ = open_[:limit], open_[limit:]
            used, started = client.served > 0, tally.now()
            recipients = [tally.envelope.rcpt_to[i] for i in batch]
            verdicts = await transact(client, tally.envelope, recipients)
            if used and all(v.elsewhere for v in verdicts):
                # It closed since its last message, which says nothing about this one.
                return
            crowded = [i for i, v in zip(batch, verdicts, strict=True) if v.crowded]
            if len(crowded) == len(batch):
                crowded = []
            elif crowded:
                # RFC 5321, 4.5.3.1.10: the rest comes next, in transactions so large.
                limit = len(batch) - len(crowded)
                open_ = crowded + open_
            again = set(crowded)
            for i, verdict in zip(batch, verdicts, strict=True):
                if i not in again:
                    tally.note([i], verdict, client, started)
        if client.ended is not None:
            tally.note(open_, evolve(client.ended.verdict, elsewhere=True), client)

    async def _reach(
        self, target: Target, route: Route, tally: "_Tally"
    ) -> SmtpClient | None:
        """A connection to the target that takes mail; why there is none is noted."""
        shunned = self._remembered(target)
        if shunned is not None:
            tally.note(tally.open, shunned, target)
            return None
        # RFC 7435, 3: clear where encryption does not work, unless the route forbids.
        ways: tuple[Tls, ...] = (route.tls,)
        if route.tls == "opportunistic":
            ways = ("opportunistic", "never")
        for tls in ways:
            started = tally.now()
            try:
                return await self._open(target, route, tls)
            except SessionEnded as ended:
                self._log.info(
                    "{host} [{address}] does not let us in: {text}",
                    host=target.host,
                    address=target.address,
                    text=ended.verdict.text,
                )
                tally.note(tally.open, ended.verdict, target, started)
                if not isinstance(ended, TlsFailed) or tls == ways[-1]:
                    self._shun(target, ended.verdict)
                    break
        return None

    async def _open(self, target: Target, route: Route, tls: Tls) -> SmtpClient:
        client = await self._connect(target)
        try:
            await client.open(self._settings.helo_name, tls, self._context)
            if route.user:
                await client.log_in(route.user, route.password)
        except BaseException:
            client.abandon("It was not let in.")
            raise
        return client

    async def _connect(self, target: Target) -> SmtpClient:
        timeouts = self._settings.timeouts
        client = SmtpClient(self._reactor, timeouts, target.host, target.address)
        connecting = connectProtocol(self._endpoint(target), client)
        self._connecting.add(connecting)
        try:
            await connecting
        except ConnectError as error:
            raise SessionEnded(broken(f"No connection: {error}", "4.4.1")) from error
        except CancelledError as error:
            if not self._closing:
                raise
            raise SessionEnded(evolve(_STOPPING, elsewhere=True)) from error
        finally:
            self._connecting.discard(connecting)
        self._clients.add(client)
        client.closed.addCallback(lambda _: self._clients.discard(client))
        return client

    def _endpoint(self, target: Target) -> TCP4ClientEndpoint | TCP6ClientEndpoint:
        sixth = ":" in target.address
        kind = TCP6ClientEndpoint if sixth else TCP4ClientEndpoint
        source = self._settings.source_ipv6 if sixth else self._settings.source_ipv4
        return kind(
            self._reactor,
            target.address,
            target.port,
            timeout=self._settings.timeouts.connect,
            bindAddress=(source, 0) if source else None,
        )

    def _shun(self, target: Target, verdict: Verdict) -> None:
        until = self._reactor.seconds() + self._settings.shun
        self._shunned[target] = until, verdict
        self._shunned.move_to_end(target)
        if len(self._shunned) > MAX_SHUNNED:
            self._shunned.popitem(last=False)

    def _remembered(self, target: Target) -> Verdict | None:
        """Why the target is left alone for now."""
        until, verdict = self._shunned.get(target, (0.0, None))
        if verdict is None or self._reactor.seconds() >= until:
            return None
        text = f"Not tried again yet: {verdict.text}"
        return evolve(verdict, text=text[:MAX_TEXT])


class _Tally:
    """What is known of each recipient of an envelope."""

    def __init__(self, clock: IReactorTime, envelope: Envelope) -> None:
        self.envelope = envelope
        self._clock = clock
        self._open = dict.fromkeys(range(len(envelope.rcpt_to)))
        self._attempts: list[list[Attempt]] = [[] for _ in envelope.rcpt_to]
        self._verdicts: list[list[Verdict]] = [[] for _ in envelope.rcpt_to]

    @property
    def open(self) -> tuple[int, ...]:
        """The recipients about whom nothing is decided."""
        return tuple(self._open)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)

    def note(
        self,
        recipients: Sequence[int],
        verdict: Verdict,
        at: Target | SmtpClient | None = None,
        started: datetime | None = None,
    ) -> None:
        now = self.now()
        attempt = Attempt(
            remote_host=at.host if at else "",
            remote_address=at.address if at else "",
            code=verdict.code,
            enhanced=verdict.enhanced,
            text=verdict.text,
            tls=at.tls if isinstance(at, SmtpClient) else None,
            started_at=started or now,
            finished_at=now,
        )
        for i in recipients:
            self._attempts[i].append(attempt)
            self._verdicts[i].append(verdict)
            if not verdict.elsewhere:
                self._open.pop(i, None)

    def outcomes(self) -> tuple[Outcome, ...]:
        each = zip(self.envelope.rcpt_to, self._attempts, self._verdicts, strict=True)
        return tuple(_outcome(r.address, tuple(a), v) for r, a, v in each)


def _outcome(
    rcpt_to: str, attempts: tuple[Attempt, ...], verdicts: list[Verdict]
) -> Outcome:
    last = verdicts[-1]
    refused = all(verdict.status == "failed" for verdict in verdicts)
    # Where no host decided, it failed only if every one refuses for good.
    undecided: Status = "failed" if refused else "deferred"
    return Outcome(
        rcpt_to=rcpt_to,
        status=undecided if last.elsewhere else last.status,
        attempts=attempts,
        dsn_passed_on=last.dsn,
        uncertain=last.uncertain,
        put_off=last.put_off,
    )


_relay: type[Relay] = SmtpRelay
