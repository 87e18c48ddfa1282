"""The same routes as a shop and its platform grow: ``impact bench growth``.

One database of its own is filled step by step by SQL. A server with one worker, whose catalog is
not cached, answers over HTTP; pg_stat_statements says what its statements read.
"""

import asyncio
import hashlib
import http.client
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec

from impact.engine.runtime import open_runtime
from impact.errors import ImpactError
from impact.loadtest.goods import stocked_shop
from impact.loadtest.ratios import Machine, machine
from impact.loadtest.servers import Server, impact_server
from impact.settings import Settings

_ROUNDS = 15
_LINES = 3
"""Of an order."""
_PAGE = 10_000
Progress = Callable[[str, float | None], None]

# Ids are digests of a number, so that one table's rows find the other's without a look-up.
_PRODUCTS = """
INSERT INTO product (tenant_id, id, title, handle, status, tags, created_at, updated_at)
    SELECT $1, md5($1 || 'p' || n)::uuid, 'Product ' || n || ' ' || substr(md5(n::text), 1, 8),
           'product-' || n, 'published', ARRAY['tag-' || n % 1000],
           now() - n * interval '1 second', now() - n * interval '1 second'
    FROM generate_series(1, $2::int) n;
INSERT INTO product_variant (tenant_id, id, product_id, title, sku, created_at)
    SELECT $1, md5($1 || 'p' || n)::uuid, md5($1 || 'p' || n)::uuid, 'One', 'sku-' || n, now()
    FROM generate_series(1, $2::int) n;
INSERT INTO variant_price (tenant_id, id, variant_id, currency_code, amount)
    SELECT $1, md5($1 || 'p' || n)::uuid, md5($1 || 'p' || n)::uuid, 'eur', 1000
    FROM generate_series(1, $2::int) n;
INSERT INTO inventory_level (tenant_id, id, variant_id, stocked_quantity)
    SELECT $1, md5($1 || 'p' || n)::uuid, md5($1 || 'p' || n)::uuid, 1000
    FROM generate_series(1, $2::int) n
"""
# Three years of orders in two currencies; few products have most of the lines.
_ORDERS = """
INSERT INTO "order" (tenant_id, id, kind, status, email, currency_code, item_total, total, units,
                     created_at)
    SELECT $1, md5($1 || 'o' || n)::uuid, CASE WHEN n % 20 = 0 THEN 'return' ELSE 'sale' END,
           CASE WHEN n % 33 = 0 THEN 'canceled' ELSE 'completed' END,
           'buyer' || n % 50000 || '@mail.example', CASE WHEN n % 9 = 0 THEN 'usd' ELSE 'eur' END,
           3000, 3000, 3, now() - (n * 94608000.0 / $2) * interval '1 second'
    FROM generate_series(1, $2::int) n
"""
_ORDER_LINES = """
INSERT INTO order_line (tenant_id, id, order_id, product_id, variant_id, title, quantity,
                        unit_price, total, rank)
    SELECT $1, gen_random_uuid(), md5($1 || 'o' || n)::uuid, product.id, product.id, 'Product', 1,
           1000, 1000, r
    FROM generate_series($2::int, $3::int) n
    CROSS JOIN generate_series(0, 2) r
    CROSS JOIN LATERAL (
        SELECT md5($1 || 'p' || 1 + floor($4::int * power(random(), 3) + 0 * n * r))::uuid AS id
    ) AS product
"""
_INDEXES = """
SELECT indexname AS name, indexdef AS definition FROM pg_indexes
WHERE tablename IN ('order', 'order_line') AND indexname LIKE 'ix_%'
"""
_BATCH = 250_000
"""Orders whose lines one statement makes."""
_TENANTS = """
INSERT INTO tenant (id, name, currency_code)
    SELECT 'shop-' || n, 'Shop', 'eur' FROM generate_series($1::int, $2::int) n;
INSERT INTO product (tenant_id, id, title, handle, status)
    SELECT 'shop-' || n, md5(n || 'p' || p)::uuid, 'Product ' || p, 'product-' || p, 'published'
    FROM generate_series($1::int, $2::int) n, generate_series(1, 5) p
"""
_READ = """
SELECT coalesce(sum(s.shared_blks_hit + s.shared_blks_read), 0)::float8 AS buffers,
       coalesce(sum(s.rows), 0)::float8 AS rows
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND s.query LIKE '%db_operation=%'
  AND s.query NOT SIMILAR TO '%db_operation=''(relay|rollups|monitor|partitions|events)%'
"""


