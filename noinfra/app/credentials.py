"""Who logs in with an inbox's address and a secret, as mail programs do."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from noinfra.app.access import Access
from noinfra.app.directory import Home
from noinfra.app.homes import Homes
from noinfra.app.keys import Keys
from noinfra.errors import NotFound, Unauthenticated


class Identity(Protocol):
    """Who has logged in: an inbox, and what may be done for it."""

    @property
    def home(self) -> Home:
        """The inbox."""

    @property
    def access(self) -> Access:
        """What the secret gives a right to."""


class Credentials(Protocol):
    """Knows the secrets of inboxes, and answers fast for those it has seen of late."""

    async def authenticate(
        self, address: str, secret: str, permission: str
    ) -> Identity:
        """Who it is.

        :param address: the inbox's, in any case.
        :raises Unauthenticated: the secret is none of the inbox, or there is none.
        :raises Forbidden: it is one, but does not hold the permission.
        """


@frozen(kw_only=True)
class Login:
    """An identity that an API key gave."""

    home: Home
    access: Access


@frozen
class KeyCredentials:
    """An inbox's address, and an API key that may go there."""

    keys: Keys
    homes: Homes

    async def authenticate(self, address: str, secret: str, permission: str) -> Login:
        """Who it is.

        :raises Unauthenticated: nobody's key, or no inbox that it may know of.
        :raises Forbidden: the key does not hold the permission.
        """
        try:
            access = await self.keys.authenticate(secret)
            home = await self.homes.of(access, address if "@" in address else "@")
        except (Unauthenticated, NotFound):
            raise Unauthenticated(
                "The address and the secret do not go together; give the inbox's whole "
                "address, and an API key for it."
            ) from None
        access.require(permission)
        return Login(home=home, access=access)


_credentials: type[Credentials] = KeyCredentials
