"""Bad logins of late: what they cost whoever makes them, and nobody else.

The right secret is asked for nothing: it is checked and answered at once, however many
wrong ones were tried for the same account. The answer to a wrong one is held back, the
longer the more of them the network or the account has seen. A network with very many is
not listened to for a while, but for the accounts that it has logged in to before.

Fronts share one of these in a process. Everything is forgotten in time, and the oldest
first when there is much of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import define, field

# One bad login is forgiven in so many seconds.
FORGIVEN = 10.0
# Seconds that the first answer waits; each further one twice as long, up to a bound.
FIRST, LONGEST = 0.25, 8.0
# Bad logins of one network, less the forgiven ones, after which it is shut out.
PATIENCE = 100
# Networks and accounts that are remembered.
MOST = 50_000


@define
class Bucket:
    """How much there is of something that runs out in time, by name."""

    clock: Callable[[], float]
    _levels: dict[str, tuple[float, float]] = field(factory=dict)

    def level(self, name: str) -> float:
        """What is left by now."""
        level, at = self._levels.get(name, (0.0, 0.0))
        return max(level - (self.clock() - at) / FORGIVEN, 0.0)

    def add(self, name: str) -> float:
        """Add one; what that comes to."""
        level = self.level(name) + 1
        self._levels.pop(name, None)
        if len(self._levels) >= MOST:
            del self._levels[next(iter(self._levels))]
        self._levels[name] = level, self.clock()
        return level


@define
class BadLogins:
    """The count, for all connections of a process; the clock is in seconds."""

    clock: Callable[[], float]
    _by_network: Bucket = field(init=False)
    _by_account: Bucket = field(init=False)
    _good: dict[tuple[str, str], None] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._by_network, self._by_account = Bucket(self.clock), Bucket(self.clock)

    def shut_out(self, network: str, account: str) -> bool:
        """Whether the network had its tries, and was never let in to the account."""
        if self._by_network.level(network) < PATIENCE:
            return False
        return (network, _canonical(account)) not in self._good

    def failed(self, network: str, account: str) -> float:
        """Count a bad login; for how many seconds its answer is held back."""
        level = max(
            self._by_network.add(network), self._by_account.add(_canonical(account))
        )
        return min(FIRST * math.exp2(min(level, 30.0) - 1), LONGEST)

    def succeeded(self, network: str, account: str) -> None:
        """Remember that the network may log in to the account."""
        pair = network, _canonical(account)
        self._good.pop(pair, None)
        if len(self._good) >= MOST:
            del self._good[next(iter(self._good))]
        self._good[pair] = None


def _canonical(account: str) -> str:
    return account[:320].lower()
