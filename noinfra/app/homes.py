"""The inbox that a caller names, if the caller may go there."""

from __future__ import annotations

from attrs import frozen

from noinfra.app.access import Access
from noinfra.app.directory import Directory, Home
from noinfra.errors import NotFound
from noinfra.mail.address import parse_path
from noinfra.mail.mailbox import AddressError


@frozen
class Homes:
    """Looks an inbox up for a caller."""

    directory: Directory

    async def of(self, access: Access, name: str) -> Home:
        """The inbox of this id or address.

        :raises NotFound: there is none, or none that the caller may know of.
        """
        if "@" in name:
            try:
                name = parse_path(name).canonical
            except AddressError as error:
                raise NotFound(f"There is no inbox {name}.") from error
        home = await self.directory.find(name)
        if (
            home is None
            or access.customer_id not in (None, home.customer_id)
            or access.deployment_id not in (None, home.deployment_id)
            or access.inbox_id not in (None, home.inbox_id)
        ):
            raise NotFound(f"There is no inbox {name}.")
        return home
