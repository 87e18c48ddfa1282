"""An import looks rows up by their keys, whatever the statistics of before said."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from impact.engine.db.session import Database
from impact.flows.imports.shopify import ShopifyOptions, import_shopify
from support.waiting import eventually

ORDERS = 600
LINES = 5
ROWS = [
    f"{600000 + order},{10000 + line},THING,1,2011-01-0{1 + order % 9} 10:00:00,1.00,17850,France"
    for order in range(ORDERS)
    for line in range(LINES)
]


@pytest.fixture
async def admin(import_urls: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(import_urls.admin)
    yield connection
    await connection.close()


@pytest.fixture
async def believing(
    admin: asyncpg.Connection, run_retail: Any, retail_file: Callable[..., Path], tenant: str
) -> Callable[..., Any]:
    """Have PostgreSQL believe that a tenant has so many rows in a table."""
    await run_retail(retail_file(ROWS[:1]), f"{tenant}-before")

    async def believe(table: str, rows: int) -> None:
        await admin.execute(f'ANALYZE "{table}"')
        await admin.execute(
            """
            UPDATE pg_statistic SET stadistinct = $2, stakind1 = 0, stakind2 = 0, stakind3 = 0
            WHERE starelid = quote_ident($1)::regclass AND staattnum = (
                SELECT attnum FROM pg_attribute
                WHERE attrelid = quote_ident($1)::regclass AND attname = 'tenant_id')
            """,
            table,
            -1.0 / rows,
        )

    return believe


@asynccontextmanager
async def scans(admin: asyncpg.Connection, table: str, least: int) -> AsyncIterator[Counter[str]]:
    """How often each index of the table was asked within the block; waits until ``least`` are
    known of."""

    async def now() -> Counter[str]:
        await admin.execute("SELECT pg_stat_clear_snapshot()")
        rows = await admin.fetch(
            "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE relname = $1", table
        )
        return Counter({row["indexrelname"]: row["idx_scan"] for row in rows})

    before = await now()
    used: Counter[str] = Counter()
    yield used

    async def told() -> bool:
        return (await now() - before).total() >= least

    await eventually(told)
    used.update(await now() - before)


@pytest.mark.parametrize(
    ("orders", "beside"),
    [
        pytest.param(1, False, id="each tenant has had one order"),
        pytest.param(2, True, id="another import holds the lock"),
    ],
)
async def test_orders(
    admin: asyncpg.Connection,
    believing: Any,
    run_retail: Any,
    retail_file: Callable[..., Path],
    tenant: str,
    orders: int,
    beside: bool,
) -> None:
    await believing("order", orders)
    async with scans(admin, "order", ORDERS * LINES) as used, admin.transaction():
        if beside:
            await admin.execute("SELECT analyze_imported()")
        summary = await run_retail(retail_file(ROWS), tenant)
    assert summary.lines == ORDERS * LINES
    # Each other index would have read all orders of the tenant for each line.
    assert used["pk_order"] > 0.9 * used.total(), used


async def test_a_catalogue_that_outgrows_its_plans(
    admin: asyncpg.Connection,
    believing: Any,
    database: Database,
    shopify_file: Callable[..., Path],
    tenant: str,
    tmp_path: Path,
) -> None:
    count = 3000
    path = shopify_file(
        [
            {"Handle": f"thing-{n}", "Title": "A thing", "Variant Price": "1.00"}
            for n in range(count)
        ]
    )
    await believing("product", 1)
    options = ShopifyOptions(tenant, create_tenant=True)
    async with scans(admin, "product", count) as used:
        summary = await import_shopify(database, path, options, tmp_path / "rejects.csv")
    assert summary.products == count
    # All but the first batch's.
    assert used["pk_product"] > 0.8 * used.total(), used
