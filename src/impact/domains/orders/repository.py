"""The orders' write side."""

from uuid import UUID

from sqlalchemy.orm import selectinload

from impact.domains.orders.models import Order, OrderEvent
from impact.engine.db.repository import Repository


class OrderRepository(Repository[Order]):
    model = Order
    noun = "Order"
    eager = (selectinload(Order.lines),)

    def note(self, order_id: UUID, type: str, data: dict[str, object] | None = None) -> None:
        """Record that something happened to the order, and who made it happen."""
        actor = str(self.session.context.actor)
        self.writer.add(OrderEvent(order_id=order_id, type=type, actor=actor, data=data))
