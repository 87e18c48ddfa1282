"""Order requests and responses, in Medusa's words where both have the thing."""

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from impact.engine.schemas import (
    Country,
    Currency,
    Email,
    Input,
    InputWithMetadata,
    Metadata,
    Output,
    PageOut,
    PatchWithMetadata,
    Quantity,
    ShortText,
    Timestamp,
)

OrderKind = Literal["sale", "return", "adjustment"]
OrderStatus = Literal["pending", "completed", "canceled"]
FulfillmentStatus = Literal[
    "not_fulfilled", "partially_fulfilled", "fulfilled", "shipped", "delivered", "canceled"
]


class OrderAddress(Input):
    """Where to send goods or the bill, as the order keeps it."""

    first_name: ShortText | None = None
    last_name: ShortText | None = None
    company: ShortText | None = None
    address_1: ShortText | None = None
    address_2: ShortText | None = None
    city: ShortText | None = None
    province: ShortText | None = None
    postal_code: ShortText | None = None
    country_code: Country | None = None
    phone: ShortText | None = None


class LineInput(Input):
    variant_id: UUID
    quantity: Quantity


class CreateOrder(InputWithMetadata, kw_only=True):
    """An order without a cart. Lines of one variant are merged; prices are the shop's."""

    lines: Annotated[list[LineInput], Meta(min_length=1, max_length=500)]
    email: Email | None = None
    currency_code: Currency | None = None
    shipping_address: OrderAddress | None = None
    billing_address: OrderAddress | None = None


class UpdateOrder(PatchWithMetadata, kw_only=True):
    email: Email | UnsetType = UNSET
    shipping_address: OrderAddress | UnsetType | None = UNSET
    billing_address: OrderAddress | UnsetType | None = UNSET


class CancelOrder(Input):
    reason: ShortText | None = None


class FulfillItem(Input):
    id: UUID
    """The order line."""
    quantity: Quantity


class CreateFulfillment(Input):
    """What leaves the stock; without ``items``, everything that is left."""

    items: Annotated[list[FulfillItem], Meta(min_length=1, max_length=500)] | None = None


class OrderItemOut(Output):
    id: UUID
    title: str
    variant_title: str | None
    variant_sku: str | None
    thumbnail: str | None
    product_id: UUID | None
    variant_id: UUID | None
    quantity: int
    fulfilled_quantity: int
    unit_price: int
    total: int


class ChargeOut(Output):
    """Postage, a fee or a discount."""

    id: UUID
    title: str
    code: str | None
    quantity: int
    unit_price: int
    total: int


class OrderOut(Output):
    """Money is in minor units of ``currency_code``."""

    id: UUID
    display_id: int
    external_id: str | None
    kind: str
    status: str
    fulfillment_status: str
    email: str | None
    customer_id: UUID | None
    currency_code: str
    item_total: int
    charge_total: int
    total: int
    shipping_address: dict[str, Any] | None
    billing_address: dict[str, Any] | None
    metadata: Metadata | None
    canceled_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp
    items: list[OrderItemOut]
    charges: list[ChargeOut]


class OrderLineOut(Output):
    """A line with what its order says of it. Amounts are in minor units of ``currency_code``."""

    id: UUID
    order_id: UUID
    display_id: int
    order_kind: str
    order_status: str
    ordered_at: Timestamp
    customer_id: UUID | None
    kind: str
    product_id: UUID | None
    variant_id: UUID | None
    title: str
    variant_title: str | None
    sku: str | None
    quantity: int
    fulfilled_quantity: int
    currency_code: str
    unit_price: int
    total: int


class OrderEventOut(Output):
    id: UUID
    type: str
    actor: str
    data: dict[str, Any] | None
    created_at: Timestamp


class OrderList(PageOut):
    orders: list[OrderOut]


class OrderResponse(Output):
    order: OrderOut


class OrderEventList(PageOut):
    events: list[OrderEventOut]


class CompletedCart(Output):
    """What completing a cart answers."""

    type: Literal["order"]
    order: OrderOut
