"""Requests and responses about customers and their addresses, in Medusa's words."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from impact.engine.schemas import (
    NO_NUL,
    Country,
    Email,
    Input,
    InputWithMetadata,
    Metadata,
    Output,
    PageOut,
    Password,
    Patch,
    PatchWithMetadata,
    ShortText,
    Timestamp,
)

Phone = Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_NUL)]


class Register(Input):
    email: Email
    password: Password
    first_name: ShortText | None = None
    last_name: ShortText | None = None


class CreateCustomer(InputWithMetadata, kw_only=True):
    email: Email
    first_name: ShortText | None = None
    last_name: ShortText | None = None
    company_name: ShortText | None = None
    phone: Phone | None = None


class UpdateOwnCustomer(PatchWithMetadata, kw_only=True):
    """What customers change of themselves."""

    first_name: ShortText | UnsetType | None = UNSET
    last_name: ShortText | UnsetType | None = UNSET
    company_name: ShortText | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET


class UpdateCustomer(UpdateOwnCustomer):
    email: Email | UnsetType = UNSET


class CompleteRegistration(UpdateOwnCustomer):
    """The second step of a registration; an e-mail, where given, must be the account's."""

    email: Email | UnsetType = UNSET


class AddressInput(Input):
    address_name: ShortText | None = None
    first_name: ShortText | None = None
    last_name: ShortText | None = None
    company: ShortText | None = None
    address_1: ShortText | None = None
    address_2: ShortText | None = None
    city: ShortText | None = None
    province: ShortText | None = None
    postal_code: ShortText | None = None
    country_code: Country | None = None
    phone: Phone | None = None
    is_default_shipping: bool = False
    is_default_billing: bool = False


class UpdateAddress(Patch):
    address_name: ShortText | UnsetType | None = UNSET
    first_name: ShortText | UnsetType | None = UNSET
    last_name: ShortText | UnsetType | None = UNSET
    company: ShortText | UnsetType | None = UNSET
    address_1: ShortText | UnsetType | None = UNSET
    address_2: ShortText | UnsetType | None = UNSET
    city: ShortText | UnsetType | None = UNSET
    province: ShortText | UnsetType | None = UNSET
    postal_code: ShortText | UnsetType | None = UNSET
    country_code: Country | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    is_default_shipping: bool | UnsetType = UNSET
    is_default_billing: bool | UnsetType = UNSET


class AddressOut(Output):
    id: UUID
    customer_id: UUID
    address_name: str | None
    first_name: str | None
    last_name: str | None
    company: str | None
    address_1: str | None
    address_2: str | None
    city: str | None
    province: str | None
    postal_code: str | None
    country_code: str | None
    phone: str | None
    is_default_shipping: bool
    is_default_billing: bool
    created_at: Timestamp
    updated_at: Timestamp


class CustomerOut(Output):
    id: UUID
    email: str | None
    first_name: str | None
    last_name: str | None
    company_name: str | None
    phone: str | None
    has_account: bool
    metadata: Metadata | None
    created_at: Timestamp
    updated_at: Timestamp
    addresses: list[AddressOut]


class CustomerList(PageOut):
    customers: list[CustomerOut]


class CustomerResponse(Output):
    customer: CustomerOut


class AddressList(PageOut):
    addresses: list[AddressOut]


class AddressResponse(Output):
    address: AddressOut


class AddressDeleted(Output):
    id: UUID
    object: str
    deleted: bool
    parent: CustomerOut
