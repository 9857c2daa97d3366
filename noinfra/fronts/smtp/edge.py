"""The SMTP server for our own domains (RFC 5321).

conversation   one command at a time          parameters   arguments → values
session        what the commands mean         reply        refusals → octets
reader         octets → lines, data, chunks   receiving    the use case behind it
intake         line ends, size → spool
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noinfra.fronts.smtp.refusals import NotOffered
from noinfra.fronts.smtp.session import SENDER_OK, Session
from noinfra.model import Forward, Receipt, Transaction

if TYPE_CHECKING:
    from noinfra.fronts.smtp.factory import EdgeFactory


class Edge(Session):
    """One connection."""

    taken = "Stored"

    def __init__(self, server: EdgeFactory, address: str) -> None:
        super().__init__(server, address)
        self._receiving = server.receiving
        self._bare_lf = server.settings.bare_lf

    def do_AUTH(self, rest: bytes) -> bytes:
        """RFC 4954 is for submission."""
        raise NotOffered("AUTH is not offered here; this port takes mail for its own.")

    def do_MAIL(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.2."""
        self._transaction = self._begun(rest)
        return SENDER_OK

    async def _accept(self, transaction: Transaction, forward: Forward) -> None:
        await self._receiving.accepts(transaction, forward)

    async def _take(self, transaction: Transaction, octets: bytes) -> Receipt:
        return await self._receiving.receive(transaction, octets)
