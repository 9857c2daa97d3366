"""Who comes with a mail client: an address, and a key or the inbox's own password."""

from __future__ import annotations

from attrs import frozen

from noinfra.app.access import PRESETS, Access
from noinfra.app.directory import Home
from noinfra.app.homes import Homes
from noinfra.app.keys import PREFIX
from noinfra.app.keys import Keys as AppKeys
from noinfra.app.passwords import Passwords
from noinfra.errors import Forbidden, NotFound, Unauthenticated
from noinfra.store.database import Database
from noinfra.store.keys import Keys

# What the inbox's password gives: all that a person does with a mailbox.
_BY_PASSWORD = PRESETS["runtime"]


@frozen(kw_only=True)
class Identity:
    """An inbox opened by somebody; ``access.key_id`` names the key or the password."""

    home: Home
    access: Access

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed."""
        return "messages:update" not in self.access.permissions

    @property
    def can_delete(self) -> bool:
        """Whether mail may be expunged."""
        return "messages:delete" in self.access.permissions

    @property
    def can_send(self) -> bool:
        """Whether mail may be submitted."""
        return "messages:send" in self.access.permissions

    @property
    def credential_id(self) -> str:
        """The key or the password that opened it."""
        return self.access.key_id

    def require_writing(self) -> None:
        """Pass, or refuse.

        :raises Forbidden: nothing may be changed.
        """
        if self.read_only:
            raise Forbidden(
                "The key lacks the permission messages:update: all is read-only."
            )

    def require_deleting(self) -> None:
        """Pass, or refuse.

        :raises Forbidden: nothing may be deleted.
        """
        self.require_writing()
        if not self.can_delete:
            raise Forbidden("The key lacks the permission messages:delete.")


@frozen
class Logins:
    """The use case of LOGIN and AUTH, in IMAP and in submission."""

    database: Database
    keys: AppKeys
    homes: Homes
    passwords: Passwords

    async def login(
        self, address: str, secret: str, permission: str = "messages:read"
    ) -> Identity:
        """Open an inbox.

        :raises Unauthenticated: the address and the secret do not belong together.
        :raises Forbidden: the key lacks the permission.
        """
        if "@" not in address:
            raise _wrong()
        if secret.startswith(PREFIX):
            identity = await self._by_key(address, secret)
            identity.access.require(permission)
            return identity
        try:
            home = await self.homes.of(_ANYBODY, address)
        except NotFound as error:
            raise _wrong() from error
        password_id = await self.passwords.verify(home, secret)
        if password_id is None:
            raise _wrong()
        return Identity(
            home=home,
            access=Access(
                key_id=password_id,
                customer_id=home.customer_id,
                deployment_id=home.deployment_id,
                inbox_id=home.inbox_id,
                permissions=_BY_PASSWORD,
            ),
        )

    async def still_good(self, identity: Identity) -> bool:
        """Whether what opened the inbox would still open it."""
        credential_id = identity.credential_id
        if credential_id.startswith("pwd_"):
            return await self.passwords.is_current(identity.home, credential_id)
        ended = await Keys(self.database.single(None)).ended([credential_id])
        return not ended

    async def _by_key(self, address: str, secret: str) -> Identity:
        try:
            access = await self.keys.authenticate(secret)
            home = await self.homes.of(access, address)
        except (NotFound, Unauthenticated) as error:
            raise _wrong() from error
        return Identity(home=home, access=access)


_ANYBODY = Access(
    key_id="",
    customer_id=None,
    deployment_id=None,
    inbox_id=None,
    permissions=frozenset(),
)


def _wrong() -> Unauthenticated:
    return Unauthenticated(
        "The address and the secret do not belong together. The user name is the whole "
        "address of the inbox, the password an API key or the inbox's own."
    )
