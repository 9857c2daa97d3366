"""What SMTP submission asks of the use case behind it."""

from __future__ import annotations

from typing import Protocol

from noinfra.model import Forward, Receipt, Transaction


class Submitter(Protocol):
    """Somebody who has logged in, and sends."""

    async def begin(self, transaction: Transaction) -> None:
        """Whether the mail may have this sender; returning means yes.

        :raises Unauthenticated: the login holds no longer.
        :raises Refusal: no, and why.
        """

    async def accept(self, transaction: Transaction, forward: Forward) -> None:
        """Whether the mail may be for this recipient, too; returning means yes.

        :raises Refusal: no, and why.
        """

    async def submit(self, transaction: Transaction, octets: bytes) -> Receipt:
        """Send the mail to all recipients; it is on disk once this returns.

        :param octets: as `noinfra.fronts.smtp.receiving` has them.
        :returns: the receipt, whose queue_id is the message's own id.
        :raises Refusal: it is sent to none of them.
        """


class Submitting(Protocol):
    """Knows who may submit."""

    async def log_in(self, address: str, secret: str) -> Submitter:
        """Who it is.

        :raises Unauthenticated: the secret is none of the address.
        :raises Forbidden: it is, but gives no right to send.
        """
