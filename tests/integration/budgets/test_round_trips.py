"""Work per request is constant (P6): round trips per route, counted on the wire.

What a route costs is written down here; a change that makes one dearer fails.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from impact.app import create_app
from impact.engine.cache.keys import whole_tenant
from impact.settings import Settings
from support.caching import stored
from support.lifespan import started
from support.shops import Shop, open_shop
from support.wire import Wire, wire_to

ROWS = (1, 10, 100)
READ = 3
"""BEGIN with the transaction's settings, the statement, ROLLBACK."""
ACCESS = 2 * READ
"""Who is asking, once per process and change: their rights, and the shop."""
CACHED = 0
"""What an answer from the cache asks of PostgreSQL, the rights of the caller included."""
UNCACHED_LISTS = [
    *(
        f"/admin/{name}"
        for name in (
            "variants",
            "inventory-levels",
            "orders",
            "customers",
            "users",
            "roles",
            "policies",
            "api-keys",
            "audit-logs",
        )
    ),
]
CACHED_LISTS = [
    *(
        f"/admin/{name}"
        for name in (
            "products",
            "collections",
            "product-categories",
        )
    ),
    *(f"/store/{name}" for name in ("products", "collections", "product-categories")),
    "/admin/reports/sales",
    "/admin/reports/popular-products",
]


@dataclass
class Counted:
    """A shop of an application whose every message to PostgreSQL is counted."""

    shop: Shop
    client: httpx.AsyncClient
    wire: Wire

    async def cost(self, method: str, path: str, **options: object) -> tuple[int, httpx.Response]:
        """Round trips of one request, and its answer."""
        headers = self.shop.admin if path.startswith("/admin") else self.shop.store
        before = self.wire.round_trips
        response = await self.client.request(method, path, headers=headers, **options)  # type: ignore[arg-type]
        assert response.status_code == 200, response.text
        # The end of a load's transaction, for which the request did not wait, counts too.
        await stored(self.shop.runtime.cache)
        return self.wire.round_trips - before, response

    async def forget(self) -> None:
        """Empty the cache of all that is the shop's."""
        tenant = self.shop.tenant
        await self.shop.runtime.cache.versions.raise_now(tenant, [whole_tenant(tenant)])

    async def cold_cost(self, method: str, path: str) -> int:
        """Round trips with statements prepared and an empty cache."""
        await self.cost(method, path)
        await self.forget()
        return (await self.cost(method, path))[0]

    async def warm_cost(self, method: str, path: str, **options: object) -> int:
        """Round trips once the statements are prepared and what can be cached is."""
        for _ in range(2):
            await self.cost(method, path, **options)
        return (await self.cost(method, path, **options))[0]

    async def grow(self, rows: int) -> None:
        for number in range(rows):
            variant = await self.shop.variant(stock=1000)
            assert (await self.shop.order(variant)).status_code == 200
            for path, body in (
                ("collections", {"title": f"Collection {rows}-{number}"}),
                ("product-categories", {"name": f"Category {rows}-{number}"}),
                ("customers", {"email": f"c{rows}-{number}@example.com"}),
            ):
                await self.cost("POST", f"/admin/{path}", json=body)
            await self.shop.user("product:read")


@pytest.fixture(scope="module")
async def counted(settings: Settings) -> AsyncIterator[Counted]:
    async with wire_to(settings.primary_url) as wire:
        # One node and one way: whatever a request asks of PostgreSQL passes here.
        alone = msgspec.structs.replace(
            settings,
            primary_url=wire.url,
            replica_urls=(),
            cache_service=f"{settings.cache_service}-budgets",
            # Not one look-up may be given up because the machine is busy.
            redis_timeout=2.0,
            cache_silence=30.0,
            # Nor is a statement's plan asked for because it was slow.
            slow_query=60.0,
            slow_query_alert=60.0,
        )
        async with (
            started(create_app(alone)) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://impact.test"
            ) as client,
        ):
            # The task that prepares the log's partitions has its first look behind it.
            while app.state.runtime.partitions.status.checked_at is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield Counted(await open_shop(app.state.runtime, client), client, wire)


