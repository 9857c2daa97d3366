"""The reactor of this program, and one task from its start to its end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

T = TypeVar("T")


def default_reactor() -> PosixReactorBase:
    """Twisted's best for this system; the first call installs it."""
    from twisted.internet import reactor

    assert isinstance(reactor, PosixReactorBase)
    return reactor


def complete(work: Callable[[PosixReactorBase], Coroutine[Any, Any, T]]) -> T:
    """Run the reactor for as long as the work takes.

    Ctrl-C and SIGTERM cancel the work, and wait for what it does on its way out.

    :returns: what the work returns.
    :raises KeyboardInterrupt: it was cancelled.
    """
    reactor = default_reactor()
    ended: list[T | Failure] = []
    interrupted = False

    def start() -> None:
        def stop() -> Deferred[None] | None:
            nonlocal interrupted
            if ended:
                return None
            interrupted = True
            waiting: Deferred[None] = Deferred()
            working.addBoth(lambda _: waiting.callback(None))
            working.cancel()
            return waiting

        reactor.addSystemEventTrigger("before", "shutdown", stop)
        working = Deferred.fromCoroutine(work(reactor))
        working.addBoth(ended.append)
        working.addCallback(lambda _: None if interrupted else reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    if interrupted:
        raise KeyboardInterrupt
    (outcome,) = ended
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome
