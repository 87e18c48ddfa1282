"""New products and variants: the catalog's rows together with the stock they begin with."""

from uuid import UUID

from litestar import Controller, Response, post
from litestar.params import FromPath, JSONBody

from impact.domains.catalog import read
from impact.domains.catalog.schemas import CreateProduct, CreateVariant, ProductResponse
from impact.domains.catalog.service import ProductService
from impact.domains.inventory.service import InventoryService
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.routes import written
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
        async with runtime.database.write(context) as session:
            variant_id, stock = await ProductService(session).add_variant(id, data)
            await InventoryService(session).start({variant_id: stock})
            return await written(read.products, "product", session, id)
