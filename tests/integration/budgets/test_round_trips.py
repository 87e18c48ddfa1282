"""Work per request is constant (P6): round trips per route, counted on the wire.

What a route costs is written down here; a change that makes one dearer fails.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from impact.app import create_app
from impact.settings import Settings
from support.lifespan import started
from support.shops import Shop, open_shop
from support.wire import Wire, wire_to

ROWS = (1, 10, 100)
READ = 3
"""BEGIN with the transaction's settings, the statement, ROLLBACK."""
ACCESS = READ
"""Who is asking: one read of their rights, or of the shop behind a key."""
LISTS = [
    *(
        f"/admin/{name}"
        for name in (
            "products",
            "variants",
            "collections",
            "product-categories",
            "inventory-levels",
            "orders",
            "customers",
            "users",
            "roles",
            "policies",
            "api-keys",
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
        return self.wire.round_trips - before, response

    async def warm_cost(self, method: str, path: str, **options: object) -> int:
        """Round trips once the statements are prepared on the connection."""
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
        alone = msgspec.structs.replace(settings, primary_url=wire.url, replica_urls=())
        async with (
            started(create_app(alone)) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://impact.test"
            ) as client,
        ):
            yield Counted(await open_shop(app.state.runtime, client), client, wire)


async def test_lists_cost_the_same_at_any_length(counted: Counted) -> None:
    costs: dict[str, set[int]] = {path: set() for path in LISTS}
    grown = 0
    for rows in ROWS:
        await counted.grow(rows - grown)
        grown = rows
        for path in LISTS:
            separator = "" if "reports" in path else "?limit=100"
            costs[path].add(await counted.warm_cost("GET", path + separator))
    assert costs == {path: {ACCESS + READ} for path in LISTS}


async def test_one_entity_costs_one_statement(counted: Counted) -> None:
    product = await counted.shop.product()
    order = (await counted.shop.order(product["variants"][0]["id"])).json()["order"]
    for path in (
        f"/admin/products/{product['id']}",
        f"/store/products/{product['id']}",
        f"/admin/orders/{order['id']}",
        f"/store/orders/{order['id']}",
    ):
        assert await counted.warm_cost("GET", path) == ACCESS + READ


@pytest.mark.parametrize("lines", ROWS)
async def test_an_order_of_any_size(counted: Counted, lines: int) -> None:
    variants = [await counted.shop.variant(stock=100) for _ in range(lines)]
    body = {
        "email": "a@example.com",
        "lines": [{"variant_id": variant, "quantity": 1} for variant in variants],
    }
    # BEGIN, the stock, the order, COMMIT, the WAL position.
    assert await counted.warm_cost("POST", "/store/orders", json=body) == ACCESS + 5


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
    assert spent == ACCESS + 6


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