async def test_lists_cost_the_same_at_any_length(counted: Counted) -> None:
    costs: dict[str, set[int]] = {path: set() for path in (*UNCACHED_LISTS, *CACHED_LISTS)}
    grown = 0
    for rows in ROWS:
        await counted.grow(rows - grown)
        grown = rows
        for path in UNCACHED_LISTS:
            costs[path].add(await counted.warm_cost("GET", f"{path}?limit=100"))
        for path in CACHED_LISTS:
            url = path if "reports" in path else f"{path}?limit=100"
            costs[path].add(await counted.warm_cost("GET", url))
            costs[path].add(await counted.cold_cost("GET", url))
    assert costs == {path: {READ} for path in UNCACHED_LISTS} | {
        path: {CACHED, ACCESS + READ} for path in CACHED_LISTS
    }


async def test_pages_bring_their_rows_and_no_more(counted: Counted) -> None:
    """A page and the row after it, which says whether there is another; nothing beside the bytes
    that go out but what sorts them."""
    await counted.grow(12)
    for path in (*UNCACHED_LISTS, *CACHED_LISTS):
        if "reports" in path:
            continue
        url = f"{path}?limit=5"
        await counted.cost("GET", url)
        if path in CACHED_LISTS:
            await counted.forget()
            # Who asks is known again.
            await counted.cost("GET", f"{path}?limit=1")
        rows, sent = counted.wire.rows, counted.wire.bytes
        _, answer = await counted.cost("GET", url)
        key = next(name for name, each in answer.json().items() if isinstance(each, list))
        items = answer.json()[key]
        more = answer.json()["next_cursor"] is not None
        assert counted.wire.rows - rows == len(items) + more, path
        # One row more, ids and sort keys.
        most = len(answer.content) * 1.2 * 1.3 + 1500
        assert counted.wire.bytes - sent <= most, path


async def test_one_entity_costs_one_statement(counted: Counted) -> None:
    product = await counted.shop.product()
    order = (await counted.shop.order(product["variants"][0]["id"])).json()["order"]
    for path in (
        f"/admin/products/{product['id']}",
        f"/store/products/{product['id']}",
    ):
        assert await counted.warm_cost("GET", path) == CACHED
        assert await counted.cold_cost("GET", path) == ACCESS + READ
    # The status of an order is never cached.
    for path in (f"/admin/orders/{order['id']}", f"/store/orders/{order['id']}"):
        assert await counted.warm_cost("GET", path) == READ


async def test_a_warm_permission_check_costs_nothing(counted: Counted) -> None:
    body = {"permissions": ["product:read", "order:update"]}
    path = "/admin/permissions/check"
    assert await counted.warm_cost("POST", path, json=body) == 0


async def test_a_cart_is_read_once(counted: Counted) -> None:
    item = {"variant_id": await counted.shop.variant(), "quantity": 1}
    _, made = await counted.cost("POST", "/store/carts", json={"items": [item]})
    path = f"/store/carts/{made.json()['cart']['id']}"
    assert await counted.warm_cost("GET", path) == CACHED
    await counted.cost("POST", path, json={"email": "a@example.com"})
    cost, found = await counted.cost("GET", path)
    assert cost == READ
    assert found.json()["cart"]["email"] == "a@example.com"


@pytest.mark.parametrize("lines", ROWS)
async def test_an_order_of_any_size(counted: Counted, lines: int) -> None:
    variants = [await counted.shop.variant(stock=100) for _ in range(lines)]
    body = {
        "email": "a@example.com",
        "lines": [{"variant_id": variant, "quantity": 1} for variant in variants],
    }
    # BEGIN, the stock, the order, COMMIT, the WAL position.
    assert await counted.warm_cost("POST", "/store/orders", json=body) == 5


async def test_an_order_with_an_idempotency_key(counted: Counted) -> None:
    body = {
        "email": "a@example.com",
        "lines": [{"variant_id": await counted.shop.variant(), "quantity": 1}],
    }
    for number in range(3):
        headers = {**counted.shop.store, "idempotency-key": f"k{number}"}
        before = counted.wire.round_trips
        response = await counted.client.post("/store/orders", headers=headers, json=body)
        assert response.status_code == 200
        spent = counted.wire.round_trips - before
    assert spent == 6


async def test_the_contexts_count_is_the_wires(counted: Counted) -> None:
    """The number that a request keeps of its own round trips is true."""
    context = counted.shop.context()
    database = counted.shop.runtime.database
    from impact.domains.catalog.repository import ProductRepository

    product = await counted.shop.product()
    for _ in range(3):
        context = counted.shop.context()
        before = counted.wire.round_trips
        async with database.read(context) as session:
            await ProductRepository(session).get(product["id"])
    assert context.round_trips == counted.wire.round_trips - before
