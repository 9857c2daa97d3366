"""What is done now and then: what nobody needs any more is swept up."""

from __future__ import annotations

from attrs import frozen
from twisted.logger import Logger

from noinfra.errors import TemporaryFailure
from noinfra.store.contents import Contents
from noinfra.store.database import Database
from noinfra.store.failures import ForeignKeyViolation
from noinfra.store.idempotency import Idempotencies
from noinfra.store.mailboxes import Folders


@frozen
class Upkeep:
    """The sweeper. Several at once, in several processes, do no harm."""

    _log = Logger()

    database: Database

    async def run(self) -> None:
        """Sweep once; what fails is left to the next time."""
        on = self.database.single(None)
        try:
            await Contents(on).sweep_spool()
            await Idempotencies(on).sweep()
            await Folders(on).forget()
            while await Contents(on).sweep():
                self._log.debug("looked at contents that were noted as unused")
        except ForeignKeyViolation:
            self._log.info("a content was taken into use again; next time")
        except TemporaryFailure as failure:
            self._log.warn("upkeep was put off: {why}", why=failure.text)
