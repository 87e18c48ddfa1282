"""The shops that benchmarks measure on: made by SQL, with ids that a load generator can compute."""

import secrets

import asyncpg
import msgspec

from impact.context import HEADQUARTERS, Actor, ActorKind, system_context
from impact.domains.identity.bootstrap import bootstrap
from impact.domains.tenants.service import open_tenant
from impact.engine.runtime import Runtime

# Two variants a product, one price and much stock a variant. An id is a digest of the shop and a
# number, so that whoever knows the number knows the id.
_GOODS = """
INSERT INTO product (tenant_id, id, title, handle, status, description, created_at, updated_at)
    SELECT $1, md5($1 || 'p' || n)::uuid, 'Product ' || n, 'product-' || n, 'published',
           repeat('words that describe it ', 8), now() - n * interval '1 second', now()
    FROM generate_series(1, $2::int) n;
INSERT INTO product_option (tenant_id, id, product_id, title, values, rank)
    SELECT $1, md5($1 || 'o' || n)::uuid, md5($1 || 'p' || n)::uuid, 'Size', '{S,M}', 0
    FROM generate_series(1, $2::int) n;
INSERT INTO product_image (tenant_id, id, product_id, url, rank)
    SELECT $1, md5($1 || 'i' || n)::uuid, md5($1 || 'p' || n)::uuid, '/images/' || n || '.jpg', 0
    FROM generate_series(1, $2::int) n;
INSERT INTO product_variant (tenant_id, id, product_id, title, sku, options, variant_rank)
    SELECT $1, md5($1 || 'v' || n)::uuid, md5($1 || 'p' || (n + 1) / 2)::uuid,
           CASE n % 2 WHEN 1 THEN 'S' ELSE 'M' END, 'sku-' || n,
           jsonb_build_object('Size', CASE n % 2 WHEN 1 THEN 'S' ELSE 'M' END), n % 2
    FROM generate_series(1, $2::int * 2) n;
INSERT INTO variant_price (tenant_id, id, variant_id, currency_code, amount)
    SELECT $1, md5($1 || 'c' || n)::uuid, md5($1 || 'v' || n)::uuid, 'eur', 1000 + n % 1000
    FROM generate_series(1, $2::int * 2) n;
INSERT INTO inventory_level (tenant_id, id, variant_id, stocked_quantity)
    SELECT $1, md5($1 || 'l' || n)::uuid, md5($1 || 'v' || n)::uuid, 1000000000
    FROM generate_series(1, $2::int * 2) n
"""
_RECORDED = """
SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'capture_insert'
"""
_EVENTS = ("insert", "update", "delete")


class Shop(msgspec.Struct):
    """``token`` is of its owner, ``key`` of its storefront."""

    tenant: str
    token: str
    key: str
    products: int


async def switch_recording(owner: asyncpg.Connection, *, on: bool) -> None:
    """Let triggers record changes, or not."""
    for row in await owner.fetch(_RECORDED):
        how = "ENABLE ALWAYS" if on else "DISABLE"
        changes = ", ".join(f"{how} TRIGGER capture_{event}" for event in _EVENTS)
        await owner.execute(f"ALTER TABLE {row[0]} {changes}")


async def stocked_shop(
    runtime: Runtime, owner: asyncpg.Connection, tenant: str, products: int
) -> Shop:
    """A new shop with that many products of two variants, which nobody's audit log has to hold."""
    async with runtime.database.write(system_context(HEADQUARTERS, "bench")) as session:
        await open_tenant(session, tenant, tenant.title(), "eur")
    context = system_context(tenant, "bench")
    async with runtime.database.write(context) as session:
        made = await bootstrap(
            session,
            email=f"owner@{tenant}.example",
            password_hash=await runtime.passwords.hash(secrets.token_urlsafe(16)),
        )
    await switch_recording(owner, on=False)
    for statement in _GOODS.split(";"):
        await owner.execute(statement, tenant, products)
    await switch_recording(owner, on=True)
    await owner.execute("VACUUM ANALYZE")
    actor = Actor(ActorKind.USER, tenant, made.owner_id)
    token = runtime.tokens.issue(actor, ttl=86_400, made_in=context)
    return Shop(tenant, token, made.publishable_token, products)
