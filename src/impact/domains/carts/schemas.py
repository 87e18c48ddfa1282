"""Cart requests and responses, in Medusa's words."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from impact.domains.orders.schemas import LineInput, OrderAddress
from impact.engine.schemas import (
    Currency,
    Email,
    Input,
    InputWithMetadata,
    Metadata,
    Output,
    PatchWithMetadata,
    Quantity,
    Timestamp,
)


class CreateCart(InputWithMetadata, kw_only=True):
    email: Email | None = None
    currency_code: Currency | None = None
    items: Annotated[list[LineInput], Meta(max_length=500)] = []
    shipping_address: OrderAddress | None = None
    billing_address: OrderAddress | None = None


class UpdateCart(PatchWithMetadata, kw_only=True):
    email: Email | UnsetType | None = UNSET
    currency_code: Currency | UnsetType = UNSET
    shipping_address: OrderAddress | UnsetType | None = UNSET
    billing_address: OrderAddress | UnsetType | None = UNSET


class AddLine(InputWithMetadata, kw_only=True):
    variant_id: UUID
    quantity: Quantity


class UpdateLine(Input):
    quantity: Annotated[int, Meta(ge=0, le=1_000_000)]
    """0 removes the line."""


class CartItemOut(Output):
    id: UUID
    variant_id: UUID
    product_id: UUID
    title: str
    product_title: str
    product_handle: str
    variant_title: str
    variant_sku: str | None
    thumbnail: str | None
    quantity: int
    unit_price: int | None
    """Null where the variant has no price in the cart's currency."""
    total: int
    metadata: Metadata | None


class CartOut(Output):
    """Money is in minor units of ``currency_code``, at today's prices."""

    id: UUID
    email: str | None
    currency_code: str
    customer_id: UUID | None
    item_total: int
    total: int
    shipping_address: dict[str, Any] | None
    billing_address: dict[str, Any] | None
    metadata: Metadata | None
    completed_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp
    items: list[CartItemOut]


class CartResponse(Output):
    cart: CartOut


class DeletedLine(Output):
    id: UUID
    object: str
    deleted: bool
    parent: CartOut
