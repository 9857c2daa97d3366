"""Delivery status notifications for mail that came by SMTP submission (RFC 3461)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import frozen
from twisted.logger import Logger

from noinfra.app.receive import Receive
from noinfra.errors import Refusal
from noinfra.mail.address import parse_path
from noinfra.mail.compose import new_message_id
from noinfra.mail.dsn import Notification, Recipient, compose_dsn, xtext_decode
from noinfra.mail.mailbox import Mailbox
from noinfra.model import Client, Forward, Transaction
from noinfra.store.contents import Contents
from noinfra.store.database import Database
from noinfra.store.queue import Settlement

# Of the original at most this much is returned; what is cut is the body's end.
_RETURNED = 512 * 1024


@frozen
class Notifier:
    """Tells a sender, by mail to its own inbox, what became of what it submitted."""

    _log = Logger()

    database: Database
    receive: Receive
    postmaster: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def report(self, settlement: Settlement) -> None:
        """File a notification, where one is wanted.

        Before the settlement is written: a crash between tells twice, never not at all.
        """
        claimed = settlement.claimed
        if not claimed.wants_dsn or not claimed.mail_from:
            return
        asked = (claimed.notify or "FAILURE").upper().split(",")
        wanted = {"failed": "FAILURE", "delivered": "SUCCESS"}.get(settlement.status)
        if wanted is None or wanted not in asked:
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
                compose_dsn(self._notification(settlement, octets)),
            )
        except Refusal as refusal:
            # The inbox has gone since: there is nobody to tell.
            self._log.info(
                "no notification to {inbox}: {why}",
                inbox=claimed.mail_from,
                why=refusal.text,
            )

    def _notification(self, settlement: Settlement, octets: bytes) -> Notification:
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
                    action="failed" if settlement.status == "failed" else "delivered",
                    status=last.enhanced or "5.0.0",
                    original_recipient=_original(claimed.orcpt),
                    remote_mta=last.remote_host,
                    diagnostic=reply,
                    last_attempt=last.finished_at,
                )
            ],
            original=octets,
            original_id=None,
            full=(claimed.ret or "").upper() == "FULL" and claimed.size <= _RETURNED,
            envelope_id=_decoded(claimed.envid),
            arrival_date=claimed.created_at,
        )


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
