"""What a page of the audit log costs, by the kind of its indexes: ``impact bench audit-log``.

The log is filled with twelve months of made-up changes of twenty shops of different sizes. Pages
are read as the application's role, under row-level security, by the statement that the API runs.
"""

import datetime as dt
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import msgspec

from impact.reporting.audit_log import LogFilters, Place, page_statement

TENANTS = 20
MONTHS = 12
_FIRST = dt.datetime(2025, 12, 1, tzinfo=dt.UTC)
_NOW = dt.datetime(2026, 11, 30, 23, 59, tzinfo=dt.UTC)
_RUNS = 40
_SAMPLE = 200_000
"""Rows that are inserted once with each set of indexes."""

BTREE = {
    "ix_audit_log_tenant_occurred": "btree (tenant_id, occurred_at, id)",
    "ix_audit_log_entity": "btree (tenant_id, table_name, occurred_at, id)",
    "ix_audit_log_row": "btree (tenant_id, row_id, occurred_at, id)",
    "ix_audit_log_actor": "btree (tenant_id, actor, occurred_at, id)",
    "ix_audit_log_action": "btree (tenant_id, action, occurred_at, id)",
    "ix_audit_log_request": "btree (tenant_id, request_id)",
}
_BLOOM = "text_bloom_ops (n_distinct_per_range = 1000)"
BRIN = {
    "brin_time": "brin (tenant_id, occurred_at)",
    "brin_words": f"brin (tenant_id, table_name {_BLOOM}, action {_BLOOM})",
    "brin_row": f"brin (tenant_id, row_id {_BLOOM})",
    "brin_actor": f"brin (tenant_id, actor {_BLOOM})",
    "brin_request": f"brin (tenant_id, request_id {_BLOOM})",
}

_COLUMNS = (
    "tenant_id, id, occurred_at, table_name, row_id, action, before, after, actor, request_id,"
    " position, previous_hash, hash"
)
_ROWS = """
    SELECT 'shop-' || floor(20 * random() ^ 2)::int, n,
           $1::timestamptz + ($2::timestamptz - $1::timestamptz) * ((n - $3)::float8 / $4),
           CASE WHEN r < 0.4 THEN 'inventory_level' WHEN r < 0.7 THEN 'order'
                WHEN r < 0.85 THEN 'product' WHEN r < 0.95 THEN 'product_variant'
                WHEN r < 0.999 THEN 'login' ELSE 'role' END,
           md5('row' || floor(40000 * random() ^ 2))::uuid::text,
           CASE WHEN a < 0.7 THEN 'update' WHEN a < 0.95 THEN 'insert' WHEN a < 0.999 THEN 'delete'
                ELSE 'denied' END,
           jsonb_build_object('price', n % 1000), jsonb_build_object('price', n % 997,
                'updated_at', '2026-11-23T12:00:00+00:00'),
           'user:' || md5('actor' || floor(500 * random() ^ 2))::uuid, md5('request' || n / 3),
           n, sha256(int8send(n - 1)), sha256(int8send(n))
    FROM (SELECT n, random() AS r, random() AS a
          FROM generate_series($3::bigint, $3::bigint + $4::bigint - 1) AS n) AS numbers
"""


class Page(msgspec.Struct):
    """Milliseconds are medians; ``generic`` with a plan that is made once for all values.
    ``partitions`` were looked at, of all there are."""

    case: str
    found: int
    partitions: int
    ms: float
    generic_ms: float


class Kind(msgspec.Struct):
    """One kind of index. ``insert_us`` is the cost of a row in a partition with them, the primary
    key and the table included."""

    insert_us: float
    bytes: dict[str, int]
    pages: list[Page]


class Figures(msgspec.Struct):
    rows: int
    table_bytes: int
    bare_insert_us: float
    """With the primary key alone."""
    btree: Kind
    brin: Kind
    plan: str
    """Of the page by actor, with B-tree indexes."""


async def measure(
    owner_url: str, app_url: str, rows: int, say: Callable[[str, float | None], None]
) -> Figures:
    """Fill the migrated, empty database and measure in it."""
    owner = await asyncpg.connect(owner_url, command_timeout=7200)
    app = await asyncpg.connect(app_url, command_timeout=7200)
    try:
        random.seed(4)
        await owner.execute("SELECT setseed(0.4)")
        bare, btree_us, brin_us = [
            await _insert_cost(owner, indexes, say) for indexes in ({}, BTREE, BRIN)
        ]
        for name in BTREE:
            await owner.execute(f"DROP INDEX IF EXISTS {name}")
        await _fill(owner, rows, say)
        for name, shape in BTREE.items():
            say(f"building {name}", None)
            await owner.execute(f"CREATE INDEX {name} ON audit_log USING {shape}")
        await owner.execute("VACUUM ANALYZE audit_log")
        cases = await _cases(owner)
        btree = Kind(btree_us, await _sizes(owner, BTREE), await _pages(app, cases, say))
        plan = await _plan(app, *cases["by actor"])
        for name in BTREE:
            await owner.execute(f"DROP INDEX {name}")
        for name, shape in BRIN.items():
            say(f"building {name}", None)
            await owner.execute(f"CREATE INDEX {name} ON audit_log USING {shape}")
        brin = Kind(brin_us, await _sizes(owner, BRIN), await _pages(app, cases, say))
        table = await owner.fetchval(
            "SELECT sum(pg_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent = 'audit_log'::regclass"
        )
        return Figures(rows, int(table), bare, btree, brin, plan)
    finally:
        await owner.close()
        await app.close()


