"""The orders' routes; what places, cancels or fulfils them is in ``impact.flows``."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

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
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import (
    Context,
    Engine,
    Fields,
    Many,
    MomentParameter,
    Paging,
    Text,
    read_moment,
)
from impact.engine.http.routes import changing, list_of, one_of, written
from impact.engine.security.permissions import public, requires

_DisplayId = Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1)]


class AdminOrders(Controller):
    path = "/orders"
    tags = ("Admin orders",)

    @get(opt=requires("order:read") | listing(read.orders))
    async def list_orders(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        fields: Fields = None,
        id: Many[UUID] = None,
        kind: Many[OrderKind] = None,
        status: Many[OrderStatus] = None,
        fulfillment_status: Many[FulfillmentStatus] = None,
        customer_id: Many[UUID] = None,
        email: Text = None,
        display_id: _DisplayId = None,
        external_id: Text = None,
        created_from: MomentParameter = None,
        created_to: MomentParameter = None,
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
            "created_from": read_moment("created_from", created_from),
            "created_to": read_moment("created_to", created_to),
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
        async with changing(read.orders, "order", runtime, context, id) as session:
            await OrderService(session).update(id, data)
            return await written(read.orders, "order", session, id)

    @get("/{id:uuid}/events", opt=requires("order:read") | listing(read.events))
    async def list_events(
        self, context: Context, runtime: Engine, paging: Paging, id: FromPath[UUID]
    ) -> Response[OrderEventList]:
        return await list_of(
            read.events,
            "events",
            runtime,
            context,
            paging,
            filters={"order_id": id},
            parent=(read.orders, id),
        )

    @post("/{id:uuid}/complete", opt=requires("order:update"), status_code=200)
    async def complete_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[OrderResponse]:
        async with changing(read.orders, "order", runtime, context, id) as session:
            await OrderService(session).complete(id)
            return await written(read.orders, "order", session, id)

    @post("/{id:uuid}/ship", opt=requires("order:update"), status_code=200)
    async def ship_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[OrderResponse]:
        async with changing(read.orders, "order", runtime, context, id) as session:
            await OrderService(session).advance(id, "shipped")
            return await written(read.orders, "order", session, id)

    @post("/{id:uuid}/deliver", opt=requires("order:update"), status_code=200)
    async def deliver_order(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[OrderResponse]:
        async with changing(read.orders, "order", runtime, context, id) as session:
            await OrderService(session).advance(id, "delivered")
            return await written(read.orders, "order", session, id)


class StoreOrders(Controller):
    path = "/orders"
    tags = ("Store orders",)

    @get(opt=customer() | listing(read.store_orders))
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
