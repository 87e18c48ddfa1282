"""The orders' routes; what places, cancels or fulfils them is in ``impact.flows``."""

import datetime as dt
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from impact.context import shopper
from impact.domains.identity.access import customer
from impact.domains.orders import read
from impact.domains.orders.schemas import (
    FulfillmentStatus,
    OrderEventList,
    OrderKind,
    OrderList,
    OrderResponse,
    OrderStatus,
    UpdateOrder,
)
from impact.domains.orders.service import OrderService
from impact.engine.http import responses
from impact.engine.http.dependencies import Context, Engine, Fields, Paging
from impact.engine.http.routes import list_of, one_of, written
from impact.engine.security.permissions import public, requires


class AdminOrders(Controller):
    path = "/orders"
    tags = ("Admin orders",)

    @get(opt=requires("order:read"))
    async def list_orders(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        fields: Fields = None,
        id: FromQuery[list[UUID] | None] = None,
        kind: FromQuery[list[OrderKind] | None] = None,
        status: FromQuery[list[OrderStatus] | None] = None,
        fulfillment_status: FromQuery[list[FulfillmentStatus] | None] = None,
        customer_id: FromQuery[list[UUID] | None] = None,
        email: FromQuery[str | None] = None,
        display_id: FromQuery[int | None] = None,
        external_id: FromQuery[str | None] = None,
        created_from: FromQuery[dt.datetime | None] = None,
        created_to: FromQuery[dt.datetime | None] = None,
    ) -> Response[OrderList]:
        filters = {
            "id": id,
            "kind": kind,
            "status": status,
            "fulfillment_status": fulfillment_status,
            "customer_id": customer_id,
            "email": email,
            "display_id": display_id,
            "external_id": external_id,
            "created_from": _utc(created_from),
            "created_to": _utc(created_to),
        }
        return await list_of(
            read.orders, "orders", runtime, context, paging, fields=fields, filters=filters
        )

    @get("/{id:uuid}", opt=requires("order:read"))
    async def get_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[OrderResponse]:
        return await one_of(read.orders, "order", runtime, context, id, fields=fields)

    @post("/{id:uuid}", opt=requires("order:update"), status_code=200)
    async def update_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[UpdateOrder]
    ) -> Response[OrderResponse]:
        async with runtime.database.write(context) as session:
            await OrderService(session).update(id, data)
            return await written(read.orders, "order", session, id)

    @get("/{id:uuid}/events", opt=requires("order:read"))
    async def list_events(
        self, context: Context, runtime: Engine, paging: Paging, id: FromPath[UUID]
    ) -> Response[OrderEventList]:
        return await list_of(
            read.events, "events", runtime, context, paging, filters={"order_id": id}
        )

    @post("/{id:uuid}/complete", opt=requires("order:update"), status_code=200)
    async def complete_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[OrderResponse]:
        async with runtime.database.write(context) as session:
            await OrderService(session).complete(id)
            return await written(read.orders, "order", session, id)

    @post("/{id:uuid}/ship", opt=requires("order:update"), status_code=200)
    async def ship_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[OrderResponse]:
        async with runtime.database.write(context) as session:
            await OrderService(session).advance(id, "shipped")
            return await written(read.orders, "order", session, id)

    @post("/{id:uuid}/deliver", opt=requires("order:update"), status_code=200)
    async def deliver_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[OrderResponse]:
        async with runtime.database.write(context) as session:
            await OrderService(session).advance(id, "delivered")
            return await written(read.orders, "order", session, id)


class StoreOrders(Controller):
    path = "/orders"
    tags = ("Store orders",)

    @get(opt=customer())
    async def list_orders(
        self, context: Context, runtime: Engine, paging: Paging, fields: Fields = None
    ) -> Response[OrderList]:
        return await list_of(
            read.store_orders,
            "orders",
            runtime,
            context,
            paging,
            fields=fields,
            filters={"owner": context.actor.id},
        )

    @get("/{id:uuid}", opt=public())
    async def get_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[OrderResponse]:
        filters = {"visible_to": shopper(context)}
        async with runtime.database.read(context) as session:
            body = await read.store_orders.one(session, id, filters=filters)
        return responses.entity("order", body, fields=fields)


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    """A time without a zone is taken as UTC."""
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