class Sizes(msgspec.Struct, frozen=True):
    """``products`` of one shop and ``tenants`` of the platform, each in rising steps; ``lines``
    are the order lines of the shop with the most products."""

    products: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    tenants: tuple[int, ...] = (10, 1_000, 10_000)
    lines: int = 10_000_000


QUICK = Sizes((100, 1_000, 10_000), (10, 100, 1_000), 30_000)


class Cost(msgspec.Struct):
    """A request's median milliseconds, and what its statements read and answered: blocks of 8 kB
    and rows. ``at`` says how large the shop or the platform was."""

    route: str
    at: str
    ms: float
    buffers: float
    rows: float


class Growth(msgspec.Struct):
    """``memory`` is the worker's resident memory in bytes after each step, by its name."""

    machine: Machine
    sizes: Sizes
    costs: list[Cost]
    memory: dict[str, int]
    deep: dict[str, float]
    """Page 10,000 by cursor over page 1, in buffers, by list."""


async def measure(
    settings: Settings, owner_url: str, admin_url: str, sizes: Sizes, progress: Progress
) -> Growth:
    """Measure on an empty, migrated database; a superuser fills it and reads the statistics."""
    settings = msgspec.structs.replace(
        settings, catalog_cache_ttl=0.0, rate_limiting="off", replica_urls=()
    )
    admin = await asyncpg.connect(admin_url)
    owner = await asyncpg.connect(owner_url)
    try:
        version = await admin.fetchval("SHOW server_version")
        await admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        tokens = {}
        async with open_runtime(settings) as runtime:
            for number in sizes.products:
                shop = await stocked_shop(runtime, owner, f"grow-{number}", 0)
                tokens[number] = shop.token
        with impact_server(settings) as server:
            found = Growth(machine(version), sizes, [], {}, {})
            await _Run(admin, server, tokens, found, progress).all()
        return found
    finally:
        await owner.close()
        await admin.close()


