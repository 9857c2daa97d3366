r"""Mail that a mail client puts into a folder (RFC 3501, 6.3.11).

It goes the way of all mail, but that it is no arrival: message.appended tells of it, so
that nobody who waits for mail answers what was brought along from elsewhere. What comes
into Drafts is a draft. A copy of what we have just sent for the client, put into Sent,
is the message that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import define, frozen

from noinfra.app.content import Derived, derive
from noinfra.app.filer import Filer
from noinfra.app.ids import new_id
from noinfra.app.mailbox_access import Identity
from noinfra.app.mailbox_marks import split
from noinfra.app.mailbox_names import canonical, no_folder
from noinfra.app.receive import announcement
from noinfra.mail.imap_keywords import UNREAD
from noinfra.mail.mailbox import Address, AddressError
from noinfra.store.database import Database
from noinfra.store.filing import Filing
from noinfra.store.mailbox_messages import MailboxMessages
from noinfra.store.mailboxes import Folder, Folders


@frozen(kw_only=True)
class Appended:
    """A message to be put into a folder, with flags as the client wrote them."""

    octets: bytes
    flags: Sequence[str] = ()
    internaldate: datetime | None = None


@frozen(kw_only=True)
class AppendResult:
    """Where they are (RFC 4315, APPENDUID), in the order in which they were given."""

    uidvalidity: int
    uids: list[int]


@define
class Appending:
    """The use case of APPEND."""

    database: Database
    filer: Filer
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def append(
        self, identity: Identity, name: str, messages: Sequence[Appended]
    ) -> AppendResult:
        """File all of them, or none (RFC 3502).

        :raises NotFound: there is no such folder.
        """
        identity.require_writing()
        home = identity.home
        on = Folders(self.database.single(home.customer_id))
        folder = await on.named(home.inbox_id, canonical(name))
        if folder is None:
            raise no_folder(name)
        derived = [await derive(one.octets) for one in messages]
        known = [await self._known(identity, folder, one) for one in derived]
        filings = [
            self._filing(identity, folder, message, one)
            for message, one, uid in zip(messages, derived, known, strict=True)
            if uid is None
        ]
        filed = iter(await self.filer.file(filings) if filings else ())
        return AppendResult(
            uidvalidity=folder.uidvalidity,
            uids=[next(filed).uid if uid is None else uid for uid in known],
        )

    async def _known(
        self, identity: Identity, folder: Folder, derived: Derived
    ) -> int | None:
        """The UID of the very message, if we have sent it of late."""
        if folder.name != "Sent" or derived.rfc_message_id is None:
            return None
        home = identity.home
        on = MailboxMessages(self.database.single(home.customer_id))
        return await on.sent_before(
            home.inbox_id, folder.folder_id, derived.rfc_message_id
        )

    def _filing(
        self,
        identity: Identity,
        folder: Folder,
        message: Appended,
        derived: Derived,
    ) -> Filing:
        home, at = identity.home, self.now()
        seen, labels, flags = split(message.flags)
        draft = folder.name == "Drafts"
        authors = [_canonical(one.address) for one in derived.message.from_]
        own = draft or folder.name == "Sent" or home.address in authors
        # What we neither received nor sent is the client's word, and has no deliveries.
        state = "draft" if draft else "stored" if own else "received"
        given = {*labels, *([] if seen else [UNREAD]), *([] if own else ["received"])}
        message_id = new_id("msg_")
        return Filing(
            message_id=message_id,
            customer_id=home.customer_id,
            deployment_id=home.deployment_id,
            agent_id=home.agent_id,
            inbox_id=home.inbox_id,
            folder_id=folder.folder_id,
            thread_id=new_id("thr_"),
            content=derived.content,
            direction="outbound" if own else "inbound",
            state=state,
            labels=sorted(given),
            flags=flags,
            mail_from=authors[0] if authors else "",
            rcpt_to=None,
            tag=None,
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
            received_at=message.internaldate or at,
            key_id=identity.credential_id,
            receipt=None,
            event_type="draft.created" if draft else "message.appended",
            event_data=announcement(message_id, home.address, derived, at),
        )


def _canonical(address: Address) -> str:
    """For look-up; what is no address that mail could go to ("root") is as written."""
    try:
        return address.canonical
    except AddressError:
        return str(address)
