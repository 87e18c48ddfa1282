"""The catalog's read models: the SQL that shapes what lists and pages show."""

from impact.domains.catalog.schemas import (
    CalculatedPriceOut,
    CategoryOut,
    CategoryReference,
    CollectionOut,
    ImageOut,
    OptionOut,
    PriceOut,
    ProductOut,
    StoreProductOut,
    StoreVariantOut,
    VariantOut,
)
from impact.engine.db.readmodel import ReadModel, json_list, json_object


def _children(table: str, alias: str, parent: str, parent_key: str) -> dict[str, str]:
    """Source and condition of a child table whose foreign key is ``parent_key``."""
    return {
        "source": f"{table} {alias}",
        "where": f"{alias}.tenant_id = {parent}.tenant_id AND {alias}.{parent_key} = {parent}.id",
    }


OPTIONS = json_list(
    json_object(
        OptionOut,
        "o",
        values="(SELECT json_agg(json_build_object('id', o.id || '-' || u.n, 'value', u.value)"
        " ORDER BY u.n) FROM unnest(o.values) WITH ORDINALITY AS u(value, n))",
    ),
    order="o.rank, o.id",
    **_children("product_option", "o", "p", "product_id"),
)
IMAGES = json_list(
    json_object(ImageOut, "i"),
    order="i.rank, i.id",
    **_children("product_image", "i", "p", "product_id"),
)
PRICES = json_list(
    json_object(PriceOut, "vp"),
    order="vp.currency_code",
    **_children("variant_price", "vp", "v", "variant_id"),
)
CALCULATED_PRICE = (
    "(SELECT "
    + json_object(
        CalculatedPriceOut, "vp", calculated_amount="vp.amount", original_amount="vp.amount"
    )
    + " FROM variant_price vp WHERE vp.tenant_id = v.tenant_id AND vp.variant_id = v.id"
    " AND vp.currency_code = :currency_code)"
)
VARIANT_OPTIONS = (
    "coalesce((SELECT json_agg(json_build_object('value', e.value,"
    " 'option', json_build_object('title', e.key)) ORDER BY e.key)"
    " FROM jsonb_each_text(v.options) e), '[]'::json)"
)
AVAILABLE = (
    "coalesce((SELECT l.stocked_quantity - l.reserved_quantity FROM inventory_level l"
    " WHERE l.tenant_id = v.tenant_id AND l.variant_id = v.id), 0)"
)
VARIANT = json_object(
    VariantOut, "v", options=VARIANT_OPTIONS, prices=PRICES, inventory_quantity=AVAILABLE
)
STORE_VARIANT = json_object(
    StoreVariantOut,
    "v",
    options=VARIANT_OPTIONS,
    calculated_price=CALCULATED_PRICE,
    inventory_quantity=AVAILABLE,
)
COLLECTION = json_object(CollectionOut, "c")


def _categories(condition: str) -> str:
    return json_list(
        json_object(CategoryReference, "g"),
        "product_category_product l JOIN product_category g"
        " ON g.tenant_id = l.tenant_id AND g.id = l.product_category_id",
        where=f"l.tenant_id = p.tenant_id AND l.product_id = p.id AND {condition}",
        order="g.rank, g.id",
    )


PRODUCT_PARTS = {
    "collection": f"(SELECT {COLLECTION} FROM collection c"
    " WHERE c.tenant_id = p.tenant_id AND c.id = p.collection_id)",
    "tags": "coalesce((SELECT json_agg(json_build_object('value', t.value))"
    " FROM unnest(p.tags) AS t(value)), '[]'::json)",
    "options": OPTIONS,
    "images": IMAGES,
}


def _variants(item: str) -> str:
    return json_list(
        item,
        order="v.variant_rank, v.id",
        **_children("product_variant", "v", "p", "product_id"),
    )


