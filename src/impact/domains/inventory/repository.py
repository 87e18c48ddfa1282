"""The inventory's write side."""

from impact.domains.inventory.models import InventoryLevel
from impact.engine.db.repository import Repository


class InventoryRepository(Repository[InventoryLevel]):
    model = InventoryLevel
    noun = "Inventory level"
