"""Every statement has one name: in the figures, in its comment, in pg_stat_statements (P8)."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from impact.app import create_app
from impact.engine.db.consistency import STRONG
from impact.engine.db.statements import Statement
from impact.engine.telemetry.series import Kind
from impact.engine.telemetry.slow import SlowQuery
from support.client import PatientClient
from support.lifespan import started
from support.shops import open_shop

_NAMED = re.compile(r"/\*db_operation='([a-z_.]+)'\*/$")
# What opens and ends a transaction is a name of its own; the monitor and start-up ask for nobody.
_PLAIN = re.compile(
    r"^(BEGIN|COMMIT|ROLLBACK|START TRANSACTION|SET |RESET |SHOW |PREPARE|DEALLOCATE|EXPLAIN)"
)
_NOT_REQUESTS = (
    "pg_is_in_recovery",
    "set_config",
    "pg_stat_statements",
    "rolsuper",
    "pg_catalog",
    "pg_type",
)

LONG = Statement("test.long", "SELECT 1, pg_sleep(:seconds), :tenant_id::text, :secret::text")
SLEEP = Statement("test.sleep", "SELECT pg_sleep(:seconds), :tenant_id::text, :secret::text")


@pytest.fixture
async def admin(endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(endpoints.admin_url)
    yield connection
    await connection.close()


async def seen(admin: asyncpg.Connection) -> list[str]:
    rows = await admin.fetch(
        "SELECT s.query FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid"
        " JOIN pg_database d ON d.oid = s.dbid"
        " WHERE r.rolname = 'impact_app' AND d.datname = current_database()"
    )
    return [row["query"].strip() for row in rows]


class TestNames:
    async def test_the_servers_statistics_know_them(self, admin, client, shop, runtime):
        await admin.execute("SELECT pg_stat_statements_reset(0, 0, 0)")
        product = await shop.product()
        lines = [{"variant_id": product["variants"][0]["id"], "quantity": 1}]
        body = {"email": "a@example.com", "lines": lines}
        order = (await client.post("/store/orders", headers=shop.store, json=body)).json()["order"]
        # Through the ORM, with eager loading; and lists through read models.
        path = f"/admin/products/{product['id']}"
        for response in (
            await client.get(path, headers=shop.admin),
            await client.post(path, headers=shop.admin, json={"title": "Another"}),
            await client.get("/store/products", headers=shop.store),
            await client.get("/admin/users", headers=shop.admin),
            await client.get("/admin/roles", headers=shop.admin),
            await client.post(f"/admin/orders/{order['id']}/cancel", headers=shop.admin),
            await client.delete(path, headers=shop.admin),
        ):
            assert response.status_code < 500, response.text
        queries = await seen(admin)
        unnamed = [
            query
            for query in queries
            if not _NAMED.search(query)
            and not _PLAIN.match(query)
            and not any(mark in query for mark in _NOT_REQUESTS)
        ]
        assert unnamed == []
        names = {match[1] for query in queries if (match := _NAMED.search(query))}
        assert {"checkout.place", "product.orm_select"} <= names
        # And one name is one name: what the server saw, the figures have.
        runtime.telemetry.monitor.fold()
        figures = {s.name for s in runtime.telemetry.monitor.series if s.kind is Kind.QUERY}
        # (What the relay runs on a connection of its own is measured by the batch.)
        relays = ("relay.", "rollups.")
        assert {name for name in names if not name.startswith(relays)} <= figures

    async def test_the_orms_comment_keeps_statements_prepared(self, context, runtime, shop):
        """Text that changed with each call would be prepared each time."""
        from sqlalchemy import select

        from impact.domains.catalog.models import Product

        prepared = []
        for _ in range(3):
            async with runtime.database.read(context, STRONG) as session:
                await session.scalars(select(Product))
                rows = await session._driver.fetch(
                    "SELECT count(*) AS n FROM pg_prepared_statements"
                    " WHERE statement LIKE '%product.orm_select%'"
                )
                prepared.append(rows[0]["n"])
        assert len(set(prepared)) == 1


@contextlib.asynccontextmanager
async def serving(settings, **changes):
    changed = msgspec.structs.replace(settings, **changes)
    async with started(create_app(changed)) as app, PatientClient(app) as client:
        yield app.state.runtime, await open_shop(app.state.runtime, client)


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: asyncio.Queue[logging.LogRecord] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.put_nowait(record)

    async def of(self, query: str) -> logging.LogRecord:
        """The next line about this query."""
        while True:
            record = await asyncio.wait_for(self.records.get(), 10)
            if record.query == query:
                return record


@pytest.fixture
def lines():
    logger, handler = logging.getLogger("impact.engine.telemetry.slowlog"), Lines()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_the_servers_own_plan_of_a_slow_one_bears_the_name(runtime, shop, stack):
    async with runtime.database.read(shop.context(), STRONG) as session:
        await session.fetch(LONG, seconds=0.55, secret="hunter2")
    log = (stack._site.home / "logs" / "primary.log").read_text()
    _, _, plan = log.partition('"Query Text": "SELECT 1, pg_sleep($1), $2::text, $3::text')
    assert plan.startswith(" /*db_operation='test.long'*/")
    assert "hunter2" not in log


class TestSlow:
    async def test_a_line_has_all_but_the_values(self, settings, lines):
        async with serving(settings, slow_query=0.02) as (runtime, shop):
            async with runtime.database.read(shop.context()) as session:
                await session.fetch(SLEEP, seconds=0.05, secret="hunter2-hunter2")
            record = await lines.of("test.sleep")
            assert record.run_ms >= 50
            assert record.wait_ms > 0
            assert record.query_tenant == shop.tenant
            assert record.parameters["secret"] == "str(15)"
            assert len(record.plan_hash) == 12
            assert re.fullmatch(r"-?\d+", record.query_id)
            assert "hunter2" not in str(vars(record))
            (noted,) = (q for q in runtime.telemetry.slow.recent() if q.name == "test.sleep")
            assert b"hunter2" not in msgspec.json.encode(noted)
            totals = runtime.telemetry.total()
            assert {s.labels: s.value for s in totals.samples if s.metric == "impact.query.slow"}[
                ("test.sleep",)
            ] == 1

    async def test_the_number_is_the_one_of_the_statistics(self, settings, lines, admin):
        async with serving(settings, slow_query=0.02) as (runtime, shop):
            async with runtime.database.read(shop.context(), STRONG) as session:
                await session.fetch(SLEEP, seconds=0.05, secret="x")
            record = await lines.of("test.sleep")
        known = await admin.fetch(
            "SELECT queryid FROM pg_stat_statements WHERE query LIKE '%test.sleep%'"
        )
        assert int(record.query_id) in {row["queryid"] for row in known}

    async def test_listeners_hear_of_those_above_the_second_limit(self, settings):
        async with serving(settings, slow_query=0.01, slow_query_alert=0.1) as (runtime, shop):
            heard: list[SlowQuery] = []
            stop = runtime.telemetry.slow.subscribe(heard.append)
            for seconds in (0.02, 0.15):
                async with runtime.database.read(shop.context()) as session:
                    await session.fetch(SLEEP, seconds=seconds, secret="x")
            assert [query.name for query in heard] == ["test.sleep"]
            assert heard[0].run_ms >= 100
            stop()
            async with runtime.database.read(shop.context()) as session:
                await session.fetch(SLEEP, seconds=0.15, secret="x")
            assert len(heard) == 1

    async def test_one_that_failed_is_counted_as_such(self, settings, runtime, shop):
        async with runtime.database.read(shop.context()) as session:
            with pytest.raises(asyncpg.DataError):
                await session.fetch(SLEEP, seconds="no number", secret="x")
        runtime.telemetry.monitor.fold()
        found = [s for s in runtime.telemetry.monitor.series if s.name == "test.sleep"]
        assert ("failed", True) in [(s.detail, s.failed) for s in found]
