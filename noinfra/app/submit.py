"""Mail that a mail program wrote, by SMTP submission (RFC 6409): checked, and released.

An address is an inbox's own when mail to it comes to the inbox: its address, its
subaddresses, and the names that lead to it. Only such may stand in MAIL, in From and in
Sender.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from attrs import define, frozen
from twisted.internet.threads import deferToThread

from noinfra.app.content import LARGE
from noinfra.app.directory import Directory, Home
from noinfra.app.ids import new_id
from noinfra.app.mailbox_access import Identity, Logins
from noinfra.app.release import (
    Addressee,
    Outbound,
    Release,
    Reports,
    require_active,
)
from noinfra.errors import (
    BadContent,
    Forbidden,
    Invalid,
    NoSuchInbox,
    Unauthenticated,
)
from noinfra.mail.address import parse_path, parse_reverse_path
from noinfra.mail.compose import new_message_id
from noinfra.mail.mailbox import Address, AddressError, Mailbox
from noinfra.mail.submission import Submitted, Unfit, submitted
from noinfra.mail.trace import received
from noinfra.model import Forward, Receipt, Transaction

PERMISSION = "messages:send"


@define
class Submit:
    """The use case of SMTP submission."""

    logins: Logins
    directory: Directory
    release: Release
    hostname: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def log_in(self, address: str, secret: str) -> Sender:
        """Who logs in.

        :raises Unauthenticated: the secret is none of the address.
        :raises Forbidden: it is, but gives no right to send.
        """
        return Sender(self, await self.logins.login(address, secret, PERMISSION))

    async def owns(self, home: Home, address: Address) -> bool:
        """Whether mail to the address comes to the inbox."""
        try:
            if address.canonical == home.address:
                return True
            if not self.directory.is_ours(address):
                return False
            found = await self.directory.mailbox(address)
        except AddressError:
            return False
        return found is not None and found[0].inbox_id == home.inbox_id

    async def recipient(self, path: str) -> Address:
        """The address of a forward-path.

        What nobody can deliver is refused now, and need not come back (RFC 6409, 6.1).

        :raises NoSuchInbox: it is in a domain of ours, and nobody has it.
        :raises Invalid: it is no address.
        """
        # RFC 5321, 4.5.1: postmaster needs no domain.
        if path.lower() == "postmaster":
            path = self.directory.postmaster
        try:
            address = parse_path(path)
        except AddressError as error:
            raise Invalid(f"The forward-path cannot be read: {error}.") from error
        if self.directory.is_ours(address):
            found = await self.directory.mailbox(address)
            if found is None or found[0].archived:
                raise NoSuchInbox(f"No inbox {address}.")
        return address


@frozen
class Sender:
    """Somebody who has logged in to an inbox, for as long as the secret is good."""

    _by: Submit
    _identity: Identity

    async def begin(self, transaction: Transaction) -> None:
        """Pass, or refuse the reverse-path.

        :raises Unauthenticated: the secret has ended since the login.
        :raises InboxSuspended: the inbox sends nothing now.
        :raises Forbidden: the reverse-path is another's, or null.
        """
        home = await self._home()
        try:
            reverse_path = parse_reverse_path(transaction.mail_from)
        except AddressError as error:
            raise Invalid(f"The reverse-path cannot be read: {error}.") from error
        if reverse_path is None:
            raise Forbidden(f"Send as {home.address}; <> is for servers.")
        await self._require_own(home, reverse_path)

    async def accept(self, transaction: Transaction, forward: Forward) -> None:
        """Pass, or refuse a forward-path.

        :raises NoSuchInbox: nobody has the address.
        :raises Invalid: it is no address.
        """
        await self._by.recipient(forward.path)

    async def submit(self, transaction: Transaction, octets: bytes) -> Receipt:
        """Send a mail, as it is but for a few fields of its header.

        :raises BadContent: its header is not sound.
        :raises Forbidden: it says that somebody else wrote or sent it.
        """
        home = await self._home()
        message_id = new_id("msg_")
        ready = await self._ready(home, octets)
        for address in (*ready.authors, *ready.sender):
            await self._require_own(home, address)
        addressees = await self._addressees(transaction)
        named = {_key(one) for one in ready.recipients}
        await self._by.release.release(
            self._identity.access,
            home,
            Outbound(
                message_id=message_id,
                octets=self._trace(transaction, addressees, message_id) + ready.octets,
                domain=ready.authors[0].ascii_domain,
                mail_from=transaction.mail_from,
                recipients=addressees,
                bcc=[
                    Mailbox(name="", address=one.address)
                    for one in addressees
                    if _key(one.address) not in named
                ],
                reports=Reports(ret=transaction.ret, envid=transaction.envid),
            ),
        )
        return Receipt(queue_id=message_id, message_ids=(message_id,))

    async def _home(self) -> Home:
        """The inbox as it is now, if the login still holds, and it may send."""
        home = await self._by.directory.find(self._identity.home.inbox_id)
        if home is None or not await self._by.logins.still_good(self._identity):
            raise Unauthenticated(
                "The key was revoked, or the password changed, since you logged in; "
                "log in with another."
            )
        require_active(home)
        return home

    async def _require_own(self, home: Home, address: Address) -> None:
        if not await self._by.owns(home, address):
            raise Forbidden(
                f"{address} is not yours; send as {home.address} or as a subaddress "
                f"of it, such as {_subaddress(home)}."
            )

    async def _ready(self, home: Home, octets: bytes) -> Submitted:
        prepare = partial(
            submitted,
            octets,
            date=self._by.now(),
            message_id=new_message_id(home.domain, os.urandom(16)),
        )
        try:
            if len(octets) < LARGE:
                return prepare()
            return await deferToThread(prepare)
        except Unfit as error:
            raise BadContent(str(error)) from error

    async def _addressees(self, transaction: Transaction) -> list[Addressee]:
        """Each recipient once, however its domain is spelled."""
        each: dict[tuple[str, str], Addressee] = {}
        for forward in transaction.rcpt_to:
            address = await self._by.recipient(forward.path)
            addressee = Addressee(
                address=address, notify=forward.notify, orcpt=forward.orcpt
            )
            each.setdefault((address.local, address.ascii_domain), addressee)
        return list(each.values())

    def _trace(
        self, transaction: Transaction, addressees: list[Addressee], message_id: str
    ) -> bytes:
        client = transaction.client
        return received(
            helo=client.helo,
            peer=client.address,
            peer_name=None,
            by=self._by.hostname,
            protocol=client.protocol,
            session_id=message_id,
            recipient=addressees[0].address if len(addressees) == 1 else None,
            date=self._by.now(),
            tls=client.tls,
        )


def _subaddress(home: Home) -> str:
    name, _, domain = home.address.rpartition("@")
    return f"{name}+news@{domain}"


def _key(address: Address) -> str:
    """What two spellings of one address share, if it has a domain at all."""
    try:
        return address.canonical
    except AddressError:
        return str(address)
