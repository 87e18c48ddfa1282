"""Requests and responses about tenants."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from impact.engine.schemas import (
    END,
    Currency,
    Email,
    Input,
    Output,
    PageOut,
    Password,
    Patch,
    ShortText,
    Timestamp,
)

Slug = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,62}" + END)]
Status = Literal["active", "suspended"]


class OwnerInput(Input):
    """The first user of a new shop."""

    email: Email
    password: Password
    first_name: ShortText | None = None
    last_name: ShortText | None = None


class CreateTenant(Input):
    id: Slug
    name: ShortText
    currency_code: Currency = "eur"
    settings: dict[str, Any] = {}
    owner: OwnerInput | None = None
    """With an owner the shop also gets the standard roles and a publishable key."""


class UpdateTenant(Patch):
    """``status`` and ``currency_code`` are for headquarters to change."""

    name: ShortText | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    currency_code: Currency | UnsetType = UNSET


class TenantOut(Output):
    id: str
    name: str
    status: str
    currency_code: str
    settings: dict[str, Any]
    created_at: Timestamp
    updated_at: Timestamp


class TenantList(PageOut):
    tenants: list[TenantOut]


class TenantResponse(Output):
    tenant: TenantOut


class NewTenantResponse(Output):
    tenant: TenantOut
    publishable_api_key: str | None
    """The storefront's key, shown this once; null where no owner was named."""
