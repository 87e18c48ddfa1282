"""The catalog's routes for storefronts: what is published, priced in one currency."""

from uuid import UUID

from litestar import Controller, Response, get
from litestar.params import FromPath

from impact.domains.catalog import cache, read
from impact.domains.catalog.schemas import (
    CategoryList,
    CategoryResponse,
    CollectionList,
    CollectionResponse,
    StoreProductList,
    StoreProductResponse,
)
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import (
    Context,
    CurrencyParameter,
    Engine,
    Fields,
    Many,
    Paging,
    Search,
    Word,
)
from impact.engine.http.routes import list_of, one_of
from impact.engine.security.permissions import public
from impact.engine.text import like_pattern


class StoreProducts(Controller):
    path = "/products"
    tags = ("Store products",)

    @get(opt=public() | listing(read.store_products))
    async def list_products(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        currency_code: CurrencyParameter = None,
        id: Many[UUID] = None,
        handle: Many[Word] = None,
        collection_id: Many[UUID] = None,
        category_id: Many[UUID] = None,
        tag: Many[Word] = None,
    ) -> Response[StoreProductList]:
        filters = {
            "q": like_pattern(q),
            "id": id,
            "handle": handle,
            "collection_id": collection_id,
            "category_id": category_id,
            "tag": tag,
        }
        return await list_of(
            read.store_products,
            "products",
            runtime,
            context,
            paging,
            fields=fields,
            filters=filters,
            currency_code=currency_code or context.currency_code,
            cached=cache.products,
            shared=True,
        )

    @get("/{id:uuid}", opt=public())
    async def get_product(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        fields: Fields = None,
        currency_code: CurrencyParameter = None,
    ) -> Response[StoreProductResponse]:
        return await one_of(
            read.store_products,
            "product",
            runtime,
            context,
            id,
            fields=fields,
            currency_code=currency_code or context.currency_code,
            cached=cache.products,
            shared=True,
        )


class StoreCollections(Controller):
    path = "/collections"
    tags = ("Store collections",)

    @get(opt=public() | listing(read.collections))
    async def list_collections(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        fields: Fields = None,
        handle: Many[Word] = None,
    ) -> Response[CollectionList]:
        return await list_of(
            read.collections,
            "collections",
            runtime,
            context,
            paging,
            fields=fields,
            filters={"handle": handle},
            cached=cache.collections,
            shared=True,
        )

    @get("/{id:uuid}", opt=public())
    async def get_collection(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[CollectionResponse]:
        return await one_of(
            read.collections,
            "collection",
            runtime,
            context,
            id,
            fields=fields,
            cached=cache.collections,
            shared=True,
        )


class StoreCategories(Controller):
    path = "/product-categories"
    tags = ("Store categories",)

    @get(opt=public() | listing(read.store_categories))
    async def list_categories(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        fields: Fields = None,
        handle: Many[Word] = None,
        parent_category_id: Many[UUID] = None,
    ) -> Response[CategoryList]:
        return await list_of(
            read.store_categories,
            "product_categories",
            runtime,
            context,
            paging,
            fields=fields,
            filters={"handle": handle, "parent_category_id": parent_category_id},
            cached=cache.categories,
            shared=True,
        )

    @get("/{id:uuid}", opt=public())
    async def get_category(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[CategoryResponse]:
        return await one_of(
            read.store_categories,
            "product_category",
            runtime,
            context,
            id,
            fields=fields,
            cached=cache.categories,
            shared=True,
        )
