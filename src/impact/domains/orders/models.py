"""Orders, their lines and events, and the keys that make placing one idempotent."""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

import impact.domains.orders.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.db.base import Entity, tenant_index, tenant_key

ORDER_KINDS = ("sale", "return", "adjustment")
ORDER_STATUSES = ("pending", "completed", "canceled")
FULFILLMENT_STATUSES = (
    "not_fulfilled",
    "partially_fulfilled",
    "fulfilled",
    "shipped",
    "delivered",
    "canceled",
)


class Order(Entity):
    """A sale, a return (its quantities and totals are negative) or an adjustment.

    Totals are sums over the lines in minor units, kept here because every report reads them:
    ``item_total`` of products, ``charge_total`` of postage, fees and discounts.
    """

    __tablename__ = "order"
    __table_args__ = (
        tenant_key("customer_id", "customer", ondelete="SET NULL (customer_id)"),
        tenant_key("cart_id", "cart", ondelete="SET NULL (cart_id)"),
        UniqueConstraint("tenant_id", "display_id"),
        UniqueConstraint("tenant_id", "cart_id"),
        Index(
            "uq_order_external",
            "tenant_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        CheckConstraint(f"kind IN {ORDER_KINDS}", name="kind"),
        CheckConstraint(f"status IN {ORDER_STATUSES}", name="status"),
        CheckConstraint(f"fulfillment_status IN {FULFILLMENT_STATUSES}", name="fulfillment_status"),
        CheckConstraint("total = item_total + charge_total", name="total"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_order_created"),
        tenant_index(
            "customer_id", text("created_at DESC"), text("id DESC"), name="ix_order_customer"
        ),
        tenant_index(
            "status", text("created_at DESC"), text("id DESC"), name="ix_order_status_created"
        ),
        tenant_index(
            "fulfillment_status",
            text("created_at DESC"),
            text("id DESC"),
            name="ix_order_fulfillment_created",
        ),
        tenant_index(
            "kind", text("created_at DESC"), text("id DESC"), name="ix_order_kind_created"
        ),
        # Read by order_ids_by_email, as row-level security keeps it from everybody else.
        tenant_index(text("lower(email)"), name="ix_order_email"),
    )

    display_id: Mapped[int] = mapped_column(BigInteger, Identity(always=False))
    kind: Mapped[str] = mapped_column(server_default="sale", default="sale")
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    fulfillment_status: Mapped[str] = mapped_column(
        server_default="not_fulfilled", default="not_fulfilled"
    )
    email: Mapped[str | None]
    customer_id: Mapped[UUID | None]
    cart_id: Mapped[UUID | None]
    external_id: Mapped[str | None]
    currency_code: Mapped[str]
    item_total: Mapped[int] = mapped_column(BigInteger)
    charge_total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    total: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
    shipping_address: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    billing_address: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
    canceled_at: Mapped[dt.datetime | None]

    lines: Mapped[list["OrderLine"]] = relationship(
        lazy="raise", order_by="OrderLine.rank", passive_deletes=True
    )
    events: Mapped[list["OrderEvent"]] = relationship(
        lazy="raise", order_by="OrderEvent.id", passive_deletes=True
    )


class OrderLine(Entity):
    """What was bought, as it was named and priced then; or a charge, which has no variant."""

    __tablename__ = "order_line"
    __table_args__ = (
        tenant_key("order_id", "order", ondelete="CASCADE"),
        tenant_key("product_id", "product", ondelete="SET NULL (product_id)"),
        tenant_key("variant_id", "product_variant", ondelete="SET NULL (variant_id)"),
        CheckConstraint("kind IN ('product', 'charge')", name="kind"),
        CheckConstraint("total = quantity * unit_price", name="total"),
        tenant_index("order_id", "rank", name="ix_order_line_order"),
        tenant_index("product_id", name="ix_order_line_product"),
        tenant_index("variant_id", name="ix_order_line_variant"),
    )

    order_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(server_default="product", default="product")
    product_id: Mapped[UUID | None]
    variant_id: Mapped[UUID | None]
    title: Mapped[str]
    variant_title: Mapped[str | None]
    sku: Mapped[str | None]
    thumbnail: Mapped[str | None]
    quantity: Mapped[int]
    fulfilled_quantity: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    unit_price: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    rank: Mapped[int] = mapped_column(server_default=text("0"), default=0)


class OrderEvent(Entity):
    """Something that happened to an order: placed, canceled, fulfilled, ..."""

    __tablename__ = "order_event"
    __table_args__ = (
        tenant_key("order_id", "order", ondelete="CASCADE"),
        tenant_index("order_id", "id", name="ix_order_event_order"),
    )

    order_id: Mapped[UUID]
    type: Mapped[str]
    actor: Mapped[str]
    data: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class IdempotencyKey(Entity):
    """A key already used: the hash of what was asked, and the order that answered it.

    ``scope`` is the operation, so that the same key may be used for another one.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (
        tenant_key("order_id", "order", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "scope", "key"),
        tenant_index("order_id", name="ix_idempotency_key_order"),
        tenant_index("created_at", name="ix_idempotency_key_created"),
    )

    scope: Mapped[str]
    key: Mapped[str]
    request_hash: Mapped[bytes]
    order_id: Mapped[UUID | None]
    response: Mapped[str | None]
