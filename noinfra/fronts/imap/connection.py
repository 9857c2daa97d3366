"""One IMAP connection: octets in and out, time, and what lies beneath; no commands.

What we say gathers until there is nothing left to read, and goes out in one write.
While a command is at work, or the client does not read what we say, its input waits in
the kernel.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.mail.imap4 import IMAP4Server
from twisted.python.failure import Failure
from zope.interface import implementer

from noinfra.fronts.imap.answers import bye, completed
from noinfra.fronts.imap.deflate import Deflated
from noinfra.fronts.imap.maillog import MailLog
from noinfra.fronts.imap.reader import Reader
from noinfra.fronts.imap.refusals import BareLine, Closing, Stopping, TimedOut
from noinfra.fronts.smtp.wire import Disconnected, Wire, describe_tls

if TYPE_CHECKING:
    from noinfra.fronts.imap.factory import ImapFactory

# Input that we hold before we stop reading; one read of Twisted's may come on top.
INPUT = 1 << 16
# What we gather before it goes out.
OUTPUT = 1 << 14
# For the TLS handshake, and for the client to read our last words.
HANDSHAKE = 60.0
GOODBYE = 30.0

WE_STOP = "We stop for a while; come again. Closing."


@implementer(IHandshakeListener, IPushProducer)
class Connection(IMAP4Server, ABC):
    """One connection; a subclass says what is said on it.

    Of Twisted's server we keep its life cycle and its timer. Its input path is
    replaced: a command is begun while the one before it waits for the database, and
    then refused as unknown; what follows STARTTLS in clear is executed inside TLS;
    literals have no limit; a line over 16 KiB cuts the connection; quoted strings have
    no escapes; sets are counted out, in quadratic time. So is its dispatch: APPEND
    without flags, SEARCH with strings, and COPY to what is not there fail; a partial
    fetch sends all; nobody hears of what others expunge; a mailbox cannot wait for a
    database; and each attribute of each message costs a turn of the reactor.
    """

    _wire: Wire

    def __init__(self, server: ImapFactory, address: str) -> None:
        super().__init__(contextFactory=server.tls)
        self._server = server
        self._address = address
        self._log = MailLog(address)
        self._opened = server.clock.seconds()
        self._tls: str | None = None
        self._reader = Reader(server.settings.line_limit)
        self._deflated: Deflated | None = None
        self._out: list[bytes] = []
        self._pending = 0
        # Commands that were done without a turn of the reactor.
        self._streak = 0
        # What the coroutine waits for, if it waits for the client.
        self._input: Deferred[None] | None = None
        self._reading: Deferred[None] | None = None
        self._handshake: Deferred[None] | None = None
        self._between = False
        # Part of an answer is out, so that nothing else can follow it.
        self._midway = False
        self._held = False
        self._clogged = False
        self._closing = False
        self._lost = False
        self._done = False

    # ----------------------------------------------------------------------------------
    # For the subclass

    @abstractmethod
    async def _serve(self) -> None:
        """The whole conversation; over when it returns, or the client is gone."""

    def _left(self) -> None:
        """The connection is gone."""

    # ----------------------------------------------------------------------------------
    # Twisted calls us

    def connectionMade(self) -> None:
        """Greet, then serve."""
        self._wire = cast(Wire, self.transport)
        if ISSLTransport.providedBy(self.transport):
            self._tls = "TLS"
        self.canStartTLS = self._tls is None and ITLSTransport.providedBy(
            self.transport
        )
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            # An idle client behind a gateway that forgot it is never heard of again.
            self.transport.setTcpKeepAlive(True)
        self._log.connected()
        self._wire.registerProducer(self, True)
        serving = Deferred.fromCoroutine(self._serve())
        serving.addErrback(self._broke)
        serving.addBoth(self._served)

    def dataReceived(self, data: bytes) -> None:
        """Keep the input, and wake who waits for it."""
        if self._closing:
            return
        if self._deflated is not None:
            self._deflated.feed(data)
            self._unpack()
        else:
            self._reader.feed(data)
        if self._input is not None:
            self._wake()
        elif len(self._reader) > INPUT and not self._held:
            self._held = True
            self._wire.pauseProducing()

    def pauseProducing(self) -> None:
        """The client does not read what we say: say no more."""
        self._clogged = True

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._clogged = False
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.callback(None)

    def stopProducing(self) -> None:
        """The connection is going; connectionLost follows."""

    def handshakeCompleted(self) -> None:
        """TLS is on."""
        handshake, self._handshake = self._handshake, None
        self._tls = describe_tls(self.transport)
        if handshake is not None:
            handshake.callback(None)

    def timeoutConnection(self) -> None:
        """The time is over that we gave the client; our own work has none."""
        if self._closing or self._reading is not None or self._handshake is not None:
            self._wire.abortConnection()
        elif self._input is not None:
            self._end(TimedOut("You took too long. Closing."))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End what waits for the client; what is being stored goes on."""
        self._lost = self._closing = True
        self.setTimeout(None)
        if self._handshake is not None and not reason.check(ConnectionDone):
            self._log.not_secured(reason.getErrorMessage())
        self._log.disconnected(reason.getErrorMessage())
        self._left()
        if self._done:
            self._server.released(self)
        waiting = (self._input, self._reading, self._handshake)
        self._input = self._reading = self._handshake = None
        for one in waiting:
            if one is not None:
                one.errback(Failure(Disconnected()))

    def callLater(self, period: float, func: Callable[[], object]) -> IDelayedCall:
        """TimeoutMixin's clock, which would be the global reactor."""
        return self._server.clock.callLater(period, func)

    def _broke(self, failure: Failure) -> None:
        """A bug in this module; the connection cannot go on."""
        self._log.failed("?", token_hex(4), failure)
        self._wire.abortConnection()

    def _served(self, _: object) -> None:
        """Count no more, once the connection is gone and nothing of it is at work."""
        self._done = True
        if self._lost:
            self._server.released(self)

    # ----------------------------------------------------------------------------------
    # Input

    async def _line(self, until: float) -> bytes:
        """A line; it may take until a given time."""
        line = self._reader.line()
        if line is None:
            self._between = True
            try:
                while line is None:
                    await self._more(until)
                    line = self._reader.line()
            finally:
                self._between = False
        return line

    async def _octets(self, size: int, until: float) -> bytes:
        """A literal of a command; not mail."""
        octets = self._reader.literal(size)
        if len(octets) == size:
            return octets
        gathered = bytearray(octets)
        while len(gathered) < size:
            await self._more(until)
            gathered += self._reader.literal(size - len(gathered))
        return bytes(gathered)

    async def _more(self, until: float) -> None:
        """Say what there is to say, and wait for input, or for news while idle."""
        self._flush()
        if self._lost:
            raise Disconnected
        before = len(self._reader)
        if self._unpack() and len(self._reader) > before:
            return
        self._let_in()
        self._streak = 0
        self._input = Deferred()
        self.setTimeout(max(until - self._server.clock.seconds(), 0.0))
        await self._input

    def _unpack(self) -> bool:
        """Undo the compression of input, as far as there is room; tells if there is."""
        if self._deflated is None:
            return False
        try:
            while len(self._reader) <= INPUT:
                octets = self._deflated.unpack(INPUT)
                if not octets:
                    break
                self._reader.feed(octets)
        except zlib.error:
            self._end(BareLine("What you send is no deflate. Closing."))
        return True

    def _let_in(self) -> None:
        if self._held:
            self._held = False
            self._wire.resumeProducing()

    def _wake(self) -> None:
        waiting, self._input = self._input, None
        if waiting is not None:
            self.setTimeout(None)
            waiting.callback(None)

    async def _let_others(self) -> None:
        """Let other connections have their turn of the reactor."""
        self._flush()
        self._streak = 0
        await self._pause(0)

    async def _pause(self, seconds: float) -> None:
        turn = Deferred[None]()
        self._server.clock.callLater(seconds, turn.callback, None)
        await turn
        if self._lost:
            raise Disconnected

    # ----------------------------------------------------------------------------------
    # Output

    async def _read(self) -> None:
        """Wait for the client to read what we said."""
        self._flush()
        if self._lost or self._closing:
            raise Disconnected
        if not self._clogged:
            return
        self._reading = Deferred()
        self.setTimeout(self._server.settings.stall)
        await self._reading
        self.setTimeout(None)

    def _say(self, octets: bytes) -> None:
        # Behind BYE there is nothing, even if a command was still at work.
        if not octets or self._closing:
            return
        self._out.append(octets)
        self._pending += len(octets)
        if self._pending > OUTPUT:
            self._flush()

    def _flush(self) -> None:
        if not self._out:
            return
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._pending = 0
        if not self._lost:
            packed = self._deflated.pack(octets) if self._deflated else octets
            self._wire.write(packed)

    def _end(self, refusal: Closing) -> None:
        self._log.closing(refusal)
        self._say(bye(refusal))
        self._close()

    def _close(self) -> None:
        """Say our last words and go; whoever does not read them is cut off."""
        if self._closing:
            return
        self._flush()
        self._closing = True
        self._reader.clear()
        # TLS would wait for its producer to be done.
        self._wire.unregisterProducer()
        self._wire.loseConnection()
        if not self._lost:
            self.setTimeout(GOODBYE)

    def _abort(self) -> None:
        """Cut the connection: part of an answer is out, and cannot be finished."""
        self._closing = True
        if not self._lost:
            self._wire.abortConnection()

    def dismiss(self, refusal: Closing) -> None:
        """Have the client go at once, whatever it does; with a word where one fits."""
        if self._closing:
            return
        if self._midway:
            self._log.closing(refusal)
            self._abort()
        else:
            self._end(refusal)

    def stop(self) -> None:
        """Our service stops: go now when between commands, else after this one."""
        if self._handshake is not None:
            self._wire.abortConnection()
        elif self._between and not self._closing:
            self._end(Stopping(WE_STOP))

    def abort(self) -> None:
        """There is no more time to wait for the client."""
        if not self._lost:
            self._wire.abortConnection()

    # ----------------------------------------------------------------------------------
    # What lies beneath

    async def _secure(self, tag: bytes, tls: IOpenSSLServerConnectionCreator) -> None:
        """Do the TLS handshake, and forget all that was said before."""
        self._say(completed(tag, "STARTTLS", b"", "Begin TLS."))
        self._flush()
        self.canStartTLS, self.startedTLS = False, True
        self._handshake = handshake = Deferred[None]()
        self._reader.clear()
        self._let_in()
        self.setTimeout(HANDSHAKE)
        self._wire.startTLS(tls)
        await handshake

    def _compress(self, tag: bytes) -> None:
        """Compress from here on, in both directions."""
        self._say(completed(tag, "COMPRESS", b"", "Compressing."))
        self._flush()
        self._deflated = Deflated()
