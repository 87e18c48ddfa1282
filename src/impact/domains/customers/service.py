"""What a shop knows of its customers, and what they tell it themselves."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from impact.domains.customers.models import Address, Customer
from impact.domains.customers.repository import CustomerRepository
from impact.domains.customers.schemas import (
    AddressInput,
    CompleteRegistration,
    CreateCustomer,
    Register,
    UpdateAddress,
    UpdateCustomer,
    UpdateOwnCustomer,
)
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.errors import ConflictError, InvalidDataError, NotAllowedError, NotFoundError, Problem

MOST_ADDRESSES = 100
"""Per customer: each answer that shows a customer shows all of them."""


class CustomerService:
    """Customers of the session's tenant."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._customers = CustomerRepository(session)

    async def register(self, data: Register, password_hash: str) -> UUID:
        """Open an account. Raises ConflictError where the e-mail has one.

        That answer tells who has an account here. Without a mail to confirm, any honest answer
        does; the rate limit bounds the asking. A customer without an account who has the same
        e-mail stays apart: nobody has proved that the two are one.
        """
        customer = Customer(
            id=new_id(),
            email=data.email,
            first_name=data.first_name,
            last_name=data.last_name,
            has_account=True,
            password_hash=password_hash,
        )
        self._session.add(customer)
        await self._session.flush(_taken(data.email))
        return customer.id

    async def create(self, data: CreateCustomer) -> UUID:
        """Note a customer without an account. Raises ConflictError for an e-mail noted before."""
        if await self._customers.is_taken(data.email, has_account=False):
            raise ConflictError(_taken(data.email))
        customer = Customer(
            id=new_id(),
            email=data.email,
            first_name=data.first_name,
            last_name=data.last_name,
            company_name=data.company_name,
            phone=data.phone,
            metadata_=data.metadata,
        )
        self._session.add(customer)
        await self._session.flush()
        return customer.id

    async def complete(self, id: UUID, data: CompleteRegistration) -> None:
        """The second step of a registration: what the customer adds to the account."""
        customer = await self._customers.get_for_update(id)
        if data.email is not UNSET and data.email.lower() != (customer.email or "").lower():
            message = "the e-mail is not the one that was registered"
            raise InvalidDataError(message, problems=[Problem(message, pointer="/email")])
        changes = data.changes()
        changes.pop("email", None)
        await self._apply(customer, changes)

    async def update(self, id: UUID, data: UpdateCustomer | UpdateOwnCustomer) -> None:
        customer = await self._customers.get_for_update(id)
        changes = data.changes()
        email = changes.get("email")
        if email is not None and await self._customers.is_taken(
            email, has_account=customer.has_account, but=id
        ):
            raise ConflictError(_taken(email))
        await self._apply(customer, changes)

    async def remove(self, id: UUID) -> None:
        """Delete a customer. Their orders stay, their token opens nothing from now on."""
        await self._customers.remove(id)

    async def _apply(self, customer: Customer, changes: dict[str, Any]) -> None:
        if "metadata" in changes:
            changes["metadata_"] = changes.pop("metadata")
        for name, value in changes.items():
            setattr(customer, name, value)
        await self._session.flush()


class AddressService:
    """One customer's addresses. The customer's row is locked, so that changes take turns."""

    def __init__(self, session: WriteSession, customer_id: UUID) -> None:
        self._session = session
        self._customer_id = customer_id
        self._customers = CustomerRepository(session)

    async def add(self, data: AddressInput) -> UUID:
        customer = await self._customers.get_for_update(self._customer_id)
        if len(customer.addresses) >= MOST_ADDRESSES:
            raise NotAllowedError(f"a customer has at most {MOST_ADDRESSES} addresses")
        fields = msgspec.structs.asdict(data)
        _make_room(customer, fields)
        address = Address(id=new_id(), **fields)
        customer.addresses.append(address)
        await self._touch(customer)
        return address.id

    async def update(self, id: UUID, data: UpdateAddress) -> None:
        customer = await self._customers.get_for_update(self._customer_id)
        address = _find(customer, id)
        changes = data.changes()
        _make_room(customer, changes)
        for name, value in changes.items():
            setattr(address, name, value)
        await self._touch(customer)

    async def remove(self, id: UUID) -> None:
        customer = await self._customers.get_for_update(self._customer_id)
        customer.addresses.remove(_find(customer, id))
        await self._touch(customer)

    async def _touch(self, customer: Customer) -> None:
        # An address is the customer's: caches and conditional requests go by its time.
        customer.updated_at = utc_now()
        await self._session.flush()


def _taken(email: str) -> str:
    return f"email '{email}' already exists"


def _find(customer: Customer, id: UUID) -> Address:
    for address in customer.addresses:
        if address.id == id:
            return address
    raise NotFoundError(f"Address with id '{id}' not found")


def _make_room(customer: Customer, changes: Mapping[str, Any]) -> None:
    """A customer has one default of each kind: a new one takes the place of the old."""
    for default in ("is_default_shipping", "is_default_billing"):
        if changes.get(default):
            for address in customer.addresses:
                setattr(address, default, False)
