"""The client's side of one SMTP connection: lines, replies, time, TLS.

Not twisted.mail's client: that one doubles dots by chunk, so that a line end and a dot
on either side of a border let a message end early and speak commands to the next host;
it waits for each reply in turn, and loses 40 ms a message to Nagle's algorithm.

A peer may say what it likes. Replies are bounded in length and number, one that answers
nothing ends the connection, and so does 421 (RFC 5321, 3.8).
"""

import base64
from collections import deque
from collections.abc import Callable

from attrs import evolve
from OpenSSL.SSL import Context
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ITLSTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from noinfra.net.reply import MAX_TEXT, Malformed, Reply, ReplyReader
from noinfra.net.settings import Timeouts, Tls
from noinfra.net.tls import Handshake
from noinfra.net.verdict import (
    SessionEnded,
    TlsFailed,
    Verdict,
    broken,
    deferred,
    judge,
)

_CLOSING = 421


@implementer(IPushProducer, IHandshakeListener)
class SmtpClient(Protocol):
    """One connection.

    :ivar closed: fires once, when the connection is gone.
    :ivar extensions: what EHLO offered: keyword in upper case, and its parameters.
    :ivar tls: how it is encrypted, as in an Attempt; None while in clear.
    :ivar ended: why the connection is of no more use; None while it is.
    :ivar served: transactions begun on it.
    :ivar stale: whether the next transaction must begin with RSET.
    """

    transport: ITLSTransport

    def __init__(
        self, clock: IReactorTime, timeouts: Timeouts, host: str, address: str
    ) -> None:
        """:param host: the name that its certificate should have."""
        self.host = host
        self.address = address
        self.timeouts = timeouts
        self.extensions: dict[str, str] = {}
        self.tls: str | None = None
        self.ended: SessionEnded | None = None
        self.served = 0
        self.stale = False
        self.closed: Deferred[None] = Deferred()
        self._clock = clock
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        # Replies that commands already sent have yet to get.
        self._owed = 0
        self._waiting: Deferred[None] | None = None
        self._paused = False
        self._handshaking = False

    # What Twisted calls.

    def connectionMade(self) -> None:
        """The greeting is awaited."""
        self.transport.setTcpNoDelay(True)
        self._owed = 1

    def dataReceived(self, data: bytes) -> None:
        """Take in replies; whoever waits goes on when all that came is read."""
        if self.ended is not None:
            return
        try:
            for reply in self._reader.feed(data):
                if not self._owed:
                    self._end(_unasked(reply))
                    break
                self._owed -= 1
                self._replies.append(reply)
        except Malformed as error:
            self._end(SessionEnded(broken(f"{error}", "4.5.0")))
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What is not answered will not be."""
        lost = broken(f"The connection was lost: {reason.getErrorMessage()}")
        self._end((TlsFailed if self._handshaking else SessionEnded)(lost))
        self._wake()
        self.closed.callback(None)

    def handshakeCompleted(self) -> None:
        """TLS is on."""
        self._handshaking = False
        self._wake()

    def pauseProducing(self) -> None:
        """The peer is slower than we are."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""
        self._wake()

    # Lines and replies.

    def write(self, octets: bytes, replies: int = 0) -> None:
        """Send octets to which the peer owes so many replies.

        On a connection that has ended it is for the next reply to tell so.
        """
        self._owed += replies
        if octets and self.ended is None:
            self.transport.write(octets)

    async def reply(self, seconds: float, to: str) -> Reply:
        """The next reply, to the command that is named.

        :raises SessionEnded: there will be none, or it was 421.
        """
        if not self._replies:
            await self._until(lambda: bool(self._replies), seconds, f"no reply to {to}")
        reply = self._replies.popleft()
        if reply.code == _CLOSING:
            self._end(SessionEnded(judge(reply, elsewhere=True)))
            raise self._reason()
        return reply

    async def command(self, line: str) -> Reply:
        """Send one command alone, and wait for its reply."""
        self.write(line.encode() + b"\r\n", replies=1)
        return await self.reply(self.timeouts.command, line.partition(" ")[0])

    @property
    def interrupted(self) -> bool:
        """Whether the peer said something, or left, before we were done."""
        return bool(self._replies) or self.ended is not None

    def begin_flow(self) -> None:
        """From here to end_flow, writing is to wait for the peer to catch up."""
        self._paused = False
        IConsumer(self.transport).registerProducer(self, True)

    async def caught_up(self) -> None:
        """:raises SessionEnded: the peer does not read."""
        if self._paused:
            await self._until(
                lambda: not self._paused, self.timeouts.block, "the data is not read"
            )

    def end_flow(self) -> None:
        """Writing waits no more."""
        self._paused = False
        IConsumer(self.transport).unregisterProducer()

    async def _until(
        self, done: Callable[[], bool], seconds: float, trouble: str
    ) -> None:
        if done():
            return
        late = self._clock.callLater(seconds, self._late, f"{trouble} in {seconds:g} s")
        try:
            while not done():
                if self.ended is not None:
                    raise self._reason()
                self._waiting = Deferred()
                await self._waiting
        finally:
            self._waiting = None
            if late.active():
                late.cancel()

    def _end(self, reason: SessionEnded) -> None:
        if self.ended is None:
            self.ended = reason
            self.transport.abortConnection()

    def _reason(self) -> SessionEnded:
        # A new one each time: what is raised gathers tracebacks.
        assert self.ended is not None
        return type(self.ended)(self.ended.verdict)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _late(self, trouble: str) -> None:
        lost = broken(f"The connection was given up: {trouble}.")
        self._end((TlsFailed if self._handshaking else SessionEnded)(lost))
        self._wake()

    # Beginning and end.

    async def open(self, helo_name: str, tls: Tls, context: Context) -> None:
        """Go from the greeting to where mail can be sent.

        :raises TlsFailed: the handshake did not succeed, or it was not good enough.
        :raises SessionEnded: the host does not let us in, for now or for good.
        """
        greeting = await self.reply(self.timeouts.greeting, "the connection")
        if greeting.code != 220:
            # RFC 7504, 3; RFC 5321, 3.1: 521 and 554 say that no mail is taken here.
            raise self.refused(greeting)
        await self._greet(helo_name)
        if tls != "never" and await self._start_tls(context, tls):
            await self._greet(helo_name)

    async def _greet(self, helo_name: str) -> None:
        self.extensions = {}
        reply = await self.command(f"EHLO {helo_name}")
        if reply.code == 250:
            words = [
                line.decode("ascii", "replace").split(None, 1)
                for line in reply.lines[1:]
            ]
            self.extensions = {w[0].upper(): w[1] if w[1:] else "" for w in words if w}
            return
        if reply.code // 100 == 5:
            reply = await self.command(f"HELO {helo_name}")
        if reply.code != 250:
            raise self.refused(reply)

    async def _start_tls(self, context: Context, tls: Tls) -> bool:
        if "STARTTLS" not in self.extensions:
            if tls == "opportunistic":
                return False
            raise self.given_up(
                deferred(451, "4.7.4", f"{self.host} does not offer STARTTLS.")
            )
        # A connection lost from here on is the handshake's failure.
        self._handshaking = True
        reply = await self.command("STARTTLS")
        if reply.code != 220:
            self._handshaking = False
            if tls == "opportunistic":
                return False
            raise self.refused(reply, for_good=False)
        if self.ended is not None:
            raise self._reason()
        if self._reader.midway or self._replies:
            # What came in clear must not count as said under TLS.
            raise self.given_up(
                broken(f"{self.host} spoke on in clear after STARTTLS.", "4.5.0")
            )
        await self._handshake(Handshake(context, self.host), tls)
        return True

    async def _handshake(self, handshake: Handshake, tls: Tls) -> None:
        self.transport.startTLS(handshake)
        await self._until(
            lambda: not self._handshaking, self.timeouts.tls, "no TLS handshake"
        )
        self.tls = handshake.described()
        if tls == "verified" and not handshake.verified:
            text = f"The certificate of {self.host} is not trusted, or not its own."
            raise self.given_up(broken(text, "4.7.5"))

    def refused(self, reply: Reply, *, for_good: bool = True) -> SessionEnded:
        """End the connection for a reply that shuts us out; raise what this returns."""
        if reply.code // 100 not in (4, 5):
            return self.given_up(
                broken(f"Out of turn: {reply.code} {reply.text}", "4.5.0")
            )
        verdict = judge(reply)
        return self.given_up(
            verdict if for_good else evolve(verdict, status="deferred")
        )

    def given_up(self, verdict: Verdict) -> SessionEnded:
        """End the connection for our own reasons; raise what this returns."""
        self._end(SessionEnded(evolve(verdict, elsewhere=True)))
        return self._reason()

    async def log_in(self, user: str, password: str) -> None:
        """Say who we are, by AUTH PLAIN (RFC 4616).

        :raises SessionEnded: it is not believed. That is our configuration's fault, so
            the mail has to wait and is not returned.
        """
        if "PLAIN" not in self.extensions.get("AUTH", "").upper().split():
            raise self.given_up(
                deferred(451, "4.7.0", "The host does not offer AUTH PLAIN.")
            )
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode("ascii")
        reply = await self.command(f"AUTH PLAIN {secret}")
        if reply.code != 235:
            raise self.refused(reply, for_good=False)

    async def quit(self) -> None:
        """Take leave, shortly."""
        if self.ended is None:
            try:
                self.write(b"QUIT\r\n", replies=1)
                await self.reply(self.timeouts.quit, "QUIT")
            except SessionEnded:
                return  # Gone as well.
            self.abandon("We have taken leave.")

    def abandon(self, text: str) -> None:
        """Close the connection without a word."""
        self._end(SessionEnded(broken(text)))
        self._wake()


def _unasked(reply: Reply) -> SessionEnded:
    if reply.code == _CLOSING:
        return SessionEnded(judge(reply, elsewhere=True))
    text = f"It answered what was not asked: {reply.code} {reply.text}"
    return SessionEnded(broken(text[:MAX_TEXT], "4.5.0"))
