"""Delivery status notifications for mail that came by SMTP submission (RFC 3461)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from attrs import frozen
from twisted.logger import Logger

from noinfra.app.receive import Receive
from noinfra.errors import Refusal, TemporaryFailure
from noinfra.mail.address import parse_path
from noinfra.mail.compose import new_message_id
from noinfra.mail.dsn import (
    Action,
    Notification,
    Recipient,
    compose_dsn,
    xtext_decode,
)
from noinfra.mail.mailbox import Mailbox
from noinfra.mail.mime import parse
from noinfra.mail.trace import header_end
from noinfra.model import Client, Forward, Transaction
from noinfra.store.contents import Contents
from noinfra.store.database import Database
from noinfra.store.queue import Claimed, Queue, Settlement

# Of the original at most this much is returned; what is cut is the body's end.
_RETURNED = 512 * 1024
# When a delay is worth telling of, which is done once.
_LATE = timedelta(hours=4)


@frozen
class Notifier:
    """Tells a sender, by mail to its own inbox, what became of what it submitted."""

    _log = Logger()

    database: Database
    receive: Receive
    postmaster: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def report(self, settlement: Settlement, *, passed_on: bool = False) -> None:
        """File a notification, where one is wanted.

        Before the settlement is written: a crash between tells twice, never not at all.

        :param passed_on: the next server was told what to report, and will.
        :raises TemporaryFailure: it cannot be filed now.
        """
        claimed = settlement.claimed
        if not claimed.wants_dsn or not claimed.mail_from:
            return
        action = self._action(settlement)
        if action is None or (action == "relayed" and passed_on):
            return
        if action == "delayed" and await self._has_told(claimed):
            return
        octets = await Contents(self.database.single(None)).slice(
            claimed.content_id, 0, _RETURNED
        )
        try:
            await self.receive.receive(
                Transaction(
                    client=Client(
                        address="127.0.0.1",
                        helo=self.receive.hostname,
                        protocol="ESMTP",
                    ),
                    mail_from="",
                    rcpt_to=(Forward(path=claimed.mail_from),),
                ),
                compose_dsn(self._notification(settlement, action, octets)),
            )
        except TemporaryFailure:
            raise
        except Refusal as refusal:
            # The inbox has gone since: there is nobody to tell.
            self._log.info(
                "no notification to {inbox}: {why}",
                inbox=claimed.mail_from,
                why=refusal.text,
            )

    def _action(self, settlement: Settlement) -> Action | None:
        """What is to be told, if the sender asked to hear of it (RFC 3461, 4.1)."""
        claimed = settlement.claimed
        asked = (claimed.notify or "FAILURE").upper().split(",")
        if settlement.status == "failed" and "FAILURE" in asked:
            return "failed"
        if settlement.status == "delivered" and "SUCCESS" in asked:
            # RFC 3464, 2.3.3: what another server took is delivered once it says so.
            return "relayed" if settlement.attempts[-1].remote_address else "delivered"
        if settlement.status == "deferred" and "DELAY" in asked:
            return "delayed" if self.now() - claimed.created_at >= _LATE else None
        return None

    async def _has_told(self, claimed: Claimed) -> bool:
        """Whether an earlier attempt came late enough to be told of."""
        tried = await Queue(self.database.single(None)).last_tried(claimed.delivery_id)
        return tried is not None and tried - claimed.created_at >= _LATE

    def _notification(
        self, settlement: Settlement, action: Action, octets: bytes
    ) -> Notification:
        claimed = settlement.claimed
        domain = self.postmaster.rpartition("@")[2]
        last = settlement.attempts[-1]
        reply = f"{last.code} {last.response}" if last.code else last.response
        return Notification(
            from_=Mailbox(
                name="Mail Delivery System", address=parse_path(self.postmaster)
            ),
            to=parse_path(claimed.mail_from),
            message_id=new_message_id(domain, os.urandom(16)),
            date=self.now(),
            reporting_mta=self.receive.hostname,
            recipients=[
                Recipient(
                    address=parse_path(claimed.rcpt_to),
                    action=action,
                    status=_status(settlement),
                    original_recipient=_original(claimed.orcpt),
                    remote_mta=last.remote_host,
                    diagnostic=reply,
                    last_attempt=last.finished_at,
                    will_retry_until=claimed.expires_at
                    if action == "delayed"
                    else None,
                )
            ],
            original=octets,
            original_id=parse(octets[: header_end(octets)]).message_id,
            full=(claimed.ret or "").upper() == "FULL" and claimed.size <= _RETURNED,
            envelope_id=_decoded(claimed.envid),
            arrival_date=claimed.created_at,
        )


def _status(settlement: Settlement) -> str:
    """RFC 3463: of the last reply, where it agrees with what became of the mail."""
    said = settlement.attempts[-1].enhanced or ""
    kind = {"failed": "5", "delivered": "2"}.get(settlement.status, "4")
    if said.startswith(kind):
        return said
    # Temporary troubles, for as long as we try: delivery time expired.
    return "4.4.7" if kind == "5" and said.startswith("4") else f"{kind}.0.0"


def _original(orcpt: str | None) -> str | None:
    kind, separator, address = (orcpt or "").partition(";")
    decoded = _decoded(address)
    return f"{kind};{decoded}" if separator and decoded else None


def _decoded(xtext: str | None) -> str | None:
    if not xtext:
        return None
    try:
        return xtext_decode(xtext)
    except ValueError:
        return None
