"""New products and variants: the catalog's rows together with the stock they begin with."""

from collections.abc import Collection
from uuid import UUID

import msgspec
from litestar import Controller, Response, post
from litestar.params import FromPath, JSONBody

from impact.domains.catalog import read
from impact.domains.catalog.schemas import (
    BatchVariants,
    ChangedVariants,
    CreateProduct,
    CreateVariant,
    ProductResponse,
)
from impact.domains.catalog.service import ProductService
from impact.domains.inventory.service import InventoryService
from impact.engine.db.readmodel import PageRequest
from impact.engine.db.session import WriteSession
from impact.engine.http import responses
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.routes import changing, written
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import requires


class AdminNewProducts(Controller):
    path = "/products"
    tags = ("Admin products",)

    @post(opt=requires("product:create"), status_code=200)
    async def create_product(
        self, context: Context, runtime: Engine, data: JSONBody[CreateProduct]
    ) -> Response[ProductResponse]:
        async with runtime.database.write(context) as session:
            product, stock = await ProductService(session).create(data)
            await InventoryService(session).start(stock)
            return await written(read.products, "product", session, product.id)

    @post("/{id:uuid}/variants", opt=requires("product:update"), status_code=200)
    async def create_variant(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[CreateVariant]
    ) -> Response[ProductResponse]:
        async with changing(read.products, "product", runtime, context, id) as session:
            variant_id, stock = await ProductService(session).add_variant(id, data)
            await InventoryService(session).start({variant_id: stock})
            return await written(read.products, "product", session, id)

    @post("/{id:uuid}/variants/batch", opt=requires("product:update"), status_code=200)
    async def batch_variants(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[BatchVariants]
    ) -> Response[ChangedVariants]:
        """Create, change and delete variants of one product, all or none."""
        async with changing(read.products, "product", runtime, context, id) as session:
            stock = await ProductService(session).batch_variants(id, data)
            await InventoryService(session).start(stock)
            created = await _shown(runtime, session, stock)
            updated = await _shown(runtime, session, {item.id for item in data.update})
        gone = {"ids": data.delete, "object": "variant", "deleted": True}
        answer = {"created": created, "updated": updated, "deleted": gone}
        return responses.json_body(msgspec.json.encode(answer))


async def _shown(
    runtime: Runtime, session: WriteSession, ids: Collection[UUID]
) -> list[msgspec.Raw]:
    """The variants as they are now, the oldest first."""
    if not ids:
        return []
    page = await read.variants.page(
        session,
        PageRequest(limit=len(ids), order="id"),
        runtime.cursors,
        count_limit=1,
        filters={"id": list(ids)},
    )
    return [msgspec.Raw(item.encode()) for item in page.items]