PRODUCT_SORTS = {
    "created_at": "p.created_at",
    "updated_at": "p.updated_at",
    "title": "p.title",
    "handle": "p.handle",
    "id": "p.id",
}
PRODUCT_FILTERS = {
    # A stock-keeping unit is looked up whole; the rest is found anywhere in the product's text.
    "q": "p.search_text LIKE lower(:q)",
    "sku": "EXISTS (SELECT FROM product_variant v WHERE v.tenant_id = p.tenant_id"
    " AND v.product_id = p.id AND v.sku = :sku)",
    "handle": "p.handle = ANY(:handle)",
    "status": "p.status = ANY(:status)",
    "collection_id": "p.collection_id = ANY(:collection_id)",
    "category_id": "EXISTS (SELECT FROM product_category_product l WHERE l.tenant_id = p.tenant_id"
    " AND l.product_id = p.id AND l.product_category_id = ANY(:category_id))",
    "tag": "p.tags && :tag::text[]",
    "external_id": "p.external_id = :external_id",
}
# Row-level security keeps the indexes of these from us: see migration 0008.
PRODUCT_LOOKUPS = {
    "q": "product_ids_by_text(:q, {most})",
    "tag": "product_ids_by_tag(:tag::text[], {most})",
}
STORE_PRODUCT_FILTERS = {
    **PRODUCT_FILTERS,
    "category_id": "EXISTS (SELECT FROM product_category_product l JOIN product_category g"
    " ON g.tenant_id = l.tenant_id AND g.id = l.product_category_id AND g.is_active"
    " WHERE l.tenant_id = p.tenant_id AND l.product_id = p.id"
    " AND l.product_category_id = ANY(:category_id))",
}

products = ReadModel(
    "catalog.product",
    "product p",
    json_object(
        ProductOut,
        "p",
        variants=_variants(VARIANT),
        categories=_categories("true"),
        **PRODUCT_PARTS,
    ),
    sorts=PRODUCT_SORTS,
    filters=PRODUCT_FILTERS,
    lookups=PRODUCT_LOOKUPS,
    noun="Product",
)
store_products = ReadModel(
    "catalog.store_product",
    "product p",
    json_object(
        StoreProductOut,
        "p",
        variants=_variants(STORE_VARIANT),
        categories=_categories("g.is_active"),
        **PRODUCT_PARTS,
    ),
    sorts=PRODUCT_SORTS,
    filters=STORE_PRODUCT_FILTERS,
    lookups=PRODUCT_LOOKUPS,
    always="p.status = 'published'",
    noun="Product",
)
variants = ReadModel(
    "catalog.variant",
    "product_variant v",
    VARIANT,
    sorts={"created_at": "v.created_at", "title": "v.title", "id": "v.id"},
    filters={"product_id": "v.product_id = ANY(:product_id)", "sku": "v.sku = :sku"},
    noun="Variant",
)
collections = ReadModel(
    "catalog.collection",
    "collection c",
    COLLECTION,
    sorts={"created_at": "c.created_at", "title": "c.title", "handle": "c.handle", "id": "c.id"},
    filters={"q": "lower(c.title) LIKE lower(:q)", "handle": "c.handle = ANY(:handle)"},
    noun="Collection",
)
CATEGORY_SORTS = {
    "created_at": "g.created_at",
    "name": "g.name",
    "rank": "g.rank",
    "handle": "g.handle",
    "id": "g.id",
}
CATEGORY_FILTERS = {
    "q": "lower(g.name) LIKE lower(:q)",
    "handle": "g.handle = ANY(:handle)",
    "parent_category_id": "g.parent_category_id = ANY(:parent_category_id)",
}
categories = ReadModel(
    "catalog.category",
    "product_category g",
    json_object(CategoryOut, "g"),
    sorts=CATEGORY_SORTS,
    filters=CATEGORY_FILTERS,
    noun="Product category",
)
store_categories = ReadModel(
    "catalog.store_category",
    "product_category g",
    json_object(CategoryOut, "g"),
    sorts=CATEGORY_SORTS,
    filters=CATEGORY_FILTERS,
    always="g.is_active",
    noun="Product category",
)
