"""How often somebody may ask: a token bucket for each name."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from attrs import frozen

#: Beyond so many names the buckets that are full again are forgotten.
CAPACITY = 10_000


@frozen
class Allowance:
    """What is left of a bucket, as the RateLimit header fields tell it.

    :ivar reset: seconds until the bucket is full again.
    :ivar retry_after: seconds to wait, when this request was one too many.
    """

    limit: int
    remaining: int
    reset: int
    retry_after: int | None = None


class Buckets:
    """Buckets that hold ``burst`` tokens and gain ``rate`` of them a second."""

    def __init__(self, rate: float, burst: int, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._seconds = seconds
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> Allowance:
        """Take a token, or tell when there will be one."""
        now = self._seconds()
        tokens = self._tokens(name, now)
        if tokens < 1:
            wait = ceil((1 - tokens) / self._rate)
            return self._allowance(tokens, retry_after=max(1, wait))
        self._buckets[name] = (tokens - 1, now)
        if len(self._buckets) > CAPACITY:
            self._forget(now)
        return self._allowance(tokens - 1)

    def spent(self, name: str) -> Allowance | None:
        """Tell when there will be a token, if there is none; take nothing."""
        tokens = self._tokens(name, self._seconds())
        if tokens >= 1:
            return None
        wait = ceil((1 - tokens) / self._rate)
        return self._allowance(tokens, retry_after=max(1, wait))

    def _tokens(self, name: str, now: float) -> float:
        tokens, at = self._buckets.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._rate)

    def _allowance(self, tokens: float, retry_after: int | None = None) -> Allowance:
        reset = ceil((self._burst - tokens) / self._rate)
        return Allowance(self._burst, int(tokens), reset, retry_after)

    def _forget(self, now: float) -> None:
        full = [
            name for name in self._buckets if self._tokens(name, now) >= self._burst
        ]
        for name in full:
            del self._buckets[name]
        if len(self._buckets) > CAPACITY:
            # All are in use, as under an attack from many addresses: the oldest goes.
            del self._buckets[next(iter(self._buckets))]
