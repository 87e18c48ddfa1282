"""Answers given again without routing: to nobody who may not, and never older than the cache's."""

import asyncio

import msgspec
import pytest

from impact.context import Actor, ActorKind
from impact.engine.http import shortcuts
from support.shops import Shop

PATH = "/admin/products?limit=7"


async def warm(client, shop: Shop, path: str = PATH, headers=None) -> None:
    """Ask until the short way is taken."""
    before = shop.runtime.shortcuts.taken
    async with asyncio.timeout(20):  # on a busy machine Redis's beat may be late
        while shop.runtime.shortcuts.taken == before:
            answer = await client.get(path, headers=headers or shop.admin)
            assert answer.status_code == 200, answer.text


async def taken(client, shop: Shop, path: str, headers) -> tuple[bool, int]:
    """Whether the short way answered, and the status."""
    before = shop.runtime.shortcuts.taken
    answer = await client.get(path, headers=headers)
    return shop.runtime.shortcuts.taken > before, answer.status_code


async def test_the_same_answer(client, shop):
    await shop.product(description="long " * 500)
    for coding in ("identity", "gzip", "zstd"):
        headers = {**shop.admin, "accept-encoding": coding}
        long = await client.get(PATH, headers=headers)
        await warm(client, shop, headers=headers)
        short = await client.get(PATH, headers=headers)
        assert short.content == long.content
        assert list(short.headers) == list(long.headers)
        assert short.headers["x-request-id"] != long.headers["x-request-id"]


async def test_other_tenant(client, shop, other_shop):
    await shop.product()
    await warm(client, shop)
    await warm(client, shop, "/store/products", shop.store)
    answer = await client.get(PATH, headers=other_shop.admin)
    assert answer.json()["products"] == []
    headers = {**shop.admin, "x-tenant-id": other_shop.tenant}
    assert (await client.get(PATH, headers=headers)).status_code == 403
    answer = await client.get("/store/products", headers=other_shop.store)
    assert answer.json()["products"] == []
    assert (await client.get("/store/products")).status_code == 400


async def test_a_change_is_seen_at_once(client, shop):
    product = await shop.product()
    await warm(client, shop)
    await client.post(
        f"/admin/products/{product['id']}", headers=shop.admin, json={"title": "Renamed"}
    )
    assert (await client.get(PATH, headers=shop.admin)).json()["products"][0]["title"] == "Renamed"


async def test_a_permission_that_was_taken_away(client, shop):
    user = await shop.user("product:read")
    await warm(client, shop, headers=user)
    role = (await client.get("/admin/roles?order=-created_at", headers=shop.admin)).json()["roles"][
        0
    ]
    assert role["name"].startswith("role-")
    gone = await client.post(
        f"/admin/roles/{role['id']}", headers=shop.admin, json={"permissions": ["order:read"]}
    )
    assert gone.status_code == 200, gone.text
    assert await taken(client, shop, PATH, user) == (False, 403)


async def test_a_shop_that_was_closed(client, shop, hq):
    await warm(client, shop, "/store/products", shop.store)
    url = f"/admin/tenants/{shop.tenant}"
    closed = await client.post(url, headers=hq, json={"status": "suspended"})
    assert closed.status_code == 200, closed.text
    assert await taken(client, shop, "/store/products", shop.store) == (False, 403)


async def test_a_token_that_has_expired(client, shop, runtime, monkeypatch):
    token = runtime.tokens.issue(
        Actor(ActorKind.USER, shop.tenant, shop.owner_id), ttl=60, made_in=shop.context()
    )
    headers = {"authorization": f"Bearer {token}"}
    await warm(client, shop, headers=headers)
    later = shortcuts.time.time() + 61
    monkeypatch.setattr(shortcuts.time, "time", lambda: later)
    assert await taken(client, shop, PATH, headers) == (False, 401)


@pytest.mark.parametrize("name", ["authorization", "x-tenant-id"])
async def test_a_header_that_comes_twice(client, shop, other_shop, name):
    """Which of the two counts is the router's to say."""
    await warm(client, shop, headers={**shop.admin, "x-tenant-id": shop.tenant})
    values = {"authorization": shop.admin["authorization"], "x-tenant-id": shop.tenant}
    other = {"authorization": other_shop.admin["authorization"], "x-tenant-id": other_shop.tenant}
    headers = [*values.items(), (name, other[name])]
    assert not (await taken(client, shop, PATH, headers))[0]


async def test_what_is_not_cached_has_none(client, shop):
    for path in ("/admin/orders", "/admin/users/me", "/admin/products?q=a", "/health/live"):
        for _ in range(4):
            assert not (await taken(client, shop, path, shop.admin))[0], path


async def test_whoever_has_seen_more_is_not_answered_with_less(client, shop):
    await shop.product()
    await warm(client, shop)
    # A position that no node has replayed, told to no cache.
    ahead = {**shop.admin, "x-consistency-token": "FFFFFFFFFF"}
    assert not (await taken(client, shop, PATH, ahead))[0]


async def test_each_is_counted(client, shop, runtime):
    await warm(client, shop)

    def count() -> int:
        runtime.telemetry.monitor.fold()
        series = runtime.telemetry.monitor.series
        name = "GET /admin/products"
        return sum(each.life().count for each in series if each.name == name)

    before = count()
    assert (await taken(client, shop, PATH, shop.admin)) == (True, 200)
    assert count() == before + 1


async def test_memory_is_bounded(client, shop, runtime, monkeypatch):
    """Questions that nobody asks again make room."""
    known = runtime.shortcuts._known
    assert known.maxsize == shortcuts._MOST
    monkeypatch.setattr(shortcuts, "_LONGEST", 300)
    long = f"{PATH}&fields={'a' * 300}"
    for _ in range(4):
        assert not (await taken(client, shop, long, shop.admin))[0]
    assert msgspec.json.decode((await client.get(long, headers=shop.admin)).content)


async def test_a_report(client, shop):
    """An order ends it; what is asked for in another form is another question."""
    variant = await shop.variant(stock=10)
    path = "/admin/reports/sales"
    await warm(client, shop, path)
    table = await client.get(path, headers={**shop.admin, "accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert (await shop.order(variant)).status_code == 200
    answer = await client.get(path, headers=shop.admin)
    assert answer.json()["totals"][0]["orders"] == 1
    assert "accept" in answer.headers["vary"].split(", ")
    again = {**shop.admin, "if-none-match": answer.headers["etag"]}
    assert (await client.get(path, headers=again)).status_code == 304
