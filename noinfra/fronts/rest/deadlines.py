"""Ends what takes too long, with one timer for all that runs."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadlines:
    """Cancels each Deferred that has not fired after so many seconds.

    All have the same time, so they come due in the order in which they came, and a look
    at the oldest, once a second, is enough: a timer a request would cost more than the
    rest of the frame's bookkeeping.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._running: dict[Deferred[Any], float] = {}
        self._sweeping: IDelayedCall | None = None

    def watch(self, deferred: Deferred[Any]) -> None:
        """Cancel it when its time is over, unless it is forgotten before."""
        self._running[deferred] = self._clock.seconds() + self._seconds
        if self._sweeping is None:
            self._sweeping = self._clock.callLater(1.0, self._sweep)

    def forget(self, deferred: Deferred[Any]) -> None:
        """It is done."""
        self._running.pop(deferred, None)

    def close(self) -> None:
        """Stop looking, and cancel what still runs."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        running, self._running = self._running, {}
        for deferred in running:
            deferred.cancel()

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._clock.seconds()
        for deferred, due in list(self._running.items()):
            if due > now:
                break
            self.forget(deferred)
            deferred.cancel()
        if self._running and self._sweeping is None:
            self._sweeping = self._clock.callLater(1.0, self._sweep)
