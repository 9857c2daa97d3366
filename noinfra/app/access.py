"""What a key may do, and to whom it is confined."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from noinfra.errors import Forbidden, Invalid, NotFound

PERMISSIONS = frozenset(
    f"{resource}:{action}"
    for resource, actions in {
        "customers": "create read update delete",
        "deployments": "create read update delete",
        "agents": "create read update delete",
        "inboxes": "create read update delete",
        "messages": "read send update delete",
        "threads": "read update delete",
        "events": "read",
        "keys": "create read revoke",
        "metrics": "read",
    }.items()
    for action in actions.split()
)

_WORK = frozenset(("inboxes:read", "events:read"))
PRESETS = {
    "runtime": _WORK
    | {p for p in PERMISSIONS if p.startswith(("messages:", "threads:"))},
    "read-only": frozenset(p for p in PERMISSIONS if p.endswith(":read")),
    "operator": PERMISSIONS - {"customers:create", "customers:delete"},
}


@frozen(kw_only=True)
class Access:
    """Who asks. No customer means every customer: a root key."""

    key_id: str
    customer_id: str | None
    deployment_id: str | None
    inbox_id: str | None
    permissions: frozenset[str]

    def require(self, permission: str) -> None:
        """Pass, or refuse.

        :raises Forbidden: the key does not hold the permission.
        """
        if permission not in self.permissions:
            raise Forbidden(
                f"The key lacks the permission {permission}.", permission=permission
            )

    def customer(self, named: str | None) -> str:
        """The customer that a request works for.

        :raises Invalid: a root key named none.
        :raises NotFound: the key is confined to another.
        """
        if self.customer_id is None:
            if named is None:
                raise Invalid(
                    "A root key serves every customer: say which with customerId.",
                    field="customerId",
                )
            return named
        if named is not None and named != self.customer_id:
            raise NotFound(f"There is no customer {named}.")
        return self.customer_id

    def filter_customer(self, named: str | None) -> str | None:
        """The customer that a list is narrowed to; None is all, for a root key."""
        return self.customer(named) if self.customer_id or named else None

    def confine(self, *, deployment_id: str | None, inbox_id: str | None) -> None:
        """Refuse what lies outside of the key's deployment or inbox.

        :raises NotFound: as if it were not there.
        """
        if self.inbox_id is not None and inbox_id != self.inbox_id:
            raise NotFound("There is no such thing for this key.")
        if self.deployment_id is not None and deployment_id != self.deployment_id:
            raise NotFound("There is no such thing for this key.")

    def require_wide(self) -> None:
        """Refuse a key that is confined to less than a customer.

        :raises Forbidden: it is confined to a deployment or an inbox.
        """
        if self.deployment_id is not None or self.inbox_id is not None:
            raise Forbidden("The key is confined to a part of its customer.")


def permissions_named(names: Iterable[str], preset: str | None) -> frozenset[str]:
    """The permissions that a new key asks for.

    :raises Invalid: a name that is none; the text lists those that are.
    """
    wanted = frozenset(names) | (PRESETS[preset] if preset else frozenset())
    unknown = sorted(wanted - PERMISSIONS)
    if unknown:
        raise Invalid(
            f"There is no permission {unknown[0]}; there are "
            f"{', '.join(sorted(PERMISSIONS))}.",
            field="permissions",
        )
    if not wanted:
        raise Invalid(
            "A key needs permissions: name some, or a preset.", field="permissions"
        )
    return wanted
