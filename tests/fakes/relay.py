"""A Relay that keeps what it is given."""

from collections.abc import Mapping
from datetime import UTC, datetime

from attrs import field, frozen

from noinfra.boundaries import Attempt, Envelope, Outcome, Relay

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@frozen(kw_only=True)
class Sent:
    """One call of deliver, with the octets that it would have carried."""

    domain: str
    envelope: Envelope
    octets: bytes


@frozen(kw_only=True)
class MemoryRelay:
    """Delivers to everyone but those for whom replies has a code and a text.

    :ivar replies: by recipient, such as `"550 5.1.1 Nobody here."`; a text without a
        code stands for a connection that failed.
    """

    replies: Mapping[str, str] = field(factory=dict)
    sent: list[Sent] = field(factory=list)

    async def deliver(self, domain: str, envelope: Envelope) -> tuple[Outcome, ...]:
        self.sent.append(
            Sent(domain=domain, envelope=envelope, octets=await _whole(envelope))
        )
        return tuple(self._outcome(domain, r.address) for r in envelope.rcpt_to)

    def _outcome(self, domain: str, rcpt_to: str) -> Outcome:
        reply = self.replies.get(rcpt_to, "250 2.0.0 Taken.")
        words = reply.split(" ", 2)
        said = words[0].isdecimal()
        kind = reply[0] if said else "4"
        attempt = Attempt(
            remote_host=f"mx.{domain}",
            remote_address="192.0.2.25",
            code=int(words[0]) if said else None,
            enhanced=words[1] if said else "4.4.2",
            text=words[2] if said else reply,
            tls=None,
            started_at=EPOCH,
            finished_at=EPOCH,
        )
        return Outcome(
            rcpt_to=rcpt_to,
            status="delivered"
            if kind == "2"
            else "failed"
            if kind == "5"
            else "deferred",
            attempts=(attempt,),
        )


async def _whole(envelope: Envelope) -> bytes:
    if isinstance(envelope.octets, bytes):
        return envelope.octets
    return b"".join([piece async for piece in envelope.octets.pieces()])


_relay: type[Relay] = MemoryRelay
