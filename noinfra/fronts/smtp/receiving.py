"""What the SMTP edge asks of the use case behind it."""

from __future__ import annotations

from typing import Protocol

from noinfra.model import Forward, Receipt, Transaction


class Receiving(Protocol):
    """Decides on recipients, and answers for mail."""

    async def accepts(self, transaction: Transaction, forward: Forward) -> None:
        """Whether the mail may be for this recipient, too; returning means yes.

        :param transaction: as far as it goes, with the recipients accepted so far.
        :raises Refusal: no, and why.
        """

    async def receive(self, transaction: Transaction, octets: bytes) -> Receipt:
        """Take the mail for all recipients; it is on disk once this returns.

        :param octets: the data with CRLF line ends, without dots of transparency and
            without trace fields. It may hold NUL, and may not end with CRLF.
        :raises Refusal: it was taken for none of them.
        """