async def _insert_cost(
    owner: asyncpg.Connection,
    indexes: dict[str, str],
    say: Callable[[str, float | None], None],
) -> float:
    """Microseconds a row, in batches of a thousand as the relay writes them."""
    say("inserting a sample", None)
    if not await owner.fetchval("SELECT to_regclass('bench_source')"):
        await owner.execute("CREATE TEMP TABLE bench_source (LIKE audit_log)")
        await owner.execute(
            f"INSERT INTO bench_source ({_COLUMNS}) {_ROWS}", _FIRST, _NOW, 1, _SAMPLE
        )
        await owner.execute("CREATE INDEX ON bench_source (id)")
        await owner.execute("ANALYZE bench_source")
    await owner.execute("DROP TABLE IF EXISTS bench_target")
    await owner.execute("CREATE TABLE bench_target (LIKE audit_log)")
    await owner.execute("ALTER TABLE bench_target ADD PRIMARY KEY (tenant_id, id, occurred_at)")
    for shape in indexes.values():
        await owner.execute(f"CREATE INDEX ON bench_target USING {shape}")
    copy = await owner.prepare(
        "INSERT INTO bench_target SELECT * FROM bench_source WHERE id >= $1 AND id < $1 + 1000"
    )
    began = time.perf_counter()
    for first in range(1, _SAMPLE, 1000):
        await copy.fetch(first)
    spent = time.perf_counter() - began
    await owner.execute("DROP TABLE bench_target")
    return spent / _SAMPLE * 1e6


async def _fill(
    owner: asyncpg.Connection, rows: int, say: Callable[[str, float | None], None]
) -> None:
    per_month = rows // MONTHS
    months = [_FIRST.replace(year=2025 + (m > 0), month=(11 + m) % 12 + 1) for m in range(MONTHS)]
    for number, (month, end) in enumerate(itertools.pairwise([*months, _NOW])):
        say("filling the log", number / MONTHS)
        await owner.fetchval("SELECT audit_log_make_partition('month', $1)", month.date())
        await owner.execute(
            f"INSERT INTO audit_log ({_COLUMNS}) {_ROWS}",
            month,
            end,
            number * per_month + 1,
            per_month,
        )
    for ahead in ("2026-12-01", "2027-01-01", "2027-02-01"):
        await owner.fetchval("SELECT audit_log_make_partition('month', $1::text::date)", ahead)


Case = tuple[LogFilters, Place | None]


async def _cases(owner: asyncpg.Connection) -> dict[str, Case]:
    some = await owner.fetchrow(
        "SELECT * FROM audit_log WHERE tenant_id = 'shop-3' AND occurred_at >= '2026-11-10'"
        " AND table_name = 'product' LIMIT 1"
    )
    assert some is not None  # noqa: S101 - the log was filled
    actor, row_id = some["actor"], some["row_id"]
    march = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)
    return {
        "newest": (LogFilters(), None),
        "by time": (LogFilters(start=march, to=march + dt.timedelta(days=7)), None),
        "by actor": (LogFilters(actor=actor), None),
        "by entity": (LogFilters(entity="product"), None),
        "by entity, few rows": (LogFilters(entity="role"), None),
        "by entity and id": (LogFilters(entity="product", id=row_id), None),
        "by action": (LogFilters(action="update"), None),
        "by action, few rows": (LogFilters(action="denied"), None),
        "by request": (LogFilters(request_id=some["request_id"]), None),
        "by actor, a page in March": (LogFilters(actor=actor), (march, 0)),
        "nothing found": (LogFilters(actor="user:nobody"), None),
    }


async def _sizes(owner: asyncpg.Connection, indexes: dict[str, str]) -> dict[str, int]:
    return {
        name: int(
            await owner.fetchval(
                "SELECT sum(pg_relation_size(inhrelid)) FROM pg_inherits"
                " WHERE inhparent = $1::text::regclass",
                name,
            )
        )
        for name in indexes
    }


async def _pages(
    app: asyncpg.Connection, cases: dict[str, Case], say: Callable[[str, float | None], None]
) -> list[Page]:
    found: list[Page] = []
    for name, case in cases.items():
        say(f"reading {name}", len(found) / len(cases))
        sql, arguments = _bound("shop-3", *case)
        async with app.transaction(readonly=True):
            await app.execute("SET LOCAL impact.tenant_id = 'shop-3'; SET LOCAL jit = off")
            rows = await app.fetch(sql, *arguments)
            explained = await app.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
            times = []
            for mode in ("auto", "force_generic_plan"):
                await app.execute(f"SET LOCAL plan_cache_mode = {mode}")
                statement = await app.prepare(sql)
                times.append(await _median_ms(statement, arguments))
        touched = set(_touched(msgspec.json.decode(explained)[0]["Plan"]))
        found.append(Page(name, len(rows), len(touched), *times))
    return found


async def _plan(app: asyncpg.Connection, *case: Any) -> str:
    sql, arguments = _bound("shop-3", *case)
    async with app.transaction(readonly=True):
        await app.execute("SET LOCAL impact.tenant_id = 'shop-3'; SET LOCAL jit = off")
        rows = await app.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) {sql}", *arguments)
    return "\n".join(row[0] for row in rows)


async def _median_ms(statement: Any, arguments: list[Any]) -> float:
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        await statement.fetch(*arguments)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def _bound(tenant: str, filters: LogFilters, after: Place | None) -> tuple[str, list[Any]]:
    statement, values = page_statement(filters, limit=51, after=after, period="month", now=_NOW)
    return statement.sql, statement.bind(tenant, values)


def _touched(plan: dict[str, Any]) -> Iterator[str]:
    """The partitions that a plan looked into."""
    if plan["Actual Loops"] and "Relation Name" in plan:
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from _touched(child)
