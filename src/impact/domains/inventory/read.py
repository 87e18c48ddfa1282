"""The inventory's read model."""

from impact.domains.inventory.schemas import InventoryLevelOut
from impact.engine.db.readmodel import ReadModel, json_object

levels = ReadModel(
    "inventory.level",
    "inventory_level l",
    json_object(
        InventoryLevelOut,
        "l",
        sku="(SELECT v.sku FROM product_variant v"
        " WHERE v.tenant_id = l.tenant_id AND v.id = l.variant_id)",
        available_quantity="l.stocked_quantity - l.reserved_quantity",
    ),
    sorts={"created_at": "l.created_at", "id": "l.id"},
    filters={
        "variant_id": "l.variant_id = ANY(:variant_id)",
        "available_below": "l.stocked_quantity - l.reserved_quantity < :available_below",
    },
    noun="Inventory level",
)
