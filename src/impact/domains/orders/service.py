"""What staff do to an order without touching stock."""

from uuid import UUID

import msgspec

from impact.domains.orders.models import Order
from impact.domains.orders.repository import OrderRepository
from impact.domains.orders.schemas import UpdateOrder
from impact.engine.db.session import WriteSession
from impact.errors import NotAllowedError

_NEXT_STEP = {"shipped": ("fulfilled",), "delivered": ("shipped", "fulfilled")}


class OrderService:
    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._orders = OrderRepository(session)

    async def update(self, id: UUID, data: UpdateOrder) -> None:
        order = await self._orders.get_for_update(id)
        for name, value in data.changes().items():
            column = "metadata_" if name == "metadata" else name
            setattr(order, column, msgspec.to_builtins(value))
        self._orders.note(id, "order.updated", {"fields": sorted(data.changes())})
        await self._session.flush()

    async def complete(self, id: UUID) -> None:
        """Close an order; closing it again changes nothing. Raises NotAllowedError."""
        order = await self._orders.get_for_update(id)
        if order.status == "canceled":
            raise NotAllowedError("a canceled order cannot be completed")
        if order.status != "completed":
            order.status = "completed"
            self._orders.note(id, "order.completed")
        await self._session.flush()

    async def advance(self, id: UUID, step: str) -> None:
        """Mark a fulfilled order ``shipped`` or ``delivered``. Raises NotAllowedError."""
        order = await self._orders.get_for_update(id)
        if order.fulfillment_status == step:
            return
        if order.fulfillment_status not in _NEXT_STEP[step]:
            raise NotAllowedError(f"a {order.fulfillment_status} order cannot be {step}")
        order.fulfillment_status = step
        self._orders.note(id, f"order.{step}")
        await self._session.flush()


def open_lines(order: Order) -> dict[UUID, int]:
    """How much of each product line is not fulfilled yet."""
    return {
        line.id: line.quantity - line.fulfilled_quantity
        for line in order.lines
        if line.kind == "product" and line.quantity > line.fulfilled_quantity
    }
