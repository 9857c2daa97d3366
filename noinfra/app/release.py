"""Mail that leaves: signed, and filed in Sent with a delivery a recipient.

What is stored is what is sent. All ways of sending come through `Release.release`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from attrs import define, evolve, frozen

from noinfra.app.access import Access
from noinfra.app.content import derive, json_of
from noinfra.app.directory import Home
from noinfra.app.filer import Filer
from noinfra.app.ids import new_id
from noinfra.app.receive import announcement
from noinfra.app.signing import Signing
from noinfra.errors import InboxSuspended
from noinfra.mail.mailbox import Address, Mailbox
from noinfra.model import Message
from noinfra.store.filing import Filed, Filing, Idempotency, Lease, NewDelivery
from noinfra.store.queue import Claimed


@frozen(kw_only=True)
class Addressee:
    """Who gets a copy, and what the sender wants to hear of it (RFC 3461, 4)."""

    address: Address
    notify: str | None = None
    orcpt: str | None = None


@frozen(kw_only=True)
class Reports:
    """That the sender wants to hear by mail what becomes of it, and how (RFC 3461)."""

    ret: str | None
    envid: str | None


@frozen(kw_only=True)
class Outbound:
    """A mail that is ready but for its signature; its From is in ``domain``.

    ``bcc`` are the recipients that the header does not name. ``ancestors`` are the mail
    that it follows, where its header cannot say so: other software's identifiers need
    not be fit for one. Without ``reports`` the sender hears by events alone.
    """

    message_id: str
    octets: bytes
    domain: str
    mail_from: str
    recipients: Sequence[Addressee]
    bcc: Sequence[Mailbox]
    labels: Sequence[str] = ()
    ancestors: Sequence[str] | None = None
    reports: Reports | None = None
    idempotency: Idempotency | None = None


def require_active(home: Home) -> None:
    """Pass, or refuse.

    :raises InboxSuspended: the inbox sends nothing now.
    """
    if home.suspended or home.archived:
        raise InboxSuspended(
            f"The inbox {home.address} sends nothing now; set it active first."
        )


class Carrier(Protocol):
    """Who may carry mail at once, so that it need not go through the queue."""

    def expect(self, size: int, coming: Mapping[str, str]) -> Lease | None:
        """The lease of these deliveries, by destination, if it takes them at once."""

    def carry(self, claimed: Sequence[Claimed], octets: bytes) -> None:
        """Carry what was expected."""

    def forget(self, delivery_ids: Sequence[str]) -> None:
        """What was expected does not come."""


@define
class Release:
    """The last step of every way to send."""

    filer: Filer
    signing: Signing
    lifetime: timedelta
    carrier: Carrier | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def release(self, access: Access, home: Home, outbound: Outbound) -> Message:
        """Sign the mail, and put it on its way; it is on disk once this returns.

        :returns: the message as it was filed.
        :raises UniqueViolation: its Idempotency-Key is taken.
        """
        at = self.now()
        octets = await self.signing.sign(outbound.octets, outbound.domain)
        derived = await derive(octets)
        filing = Filing(
            message_id=outbound.message_id,
            customer_id=home.customer_id,
            deployment_id=home.deployment_id,
            agent_id=home.agent_id,
            inbox_id=home.inbox_id,
            folder_id=home.folders["Sent"],
            thread_id=new_id("thr_"),
            content=derived.content,
            direction="outbound",
            state="queued",
            labels=sorted({"sent", *outbound.labels}),
            mail_from=outbound.mail_from,
            rcpt_to=None,
            tag=None,
            rfc_message_id=derived.rfc_message_id,
            in_reply_to=derived.in_reply_to,
            reference_ids=derived.reference_ids,
            ancestors=(
                derived.ancestors if outbound.ancestors is None else outbound.ancestors
            ),
            subject=derived.subject,
            from_=derived.from_,
            to_=derived.to_,
            cc=derived.cc,
            bcc=json_of(outbound.bcc),
            reply_to=derived.reply_to,
            preview=derived.preview,
            attachments=derived.attachments,
            size=derived.content.size,
            sent_at=derived.sent_at,
            received_at=at,
            key_id=access.key_id,
            receipt=None,
            event_type="message.queued",
            event_data=announcement(outbound.message_id, home.address, derived, at),
            deliveries=[
                self._delivery(outbound, one, at) for one in outbound.recipients
            ],
            idempotency=outbound.idempotency,
        )
        filed = await self._file(filing, octets)
        return _message(filing, filed)

    async def _file(self, filing: Filing, octets: bytes) -> Filed:
        """File it, for who carries it at once or for the queue."""
        coming = {one.delivery_id: one.destination for one in filing.deliveries}
        carrier = self.carrier
        lease = carrier.expect(len(octets), coming) if carrier else None
        if carrier is None or lease is None:
            (filed,) = await self.filer.file([filing])
            return filed
        deliveries = [evolve(one, lease=lease) for one in filing.deliveries]
        try:
            (filed,) = await self.filer.file([evolve(filing, deliveries=deliveries)])
        except BaseException:
            carrier.forget(list(coming))
            raise
        carrier.carry(
            [_claimed(filing, filed, one) for one in filing.deliveries], octets
        )
        return filed

    def _delivery(
        self, outbound: Outbound, addressee: Addressee, at: datetime
    ) -> NewDelivery:
        reports = outbound.reports
        return NewDelivery(
            delivery_id=new_id("dlv_"),
            mail_from=outbound.mail_from,
            rcpt_to=str(addressee.address),
            destination=addressee.address.ascii_domain,
            due_at=at,
            expires_at=at + self.lifetime,
            wants_dsn=reports is not None,
            notify=addressee.notify,
            orcpt=addressee.orcpt,
            ret=reports.ret if reports else None,
            envid=reports.envid if reports else None,
        )


def _message(filing: Filing, filed: Filed) -> Message:
    """The row, as reading it back would show it."""
    return Message(
        message_id=filing.message_id,
        customer_id=filing.customer_id,
        inbox_id=filing.inbox_id,
        folder="Sent",
        uid=filed.uid,
        modseq=filed.modseq,
        thread_id=filed.thread_id,
        content_id=filed.content_id,
        direction=filing.direction,
        state=filing.state,
        labels=list(filing.labels),
        mail_from=filing.mail_from,
        rcpt_to=filing.rcpt_to,
        tag=filing.tag,
        rfc_message_id=filing.rfc_message_id,
        in_reply_to=filing.in_reply_to,
        reference_ids=list(filing.reference_ids),
        subject=filing.subject,
        from_=filing.from_,
        to_=filing.to_,
        cc=filing.cc,
        bcc=filing.bcc,
        reply_to=filing.reply_to,
        preview=filing.preview,
        attachments=filing.attachments,
        size=filing.size,
        sent_at=filing.sent_at,
        received_at=filing.received_at,
        updated_at=filing.received_at,
        key_id=filing.key_id,
    )


def _claimed(filing: Filing, filed: Filed, delivery: NewDelivery) -> Claimed:
    """The row, as claiming it would show it."""
    return Claimed(
        delivery_id=delivery.delivery_id,
        customer_id=filing.customer_id,
        inbox_id=filing.inbox_id,
        message_id=filing.message_id,
        content_id=filed.content_id,
        size=filing.size,
        mail_from=delivery.mail_from,
        rcpt_to=delivery.rcpt_to,
        destination=delivery.destination,
        ill=False,
        attempts=0,
        created_at=delivery.due_at,
        expires_at=delivery.expires_at,
        wants_dsn=delivery.wants_dsn,
        notify=delivery.notify,
        orcpt=delivery.orcpt,
        ret=delivery.ret,
        envid=delivery.envid,
    )
