"""The DKIM keys of our domains: made on first use, sealed in the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from noinfra.app.seal import Seal
from noinfra.mail.dkim import (
    Signer,
    SigningKey,
    dns_record,
    generate_ed25519,
    generate_rsa,
    sign,
)
from noinfra.store.database import Database
from noinfra.store.keys import DkimKey, DkimKeys

_PURPOSE = "DKIM key"


@frozen(kw_only=True)
class PublishedKey:
    """What the DNS of a domain must say: a TXT record's name and text."""

    name: str
    text: str


@define
class Signing:
    """Signs what leaves, for the domain in From.

    Each seal has its own selectors: daemons that share a database but not a secret sign
    each with their own keys, and the DNS publishes both.
    """

    database: Database
    seal: Seal
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _signers: dict[str, list[Signer]] = field(factory=dict)
    _waiting: dict[str, list[Deferred[list[Signer]]]] = field(factory=dict)

    async def sign(self, octets: bytes, domain: str) -> bytes:
        """The mail with the domain's signatures before it."""
        signers = await self._of(domain)
        # OpenSSL works without the interpreter's lock: RSA is 0.2 ms on the other core.
        fields = await deferToThread(sign, octets, domain, signers, now=self.now())
        return fields + octets

    async def records(self, domain: str) -> list[PublishedKey]:
        """What is to be published for a domain, keys of other daemons included."""
        await self._of(domain)
        keys = await DkimKeys(self.database.single(None)).of(domain)
        return [
            PublishedKey(name=f"{key.selector}._domainkey.{domain}", text=key.record)
            for key in keys
        ]

    async def _of(self, domain: str) -> list[Signer]:
        known = self._signers.get(domain)
        if known is not None:
            return known
        # Several may wait for the one that makes: each gets a Deferred of its own.
        mine: Deferred[list[Signer]] = Deferred()
        waiting = self._waiting.setdefault(domain, [])
        waiting.append(mine)
        if len(waiting) == 1:
            making = Deferred.fromCoroutine(self._load(domain))
            making.addBoth(self._made, domain)
        return await mine

    def _made(self, result: list[Signer] | Failure, domain: str) -> None:
        for mine in self._waiting.pop(domain):
            mine.callback(result)

    async def _load(self, domain: str) -> list[Signer]:
        keys = await self._stored(domain)
        if not keys:
            await self._make(domain)
            keys = await self._stored(domain)
        signers = [
            Signer(
                SigningKey(
                    selector=key.selector,
                    algorithm=(
                        "rsa-sha256"
                        if key.algorithm == "rsa-sha256"
                        else "ed25519-sha256"
                    ),
                    private_pem=self.seal.open(key.sealed, _PURPOSE).decode(),
                )
            )
            for key in keys
        ]
        self._signers[domain] = signers
        return signers

    async def _stored(self, domain: str) -> list[DkimKey]:
        keys = await DkimKeys(self.database.single(None)).of(domain)
        ours = (f"r{self.seal.name}", f"e{self.seal.name}")
        return [key for key in keys if key.selector in ours]

    async def _make(self, domain: str) -> None:
        keys = [
            await deferToThread(generate_rsa, f"r{self.seal.name}"),
            generate_ed25519(f"e{self.seal.name}"),
        ]
        async with self.database.system() as tx:
            for key in keys:
                await DkimKeys(tx).add(
                    DkimKey(
                        domain=domain,
                        selector=key.selector,
                        algorithm=key.algorithm,
                        sealed=self.seal.close(key.private_pem.encode(), _PURPOSE),
                        record=dns_record(key),
                    )
                )
