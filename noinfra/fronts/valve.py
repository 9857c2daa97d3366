"""Back-pressure for coroutines that write to a client."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Valve:
    """Says whether a client keeps up: registered as a producer, it is told.

    :ivar stopped: the client is gone.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._waiting: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        if self._waiting is None and not self.stopped:
            self._waiting = Deferred()

    def resumeProducing(self) -> None:
        """The buffer is empty again."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The client is gone; whoever waits goes on, to see that."""
        self.stopped = True
        self.resumeProducing()

    @property
    def waiting(self) -> Deferred[None] | None:
        """Fires when the client has caught up; None when there is no need to wait."""
        return self._waiting
