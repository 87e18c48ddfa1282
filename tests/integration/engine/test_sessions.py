"""The unit of work: all or nothing, and effects only of what is durable."""

import asyncio
import contextlib

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impact.app import create_app
from impact.context import system_context
from impact.engine.db.consistency import STRONG
from impact.engine.db.statements import Statement
from impact.engine.db.tenancy import quote_literal
from impact.engine.runtime import open_runtime
from impact.errors import ConflictError, ImpactError, InvalidDataError, QueryTimeoutError
from support.client import PatientClient
from support.lifespan import started
from support.shapes import refused

ADD = Statement(
    "tests.add_collection",
    "INSERT INTO collection (tenant_id, id, title, handle)"
    " VALUES (:tenant_id, gen_random_uuid(), :title, :title)",
    writes={"collection": "*"},
)
TITLES = Statement(
    "tests.titles", "SELECT array_agg(title) FROM collection WHERE tenant_id = :tenant_id"
)
SLEEP = Statement("tests.sleep", "SELECT pg_sleep(60)", tenantless=True)


async def add_twice(runtime, context, *, effect=None, swallowed=False):
    """A unit of work whose second statement fails."""
    async with runtime.database.write(context) as session:
        if effect is not None:
            session.after_commit(effect)
        await session.execute(ADD, title="a")
        with contextlib.suppress(*[asyncpg.PostgresError] * swallowed):
            await session.execute(ADD, title="a")


async def add_and_fail(runtime, context):
    async with runtime.database.write(context) as session:
        await session.execute(ADD, title="b")
        raise ZeroDivisionError


async def titles(runtime, shop):
    async with runtime.database.read(shop.context(), STRONG) as session:
        return await session.fetch_value(TITLES) or []


class TestWrite:
    async def test_commits_at_its_end(self, runtime, shop):
        context = shop.context()
        async with runtime.database.write(context) as session:
            await session.execute(ADD, title="a")
            assert await titles(runtime, shop) == []
            assert context.token == 0
        assert await titles(runtime, shop) == ["a"]
        assert context.token > 0

    async def test_an_error_undoes_all_of_it(self, runtime, shop):
        with pytest.raises(ConflictError, match="handle"):
            await add_twice(runtime, shop.context())
        with pytest.raises(ZeroDivisionError):
            await add_and_fail(runtime, shop.context())
        assert await titles(runtime, shop) == []

    async def test_a_swallowed_error_cannot_pass_for_a_commit(self, runtime, shop):
        effects = []

        async def effect():
            effects.append("ran")

        context = shop.context()
        with pytest.raises(ImpactError, match="rolled back") as raised:
            await add_twice(runtime, context, effect=effect, swallowed=True)
        assert (raised.value.status, effects, context.token) == (500, [], 0)
        assert await titles(runtime, shop) == []
        # The connection went back clean.
        async with runtime.database.write(shop.context()) as session:
            await session.execute(ADD, title="b")
        assert await titles(runtime, shop) == ["b"]

    async def test_a_cancelled_one_leaves_nothing(self, runtime, shop):
        reached = asyncio.Event()

        async def work():
            async with runtime.database.write(shop.context()) as session:
                await session.execute(ADD, title="a")
                reached.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await titles(runtime, shop) == []

    async def test_a_context_that_cannot_be_told(self, runtime, shop):
        context = system_context(shop.tenant, "a\0b")
        with pytest.raises(InvalidDataError):
            async with runtime.database.write(context):
                pytest.fail("a session was opened")


class TestAfterCommit:
    async def test_sees_what_was_committed(self, runtime, shop):
        seen = []

        async def effect():
            seen.append(await titles(runtime, shop))

        async with runtime.database.write(shop.context()) as session:
            session.after_commit(effect)
            await session.execute(ADD, title="a")
            assert seen == []
        assert seen == [["a"]]

    @pytest.mark.parametrize("swallowed", [True, False])
    async def test_not_after_a_rollback(self, runtime, shop, swallowed):
        ran = []

        async def effect():
            ran.append(True)

        with pytest.raises(ImpactError):
            await add_twice(runtime, shop.context(), effect=effect, swallowed=swallowed)
        assert ran == []

    async def test_in_the_order_they_came(self, runtime, shop):
        ran = []

        async with runtime.database.write(shop.context()) as session:
            for number in range(3):

                async def effect(number=number):
                    ran.append(number)

                session.after_commit(effect)
        assert ran == [0, 1, 2]


class TestTimeout:
    async def test_says_when_to_come_again(self, runtime, shop):
        context = shop.context()

        async def read():
            async with runtime.database.read(context, timeout=0.05) as session:
                await session.fetch(SLEEP)

        async def write():
            async with runtime.database.write(context) as session:
                await session.driver.execute("SET LOCAL statement_timeout = 50")
                await session.fetch(SLEEP)

        for work in (read, write):
            with pytest.raises(QueryTimeoutError) as raised:
                await work()
            assert (raised.value.status, raised.value.retry_after) == (503, 1)
        # A slow statement is no lost node.
        assert not context.lost_nodes

    async def test_is_a_503(self, settings, shop, runtime, client):
        await shop.product()
        levels = await client.get("/admin/inventory-levels", headers=shop.admin)
        path = f"/admin/inventory-levels/{levels.json()['inventory_levels'][0]['id']}"
        body = {"stocked_quantity": 1}
        lock = Statement(
            "tests.lock", "SELECT 1 FROM inventory_level WHERE tenant_id = :tenant_id FOR UPDATE"
        )
        hasty = msgspec.structs.replace(settings, statement_timeout=1.5)
        async with (
            started(create_app(hasty)) as app,
            runtime.database.write(shop.context()) as session,
            PatientClient(app) as impatient,
        ):
            await session.fetch(lock)
            response = await impatient.post(path, headers=shop.admin, json=body)
        refused(response, 503)
        assert response.json()["code"] == "query_timeout"
        assert response.headers["retry-after"] == "1"

    async def test_a_report_may_take_longer(self, runtime, shop, settings):
        show = Statement("tests.timeout", "SHOW statement_timeout", tenantless=True)
        for timeout, shown in ((None, f"{settings.statement_timeout:.0f}s"), (7, "7s")):
            async with runtime.database.read(shop.context(), timeout=timeout) as session:
                assert await session.fetch_value(show) == shown


@pytest.mark.parametrize("conforming", ["on", "off"])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    text=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0")
        | st.sampled_from("'\\\"$E;-\n")
    )
)
async def test_every_text_survives_quoting(connection, conforming, text):
    await connection.execute(
        f"SET standard_conforming_strings = {conforming}; SET escape_string_warning = off"
    )
    # As ``begin`` does: one simple query of several statements.
    await connection.execute(f"SET impact.reason = {quote_literal(text)}")
    assert await connection.fetchval("SELECT current_setting('impact.reason')") == text
    assert await connection.fetchval(f"SELECT {quote_literal(text)}::text") == text


@pytest.fixture
async def connection(endpoints):
    opened = await asyncpg.connect(endpoints.primary_url)
    yield opened
    await opened.close()


async def test_a_runtime_closes_what_it_opened(settings, endpoints, connection):
    name = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    async with open_runtime(settings) as runtime:
        async with runtime.database.write(system_context("nowhere", "test")):
            pass
        open_now = await connection.fetchval(name)
    async with asyncio.timeout(20):
        while await connection.fetchval(name) >= open_now:
            pass
