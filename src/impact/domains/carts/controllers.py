"""The carts' routes; completing one is in ``impact.flows.checkout``."""

from contextlib import AbstractAsyncContextManager
from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from impact.context import RequestContext, shopper
from impact.domains.carts import cache, read
from impact.domains.carts.schemas import (
    AddLine,
    CartResponse,
    CreateCart,
    DeletedLine,
    UpdateCart,
    UpdateLine,
)
from impact.domains.carts.service import CartService
from impact.engine.db.session import WriteSession
from impact.engine.http import responses
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.routes import changing, one_of, written
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import public


def _changing(
    runtime: Runtime, context: RequestContext, id: UUID
) -> AbstractAsyncContextManager[WriteSession]:
    filters = {"visible_to": shopper(context)}
    return changing(read.carts, "cart", runtime, context, id, filters=filters)


class StoreCarts(Controller):
    path = "/carts"
    tags = ("Store carts",)

    @post(opt=public(), status_code=200)
    async def create_cart(
        self, context: Context, runtime: Engine, data: JSONBody[CreateCart | None] = None
    ) -> Response[CartResponse]:
        async with runtime.database.write(context) as session:
            id = await CartService(session).create(data or CreateCart(), context.currency_code)
            return await written(read.carts, "cart", session, id)

    @get("/{id:uuid}", opt=public())
    async def get_cart(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[CartResponse]:
        return await one_of(
            read.carts,
            "cart",
            runtime,
            context,
            id,
            filters={"visible_to": shopper(context)},
            cached=cache.carts,
        )

    @post("/{id:uuid}", opt=public(), status_code=200)
    async def update_cart(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[UpdateCart]
    ) -> Response[CartResponse]:
        async with _changing(runtime, context, id) as session:
            await CartService(session).update(id, data)
            return await written(read.carts, "cart", session, id)

    @post("/{id:uuid}/line-items", opt=public(), status_code=200)
    async def add_line(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[AddLine]
    ) -> Response[CartResponse]:
        async with _changing(runtime, context, id) as session:
            await CartService(session).add_line(id, data)
            return await written(read.carts, "cart", session, id)

    @post("/{id:uuid}/line-items/{line_id:uuid}", opt=public(), status_code=200)
    async def update_line(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        line_id: FromPath[UUID],
        data: JSONBody[UpdateLine],
    ) -> Response[CartResponse]:
        async with _changing(runtime, context, id) as session:
            await CartService(session).set_line(id, line_id, data.quantity)
            return await written(read.carts, "cart", session, id)

    @delete("/{id:uuid}/line-items/{line_id:uuid}", opt=public(), status_code=200)
    async def delete_line(
        self, context: Context, runtime: Engine, id: FromPath[UUID], line_id: FromPath[UUID]
    ) -> Response[DeletedLine]:
        async with _changing(runtime, context, id) as session:
            await CartService(session).remove_line(id, line_id)
            cart = await read.carts.one(session, id)
        return responses.json_body(
            f'{{"id":"{line_id}","object":"line-item","deleted":true,"parent":{cart}}}'
        )
