"""API keys: made, shown once, known by their hash."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from attrs import define, field, frozen

from noinfra.app.access import PERMISSIONS, Access, permissions_named
from noinfra.app.directory import Directory
from noinfra.app.homes import Homes
from noinfra.app.ids import new_id
from noinfra.app.listing import Listing, cursor_key, listing
from noinfra.app.requests import CreateKey, KeyById, ListKeys
from noinfra.errors import Forbidden, NotFound, Unauthenticated
from noinfra.model import Key
from noinfra.store.database import Database
from noinfra.store.events import Events
from noinfra.store.failures import ForeignKeyViolation
from noinfra.store.keys import Keys as KeyTable
from noinfra.store.tenants import Deployments

PREFIX = "nim_live_"
_KNOWN_FOR = 30.0
_UNKNOWN_FOR = 1.0
_MOST = 50_000


@frozen(kw_only=True)
class NewKey:
    """A key, and its secret, which is shown this once."""

    key: Key
    secret: str = field(repr=False)


@define
class Keys:
    """The use cases of keys.

    A key that was found is believed for half a minute; its end is told to every process
    by NOTIFY, and takes effect at once.
    """

    database: Database
    directory: Directory
    clock: Callable[[], float] = time.monotonic
    _memory: dict[bytes, tuple[float, Access | None]] = field(factory=dict)
    # Grows with each change: an answer that was on its way meanwhile may be old.
    _changes: int = 0

    async def authenticate(self, secret: str) -> Access:
        """Whose key it is.

        :raises Unauthenticated: nobody's, or it was revoked.
        """
        hashed = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        now = self.clock()
        known = self._memory.get(hashed)
        if known is None or known[0] <= now:
            changes = self._changes
            key = await KeyTable(self.database.single(None)).use(hashed)
            access = _access(key) if key else None
            known = now + (_KNOWN_FOR if access else _UNKNOWN_FOR), access
            if changes == self._changes:
                if len(self._memory) >= _MOST:
                    self._memory.clear()
                self._memory[hashed] = known
        if known[1] is None:
            raise Unauthenticated(
                "The key is not known or was revoked; make one with "
                "`noinfra key create` or POST /v1/api-keys."
            )
        return known[1]

    def forget(self) -> None:
        """Some key has changed: ask anew for each."""
        self._changes += 1
        self._memory.clear()

    async def create(self, access: Access, request: CreateKey) -> NewKey:
        """Make a key that may no more than its maker, within its maker's bounds."""
        wanted = permissions_named(request.permissions, request.preset)
        if not wanted <= access.permissions:
            excess = sorted(wanted - access.permissions)
            raise Forbidden(
                f"The key cannot give what it does not hold: {', '.join(excess)}."
            )
        customer_id, deployment_id, inbox_id = await self._bounds(access, request)
        return await self.make(
            name=request.name,
            customer_id=customer_id,
            deployment_id=deployment_id,
            inbox_id=inbox_id,
            permissions=wanted,
        )

    async def make(
        self,
        *,
        name: str,
        customer_id: str | None,
        deployment_id: str | None = None,
        inbox_id: str | None = None,
        permissions: frozenset[str] = PERMISSIONS,
    ) -> NewKey:
        """Make a key, whoever asks: for the operator at the shell."""
        secret = new_secret()
        try:
            async with self.database.system() as tx:
                key = await KeyTable(tx).add(
                    key_id=new_id("key_"),
                    customer_id=customer_id,
                    deployment_id=deployment_id,
                    inbox_id=inbox_id,
                    name=name,
                    prefix=secret[: len(PREFIX) + 4],
                    sha256=hashlib.sha256(secret.encode()).digest(),
                    permissions=sorted(permissions),
                )
                if customer_id is not None:
                    await Events(tx).add(
                        "key.created",
                        customer_id=customer_id,
                        deployment_id=deployment_id,
                        inbox_id=inbox_id,
                        data={"keyId": key.key_id, "name": name},
                    )
        except ForeignKeyViolation as error:
            raise NotFound(f"There is no customer {customer_id}.") from error
        return NewKey(key=key, secret=secret)

    async def ensure_root(self, secret: str) -> None:
        """Have a root key with this secret, unless it was revoked."""
        async with self.database.system() as tx:
            await KeyTable(tx).ensure_root(
                key_id=new_id("key_"),
                name="root",
                prefix=secret[: len(PREFIX) + 4],
                sha256=hashlib.sha256(secret.encode()).digest(),
                permissions=sorted(PERMISSIONS),
            )

    async def list(self, access: Access, request: ListKeys) -> Listing[Key]:
        """The keys within the caller's bounds, newest first, revoked ones too."""
        found = await KeyTable(self.database.single(access.customer_id)).page(
            access.filter_customer(request.customer_id),
            access.deployment_id,
            access.inbox_id,
            cursor_key(request.cursor, "key_"),
            request.limit + 1,
        )
        return listing(found, request.limit, lambda key: key.key_id)

    async def get(self, access: Access, request: KeyById) -> Key:
        """One key."""
        key = await KeyTable(self.database.single(access.customer_id)).get(
            request.key_id
        )
        return _within(access, key, request.key_id)

    async def revoke(self, access: Access, request: KeyById) -> None:
        """End a key, at once and for good."""
        await self.get(access, request)
        async with self.database.system() as tx:
            key = await KeyTable(tx).revoke(request.key_id)
            if key is not None and key.customer_id is not None:
                await Events(tx).add(
                    "key.revoked",
                    customer_id=key.customer_id,
                    deployment_id=key.deployment_id,
                    inbox_id=key.inbox_id,
                    data={"keyId": key.key_id, "name": key.name},
                )
        self.forget()

    async def _bounds(
        self, access: Access, request: CreateKey
    ) -> tuple[str | None, str | None, str | None]:
        """Customer, deployment and inbox of a new key: never wider than the maker's."""
        customer_id = access.filter_customer(request.customer_id)
        deployment_id = request.deployment_id or access.deployment_id
        inbox_id = request.inbox_id or access.inbox_id
        if inbox_id is not None:
            home = await Homes(self.directory).of(access, inbox_id)
            if customer_id not in (None, home.customer_id) or (
                deployment_id not in (None, home.deployment_id)
            ):
                raise NotFound(f"There is no inbox {inbox_id}.")
            customer_id, inbox_id = home.customer_id, home.inbox_id
        if deployment_id is not None:
            deployment = await Deployments(self.database.single(customer_id)).get(
                deployment_id
            )
            if deployment is None:
                raise NotFound(f"There is no deployment {deployment_id}.")
            customer_id = deployment.customer_id
        access.confine(deployment_id=deployment_id, inbox_id=inbox_id)
        return customer_id, deployment_id, inbox_id


def new_secret() -> str:
    """The value of a new key: 256 bits of chance."""
    return PREFIX + secrets.token_urlsafe(32)


def _access(key: Key) -> Access:
    return Access(
        key_id=key.key_id,
        customer_id=key.customer_id,
        deployment_id=key.deployment_id,
        inbox_id=key.inbox_id,
        permissions=frozenset(key.permissions),
    )


def _within(access: Access, key: Key | None, key_id: str) -> Key:
    outside = key is None or (
        (access.customer_id is not None and key.customer_id != access.customer_id)
        or (
            access.deployment_id is not None
            and key.deployment_id != access.deployment_id
        )
        or (access.inbox_id is not None and key.inbox_id != access.inbox_id)
    )
    if key is None or outside:
        raise NotFound(f"There is no key {key_id}.")
    return key
