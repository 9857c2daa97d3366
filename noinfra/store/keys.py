"""API keys, by their hash; and the sealed keys that mail is signed with."""

from __future__ import annotations

from attrs import frozen

from noinfra.model import Key
from noinfra.store.database import Statements


@frozen(kw_only=True)
class DkimKey:
    """A signing key of a domain (RFC 6376); the private half is sealed."""

    domain: str
    selector: str
    algorithm: str
    sealed: bytes
    record: str


class Keys:
    """The table key."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def add(
        self,
        *,
        key_id: str,
        customer_id: str | None,
        deployment_id: str | None,
        inbox_id: str | None,
        name: str,
        prefix: str,
        sha256: bytes,
        permissions: list[str],
    ) -> Key:
        """A new key, by the hash of its secret."""
        return await self._on.one(
            Key,
            """
            insert into key (key_id, customer_id, deployment_id, inbox_id, name, prefix,
                sha256, permissions)
            values (%(key_id)s, %(customer_id)s, %(deployment_id)s, %(inbox_id)s,
                %(name)s, %(prefix)s, %(sha256)s, %(permissions)s)
            returning key_id, customer_id, deployment_id, inbox_id, name, prefix,
                permissions, created_at, last_used_at, revoked_at
            """,
            key_id=key_id,
            customer_id=customer_id,
            deployment_id=deployment_id,
            inbox_id=inbox_id,
            name=name,
            prefix=prefix,
            sha256=sha256,
            permissions=permissions,
        )

    async def use(self, sha256: bytes) -> Key | None:
        """The live key of this hash; notes, to the minute, that it was used."""
        return await self._on.maybe(
            Key,
            """
            with used as (
                update key set last_used_at = now()
                where sha256 = %(sha256)s and revoked_at is null
                and (last_used_at is null or last_used_at < now() - interval '1 minute')
            )
            select key_id, customer_id, deployment_id, inbox_id, name, prefix,
                permissions, created_at, last_used_at, revoked_at
            from key where sha256 = %(sha256)s and revoked_at is null
            """,
            sha256=sha256,
        )

    async def get(self, key_id: str) -> Key | None:
        """By id, revoked or not."""
        return await self._on.maybe(
            Key,
            """
            select key_id, customer_id, deployment_id, inbox_id, name, prefix,
                permissions, created_at, last_used_at, revoked_at
            from key where key_id = %(key_id)s
            """,
            key_id=key_id,
        )

    async def ended(self, key_ids: list[str]) -> list[str]:
        """Which of these are no longer good: revoked, or gone."""
        rows = await self._on.rows(
            """
            select key_id from unnest(%(key_ids)s::text[]) as asked (key_id)
            where not exists (
                select 1 from key
                where key.key_id = asked.key_id and revoked_at is null
            )
            """,
            key_ids=key_ids,
        )
        return [row[0] for row in rows]

    async def page(
        self,
        customer_id: str | None,
        deployment_id: str | None,
        inbox_id: str | None,
        before: str | None,
        limit: int,
    ) -> list[Key]:
        """The newest first; with a customer, not the root keys."""
        return await self._on.many(
            Key,
            """
            select key_id, customer_id, deployment_id, inbox_id, name, prefix,
                permissions, created_at, last_used_at, revoked_at
            from key
            where (%(customer_id)s::text is null or customer_id = %(customer_id)s)
            and (%(deployment_id)s::text is null or deployment_id = %(deployment_id)s)
            and (%(inbox_id)s::text is null or inbox_id = %(inbox_id)s)
            and (%(before)s::text is null or key_id < %(before)s)
            order by key_id desc limit %(limit)s
            """,
            customer_id=customer_id,
            deployment_id=deployment_id,
            inbox_id=inbox_id,
            before=before,
            limit=limit,
        )

    async def revoke(self, key_id: str) -> Key | None:
        """At once and everywhere; a second time changes nothing."""
        return await self._on.maybe(
            Key,
            """
            with told as (select pg_notify('noinfra_key', %(key_id)s))
            update key set revoked_at = coalesce(revoked_at, now())
            from told where key_id = %(key_id)s
            returning key_id, customer_id, deployment_id, inbox_id, name, prefix,
                permissions, created_at, last_used_at, revoked_at
            """,
            key_id=key_id,
        )

    async def ensure_root(
        self,
        *,
        key_id: str,
        name: str,
        prefix: str,
        sha256: bytes,
        permissions: list[str],
    ) -> None:
        """A root key of this hash, with all permissions that there are by now."""
        await self._on.statement(
            """
            insert into key (key_id, name, prefix, sha256, permissions)
            values (%(key_id)s, %(name)s, %(prefix)s, %(sha256)s, %(permissions)s)
            on conflict (sha256) do update set permissions = excluded.permissions
            """,
            key_id=key_id,
            name=name,
            prefix=prefix,
            sha256=sha256,
            permissions=permissions,
        )


class DkimKeys:
    """The table dkim_key, for the system only."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def of(self, domain: str) -> list[DkimKey]:
        """The keys of a domain, those of other seals included."""
        return await self._on.many(
            DkimKey,
            """
            select domain, selector, algorithm, sealed, record from dkim_key
            where domain = %(domain)s order by algorithm desc, selector
            """,
            domain=domain,
        )

    async def add(self, key: DkimKey) -> None:
        """The first to come decides; another process may make the same key."""
        await self._on.statement(
            """
            insert into dkim_key (domain, selector, algorithm, sealed, record)
            values (%(domain)s, %(selector)s, %(algorithm)s, %(sealed)s, %(record)s)
            on conflict do nothing
            """,
            domain=key.domain,
            selector=key.selector,
            algorithm=key.algorithm,
            sealed=key.sealed,
            record=key.record,
        )
