"""Whether the server works."""

from __future__ import annotations

from attrs import frozen

from noinfra.store.database import Database


@frozen(kw_only=True)
class Healthy:
    """It does; ``status`` and ``database`` say ok."""

    status: str
    database: str
    version: str


@frozen
class Health:
    """The use case of whoever watches the server."""

    database: Database
    version: str

    async def check(self) -> Healthy:
        """Ask the database.

        :raises TemporaryFailure: it does not answer.
        """
        await self.database.single(None).value("select 1")
        return Healthy(status="ok", database="ok", version=self.version)
