"""A crowd at the door, with all middleware on."""

import asyncio

import httpx
from litestar import Litestar

from impact.engine.runtime import Runtime
from support.shops import Shop

CHECK = "/admin/permissions/check"
BODY = {"permissions": ["product:read"]}


async def test_a_key_that_nobody_looked_at_puts_no_shop_in_anothers_line(
    app: Litestar, runtime: Runtime, shop: Shop, other_shop: Shop
) -> None:
    """Staff of one shop send the key of another's storefront beside their token."""
    key = other_shop.store["x-publishable-api-key"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://impact.test"
    ) as client:
        headers = {"authorization": shop.admin["authorization"], "x-publishable-api-key": key}
        assert (await client.post(CHECK, headers=headers, json=BODY)).status_code == 200
        assert runtime.door.flow(key.encode(), "10.0.0.1") == "10.0.0.1"
        answer = await client.get("/store/products", headers=other_shop.store)
        assert answer.status_code == 200
        assert runtime.door.flow(key.encode(), "10.0.0.1") == other_shop.tenant


async def test_a_shop_does_not_stand_in_anothers_line(
    app: Litestar, runtime: Runtime, shop: Shop, other_shop: Shop
) -> None:
    """Work of the processor alone, of which the database's turns know nothing."""
    done: list[str] = []
    most = 0
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://impact.test"
    ) as client:

        async def ask(who: Shop) -> None:
            nonlocal most
            answer = await client.post(CHECK, headers=who.admin, json=BODY)
            assert answer.status_code == 200
            done.append(who.tenant)
            most = max(most, runtime.door.waiting)

        for each in (shop, other_shop):
            await ask(each)
        done.clear()
        await asyncio.gather(*(ask(shop) for _ in range(80)), ask(other_shop))
    assert most > 10
    assert runtime.door.waiting == 0
    # Its client came last, and it was served long before the crowd.
    assert done.index(other_shop.tenant) < 60
