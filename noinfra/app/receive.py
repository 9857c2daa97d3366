"""Mail that comes in: for whom we take it, and what happens before we answer for it.

The answer is given when the mail is stored, threaded and announced, on disk. A failure
of ours is a `TemporaryFailure`, and the peer keeps the mail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from attrs import define, frozen
from twisted.internet.threads import deferToThread

from noinfra.app.content import LARGE, Derived, derive
from noinfra.app.directory import ROLE_NAMES, Directory, Home
from noinfra.app.filer import Filer
from noinfra.app.ids import new_id
from noinfra.app.times import spell_time
from noinfra.errors import (
    InboxSuspended,
    Invalid,
    MailLoop,
    NoSuchInbox,
    NotFound,
    RelayDenied,
    TemporaryFailure,
)
from noinfra.mail.address import parse_path, parse_reverse_path
from noinfra.mail.mailbox import Address, AddressError
from noinfra.mail.trace import count_received, received, return_path
from noinfra.model import Forward, Receipt, Transaction
from noinfra.store.failures import Unstorable
from noinfra.store.filing import Filed, Filing


@frozen
class _Target:
    """An inbox that gets a copy, and how it was addressed."""

    home: Home
    address: Address
    tag: str | None

    @property
    def suspended(self) -> bool:
        """It takes no mail now; those who run the server take theirs always."""
        role = self.address.base.local.lower() in ROLE_NAMES
        return self.home.suspended and not role


@define
class Receive:
    """The use case of the edge, and of whatever else delivers to an inbox of ours."""

    directory: Directory
    filer: Filer
    hostname: str
    hops: int
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def accepts(self, transaction: Transaction, forward: Forward) -> None:
        """Pass, or refuse a forward-path (RFC 5321, 3.3).

        :raises RelayDenied: it is in no domain of ours.
        :raises NoSuchInbox: it is, but nobody has the address.
        :raises InboxSuspended: somebody has it, but takes no mail now.
        """
        target = await self._target(forward)
        if target.suspended:
            raise _suspended(target)

    async def receive(
        self, transaction: Transaction, octets: bytes, mark: bytes | None = None
    ) -> Receipt:
        """File a mail in the inboxes of its forward-paths, and answer for it.

        :param mark: what tells that this is the same mail, should it come again.
        :raises MailLoop: it has passed too many servers.
        :raises Refusal: as `accepts`, where an inbox went since.
        """
        if count_received(octets) >= self.hops:
            raise MailLoop(
                f"The mail has passed {self.hops} servers: it goes round in a loop. "
                "Look for a forward that leads back."
            )
        queue_id = new_id("")
        at = self.now()
        if len(octets) < LARGE:
            receipts = _Receipts(transaction.mail_from, octets, mark)
        else:
            receipts = await deferToThread(
                _Receipts, transaction.mail_from, octets, mark
            )
        try:
            filed = await self._file(transaction, octets, receipts, queue_id, at)
        except NotFound:
            # An inbox went between our look and the filing: the others are to have it.
            self.directory.forget("")
            filed = await self._file(transaction, octets, receipts, queue_id, at)
        return Receipt(
            queue_id=queue_id, message_ids=tuple(one.message_id for one in filed)
        )

    async def _file(
        self,
        transaction: Transaction,
        octets: bytes,
        receipts: _Receipts,
        queue_id: str,
        at: datetime,
    ) -> list[Filed]:
        targets = await self._targets(transaction)
        header = self._trace(transaction, targets, queue_id, at)
        derived = await derive(header + octets)
        filings = [
            self._filing(target, transaction, derived, at, receipts)
            for target in targets
        ]
        try:
            return await self.filer.file(filings)
        except Unstorable as error:
            # What is derived is to be storable: a bug of ours, and no fault of theirs.
            raise TemporaryFailure("The mail could not be stored.") from error

    async def _target(self, forward: Forward) -> _Target:
        address = self._address(forward.path)
        if not self.directory.is_ours(address):
            raise RelayDenied(
                f"{address} is in no domain of ours, and we relay for nobody. "
                "Send it to the servers of its domain."
            )
        found = await self.directory.mailbox(address)
        if found is None or found[0].archived:
            raise NoSuchInbox(f"No inbox {address}.")
        return _Target(found[0], address, found[1])

    def _address(self, path: str) -> Address:
        # RFC 5321, 4.5.1: postmaster needs no domain.
        if path.lower() == "postmaster":
            path = self.directory.postmaster
        try:
            return parse_path(path)
        except AddressError as error:
            raise Invalid(f"The forward-path cannot be read: {error}.") from error

    async def _targets(self, transaction: Transaction) -> list[_Target]:
        """Each inbox once for each tag.

        An inbox that went since is passed over, unless it was the only one. One that
        was suspended since gets the mail all the same, unless all were: we said that we
        would take it, and the peer would not try again for one of several.
        """
        targets: dict[tuple[str, str | None], _Target] = {}
        refusal: Exception = NoSuchInbox("The mail has no recipient.")
        for forward in transaction.rcpt_to:
            try:
                target = await self._target(forward)
            except NoSuchInbox as error:
                refusal = error
            else:
                targets.setdefault((target.home.inbox_id, target.tag), target)
        found = list(targets.values())
        if not found:
            raise refusal
        if all(target.suspended for target in found):
            raise _suspended(found[0])
        return found

    def _trace(
        self,
        transaction: Transaction,
        targets: list[_Target],
        queue_id: str,
        at: datetime,
    ) -> bytes:
        client = transaction.client
        try:
            reverse_path = parse_reverse_path(transaction.mail_from)
        except AddressError as error:
            raise Invalid(f"The reverse-path cannot be read: {error}.") from error
        return return_path(reverse_path) + received(
            helo=client.helo,
            peer=client.address,
            peer_name=None,
            by=self.hostname,
            protocol=client.protocol,
            session_id=queue_id,
            recipient=targets[0].address if len(targets) == 1 else None,
            date=at,
            tls=client.tls,
        )

    def _filing(
        self,
        target: _Target,
        transaction: Transaction,
        derived: Derived,
        at: datetime,
        receipts: _Receipts,
    ) -> Filing:
        home = target.home
        message_id = new_id("msg_")
        folder_id = home.folders.get("INBOX")
        if folder_id is None:
            raise TemporaryFailure(f"The inbox {home.address} is not ready yet.")
        return Filing(
            message_id=message_id,
            customer_id=home.customer_id,
            deployment_id=home.deployment_id,
            agent_id=home.agent_id,
            inbox_id=home.inbox_id,
            folder_id=folder_id,
            thread_id=new_id("thr_"),
            content=derived.content,
            direction="inbound",
            state="received",
            labels=("received", "unread"),
            mail_from=transaction.mail_from,
            rcpt_to=str(target.address),
            tag=target.tag,
            rfc_message_id=derived.rfc_message_id,
            in_reply_to=derived.in_reply_to,
            reference_ids=derived.reference_ids,
            ancestors=derived.ancestors,
            subject=derived.subject,
            from_=derived.from_,
            to_=derived.to_,
            cc=derived.cc,
            bcc="[]",
            reply_to=derived.reply_to,
            preview=derived.preview,
            attachments=derived.attachments,
            size=derived.content.size,
            sent_at=derived.sent_at,
            received_at=at,
            key_id=None,
            receipt=receipts.of(target.address) if receipts.known else None,
            event_type="message.received",
            event_data=announcement(message_id, home.address, derived, at),
        )


class _Receipts:
    """Recognises a mail that a queueing server sends again because our 250 was lost.

    Such a server has written its own Received field with a queue id and a time, so the
    very same octets from the same reverse-path to the same address are one mail. What
    comes straight from a client has no such mark, and is always taken.
    """

    def __init__(self, mail_from: str, octets: bytes, mark: bytes | None) -> None:
        self.known = mark is not None or count_received(octets) > 0
        self._hash = hashlib.sha256(mail_from.encode("utf-8", "replace") + b"\0")
        if self.known:
            self._hash.update(octets if mark is None else mark)

    def of(self, address: Address) -> bytes:
        """What stands for the mail at this address."""
        own = self._hash.copy()
        own.update(b"\0" + str(address).encode("utf-8", "replace"))
        return own.digest()[:16]


def _suspended(target: _Target) -> InboxSuspended:
    return InboxSuspended(f"The inbox {target.address} takes no mail now; try later.")


class Announced(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What an event tells of a message, for a reader to decide without fetching it."""

    id: str
    thread_id: str
    inbox: str
    message_id: str | None
    from_: msgspec.Raw = msgspec.field(name="from")
    to: msgspec.Raw
    cc: msgspec.Raw
    subject: str
    preview: str
    attachments: msgspec.Raw
    size: int
    created_at: str


def announcement(
    message_id: str, inbox: str, derived: Derived, at: datetime
) -> Callable[[str], str]:
    """What makes an event's data, once the thread is known."""

    def data(thread_id: str) -> str:
        announced = Announced(
            id=message_id,
            thread_id=thread_id,
            inbox=inbox,
            message_id=derived.rfc_message_id,
            from_=msgspec.Raw(derived.from_.encode()),
            to=msgspec.Raw(derived.to_.encode()),
            cc=msgspec.Raw(derived.cc.encode()),
            subject=derived.subject,
            preview=derived.preview,
            attachments=msgspec.Raw(derived.attachments.encode()),
            size=derived.content.size,
            created_at=spell_time(at),
        )
        return msgspec.json.encode({"message": announced}).decode()

    return data
