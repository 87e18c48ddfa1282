"""Cancelling and fulfilling orders: the order's rows together with the stock's."""

from uuid import UUID

from litestar import Controller, Response, post
from litestar.params import FromPath, JSONBody

from impact.domains.inventory.repository import InventoryRepository
from impact.domains.orders import read
from impact.domains.orders.repository import OrderRepository
from impact.domains.orders.schemas import CancelOrder, CreateFulfillment, OrderResponse
from impact.domains.orders.service import open_lines
from impact.engine.db.base import utc_now
from impact.engine.db.session import WriteSession
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.routes import changing, written
from impact.engine.security.permissions import requires
from impact.errors import (
    InsufficientInventoryError,
    InvalidDataError,
    NotAllowedError,
    Problem,
)


async def cancel(session: WriteSession, id: UUID, reason: str | None) -> None:
    """Cancel an order and give its stock back; cancelling again changes nothing.

    Raises NotAllowedError once goods have left, or for what is no sale.
    """
    orders = OrderRepository(session)
    order = await orders.get_for_update(id)
    if order.status == "canceled":
        return
    if order.kind != "sale" or order.fulfillment_status != "not_fulfilled":
        raise NotAllowedError(f"a {order.fulfillment_status} {order.kind} cannot be canceled")
    order.status = order.fulfillment_status = "canceled"
    order.canceled_at = utc_now()
    orders.note(id, "order.canceled", {"reason": reason} if reason else None)
    await session.flush()
    await InventoryRepository(session).release(id)


async def fulfill(session: WriteSession, id: UUID, data: CreateFulfillment) -> None:
    """Take goods out of the stock and send them off, all or some.

    Raises NotAllowedError for a cancelled order or one already sent, InvalidDataError for more
    than a line still has, InsufficientInventoryError for goods on backorder that never came.
    """
    orders = OrderRepository(session)
    order = await orders.get_for_update(id)
    left = open_lines(order)
    if order.status == "canceled" or not left:
        raise NotAllowedError(f"a {order.fulfillment_status} order has nothing to fulfill")
    wanted: dict[UUID, int] = {}
    if data.items is None:
        wanted = left
    for number, item in enumerate(data.items or ()):
        wanted[item.id] = wanted.get(item.id, 0) + item.quantity
        if wanted[item.id] > left.get(item.id, 0):
            message = f"line '{item.id}' has {left.get(item.id, 0)} left to fulfill"
            pointer = f"/items/{number}/quantity"
            raise InvalidDataError(message, problems=[Problem(message, pointer=pointer)])
    for line in order.lines:
        line.fulfilled_quantity += wanted.get(line.id, 0)
    order.fulfillment_status = "partially_fulfilled" if open_lines(order) else "fulfilled"
    orders.note(id, "order.fulfilled", {str(line): count for line, count in wanted.items()})
    await session.flush()
    if not await InventoryRepository(session).ship(wanted):
        raise InsufficientInventoryError("the stock does not hold what was promised yet")


class AdminOrderChanges(Controller):
    path = "/orders"
    tags = ("Admin orders",)

    @post("/{id:uuid}/cancel", opt=requires("order:update"), status_code=200)
    async def cancel_order(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[CancelOrder | None] = None,
    ) -> Response[OrderResponse]:
        async with changing(read.orders, "order", runtime, context, id) as session:
            await cancel(session, id, data.reason if data else None)
            return await written(read.orders, "order", session, id)

    @post("/{id:uuid}/fulfillments", opt=requires("order:update"), status_code=200)
    async def fulfill_order(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[CreateFulfillment | None] = None,
    ) -> Response[OrderResponse]:
        async with changing(read.orders, "order", runtime, context, id) as session:
            await fulfill(session, id, data or CreateFulfillment())
            return await written(read.orders, "order", session, id)
