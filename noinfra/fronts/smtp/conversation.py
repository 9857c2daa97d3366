"""One SMTP connection: input, output and time, without the meaning of commands.

A coroutine a connection reads a line, does what it says, and only then looks at the
next. So pipelined commands (RFC 2920) are answered in order, however long the use case
thinks. Replies gather until there is nothing left to read, and go out in one write.
While the use case works, or the client does not read what we say, its input waits in
the kernel.

RFC 5321, 3.8 lets a server close after 421 at any time; we do that to a client that
falls silent, and to all when our service stops, but never while a mail is received.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    ITLSTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.mail.smtp import ESMTP
from twisted.python.failure import Failure
from zope.interface import implementer

from noinfra.errors import Refusal, TemporaryFailure
from noinfra.fronts.smtp.maillog import MailLog
from noinfra.fronts.smtp.reader import Reader
from noinfra.fronts.smtp.refusals import (
    Closing,
    Foreign,
    SpokeTooSoon,
    Stopping,
    TimedOut,
    TooManyErrors,
    UnknownCommand,
)
from noinfra.fronts.smtp.reply import refused, reply
from noinfra.fronts.smtp.wire import (
    Disconnected,
    Outlet,
    Wire,
    describe_tls,
    is_tls,
    plain_socket,
    send_at_once,
)
from noinfra.model import Transaction

if TYPE_CHECKING:
    from noinfra.fronts.smtp.factory import SmtpFactory

# Input that we hold before we stop reading; one read of Twisted's may come on top.
INPUT = 1 << 16
# Replies that we gather before they go out.
OUTPUT = 1 << 14
# For the TLS handshake, and for the client to read our last words.
HANDSHAKE = 60.0
GOODBYE = 30.0
# RFC 5321, 4.5.3.2.5 and .6 give three minutes a block; this is for all of the data.
DATA = 3600.0

# Refused commands of any kind, so that nobody fills our log. It is far more than the
# errors that we forgive: a list with thousands of recipients gets that many 452.
REFUSALS = 5000
# Commands from one client until others have their turn; some milliseconds.
STREAK = 500

READY_FOR_TLS = reply(220, "2.0.0", "Ready to start TLS")
VERBS = {
    verb.encode(): f"do_{verb}"
    for verb in [
        *("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT"),
        *("RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT"),
    ]
}
# What a browser says to this port when a page makes it (RFC 5321 has none of these).
FOREIGN = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI"})
Method = Callable[[bytes], bytes | Awaitable[bytes]]
WE_STOP = "We stop for a while; come again. Closing."


@implementer(IHandshakeListener, IPushProducer)
class Conversation(ESMTP):
    """One connection; a subclass has the commands, as `do_VERB`.

    Of Twisted's server we keep its life cycle, its timer, and how it lists extensions.
    Its input path is replaced: a line over 16 KiB in DATA ends the data and executes
    the rest of it as commands; bare CR and LF are stored as they come; what follows
    STARTTLS in clear is executed inside TLS; a command is begun while the one before it
    still waits for its answer; MAIL's parameters are ignored; data is handed on line by
    line, once for each recipient.
    """

    _wire: Wire
    _outlet: Outlet

    def __init__(self, server: SmtpFactory, address: str) -> None:
        super().__init__(contextFactory=server.tls)
        self._server = server
        self._address = address
        self._log = MailLog(address)
        self._tls: str | None = None
        self._transaction: Transaction | None = None
        self._reader = Reader()
        self._out: list[bytes] = []
        self._pending = 0
        self._errors = 0
        self._refusals = 0
        self._streak = 0
        # What the coroutine waits for, if it waits for the client.
        self._input: Deferred[None] | None = None
        self._reading: Deferred[None] | None = None
        self._handshake: Deferred[None] | None = None
        self._between = False
        self._held = False
        self._clogged = False
        self._closing = False
        self._lost = False
        self._done = False

    # ----------------------------------------------------------------------------------
    # Twisted calls us

    def connectionMade(self) -> None:
        """Greet, or turn away; then serve."""
        self._wire = cast(Wire, self.transport)
        self.startedTLS = is_tls(self.transport)
        self.canStartTLS = ITLSTransport.providedBy(self.transport) and bool(self.ctx)
        # Our reply to the end of data would wait for the ACK of an earlier one.
        send_at_once(self.transport)
        self._outlet = Outlet(self._wire)
        self._log.connected()
        self._wire.registerProducer(self, True)
        serving = Deferred.fromCoroutine(self._serve())
        serving.addErrback(self._broke)
        serving.addBoth(self._served)

    def dataReceived(self, data: bytes) -> None:
        """Keep the input, and wake who waits for it."""
        if self._closing:
            return
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
        """TLS is on; what was said in clear is forgotten (RFC 3207, 4.2)."""
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
        """End what waits for the client, but nothing that is being received."""
        self._lost = self._closing = True
        self.setTimeout(None)
        if self._handshake is not None and not reason.check(ConnectionDone):
            self._log.not_secured(reason.getErrorMessage())
        self._log.disconnected(reason.getErrorMessage())
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

    # ----------------------------------------------------------------------------------
    # The conversation

    async def _serve(self) -> None:
        if self._spoke_too_soon():
            self._end(SpokeTooSoon("Wait for the greeting before you speak. Closing."))
            return
        try:
            if self.startedTLS:
                await self._shake_hands(lambda: None)
            self._say(reply(220, "", f"{self._server.hostname} ESMTP noinfra"))
            while not self._closing:
                await self._next()
        except Disconnected:
            return
        finally:
            self._reset()

    async def _next(self) -> None:
        """One command, from its line to its reply."""
        if self._streak >= STREAK:
            await self._let_others()
        if self._server.stopping:
            self._end(Stopping(WE_STOP))
            return
        verb, transaction = "?", self._transaction
        try:
            line = await self._line()
            verb, method, arguments = self._command(line)
            answer = method(arguments)
            self._say(answer if isinstance(answer, bytes) else await answer)
        except Refusal as refusal:
            self._refuse(verb, refusal, transaction)
        except Disconnected:
            raise
        except Exception:
            self._fail(verb)
        self._streak += 1
        if self._clogged and not self._closing:
            await self._read()

    def _command(self, line: bytes) -> tuple[str, Method, bytes]:
        """The line's verb, its method, and its arguments."""
        verb, _, arguments = line.partition(b" ")
        verb = verb.upper()
        name = VERBS.get(verb)
        if name is None:
            if verb in FOREIGN:
                raise Foreign("This is SMTP. Closing.")
            raise UnknownCommand("There is no such command here; HELP lists them.")
        return name[3:], getattr(self, name), arguments.strip(b" \t")

    def _refuse(
        self, verb: str, refusal: Refusal, transaction: Transaction | None
    ) -> None:
        if isinstance(refusal, Closing):
            self._end(refusal)
            return
        self._log.refused(verb, refusal, transaction)
        self._say(refused(refusal))
        self._refusals += 1
        # 4yz is our state and not the client's fault: it may well try recipients beyond
        # the limit, and keeps those before it (RFC 5321, 4.5.3.1.10).
        self._errors += refusal.smtp.startswith("5")
        if self._errors >= self._server.settings.errors or self._refusals >= REFUSALS:
            self._end(TooManyErrors("Too many refused commands. Closing."))

    def _fail(self, verb: str) -> None:
        incident = token_hex(4)
        self._log.failed(verb, incident, Failure())
        self._say(refused(TemporaryFailure(f"Our error, incident {incident}.")))
        if self._in_data():
            # Nobody knows how much of the data is still to come.
            self._close()

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
    # Input and output

    async def _line(self) -> bytes:
        line = self._reader.line()
        if line is None:
            # Segments do not move the deadline: a line a byte a minute is no line.
            until = self._server.clock.seconds() + self._server.settings.idle
            self._between = True
            try:
                while line is None:
                    await self._more(until)
                    line = self._reader.line()
            finally:
                self._between = False
        return line

    async def _progress(self, until: float) -> None:
        """Wait for some more of the data; until is the time for all of it."""
        now = self._server.clock.seconds()
        await self._more(min(now + self._server.settings.idle, until))

    async def _more(self, until: float) -> None:
        """Say what there is to say, and wait for input."""
        self._flush()
        if self._lost:
            raise Disconnected
        self._let_in()
        self._streak = 0
        self._input = Deferred()
        self.setTimeout(max(until - self._server.clock.seconds(), 0.0))
        await self._input

    def _let_in(self) -> None:
        if self._held:
            self._held = False
            self._wire.resumeProducing()

    async def _let_others(self) -> None:
        """Let other connections have their turn of the reactor."""
        self._streak = 0
        await self._pause(0)

    async def _pause(self, seconds: float) -> None:
        """Leave the client waiting, with all that was said before."""
        self._flush()
        over = Deferred[None]()
        self._server.clock.callLater(seconds, over.callback, None)
        await over

    async def _read(self) -> None:
        """Wait for the client to read what we said."""
        self._flush()
        if not self._clogged:
            return
        if self._lost:
            raise Disconnected
        self._reading = Deferred()
        self.setTimeout(self._server.settings.idle)
        await self._reading

    def _wake(self) -> None:
        waiting, self._input = self._input, None
        if waiting is not None:
            waiting.callback(None)

    def _say(self, octets: bytes) -> None:
        self._out.append(octets)
        self._pending += len(octets)
        if self._pending > OUTPUT:
            self._flush()

    def _flush(self) -> None:
        if self._out and not self._lost:
            octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._pending = 0
            self._outlet.write(octets)

    def _end(self, refusal: Closing) -> None:
        self._log.closing(refusal, self._transaction)
        self._say(refused(refusal))
        self._close()

    def _close(self) -> None:
        """Say our last words and go; whoever does not read them is cut off."""
        if self._closing:
            return
        self._flush()
        self._closing = True
        self._reader.clear()
        self._outlet.close()
        # TLS would wait for its producer to be done.
        self._wire.unregisterProducer()
        self._wire.loseConnection()
        if not self._lost:
            self.setTimeout(GOODBYE)

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

    def _spoke_too_soon(self) -> bool:
        """Whether input is there already; we do not wait for it to come."""
        handle = plain_socket(self.transport)
        if handle is None:
            return False
        try:
            return bool(handle.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            # Nothing there; or an error, which the reactor will meet as well.
            return False

    async def _secure(self, tls: IOpenSSLServerConnectionCreator) -> None:
        """Do the TLS handshake, and forget all that was said before (RFC 3207, 4.2)."""
        self._say(READY_FOR_TLS)
        self._flush()
        self._outlet.close()
        self.startedTLS = True
        self._let_in()
        await self._shake_hands(lambda: self._wire.startTLS(tls))
        self._reset()

    async def _shake_hands(self, begin: Callable[[], None]) -> None:
        self._handshake = handshake = Deferred[None]()
        self.setTimeout(HANDSHAKE)
        begin()
        await handshake
        self._log.secured(self._tls or "")

    def _reset(self) -> None:
        """Forget the mail transaction."""
        self._transaction = None

    def _in_data(self) -> bool:
        """Whether what comes next may belong to the data of a mail."""
        return False
