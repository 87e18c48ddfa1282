"""Stock and what is promised of it."""

from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

import impact.domains.inventory.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.db.base import Entity, tenant_index, tenant_key


class InventoryLevel(Entity):
    """A variant's stock. Available is stocked less reserved, negative only on backorder."""

    __tablename__ = "inventory_level"
    __table_args__ = (
        tenant_key("variant_id", "product_variant", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "variant_id"),
        CheckConstraint("reserved_quantity >= 0", name="reserved_quantity"),
        CheckConstraint("stocked_quantity >= 0", name="stocked_quantity"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_inventory_level_created"),
    )

    variant_id: Mapped[UUID]
    stocked_quantity: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    reserved_quantity: Mapped[int] = mapped_column(server_default=text("0"), default=0)


class Reservation(Entity):
    """Stock promised to one order line until it is fulfilled or cancelled."""

    __tablename__ = "reservation"
    __table_args__ = (
        tenant_key("variant_id", "product_variant", ondelete="CASCADE"),
        tenant_key("order_line_id", "order_line", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "order_line_id"),
        tenant_index("variant_id", name="ix_reservation_variant"),
        CheckConstraint("quantity > 0", name="quantity"),
    )

    variant_id: Mapped[UUID]
    order_line_id: Mapped[UUID]
    quantity: Mapped[int]
