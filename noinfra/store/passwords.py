"""The passwords of inboxes, as hashes."""

from __future__ import annotations

from attrs import field, frozen

from noinfra.store.database import Statements


@frozen(kw_only=True)
class StoredPassword:
    """What a secret is checked against."""

    password_id: str
    hash: str = field(repr=False)


class Passwords:
    """The table inbox_password."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def get(self, inbox_id: str) -> StoredPassword | None:
        """That of an inbox."""
        return await self._on.maybe(
            StoredPassword,
            """
            select password_id, hash from inbox_password
            where inbox_id = %(inbox_id)s
            """,
            inbox_id=inbox_id,
        )

    async def put(
        self, inbox_id: str, customer_id: str, password_id: str, hash: str
    ) -> bool:
        """In the place of the one before; False: the inbox is gone."""
        return bool(
            await self._on.statement(
                """
                insert into inbox_password (inbox_id, customer_id, password_id, hash)
                select inbox_id, customer_id, %(password_id)s, %(hash)s from inbox
                where inbox_id = %(inbox_id)s and customer_id = %(customer_id)s
                on conflict (inbox_id) do update set
                    password_id = excluded.password_id, hash = excluded.hash,
                    created_at = now()
                """,
                inbox_id=inbox_id,
                customer_id=customer_id,
                password_id=password_id,
                hash=hash,
            )
        )

    async def remove(self, inbox_id: str) -> str | None:
        """The id of the one that was there."""
        rows = await self._on.rows(
            """
            delete from inbox_password where inbox_id = %(inbox_id)s
            returning password_id
            """,
            inbox_id=inbox_id,
        )
        return rows[0][0] if rows else None

    async def tell(self, password_id: str) -> None:
        """Have every process end what a password that is gone had opened."""
        await self._on.statement(
            "select pg_notify('noinfra_key', %(password_id)s)", password_id=password_id
        )
