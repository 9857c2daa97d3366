"""Requests that may come twice: what the first one sent."""

from __future__ import annotations

from attrs import frozen

from noinfra.store.database import Statements


@frozen(kw_only=True)
class Used:
    """What a key was used for."""

    request: bytes
    message_id: str


class Idempotencies:
    """The table idempotency; `noinfra.store.inserting` writes it with the message."""

    def __init__(self, on: Statements) -> None:
        self._on = on

    async def find(
        self, customer_id: str, scope: str, idempotency_key: str
    ) -> Used | None:
        """What the key was used for within the last day."""
        return await self._on.maybe(
            Used,
            """
            select request, message_id from idempotency
            where customer_id = %(customer_id)s and scope = %(scope)s
            and idempotency_key = %(idempotency_key)s
            """,
            customer_id=customer_id,
            scope=scope,
            idempotency_key=idempotency_key,
        )

    async def sweep(self) -> int:
        """Forget keys of more than a day ago."""
        return await self._on.statement(
            "delete from idempotency where created_at < now() - interval '1 day'"
        )
