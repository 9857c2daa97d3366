"""The use cases on a database of their own, for the tests of the app."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from noinfra.app.access import PERMISSIONS, Access
from noinfra.app.agents import Agents
from noinfra.app.directory import Directory, Home
from noinfra.app.events import EventLog
from noinfra.app.filer import Filer
from noinfra.app.homes import Homes
from noinfra.app.inboxes import Inboxes
from noinfra.app.keys import Keys
from noinfra.app.letters import Letter, Letters
from noinfra.app.messages import Messages
from noinfra.app.passwords import Passwords
from noinfra.app.receive import Receive
from noinfra.app.release import Release
from noinfra.app.requests import (
    CreateCustomer,
    CreateInbox,
    ListDeployments,
    ListMessages,
    MessageById,
)
from noinfra.app.seal import Seal
from noinfra.app.send import Send
from noinfra.app.signing import Signing
from noinfra.app.tenants import Tenants
from noinfra.app.threads import Threads
from noinfra.mail.dkim import dns_record, generate_ed25519, generate_rsa
from noinfra.model import Client, Forward, Inbox, Message, Receipt, Transaction
from noinfra.store.keys import DkimKey, DkimKeys
from noinfra.store.listener import Listener
from tests.postgres import DatabaseTest, reactor

DOMAIN = "noinfra.example"
ROOT = Access(
    key_id="key_root",
    customer_id=None,
    deployment_id=None,
    inbox_id=None,
    permissions=PERMISSIONS,
)
SEAL = Seal(b"k" * 32)
_numbers = count(1)


@cache
def _dkim_keys() -> list[DkimKey]:
    """Made once: an RSA key takes a while."""
    return [
        DkimKey(
            domain=DOMAIN,
            selector=key.selector,
            algorithm=key.algorithm,
            sealed=SEAL.close(key.private_pem.encode(), "DKIM key"),
            record=dns_record(key),
        )
        for key in (generate_rsa(f"r{SEAL.name}"), generate_ed25519(f"e{SEAL.name}"))
    ]


class AppTest(DatabaseTest):
    """Two customers with an inbox each, and what one can ask."""

    timeout = 60

    async def setUp(self) -> None:
        await super().setUp()
        self.directory = Directory(
            database=self.database,
            domains=frozenset((DOMAIN,)),
            postmaster=f"postmaster@{DOMAIN}",
        )
        homes, letters = Homes(self.directory), Letters(self.database)
        self.filer = Filer(self.database)
        self.keys = Keys(self.database, self.directory)
        self.tenants = Tenants(self.database, self.directory)
        self.inboxes = Inboxes(
            self.database, self.directory, homes, DOMAIN, Passwords(self.database)
        )
        self.agents = Agents(self.database, self.inboxes)
        self.messages = Messages(self.database, homes, letters)
        self.threads = Threads(self.database, homes)
        self.log = EventLog(self.database, homes, reactor())
        self.addCleanup(self.log.stop)
        self.signing = Signing(self.database, SEAL)
        for key in _dkim_keys():
            await DkimKeys(self.database.single(None)).add(key)
        self.sending = Send(
            database=self.database,
            homes=homes,
            letters=letters,
            release=Release(
                filer=self.filer, signing=self.signing, lifetime=timedelta(days=5)
            ),
            size_limit=2_000_000,
        )
        self.receiving = Receive(
            directory=self.directory,
            filer=self.filer,
            hostname=f"mail.{DOMAIN}",
            hops=30,
        )
        self.ours = await self.customer("ours")
        self.theirs = await self.customer("theirs")
        self.agent = await self.inbox(self.ours, "agent")
        self.other = await self.inbox(self.theirs, "other")

    async def customer(self, name: str) -> Access:
        """A customer, as a key of it that may do everything."""
        made = await self.tenants.create_customer(ROOT, CreateCustomer(name=name))
        return Access(
            key_id=f"key_{name}",
            customer_id=made.customer_id,
            deployment_id=None,
            inbox_id=None,
            permissions=PERMISSIONS,
        )

    async def deployment_of(self, access: Access) -> str:
        """The customer's first deployment."""
        found = await self.tenants.list_deployments(access, ListDeployments())
        return found.items[-1].deployment_id

    async def inbox(self, access: Access, username: str, **more: Any) -> Inbox:
        """An inbox of the customer."""
        request = CreateInbox(username=username, **more)
        return (await self.inboxes.create(access, request)).inbox

    async def home(self, inbox: Inbox) -> Home:
        """As mail is routed to it."""
        found = await self.directory.find(inbox.inbox_id)
        assert found is not None
        return found

    async def receive(
        self,
        octets: bytes,
        *rcpt_to: str,
        mail_from: str = "ada@example.com",
        helo: str = "mx.example.com",
    ) -> Receipt:
        """Mail that comes in, by default for the agent."""
        return await self.receiving.receive(
            transaction(
                *(rcpt_to or (self.agent.address,)), mail_from=mail_from, helo=helo
            ),
            octets,
        )

    async def received(self, octets: bytes, *rcpt_to: str, **more: str) -> Message:
        """The first message that it became, in the agent's inbox."""
        receipt = await self.receive(octets, *rcpt_to, **more)
        return (await self.letter(receipt.message_ids[0])).message

    async def letter(self, message_id: str) -> Letter:
        """A message, wherever it is."""
        (inbox_id,) = (
            await self.rows(
                "select inbox_id from message where message_id = %(id)s", id=message_id
            )
        )[0]
        request = MessageById(inbox_id=str(inbox_id), message_id=message_id)
        return await self.messages.get(ROOT, request)

    async def octets(self, message_id: str) -> bytes:
        """The octets as they are stored."""
        found: bytes = await self.database.single(None).value(
            "select octets from content join message using (content_id)"
            " where message_id = %(id)s",
            id=message_id,
        )
        return found

    async def listed(self, inbox: Inbox, **conditions: Any) -> list[Message]:
        """The inbox's messages, oldest first."""
        request = ListMessages(
            inbox_id=inbox.inbox_id, ascending=True, limit=100, **conditions
        )
        return (await self.messages.list(ROOT, request)).items

    async def rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        """What the system sees."""
        return await self.database.single(None).rows(sql, **parameters)

    async def value(self, sql: str, **parameters: object) -> Any:
        """The first column of the first row that the system sees."""
        return await self.database.single(None).value(sql, **parameters)

    async def listen(self, channels: dict[str, Callable[[str], object]]) -> Listener:
        """Hear notifications, as the daemon does."""

        def heard(channel: str, payload: str) -> None:
            channels[channel](payload)

        listener = Listener(reactor(), self.dsn, channels, heard, self.log.missed)
        self.addCleanup(listener.stop)
        await listener.start()
        return listener


