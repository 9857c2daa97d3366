"""Mail from one of our inboxes to another: the same receiving, without a socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import frozen

from noinfra.app.receive import Receive
from noinfra.boundaries import Attempt, Octets, Outcome, Status
from noinfra.errors import Refusal
from noinfra.model import Client, Forward, Transaction
from noinfra.store.queue import Claimed


@frozen
class LocalDelivery:
    """Hands parcels whose destination is ours to `Receive`."""

    receive: Receive
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def deliver(
        self, claimed: Sequence[Claimed], source: Octets | bytes
    ) -> list[Outcome]:
        """One outcome a recipient; a refusal is the reply that SMTP would give."""
        octets = source if isinstance(source, bytes) else await _whole(source)
        return [await self._deliver(one, octets) for one in claimed]

    async def _deliver(self, claimed: Claimed, octets: bytes) -> Outcome:
        started = self.now()
        forward = Forward(path=claimed.rcpt_to)
        transaction = Transaction(
            client=Client(
                address="127.0.0.1", helo=self.receive.hostname, protocol="ESMTP"
            ),
            mail_from=claimed.mail_from,
            rcpt_to=(forward,),
        )
        status: Status = "delivered"
        reply, text = "250 2.0.0", "Delivered here."
        try:
            await self.receive.accepts(transaction, forward)
            # After a crash the same delivery comes again, and finds its mail filed.
            mark = claimed.delivery_id.encode()
            await self.receive.receive(transaction, octets, mark)
        except Refusal as refusal:
            reply, text = refusal.smtp, refusal.text
            status = "failed" if reply.startswith("5") else "deferred"
        code, _, enhanced = reply.partition(" ")
        attempt = Attempt(
            remote_host=self.receive.hostname,
            remote_address="",
            code=int(code),
            enhanced=enhanced,
            text=text,
            tls=None,
            started_at=started,
            finished_at=self.now(),
        )
        return Outcome(rcpt_to=claimed.rcpt_to, status=status, attempts=(attempt,))


async def _whole(source: Octets) -> bytes:
    return b"".join([piece async for piece in source.pieces()])
