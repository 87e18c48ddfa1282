"""The carts' write side."""

from typing import NamedTuple
from uuid import UUID

import asyncpg

from impact.domains.carts.models import Cart
from impact.engine.db.base import new_id
from impact.engine.db.repository import Repository
from impact.engine.db.statements import Statement
from impact.errors import NotFoundError

_LOCK = Statement(
    "carts.lock",
    """
    SELECT id, currency_code, customer_id, completed_at FROM cart
    WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE
    """,
)
# What may be sold, and whether there is enough of it. Only completion promises the stock.
_OFFER = Statement(
    "carts.offer",
    """
    SELECT vp.amount,
           :quantity + coalesce((SELECT l.quantity FROM cart_line l WHERE l.tenant_id = :tenant_id
               AND l.cart_id = :cart_id AND l.variant_id = v.id), 0) AS quantity,
           NOT v.manage_inventory OR v.allow_backorder OR coalesce(
               (SELECT i.stocked_quantity - i.reserved_quantity FROM inventory_level i
                 WHERE i.tenant_id = :tenant_id AND i.variant_id = v.id), 0
           ) >= :quantity + coalesce(
               (SELECT l.quantity FROM cart_line l WHERE l.tenant_id = :tenant_id
                   AND l.cart_id = :cart_id AND l.variant_id = v.id), 0) AS available
    FROM product_variant v
    JOIN product p ON p.tenant_id = :tenant_id AND p.id = v.product_id AND p.status = 'published'
    LEFT JOIN variant_price vp ON vp.tenant_id = :tenant_id AND vp.variant_id = v.id
         AND vp.currency_code = :currency_code
    WHERE v.tenant_id = :tenant_id AND v.id = :variant_id
    """,
)
_ADD_LINE = Statement(
    "carts.add_line",
    """
    WITH touched AS (
        UPDATE cart SET updated_at = now() WHERE tenant_id = :tenant_id AND id = :cart_id
    )
    INSERT INTO cart_line AS l (tenant_id, id, cart_id, variant_id, quantity, metadata)
    VALUES (:tenant_id, :id, :cart_id, :variant_id, :quantity, :metadata::jsonb)
    ON CONFLICT (tenant_id, cart_id, variant_id) DO UPDATE
        SET quantity = l.quantity + excluded.quantity,
            metadata = coalesce(excluded.metadata, l.metadata), updated_at = now()
    """,
    writes={"cart": ":cart_id", "cart_line": ":cart_id"},
)
_LINE_VARIANT = Statement(
    "carts.line_variant",
    """
    SELECT variant_id, quantity FROM cart_line
    WHERE tenant_id = :tenant_id AND cart_id = :cart_id AND id = :id
    """,
)
_SET_LINE = Statement(
    "carts.set_line",
    """
    WITH touched AS (
        UPDATE cart SET updated_at = now() WHERE tenant_id = :tenant_id AND id = :cart_id
    )
    UPDATE cart_line SET quantity = :quantity, updated_at = now()
    WHERE tenant_id = :tenant_id AND cart_id = :cart_id AND id = :id
    """,
    writes={"cart": ":cart_id", "cart_line": ":cart_id"},
)
_REMOVE_LINE = Statement(
    "carts.remove_line",
    """
    WITH touched AS (
        UPDATE cart SET updated_at = now() WHERE tenant_id = :tenant_id AND id = :cart_id
    )
    DELETE FROM cart_line WHERE tenant_id = :tenant_id AND cart_id = :cart_id AND id = :id
    """,
    writes={"cart": ":cart_id", "cart_line": ":cart_id"},
)


class OpenCart(NamedTuple):
    """What lines need to know of their cart."""

    id: UUID
    currency_code: str


class CartRepository(Repository[Cart]):
    model = Cart
    noun = "Cart"

    async def lock(self, id: UUID) -> asyncpg.Record:
        """The cart's ``id``, ``currency_code``, ``customer_id`` and ``completed_at``, locked until
        the unit of work ends. Raises NotFoundError."""
        found = await self.session.fetch_one(_LOCK, id=id)
        if found is None:
            raise NotFoundError(f"Cart with id '{id}' not found")
        return found

    async def offer(self, cart: OpenCart, variant_id: UUID, quantity: int) -> asyncpg.Record | None:
        """The variant's ``amount``, the ``quantity`` that the cart then holds of it, and whether
        so much is ``available``; None where it is not for sale."""
        return await self.session.fetch_one(
            _OFFER,
            variant_id=variant_id,
            cart_id=cart.id,
            quantity=quantity,
            currency_code=cart.currency_code,
        )

    async def add_line(
        self, cart: OpenCart, variant_id: UUID, quantity: int, metadata: str | None
    ) -> None:
        """Put more of a variant into the cart; ``metadata`` is JSON.

        A line that changes, here and below, changes its cart as well.
        """
        await self.writer.execute(
            _ADD_LINE,
            id=new_id(),
            cart_id=cart.id,
            variant_id=variant_id,
            quantity=quantity,
            metadata=metadata,
        )

    async def line(self, cart: OpenCart, id: UUID) -> asyncpg.Record | None:
        """The ``variant_id`` and ``quantity`` of a line, or None."""
        return await self.session.fetch_one(_LINE_VARIANT, cart_id=cart.id, id=id)

    async def set_line(self, cart: OpenCart, id: UUID, quantity: int) -> None:
        await self.writer.execute(_SET_LINE, cart_id=cart.id, id=id, quantity=quantity)

    async def remove_line(self, cart: OpenCart, id: UUID) -> bool:
        """Whether there was such a line."""
        return await self.writer.execute(_REMOVE_LINE, cart_id=cart.id, id=id) != "DELETE 0"
