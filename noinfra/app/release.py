"""Mail that leaves: signed, and filed in Sent with a delivery a recipient.

What is stored is what is sent. All ways of sending come through `Release.release`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from attrs import define, frozen

from noinfra.app.access import Access
from noinfra.app.content import derive, json_of
from noinfra.app.directory import Home
from noinfra.app.filer import Filer
from noinfra.app.ids import new_id
from noinfra.app.receive import announcement
from noinfra.app.signing import Signing
from noinfra.errors import InboxSuspended
from noinfra.mail.mailbox import Address, Mailbox
from noinfra.store.filing import Filing, Idempotency, NewDelivery


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


@define
class Release:
    """The last step of every way to send."""

    filer: Filer
    signing: Signing
    lifetime: timedelta
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def release(self, access: Access, home: Home, outbound: Outbound) -> None:
        """Sign the mail, and put it on its way; it is on disk once this returns.

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
        await self.filer.file([filing])

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
