"""How often one may fail to log in: by network, by account, and by both together.

Guessing must be slow; the owner must get in while others guess. So a network that once
logged in to an account is not held to what others do to that account, nor to what its
neighbours do, but only to its own failures with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import define, field

# Failures that are forgiven, and how fast they are forgotten, in seconds each.
NETWORK = (20, 30.0)
ACCOUNT = (50, 60.0)
PAIR = (10, 30.0)
# So many of each are remembered; guessers with more addresses than that have others.
MOST = 20_000


@define
class _Bucket:
    failures: float
    at: float


@define(eq=False)
class _Failures:
    """Failures under some name, forgotten at a steady rate."""

    limit: int
    each: float
    _of: OrderedDict[object, _Bucket] = field(factory=OrderedDict)

    def wait(self, name: object, now: float) -> float:
        """Seconds until another try is looked at; 0 is now."""
        bucket = self._of.get(name)
        if bucket is None:
            return 0.0
        excess = bucket.failures - (now - bucket.at) / self.each - (self.limit - 1)
        return max(excess * self.each, 0.0)

    def add(self, name: object, now: float) -> None:
        """One more."""
        bucket = self._of.setdefault(name, _Bucket(0.0, now))
        left = max(bucket.failures - (now - bucket.at) / self.each, 0.0)
        bucket.failures, bucket.at = left + 1, now
        self._of.move_to_end(name)
        if len(self._of) > MOST:
            self._of.popitem(last=False)

    def forget(self, name: object) -> None:
        """None."""
        self._of.pop(name, None)


@define(eq=False)
class Throttle:
    """The failures that one process saw."""

    clock: Callable[[], float]
    _networks: _Failures = field(factory=lambda: _Failures(*NETWORK))
    _accounts: _Failures = field(factory=lambda: _Failures(*ACCOUNT))
    _pairs: _Failures = field(factory=lambda: _Failures(*PAIR))
    _owners: OrderedDict[tuple[str, str], None] = field(factory=OrderedDict)

    def wait(self, network: str, account: str) -> float:
        """Seconds until a login from there to this account is looked at."""
        now, pair = self.clock(), (network, account)
        waits = [self._pairs.wait(pair, now)]
        if pair not in self._owners:
            waits += (
                self._networks.wait(network, now),
                self._accounts.wait(account, now),
            )
        return max(waits)

    def failed(self, network: str, account: str) -> None:
        """A login failed."""
        now, pair = self.clock(), (network, account)
        self._pairs.add(pair, now)
        if pair not in self._owners:
            self._networks.add(network, now)
            self._accounts.add(account, now)

    def succeeded(self, network: str, account: str) -> None:
        """A login succeeded: somebody there knows the secret."""
        pair = (network, account)
        self._pairs.forget(pair)
        self._owners[pair] = None
        self._owners.move_to_end(pair)
        if len(self._owners) > MOST:
            self._owners.popitem(last=False)