class _Run:
    def __init__(
        self,
        admin: asyncpg.Connection,
        server: Server,
        tokens: dict[int, str],
        found: Growth,
        progress: Progress,
    ) -> None:
        self._admin = admin
        self._server = server
        self._tokens = tokens
        self._found = found
        self._sizes = found.sizes
        self._progress = progress

    async def all(self) -> None:
        # Fillings are of one shop each and leave no record.
        switched = await self._admin.fetch(
            "SELECT tgrelid::regclass::text AS place, tgname FROM pg_trigger WHERE tgenabled = 'A'"
        )
        await self._admin.execute(
            "SET session_replication_role = replica; SET maintenance_work_mem = '512MB';"
            " SET synchronous_commit = off"
        )
        for each in switched:
            await self._admin.execute(f"ALTER TABLE {each[0]} DISABLE TRIGGER {each[1]}")
        for number in self._sizes.products:
            await self._fill(_PRODUCTS, f"{number:,} products", f"grow-{number}", number)
            await self._lists(number, f"{number:,} products")
        largest = max(self._sizes.products)
        orders = self._sizes.lines // _LINES
        tenant = f"grow-{largest}"
        at = f"{orders * _LINES:,} order lines"
        # Built at the end, an index takes a third of the time.
        indexes = await self._admin.fetch(_INDEXES)
        for index in indexes:
            await self._admin.execute(f"DROP INDEX {index['name']}")
        await self._fill(_ORDERS, f"{orders:,} orders", tenant, orders, vacuum=False)
        for first in range(1, orders + 1, _BATCH):
            self._progress(at, first / orders)
            last = min(first + _BATCH - 1, orders)
            await self._admin.execute(_ORDER_LINES, tenant, first, last, largest, timeout=3600)
        for index in indexes:
            self._progress(index["name"], None)
            await self._admin.execute(index["definition"], timeout=3600)
        await self._admin.execute("VACUUM ANALYZE", timeout=3600)
        self._progress("sums of the orders", None)
        await self._admin.execute("SELECT sales_rebuild($1)", tenant, timeout=3600)
        await self._admin.execute("VACUUM ANALYZE sales_day, product_sales", timeout=3600)
        await self._orders(largest, at)
        smallest, before = min(self._sizes.products), len(self._sizes.products)
        for number in self._sizes.tenants:
            await self._fill(_TENANTS, f"{number:,} tenants", before + 1, number)
            before = number
            await self._lists(smallest, f"{number:,} tenants")
        for each in switched:
            await self._admin.execute(f"ALTER TABLE {each[0]} ENABLE ALWAYS TRIGGER {each[1]}")

    async def _fill(self, text: str, told: str, *values: object, vacuum: bool = True) -> None:
        self._progress(told, None)
        for statement in text.split(";"):
            await self._admin.execute(statement, *values, timeout=3600)
        if vacuum:
            await self._admin.execute("VACUUM ANALYZE", timeout=3600)

    async def _lists(self, products: int, at: str) -> None:
        """The catalog's routes for the shop of that many products."""
        rare = f"{products // 2} "
        one = hashlib.md5(f"grow-{products}p7".encode(), usedforsecurity=False).hexdigest()
        for route, path in (
            ("products, page 1", "/admin/products?limit=50"),
            ("products, q of all", "/admin/products?limit=50&q=product"),
            ("products, q of few", f"/admin/products?limit=50&q=product+{rare.strip()}+"),
            ("products by tag", "/admin/products?limit=50&tag=tag-7"),
            ("products by SKU", "/admin/products?limit=50&sku=sku-7"),
            ("one product", f"/admin/products/{UUID(one)}"),
        ):
            await self._measure(products, route, at, path)
        await self._deep(products, "products", at)
        self._remember(at)

    async def _orders(self, products: int, at: str) -> None:
        for route, path in (
            ("orders, page 1", "/admin/orders?limit=50"),
            ("orders by e-mail", "/admin/orders?limit=50&email=BUYER77@mail.example"),
            ("orders by status", "/admin/orders?limit=50&status=canceled"),
        ):
            await self._measure(products, route, at, path)
        await self._deep(products, "orders", at)
        # Asked for in other words each time, a report is in no cache.
        for report, other in (
            ("sales?interval=day", "&from=2000-01-{:02}"),
            ("sales?interval=month", "&from=2000-01-{:02}"),
            ("popular-products?limit=", "{}"),
        ):
            path = f"/admin/reports/{report}"
            cold = [path + other.format(number + 1) for number in range(_ROUNDS + 1)]
            await self._measure(products, f"{report}, cold", at, *cold)
            await self._measure(products, f"{report}, cached", at, cold[-1])
        self._remember(at)

    async def _deep(self, products: int, name: str, at: str) -> None:
        """Page 10,000 by cursor beside page 1 of the same size, where there are so many."""
        rows = products if name == "products" else self._sizes.lines // _LINES
        limit = min(50, rows // (_PAGE + 1))
        if not limit:
            return
        path = f"/admin/{name}?limit={limit}"
        page = await self._get(products, f"{path}&offset={limit * (_PAGE - 2)}")
        cursor = page["next_cursor"]
        first = await self._measure(products, f"{name}, page 1 of {limit}", at, path)
        deep = await self._measure(
            products, f"{name}, page 10,000 of {limit}", at, f"{path}&cursor={cursor}"
        )
        self._found.deep[f"{name}, {at}"] = deep.buffers / first.buffers

    async def _measure(self, products: int, route: str, at: str, *paths: str) -> Cost:
        """Ask ``_ROUNDS`` times, for each of the paths in turn, and once more before it counts."""
        self._progress(f"{route}, {at}", None)
        await self._get(products, paths[-1])
        await self._admin.execute("SELECT pg_stat_statements_reset()")
        times = []
        for number in range(_ROUNDS):
            began = time.perf_counter()
            await self._get(products, paths[number % len(paths)])
            times.append((time.perf_counter() - began) * 1000)
        read = await self._admin.fetchrow(_READ)
        assert read is not None  # noqa: S101 - sums always answer
        cost = Cost(
            route,
            at,
            round(statistics.median(times), 2),
            round(read["buffers"] / _ROUNDS, 1),
            round(read["rows"] / _ROUNDS, 1),
        )
        self._found.costs.append(cost)
        return cost

    async def _get(self, products: int, path: str) -> dict[str, object]:
        return await asyncio.to_thread(self._request, products, path)

    def _request(self, products: int, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        try:
            token = self._tokens[products]
            connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ImpactError(f"{path} answers {response.status}: {body[:300].decode()}")
        found: dict[str, object] = msgspec.json.decode(body)
        return found

    def _remember(self, at: str) -> None:
        status = Path(f"/proc/{self._server.worker}/status").read_text()
        self._found.memory[at] = int(status.partition("VmRSS:")[2].split()[0]) * 1024
