"""Carts: what a shopper means to buy. Prices are read when they are shown, never kept here."""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

import impact.domains.carts.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.db.base import Entity, tenant_index, tenant_key


class Cart(Entity):
    __tablename__ = "cart"
    __table_args__ = (
        tenant_key("customer_id", "customer", ondelete="SET NULL (customer_id)"),
        tenant_index("customer_id", name="ix_cart_customer"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_cart_created"),
    )

    email: Mapped[str | None]
    currency_code: Mapped[str]
    customer_id: Mapped[UUID | None]
    shipping_address: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    billing_address: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
    completed_at: Mapped[dt.datetime | None]


class CartLine(Entity):
    __tablename__ = "cart_line"
    __table_args__ = (
        tenant_key("cart_id", "cart", ondelete="CASCADE"),
        tenant_key("variant_id", "product_variant", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "cart_id", "variant_id"),
        tenant_index("variant_id", name="ix_cart_line_variant"),
        CheckConstraint("quantity BETWEEN 1 AND 1000000", name="quantity"),
    )

    cart_id: Mapped[UUID]
    variant_id: Mapped[UUID]
    quantity: Mapped[int]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
