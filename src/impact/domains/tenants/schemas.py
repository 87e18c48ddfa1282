"""Requests and responses about tenants."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from impact.engine.schemas import (
    END,
    Currency,
    Email,
    Input,
    Metadata,
    Output,
    PageOut,
    Password,
    Patch,
    ShortText,
    Timestamp,
    bounded_metadata,
)

Slug = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,62}" + END)]
Origin = Annotated[
    str,
    Meta(
        pattern=r"^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?" + END,
        examples=["https://shop.example"],
    ),
]
"""Scheme, host and port of a page, as browsers send them (RFC 6454, 6.2)."""
Origins = Annotated[list[Origin], Meta(max_length=50)]
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
    settings: Metadata = {}
    allowed_origins: Origins = []
    """Whose pages may read this shop's answers in a browser (CORS)."""
    owner: OwnerInput | None = None
    """With an owner the shop also gets the standard roles and a publishable key."""

    def __post_init__(self) -> None:
        bounded_metadata(self.settings, "settings")


class UpdateTenant(Patch):
    """``status`` and ``currency_code`` are for headquarters to change."""

    name: ShortText | UnsetType = UNSET
    settings: Metadata | UnsetType = UNSET
    allowed_origins: Origins | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    currency_code: Currency | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.settings is not UNSET:
            bounded_metadata(self.settings, "settings")


class TenantOut(Output):
    id: str
    name: str
    status: str
    currency_code: str
    settings: Metadata
    allowed_origins: list[str]
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
