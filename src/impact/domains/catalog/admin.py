"""The catalog's routes for staff."""

from typing import Literal
from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from impact.domains.catalog import cache, read
from impact.domains.catalog.schemas import (
    CategoryList,
    CategoryResponse,
    CollectionList,
    CollectionResponse,
    CreateCategory,
    CreateCollection,
    DeletedVariant,
    ProductList,
    ProductResponse,
    UpdateCategory,
    UpdateCollection,
    UpdateProduct,
    UpdateVariant,
    VariantList,
    VariantResponse,
)
from impact.domains.catalog.service import CategoryService, CollectionService, ProductService
from impact.engine.http import responses
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import (
    Context,
    Engine,
    Fields,
    Many,
    Paging,
    Search,
    Text,
    Word,
)
from impact.engine.http.routes import changing, list_of, one_of, written
from impact.engine.schemas import Deleted
from impact.engine.security.permissions import requires
from impact.engine.text import like_pattern

Status = Literal["draft", "proposed", "published", "rejected"]


class AdminProducts(Controller):
    path = "/products"
    tags = ("Admin products",)

    @get(opt=requires("product:read") | listing(read.products))
    async def list_products(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        handle: Many[Word] = None,
        status: Many[Status] = None,
        collection_id: Many[UUID] = None,
        category_id: Many[UUID] = None,
        tag: Many[Word] = None,
        sku: Text = None,
        external_id: Text = None,
    ) -> Response[ProductList]:
        filters = {
            "q": like_pattern(q),
            "id": id,
            "handle": handle,
            "status": status,
            "collection_id": collection_id,
            "category_id": category_id,
            "tag": tag,
            "sku": sku,
            "external_id": external_id,
        }
        return await list_of(
            read.products,
            "products",
            runtime,
            context,
            paging,
            fields=fields,
            filters=filters,
            cached=cache.products,
        )

    @get("/{id:uuid}", opt=requires("product:read"))
    async def get_product(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[ProductResponse]:
        return await one_of(
            read.products, "product", runtime, context, id, fields=fields, cached=cache.products
        )

    @post("/{id:uuid}", opt=requires("product:update"), status_code=200)
    async def update_product(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[UpdateProduct]
    ) -> Response[ProductResponse]:
        async with changing(read.products, "product", runtime, context, id) as session:
            await ProductService(session).update(id, data)
            return await written(read.products, "product", session, id)

    @delete("/{id:uuid}", opt=requires("product:delete"), status_code=200)
    async def delete_product(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[Deleted]:
        async with changing(read.products, "product", runtime, context, id) as session:
            await ProductService(session).remove(id)
        return responses.deleted("product", id)

    @get("/{id:uuid}/variants", opt=requires("product:read") | listing(read.variants))
    async def list_product_variants(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        id: FromPath[UUID],
        fields: Fields = None,
    ) -> Response[VariantList]:
        return await list_of(
            read.variants,
            "variants",
            runtime,
            context,
            paging,
            fields=fields,
            filters={"product_id": [id]},
            parent=(read.products, id),
        )

    @get("/{id:uuid}/variants/{variant_id:uuid}", opt=requires("product:read"))
    async def get_product_variant(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        variant_id: FromPath[UUID],
        fields: Fields = None,
    ) -> Response[VariantResponse]:
        return await one_of(
            read.variants,
            "variant",
            runtime,
            context,
            variant_id,
            fields=fields,
            filters={"product_id": [id]},
        )

    @post("/{id:uuid}/variants/{variant_id:uuid}", opt=requires("product:update"), status_code=200)
    async def update_variant(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        variant_id: FromPath[UUID],
        data: JSONBody[UpdateVariant],
    ) -> Response[ProductResponse]:
        async with changing(read.products, "product", runtime, context, id) as session:
            await ProductService(session).update_variant(id, variant_id, data)
            return await written(read.products, "product", session, id)

    @delete(
        "/{id:uuid}/variants/{variant_id:uuid}", opt=requires("product:update"), status_code=200
    )
    async def delete_variant(
        self, context: Context, runtime: Engine, id: FromPath[UUID], variant_id: FromPath[UUID]
    ) -> Response[DeletedVariant]:
        async with changing(read.products, "product", runtime, context, id) as session:
            await ProductService(session).remove_variant(id, variant_id)
            parent = await read.products.one(session, id)
        return responses.deleted("variant", variant_id, parent=parent)


class AdminVariants(Controller):
    """Of all products; ``/product-variants`` is what Medusa's client asks for."""

    tags = ("Admin products",)

    @get(
        ["/variants", "/product-variants"],
        opt=requires("product:read") | listing(read.variants),
    )
    async def list_variants(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        fields: Fields = None,
        id: Many[UUID] = None,
        product_id: Many[UUID] = None,
        sku: Text = None,
    ) -> Response[VariantList]:
        return await list_of(
            read.variants,
            "variants",
            runtime,
            context,
            paging,
            fields=fields,
            filters={"id": id, "product_id": product_id, "sku": sku},
        )

    @get("/variants/{id:uuid}", opt=requires("product:read"))
    async def get_variant(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[VariantResponse]:
        return await one_of(read.variants, "variant", runtime, context, id, fields=fields)


class AdminCollections(Controller):
    path = "/collections"
    tags = ("Admin collections",)

    @get(opt=requires("collection:read") | listing(read.collections))
    async def list_collections(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        handle: Many[Word] = None,
    ) -> Response[CollectionList]:
        filters = {"q": like_pattern(q), "id": id, "handle": handle}
        return await list_of(
            read.collections,
            "collections",
            runtime,
            context,
            paging,
            fields=fields,
            filters=filters,
            cached=cache.collections,
        )

    @post(opt=requires("collection:create"), status_code=200)
    async def create_collection(
        self, context: Context, runtime: Engine, data: JSONBody[CreateCollection]
    ) -> Response[CollectionResponse]:
        async with runtime.database.write(context) as session:
            id = await CollectionService(session).create(data)
            return await written(read.collections, "collection", session, id)

    @get("/{id:uuid}", opt=requires("collection:read"))
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
        )

    @post("/{id:uuid}", opt=requires("collection:update"), status_code=200)
    async def update_collection(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[UpdateCollection],
    ) -> Response[CollectionResponse]:
        async with changing(read.collections, "collection", runtime, context, id) as session:
            await CollectionService(session).update(id, data)
            return await written(read.collections, "collection", session, id)

    @delete("/{id:uuid}", opt=requires("collection:delete"), status_code=200)
    async def delete_collection(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[Deleted]:
        async with changing(read.collections, "collection", runtime, context, id) as session:
            await CollectionService(session).remove(id)
        return responses.deleted("collection", id)


class AdminCategories(Controller):
    path = "/product-categories"
    tags = ("Admin categories",)

    @get(opt=requires("category:read") | listing(read.categories))
    async def list_categories(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        handle: Many[Word] = None,
        parent_category_id: Many[UUID] = None,
    ) -> Response[CategoryList]:
        filters = {
            "q": like_pattern(q),
            "id": id,
            "handle": handle,
            "parent_category_id": parent_category_id,
        }
        return await list_of(
            read.categories,
            "product_categories",
            runtime,
            context,
            paging,
            fields=fields,
            filters=filters,
            cached=cache.categories,
        )

    @post(opt=requires("category:create"), status_code=200)
    async def create_category(
        self, context: Context, runtime: Engine, data: JSONBody[CreateCategory]
    ) -> Response[CategoryResponse]:
        async with runtime.database.write(context) as session:
            id = await CategoryService(session).create(data)
            return await written(read.categories, "product_category", session, id)

    @get("/{id:uuid}", opt=requires("category:read"))
    async def get_category(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[CategoryResponse]:
        return await one_of(
            read.categories,
            "product_category",
            runtime,
            context,
            id,
            fields=fields,
            cached=cache.categories,
        )

    @post("/{id:uuid}", opt=requires("category:update"), status_code=200)
    async def update_category(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[UpdateCategory],
    ) -> Response[CategoryResponse]:
        async with changing(read.categories, "product_category", runtime, context, id) as session:
            await CategoryService(session).update(id, data)
            return await written(read.categories, "product_category", session, id)

    @delete("/{id:uuid}", opt=requires("category:delete"), status_code=200)
    async def delete_category(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[Deleted]:
        async with changing(read.categories, "product_category", runtime, context, id) as session:
            await CategoryService(session).remove(id)
        return responses.deleted("product_category", id)