def transaction(
    *rcpt_to: str, mail_from: str = "ada@example.com", helo: str = "mx.example.com"
) -> Transaction:
    """A mail transaction up to its data."""
    return Transaction(
        client=Client(address="192.0.2.1", helo=helo, protocol="ESMTP"),
        mail_from=mail_from,
        rcpt_to=tuple(Forward(path=path) for path in rcpt_to),
    )


def mail(
    subject: str = "Hello",
    *,
    message_id: str | None = None,
    header: str = "",
    body: str = "Hello.\r\n",
    from_: str = "Ada <ada@example.com>",
    to: str = f"agent@{DOMAIN}",
) -> bytes:
    """A mail as it comes; ``header`` is of whole lines."""
    message_id = message_id or f"{next(_numbers)}@example.com"
    return (
        f"From: {from_}\r\nTo: {to}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{message_id}>\r\n{header}\r\n{body}"
    ).encode()


def header_of(octets: bytes, name: str) -> str | None:
    """The unfolded value of a field, if the header has it."""
    head = octets.partition(b"\r\n\r\n")[0].decode()
    unfolded = re.sub(r"\r\n(?=[ \t])", "", head)
    for line in unfolded.split("\r\n"):
        if line.lower().startswith(f"{name.lower()}:"):
            return line.partition(":")[2].strip()
    return None


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that the reactor is to bring about."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await deferLater(reactor(), 0.01)
    raise AssertionError("it did not come about")


def started(coroutine: Any) -> Deferred[Any]:
    """Run it beside."""
    return Deferred.fromCoroutine(coroutine)


NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
