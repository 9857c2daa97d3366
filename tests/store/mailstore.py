"""Inboxes with mail in them, for the tests of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
from attrs import evolve, frozen

from noinfra.mail.thread import ancestry
from noinfra.store.filing import Filed, Filing, NewContent, NewDelivery
from noinfra.store.inboxes import Inboxes
from noinfra.store.placing import file
from noinfra.store.tenants import Customers, Deployments
from tests.postgres import DatabaseTest

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
_numbers = count(1)


@frozen(kw_only=True)
class Born:
    """An inbox, and where its folders are."""

    inbox_id: str
    customer_id: str
    deployment_id: str
    address: str
    folders: dict[str, int]


def new_content(octets: bytes) -> NewContent:
    """What is stored of these octets."""
    return NewContent(
        sha256=hashlib.sha256(octets).digest(),
        size=len(octets),
        octets=octets,
        parts="[]",
        envelope=b"()",
        bodystructure=b"()",
        text=octets.decode("latin-1").replace("\0", ""),
        html=None,
        extracted_text=None,
        extracted_html=None,
        words="words",
    )


def filing(
    born: Born,
    rfc_message_id: str | None = None,
    *,
    references: Sequence[str] = (),
    folder: str = "INBOX",
    octets: bytes | None = None,
    labels: Sequence[str] = ("received", "unread"),
    receipt: bytes | None = None,
    subject: str = "Hello",
    to: Sequence[str] = (),
    deliveries: Sequence[NewDelivery] = (),
) -> Filing:
    """A message for a folder; ``to`` makes it one that leaves for these addresses."""
    number = next(_numbers)
    message_id = f"msg_{number:08}"
    made = [
        NewDelivery(
            delivery_id=f"dlv_{number:08}_{n}",
            mail_from=born.address,
            rcpt_to=address,
            destination=address.rpartition("@")[2],
            due_at=NOON,
            expires_at=NOON + timedelta(days=5),
        )
        for n, address in enumerate(to)
    ]
    return Filing(
        message_id=message_id,
        customer_id=born.customer_id,
        deployment_id=born.deployment_id,
        agent_id=None,
        inbox_id=born.inbox_id,
        folder_id=born.folders[folder],
        thread_id=f"thr_{number:08}",
        content=new_content(octets or f"Subject: {number}\r\n\r\n".encode()),
        direction="outbound" if made or deliveries else "inbound",
        state="queued" if made or deliveries else "received",
        labels=labels,
        mail_from="ada@example.com",
        rcpt_to=born.address,
        tag=None,
        rfc_message_id=rfc_message_id,
        in_reply_to=references[-1] if references else None,
        reference_ids=references,
        ancestors=ancestry(rfc_message_id or "", references[-1:], references),
        subject=subject,
        from_='["Ada <ada@example.com>"]',
        to_=f'["{born.address}"]',
        cc="[]",
        bcc="[]",
        reply_to="[]",
        preview="Hello",
        attachments="[]",
        size=10,
        sent_at=NOON,
        received_at=NOON,
        key_id=None,
        receipt=receipt,
        event_type="message.received",
        event_data=lambda thread_id: f'{{"threadId": "{thread_id}"}}',
        deliveries=[*made, *deliveries],
    )


def for_same_message(one: Filing, other: Filing) -> Filing:
    """The other, of the content of the one."""
    return evolve(other, content=one.content)


class MailStoreTest(DatabaseTest):
    """A database with a customer or two."""

    async def setUp(self) -> None:
        await super().setUp()
        self.one = await self.inbox("cus_1", "one@noinfra.example")

    async def inbox(self, customer_id: str, address: str) -> Born:
        """A new inbox, with a customer and a deployment where they are missing."""
        deployment_id = f"dep_{customer_id}"
        async with self.database.system() as tx:
            if await Customers(tx).get(customer_id) is None:
                await Customers(tx).add(customer_id, customer_id, {})
                await Deployments(tx).add(deployment_id, customer_id, "d", None, {})
            inbox_id = f"inb_{next(_numbers):08}"
            inbox = await Inboxes(tx).add(
                inbox_id, customer_id, deployment_id, None, address, None, None, {}
            )
            assert inbox is not None
            await Inboxes(tx).add_folders(inbox)
            place = await Inboxes(tx).place(inbox_id)
        assert place is not None
        return Born(
            inbox_id=inbox_id,
            customer_id=customer_id,
            deployment_id=deployment_id,
            address=address,
            folders=msgspec.json.decode(place.folders, type=dict[str, int]),
        )

    async def file(self, *filings: Filing) -> list[Filed]:
        """File in one transaction."""
        async with self.database.system() as tx:
            return await file(tx, filings)

    async def rows(self, sql: str, **parameters: object) -> list[tuple[object, ...]]:
        """What the system sees."""
        return await self.database.single(None).rows(sql, **parameters)

    async def value(self, sql: str, **parameters: object) -> object:
        """The first column of the first row that the system sees."""
        found: object = await self.database.single(None).value(sql, **parameters)
        return found

    async def threads(self) -> list[set[str]]:
        """The Message-IDs of each thread, as the messages say and the counts agree."""
        threads: dict[str, set[str]] = {}
        for thread_id, own in await self.database.single(None).rows(
            "select thread_id, rfc_message_id from message order by message_id"
        ):
            threads.setdefault(thread_id, set()).add(own)
        counted = await self.rows(
            """
            select thread_id, message_count::int, last_message_id, (
                select max(message_id) from message
                where message.thread_id = thread.thread_id
            ) from thread
            """
        )
        for thread_id, n, last, newest in counted:
            self.assertEqual(len(threads[str(thread_id)]), n)
            self.assertEqual(last, newest)
        self.assertEqual(len(counted), len(threads))
        return sorted(threads.values(), key=min)
