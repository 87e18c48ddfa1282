"""Inventory requests and responses."""

from uuid import UUID

from impact.engine.schemas import Input, Output, PageOut, Stock, Timestamp


class UpdateInventoryLevel(Input):
    stocked_quantity: Stock


class InventoryLevelOut(Output):
    id: UUID
    variant_id: UUID
    sku: str | None
    stocked_quantity: int
    reserved_quantity: int
    available_quantity: int
    created_at: Timestamp
    updated_at: Timestamp


class InventoryLevelList(PageOut):
    inventory_levels: list[InventoryLevelOut]


class InventoryLevelResponse(Output):
    inventory_level: InventoryLevelOut
