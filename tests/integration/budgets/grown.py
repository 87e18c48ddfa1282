"""A database with one large shop among small ones, made by SQL in seconds, for looking at plans."""

import asyncpg

TENANT = "large"
PRODUCTS, ORDERS = 20_000, 60_000
_NEIGHBOURS = 20

# Ids follow time, as the application's do. Half of the orders are a minute apart.
_FILL = f"""
INSERT INTO tenant (id, name, currency_code)
    SELECT t, t, 'eur' FROM unnest($1::text[]) t;
INSERT INTO collection (tenant_id, id, title, handle)
    SELECT '{TENANT}', md5('collection' || n)::uuid, 'Collection ' || n, 'c' || n
    FROM generate_series(1, 20) n;
INSERT INTO product_category (tenant_id, id, name, handle)
    SELECT '{TENANT}', md5('category' || n)::uuid, 'Category ' || n, 'g' || n
    FROM generate_series(1, 20) n;
INSERT INTO product (tenant_id, id, title, handle, status, collection_id, tags, external_id,
                     created_at, updated_at)
    SELECT '{TENANT}', md5('product' || n)::uuid, 'Product ' || md5(n::text), 'product-' || n,
           CASE WHEN n % 50 = 0 THEN 'draft' ELSE 'published' END,
           md5('collection' || n % 20 + 1)::uuid, ARRAY['tag-' || n % 500], 'e' || n,
           now() - n * interval '1 minute', now() - n * interval '50 seconds'
    FROM generate_series(1, {PRODUCTS}) n;
INSERT INTO product_category_product (tenant_id, product_category_id, product_id)
    SELECT '{TENANT}', md5('category' || n % 20 + 1)::uuid, md5('product' || n)::uuid
    FROM generate_series(1, {PRODUCTS}) n;
INSERT INTO product_variant (tenant_id, id, product_id, title, sku, created_at)
    SELECT tenant_id, id, id, title, handle, created_at FROM product;
INSERT INTO variant_price (tenant_id, id, variant_id, currency_code, amount)
    SELECT tenant_id, id, id, 'eur', 1000 FROM product;
INSERT INTO inventory_level (tenant_id, id, variant_id, created_at)
    SELECT tenant_id, id, id, created_at FROM product;
INSERT INTO customer (tenant_id, id, email, has_account, created_at, updated_at)
    SELECT '{TENANT}', md5('customer' || n)::uuid, 'Buyer' || n || '@mail.example', n % 2 = 0,
           now() - n * interval '1 minute', now() - n * interval '1 minute'
    FROM generate_series(1, {PRODUCTS}) n;
INSERT INTO "order" (tenant_id, id, kind, status, fulfillment_status, email, customer_id,
                     external_id, currency_code, item_total, total, units, created_at)
    SELECT '{TENANT}', md5('order' || n)::uuid,
           CASE WHEN n % 40 = 0 THEN 'return' ELSE 'sale' END,
           CASE WHEN n % 30 = 0 THEN 'canceled' ELSE 'completed' END,
           CASE WHEN n % 1000 = 0 THEN 'shipped' ELSE 'delivered' END,
           'Buyer' || n % {PRODUCTS} + 1 || '@mail.example',
           md5('customer' || n % {PRODUCTS} + 1)::uuid, 'o' || n, 'eur', 1000, 1000, 1,
           now() - n * interval '1 minute'
    FROM generate_series(1, {ORDERS}) n;
INSERT INTO order_line (tenant_id, id, order_id, product_id, variant_id, title, quantity,
                        unit_price, total, created_at)
    SELECT o.tenant_id, gen_random_uuid(), o.id, p.id, p.id, 'x', 1, 1000, 1000, o.created_at
    FROM (SELECT *, row_number() OVER () AS place FROM "order") o
    JOIN (SELECT *, row_number() OVER () AS place FROM product) p
      ON p.place = o.place % {PRODUCTS} + 1;
INSERT INTO "order" (tenant_id, id, currency_code, item_total, total, units, created_at)
    SELECT t, gen_random_uuid(), 'eur', 1000, 1000, 1, now() - n * interval '1 minute'
    FROM unnest($1::text[]) t, generate_series(1, 200) n WHERE t <> '{TENANT}'
"""


async def grow(admin: asyncpg.Connection) -> None:
    """Fill an empty, migrated database; needs a superuser, who switches triggers off for it."""
    tenants = [TENANT, *(f"small-{number}" for number in range(_NEIGHBOURS))]
    # Triggers that fire always, a replica's too, are switched off by name.
    own = await admin.fetch(
        "SELECT tgrelid::regclass::text AS place, tgname FROM pg_trigger WHERE tgenabled = 'A'"
    )
    await admin.execute("SET session_replication_role = replica")
    for each in own:
        await admin.execute(f"ALTER TABLE {each['place']} DISABLE TRIGGER {each['tgname']}")
    for statement in _FILL.split(";\n"):
        await admin.execute(statement, *([tenants] if "$1" in statement else []))
    for each in own:
        await admin.execute(f"ALTER TABLE {each['place']} ENABLE ALWAYS TRIGGER {each['tgname']}")
    await admin.execute("SELECT sales_rebuild($1)", TENANT)
    await admin.execute("VACUUM ANALYZE")
