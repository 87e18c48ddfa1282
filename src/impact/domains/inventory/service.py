"""Stock: set by staff, promised to orders, given back by cancellations.

What touches many levels takes them in primary-key order of their variants, so that two orders
for the same goods wait for each other instead of deadlocking.
"""

from collections.abc import Mapping
from uuid import UUID

from impact.domains.inventory.models import InventoryLevel
from impact.domains.inventory.repository import InventoryRepository
from impact.engine.db.session import WriteSession


class InventoryService:
    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._levels = InventoryRepository(session)

    async def start(self, stock: Mapping[UUID, int]) -> None:
        """Open a level for each new variant with what it has in stock."""
        if stock:
            self._session.add(
                *(
                    InventoryLevel(variant_id=variant_id, stocked_quantity=quantity)
                    for variant_id, quantity in stock.items()
                )
            )
            await self._session.flush()

    async def set_stock(self, id: UUID, stocked_quantity: int) -> None:
        """Set what a count of the shelf found. What is reserved stays promised."""
        level = await self._levels.get_for_update(id)
        level.stocked_quantity = stocked_quantity
        await self._session.flush()
