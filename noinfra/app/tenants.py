"""Customers and the deployments within them."""

from __future__ import annotations

from typing import TypeVar

from attrs import frozen
from msgspec import UNSET, UnsetType

from noinfra.app.access import Access
from noinfra.app.directory import Directory
from noinfra.app.ids import new_id
from noinfra.app.listing import Listing, cursor_key, listing
from noinfra.app.requests import (
    CreateCustomer,
    CreateDeployment,
    CustomerById,
    DeploymentById,
    ListCustomers,
    ListDeployments,
    UpdateCustomer,
    UpdateDeployment,
)
from noinfra.errors import Forbidden, NotFound
from noinfra.model import Customer, Deployment
from noinfra.store.database import Database
from noinfra.store.failures import ForeignKeyViolation
from noinfra.store.inboxes import Inboxes
from noinfra.store.tenants import Customers, Deployments

T = TypeVar("T")


@frozen
class Tenants:
    """The use cases of customers and deployments."""

    database: Database
    directory: Directory

    async def create_customer(
        self, access: Access, request: CreateCustomer
    ) -> Customer:
        """Make a customer with a first deployment; for root keys."""
        _require_root(access)
        customer_id = new_id("cus_")
        async with self.database.system() as tx:
            customer = await Customers(tx).add(
                customer_id, request.name, dict(request.metadata)
            )
            await Deployments(tx).add(
                new_id("dep_"), customer_id, "default", "default", {}
            )
        return customer

    async def list_customers(
        self, access: Access, request: ListCustomers
    ) -> Listing[Customer]:
        """All customers for a root key; for another its own."""
        access.require_wide()
        found = await Customers(self.database.single(access.customer_id)).page(
            access.customer_id, cursor_key(request.cursor, "cus_"), request.limit + 1
        )
        return listing(found, request.limit, lambda one: one.customer_id)

    async def get_customer(self, access: Access, request: CustomerById) -> Customer:
        """One customer."""
        access.require_wide()
        customer_id = access.customer(request.customer_id)
        found = await Customers(self.database.single(customer_id)).get(customer_id)
        return _there(found, "customer", customer_id)

    async def update_customer(
        self, access: Access, request: UpdateCustomer
    ) -> Customer:
        """Rename it, or change its metadata."""
        access.require_wide()
        customer_id = access.customer(request.customer_id)
        found = await Customers(self.database.single(customer_id)).update(
            customer_id, given(request.name), dict(given(request.metadata) or {})
        )
        return _there(found, "customer", customer_id)

    async def delete_customer(self, access: Access, request: CustomerById) -> None:
        """Delete a customer with all that is its own; for root keys."""
        _require_root(access)
        async with self.database.system() as tx:
            # Its mail first: contents are held by messages.
            for deployment in await Deployments(tx).page(
                request.customer_id, None, None, 100_000
            ):
                await _empty(Inboxes(tx), deployment.deployment_id)
            if not await Customers(tx).remove(request.customer_id):
                raise NotFound(f"There is no customer {request.customer_id}.")
            await Inboxes(tx).tell("")
        self.directory.forget("")

    async def create_deployment(
        self, access: Access, request: CreateDeployment
    ) -> Deployment:
        """Make a deployment, or give the one of this clientId."""
        access.require_wide()
        customer_id = await customer_of(self.database, access, request.customer_id)
        async with self.database.tenant(customer_id) as tx:
            deployments = Deployments(tx)
            try:
                made = await deployments.add(
                    new_id("dep_"),
                    customer_id,
                    request.name,
                    request.client_id,
                    dict(request.metadata),
                )
            except ForeignKeyViolation as error:
                raise NotFound(f"There is no customer {customer_id}.") from error
            if made is None:
                made = await deployments.by_client_id(
                    customer_id, request.client_id or ""
                )
        return made

    async def list_deployments(
        self, access: Access, request: ListDeployments
    ) -> Listing[Deployment]:
        """The deployments of a customer, newest first."""
        access.confine(deployment_id=access.deployment_id, inbox_id=None)
        found = await Deployments(self.database.single(access.customer_id)).page(
            access.filter_customer(request.customer_id),
            access.deployment_id,
            cursor_key(request.cursor, "dep_"),
            request.limit + 1,
        )
        return listing(found, request.limit, lambda one: one.deployment_id)

    async def get_deployment(
        self, access: Access, request: DeploymentById
    ) -> Deployment:
        """One deployment."""
        access.confine(deployment_id=request.deployment_id, inbox_id=None)
        found = await Deployments(self.database.single(access.customer_id)).get(
            request.deployment_id
        )
        return _there(found, "deployment", request.deployment_id)

    async def update_deployment(
        self, access: Access, request: UpdateDeployment
    ) -> Deployment:
        """Rename it, or change its metadata."""
        await self.get_deployment(access, request)
        found = await Deployments(self.database.single(access.customer_id)).update(
            request.deployment_id,
            given(request.name),
            dict(given(request.metadata) or {}),
        )
        return _there(found, "deployment", request.deployment_id)

    async def delete_deployment(self, access: Access, request: DeploymentById) -> None:
        """Delete a deployment with its agents, inboxes and their mail."""
        access.require_wide()
        deployment = await self.get_deployment(access, request)
        async with self.database.tenant(deployment.customer_id) as tx:
            await _empty(Inboxes(tx), deployment.deployment_id)
            await Deployments(tx).remove(deployment.deployment_id)
            await Inboxes(tx).tell("")
        self.directory.forget("")


async def customer_of(database: Database, access: Access, named: str | None) -> str:
    """The customer that a request works for.

    A root key may leave it out while there is only one, as on a server of one's own.

    :raises Invalid: there are several, and none was named.
    :raises NotFound: the key is confined to another than the one named.
    """
    if access.customer_id is None and named is None:
        customers = await Customers(database.single(None)).page(None, None, 2)
        if len(customers) == 1:
            return customers[0].customer_id
    return access.customer(named)


async def _empty(inboxes: Inboxes, deployment_id: str) -> None:
    await inboxes.remove(await inboxes.retire(deployment_id=deployment_id))


def given(value: T | UnsetType) -> T | None:
    """The value of an update, or None where it says nothing."""
    return None if value is UNSET else value


def _require_root(access: Access) -> None:
    if access.customer_id is not None:
        raise Forbidden("Only a root key makes and deletes customers.")


def _there(found: T | None, kind: str, name: str) -> T:
    if found is None:
        raise _missing(kind, name)
    return found


def _missing(kind: str, name: str) -> NotFound:
    return NotFound(f"There is no {kind} {name}.")
