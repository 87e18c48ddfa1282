"""The statements of the Shopify import. Each takes a batch of rows as one JSON array."""

from impact.engine.db.statements import ALL, Statement
from impact.flows.imports.ids import uuid7_at

FIND_HANDLES = Statement(
    "import.find_handles",
    "SELECT handle FROM product WHERE tenant_id = :tenant_id AND handle = ANY(:handles::text[])",
)

FIND_SKUS = Statement(
    "import.find_skus",
    "SELECT sku FROM product_variant WHERE tenant_id = :tenant_id AND sku = ANY(:skus::text[])",
)

INSERT_CATEGORIES = Statement(
    "import.insert_categories",
    """
    INSERT INTO product_category (tenant_id, id, name, handle)
    SELECT :tenant_id, r.id, r.name, r.handle
    FROM jsonb_to_recordset(:rows::jsonb) AS r(id uuid, name text, handle text)
    ON CONFLICT (tenant_id, handle) DO NOTHING
    """,
    writes={"product_category": ALL},
)

INSERT_PRODUCTS = Statement(
    "import.insert_catalog_products",
    """
    INSERT INTO product
      (tenant_id, id, title, description, handle, status, thumbnail, is_giftcard, vendor, tags)
    SELECT :tenant_id, r.id, r.title, r.description, r.handle, r.status, r.thumbnail,
           r.is_giftcard, r.vendor, r.tags
    FROM jsonb_to_recordset(:rows::jsonb) AS r(
      id uuid, title text, description text, handle text, status text, thumbnail text,
      is_giftcard boolean, vendor text, tags text[])
    """,
    writes={"product": ALL},
)

LINK_CATEGORIES = Statement(
    "import.link_categories",
    """
    INSERT INTO product_category_product (tenant_id, product_id, product_category_id)
    SELECT :tenant_id, r.id, c.id
    FROM jsonb_to_recordset(:rows::jsonb) AS r(id uuid, category_handle text)
    JOIN product_category c ON c.tenant_id = :tenant_id AND c.handle = r.category_handle
    """,
    writes={"product_category_product": ALL},
)

INSERT_OPTIONS = Statement(
    "import.insert_options",
    """
    INSERT INTO product_option (tenant_id, id, product_id, title, values, rank)
    SELECT :tenant_id, r.id, r.product_id, r.title, r.values, r.rank
    FROM jsonb_to_recordset(:rows::jsonb) AS r(
      id uuid, product_id uuid, title text, values text[], rank integer)
    """,
    writes={"product_option": ALL},
)

INSERT_VARIANTS = Statement(
    "import.insert_catalog_variants",
    """
    INSERT INTO product_variant
      (tenant_id, id, product_id, title, sku, barcode, options, variant_rank, manage_inventory,
       allow_backorder, weight, metadata)
    SELECT :tenant_id, r.id, r.product_id, r.title, r.sku, r.barcode, r.options, r.variant_rank,
           r.manage_inventory, r.allow_backorder, r.weight, r.metadata
    FROM jsonb_to_recordset(:rows::jsonb) AS r(
      id uuid, product_id uuid, title text, sku text, barcode text, options jsonb,
      variant_rank integer, manage_inventory boolean, allow_backorder boolean, weight integer,
      metadata jsonb)
    """,
    writes={"product_variant": ALL},
)

INSERT_PRICES = Statement(
    "import.insert_catalog_prices",
    f"""
    INSERT INTO variant_price (tenant_id, id, variant_id, currency_code, amount)
    SELECT :tenant_id, {uuid7_at("now()")}, r.id, :currency::text, r.amount
    FROM jsonb_to_recordset(:rows::jsonb) AS r(id uuid, amount bigint)
    """,
    writes={"variant_price": ALL},
)

INSERT_LEVELS = Statement(
    "import.insert_catalog_levels",
    f"""
    INSERT INTO inventory_level (tenant_id, id, variant_id, stocked_quantity)
    SELECT :tenant_id, {uuid7_at("now()")}, r.id, r.stock
    FROM jsonb_to_recordset(:rows::jsonb) AS r(id uuid, stock integer)
    """,
    writes={"inventory_level": ALL},
)

INSERT_IMAGES = Statement(
    "import.insert_images",
    """
    INSERT INTO product_image (tenant_id, id, product_id, url, rank)
    SELECT :tenant_id, r.id, r.product_id, r.url, r.rank
    FROM jsonb_to_recordset(:rows::jsonb) AS r(id uuid, product_id uuid, url text, rank integer)
    """,
    writes={"product_image": ALL},
)
