"""The inventory's write side.

A statement that touches many levels locks them in primary-key order first, so that two of them
wait for each other instead of deadlocking.
"""

from collections.abc import Mapping
from uuid import UUID

from impact.domains.inventory.models import InventoryLevel
from impact.engine.db.repository import Repository
from impact.engine.db.statements import ALL, Statement

_RELEASE = Statement(
    "inventory.release",
    """
    WITH freed AS (
        DELETE FROM reservation r USING order_line ol
        WHERE ol.tenant_id = :tenant_id AND ol.order_id = :order_id
          AND r.tenant_id = :tenant_id AND r.order_line_id = ol.id
        RETURNING r.variant_id, r.quantity
    ), locked AS (
        SELECT l.id, f.quantity
        FROM inventory_level l
        JOIN (SELECT variant_id, sum(quantity)::int AS quantity FROM freed GROUP BY 1) f
          ON f.variant_id = l.variant_id
        WHERE l.tenant_id = :tenant_id
        ORDER BY l.id FOR UPDATE OF l
    )
    UPDATE inventory_level l
    SET reserved_quantity = l.reserved_quantity - k.quantity, updated_at = now()
    FROM locked k WHERE l.tenant_id = :tenant_id AND l.id = k.id
    """,
    writes={"reservation": ALL, "inventory_level": ALL},
)
_SHIP = Statement(
    "inventory.ship",
    """
    WITH wanted AS (
        SELECT * FROM unnest(:line_ids::uuid[], :quantities::int[]) AS w(line_id, quantity)
    ), shrunk AS (
        UPDATE reservation r SET quantity = r.quantity - w.quantity, updated_at = now()
        FROM wanted w
        WHERE r.tenant_id = :tenant_id AND r.order_line_id = w.line_id AND r.quantity > w.quantity
        RETURNING r.variant_id, w.quantity
    ), used AS (
        DELETE FROM reservation r USING wanted w
        WHERE r.tenant_id = :tenant_id AND r.order_line_id = w.line_id AND r.quantity = w.quantity
        RETURNING r.variant_id, w.quantity
    ), locked AS (
        SELECT l.id, f.quantity
        FROM inventory_level l
        JOIN (SELECT variant_id, sum(quantity)::int AS quantity
                FROM (SELECT * FROM shrunk UNION ALL SELECT * FROM used) AS gone GROUP BY 1) f
          ON f.variant_id = l.variant_id
        WHERE l.tenant_id = :tenant_id
        ORDER BY l.id FOR UPDATE OF l
    ), shipped AS (
        UPDATE inventory_level l
        SET stocked_quantity = l.stocked_quantity - k.quantity,
            reserved_quantity = l.reserved_quantity - k.quantity,
            updated_at = now()
        FROM locked k
        WHERE l.tenant_id = :tenant_id AND l.id = k.id AND l.stocked_quantity >= k.quantity
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM locked) = (SELECT count(*) FROM shipped)
    """,
    writes={"reservation": ALL, "inventory_level": ALL},
)


class InventoryRepository(Repository[InventoryLevel]):
    model = InventoryLevel
    noun = "Inventory level"

    async def release(self, order_id: UUID) -> None:
        """Give back what is still reserved for an order."""
        await self.writer.execute(_RELEASE, order_id=order_id)

    async def ship(self, quantities: Mapping[UUID, int]) -> bool:
        """Take what was reserved for these order lines out of the stock.

        False where a level holds less than that, as it may on backorder.
        """
        return bool(
            await self.session.fetch_value(
                _SHIP, line_ids=list(quantities), quantities=list(quantities.values())
            )
        )
