"""The mail log of the edge: every event that it knows, and nothing else.

Addresses are logged, content never. A line begins with the peer; the fields of an event
are there by name for observers that want them.
"""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.errors import Refusal
from noinfra.model import Client, Receipt, Transaction


class MailLog:
    """One method an event, for one connection."""

    _log = Logger(namespace="noinfra.smtp")

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def connected(self) -> None:
        """A client is there."""
        self._log.debug("{peer} connected", peer=self._peer)

    def disconnected(self, reason: str) -> None:
        """The connection ended."""
        self._log.debug("{peer} disconnected: {reason}", peer=self._peer, reason=reason)

    def turned_away(self, refusal: Refusal) -> None:
        """A client was refused before it could say anything."""
        self._log.info(
            "{peer} turned away: {smtp} {text}",
            peer=self._peer,
            smtp=refusal.smtp,
            text=refusal.text,
        )

    def secured(self, tls: str) -> None:
        """TLS is on."""
        self._log.debug("{peer} uses {tls}", peer=self._peer, tls=tls)

    def not_secured(self, reason: str) -> None:
        """The TLS handshake did not come to its end."""
        self._log.info(
            "{peer} failed in the TLS handshake: {reason}",
            peer=self._peer,
            reason=reason,
        )

    def refused(
        self, verb: str, refusal: Refusal, transaction: Transaction | None
    ) -> None:
        """A command was refused, or the data after it."""
        self._log.info(
            "{peer} {verb} refused: {smtp} {text} (from <{mail_from}>)",
            peer=self._peer,
            verb=verb,
            smtp=refusal.smtp,
            text=refusal.text,
            mail_from=transaction.mail_from if transaction else "",
        )

    def closing(self, refusal: Refusal, transaction: Transaction | None) -> None:
        """We end the connection, and say why."""
        self._log.info(
            "{peer} sent away: {smtp} {text} (from <{mail_from}>)",
            peer=self._peer,
            smtp=refusal.smtp,
            text=refusal.text,
            mail_from=transaction.mail_from if transaction else "",
        )

    def received(self, transaction: Transaction, receipt: Receipt, size: int) -> None:
        """A mail is stored."""
        client: Client = transaction.client
        self._log.info(
            "{peer} {queue_id} received from <{mail_from}> to {rcpt_to},"
            " {size} octets by {protocol}",
            peer=self._peer,
            queue_id=receipt.queue_id,
            mail_from=transaction.mail_from,
            rcpt_to=[forward.path for forward in transaction.rcpt_to],
            size=size,
            protocol=client.protocol,
            helo=client.helo,
            tls=client.tls,
            message_ids=receipt.message_ids,
        )

    def unheard(self, receipt: Receipt) -> None:
        """A mail is stored, but the client left before our reply; it may come twice."""
        self._log.warn(
            "{peer} left before it heard that {queue_id} is stored",
            peer=self._peer,
            queue_id=receipt.queue_id,
        )

    def failed(self, verb: str, incident: str, failure: Failure) -> None:
        """A bug of ours; the client was told the incident."""
        self._log.failure(
            "{peer} {verb} failed, incident {incident}",
            failure=failure,
            peer=self._peer,
            verb=verb,
            incident=incident,
        )
