"""Who may come in: keys, and how often each may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from noinfra.app.access import Access
from noinfra.errors import RateLimited, Unauthenticated
from noinfra.fronts.rest.exchange import Exchange
from noinfra.fronts.rest.limits import Allowance, Buckets

MAX_SECRET = 512
#: Refused keys of one address: so many at once, and so many a second.
FAILURES, FAILURE_RATE = 30, 0.5
#: How many good keys are remembered as such.
MAX_GOOD = 10_000

Authenticate = Callable[[str], Awaitable[Access]]


class Gate:
    """Finds whose request it is, and counts it.

    Wrong keys are counted by address. An address that has sent too many is refused
    before the key is looked up, but not where the key is known to be good: many clients
    may share an address, as all do behind a reverse proxy.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        rate: float,
        burst: int,
        seconds: Callable[[], float],
    ) -> None:
        self._authenticate = authenticate
        self._keys = Buckets(rate, burst, seconds)
        self._strangers = Buckets(rate, burst, seconds)
        self._failures = Buckets(FAILURE_RATE, FAILURES, seconds)
        # Hashes under the process's own random seed; they only spare a refusal.
        self._good: set[int] = set()

    async def admit(self, exchange: Exchange, *, in_query: str | None = None) -> Access:
        """Whose request it is.

        :param in_query: a key from the query, for clients that can set no header.
        :raises Unauthenticated: no key, or one that is not known.
        :raises RateLimited: too many requests with the key, or too many wrong keys.
        """
        secret = presented(exchange) or in_query
        address = _neighbourhood(exchange.peer)
        if not secret:
            self._count(exchange, self._strangers.take(address))
            raise Unauthenticated(
                "Send a key in the header field Authorization: Bearer <key>."
            )
        access = await self.check(secret, address)
        exchange.key_id = access.key_id
        self._count(exchange, self._keys.take(access.key_id))
        return access

    async def check(self, secret: str, address: str) -> Access:
        """Whose a key is; no request is counted.

        :raises Unauthenticated: nobody's.
        :raises RateLimited: the address has sent too many wrong ones.
        """
        good = hash(secret) in self._good
        if not good and (spent := self._failures.spent(address)) is not None:
            raise too_many(spent, "There were too many wrong keys from this address")
        try:
            if not 1 <= len(secret) <= MAX_SECRET or not secret.isprintable():
                raise Unauthenticated("The key is none of ours.")
            access = await self._authenticate(secret)
        except Unauthenticated:
            self._good.discard(hash(secret))
            self._failures.take(address)
            raise
        if not good:
            if len(self._good) >= MAX_GOOD:
                self._good.clear()
            self._good.add(hash(secret))
        return access

    def count(self, access: Access) -> None:
        """Count a request that came over an open connection.

        :raises RateLimited: too many with the key.
        """
        allowance = self._keys.take(access.key_id)
        if allowance.retry_after is not None:
            raise too_many(allowance, "There were too many requests with this key")

    def stranger(self, exchange: Exchange) -> None:
        """Count a request that needs no key.

        :raises RateLimited: too many from the address.
        """
        self._count(exchange, self._strangers.take(_neighbourhood(exchange.peer)))

    def _count(self, exchange: Exchange, allowance: Allowance) -> None:
        exchange.allowance = allowance
        if allowance.retry_after is not None:
            raise too_many(allowance, "There were too many requests")


def presented(exchange: Exchange) -> str | None:
    """The key in a request's header fields."""
    return bearer(exchange.header("authorization")) or exchange.header("x-api-key")


def bearer(authorization: str | None) -> str | None:
    """The key in an Authorization header field (RFC 6750, 2.1)."""
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def too_many(allowance: Allowance, what: str) -> RateLimited:
    """The refusal of one request too many."""
    seconds = allowance.retry_after or 1
    return RateLimited(f"{what}; come back in {seconds} s.", retry_after=seconds)


def _neighbourhood(peer: str) -> str:
    """The address; of IPv6 the network of 64 bits, which one host can have whole."""
    if ":" not in peer:
        return peer
    try:
        packed = ip_address(peer.partition("%")[0]).packed
    except ValueError:
        return peer
    return packed[:8].hex()
