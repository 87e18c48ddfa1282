"""Customers of a shop: one who is logged in, or very many."""

from uuid import uuid4

import asyncpg
import httpx

from impact.engine.runtime import Runtime
from impact.stack import Endpoints
from support.shops import Shop

_FILL = """
INSERT INTO customer (tenant_id, id, email, first_name, metadata)
SELECT $1, gen_random_uuid(), 'buyer' || n || '@mail.test', 'Buyer ' || n,
       jsonb_build_object('note', repeat('x', $3))
FROM generate_series(1, $2) AS n
"""


async def customer(client: httpx.AsyncClient, shop: Shop) -> dict[str, str]:
    """The storefront's headers of a new customer."""
    body = {"email": f"{uuid4().hex}@mail.test", "password": "a long password"}
    response = await client.post("/auth/customer/emailpass/register", headers=shop.store, json=body)
    assert response.status_code == 200, response.text
    return {**shop.store, "authorization": f"Bearer {response.json()['token']}"}


async def fill(endpoints: Endpoints, runtime: Runtime, shop: Shop, rows: int, size: int) -> None:
    """Customers of about ``size`` bytes each, which no change record tells of."""
    owner = await asyncpg.connect(endpoints.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("ALTER TABLE customer DISABLE TRIGGER capture_insert")
            await owner.execute(_FILL, shop.tenant, rows, size)
            await owner.execute("ALTER TABLE customer ENABLE ALWAYS TRIGGER capture_insert")
    finally:
        await owner.close()
    # A commit of the shop's own, whose token says from where on the rows are there.
    context = shop.context()
    async with runtime.database.write(context):
        pass
    for node in runtime.database.nodes.replicas():
        assert await node.wait_for_replay(context.token, 20)
