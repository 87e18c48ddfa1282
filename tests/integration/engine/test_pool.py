"""Connection pools: bounded, and no larger than they need to be."""

import asyncio
import contextlib

import msgspec
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from impact.app import create_app
from impact.engine.db.pool import create_engine, reap_idle
from impact.errors import ConfigurationError, UnavailableError
from support.client import PatientClient
from support.lifespan import started
from support.shapes import refused

LONG = 3600.0


@pytest.fixture
async def engine(settings):
    """A pool of five, of which nobody waits long for one."""
    small = msgspec.structs.replace(
        settings, pool_max=5, pool_min=1, pool_wait_timeout=0.05, pool_connect_timeout=30.0
    )
    made = create_engine(settings.primary_url, small, read_only=False)
    yield made
    await made.dispose()


async def use(engine, count):
    """Open this many connections at once; answers their servers' process ids."""
    async with contextlib.AsyncExitStack() as stack:
        pids = []
        for _ in range(count):
            connection = await stack.enter_async_context(engine.connect())
            driver = (await connection.get_raw_connection()).driver_connection
            pids.append(driver.get_server_pid())
    return pids


class TestReaping:
    async def test_closes_the_idle_above_the_least(self, engine):
        pids = await use(engine, 4)
        assert engine.pool.checkedin() == 4
        assert await reap_idle(engine, minimum=1, idle_timeout=0) == 3
        assert engine.pool.checkedin() == 1
        assert await use(engine, 1) == [pids[0]]

    async def test_leaves_what_was_used_a_moment_ago(self, engine):
        await use(engine, 4)
        assert await reap_idle(engine, minimum=1, idle_timeout=LONG) == 0
        assert engine.pool.checkedin() == 4

    async def test_counts_those_in_use(self, engine):
        await use(engine, 4)
        async with engine.connect(), engine.connect():
            assert await reap_idle(engine, minimum=3, idle_timeout=0) == 1
            assert (engine.pool.checkedin(), engine.pool.checkedout()) == (1, 2)

    async def test_the_pool_can_grow_again(self, engine):
        await use(engine, 5)
        for _ in range(3):
            await reap_idle(engine, minimum=0, idle_timeout=0)
            assert engine.pool.checkedin() == 0
            assert len(set(await use(engine, 5))) == 5
        with pytest.raises(PoolTimeoutError):
            await use(engine, 6)

    async def test_a_broken_connection_is_no_obstacle(self, engine):
        async with contextlib.AsyncExitStack() as stack:
            # Given back in the opposite order, so that the broken one is the oldest.
            for _ in range(3):
                await stack.enter_async_context(engine.connect())
            broken = await stack.enter_async_context(engine.connect())
            await broken.invalidate()
        assert engine.pool.checkedin() == 4
        assert await reap_idle(engine, minimum=1, idle_timeout=0) == 2
        assert engine.pool.checkedin() == 1
        assert len(set(await use(engine, 5))) == 5

    async def test_nothing_to_do(self, engine):
        assert await reap_idle(engine, minimum=0, idle_timeout=0) == 0


class TestExhaustion:
    @pytest.fixture
    async def narrow(self, settings):
        """An application with one connection to each server."""
        small = msgspec.structs.replace(
            settings, pool_max=1, pool_min=1, pool_wait_timeout=1.0, replica_urls=()
        )
        async with started(create_app(small)) as app:
            yield app

    async def test_whoever_waits_too_long_is_sent_away(self, narrow, shop):
        database = narrow.state.runtime.database
        async with database.write(shop.context()):
            for opened in (database.write, database.read):
                with pytest.raises(UnavailableError, match="busy") as raised:
                    async with opened(shop.context()):
                        pytest.fail("there was a second connection")
                assert raised.value.retry_after == 1
            async with PatientClient(narrow) as client:
                response = await client.get("/admin/products", headers=shop.admin)
                refused(response, 503)
                assert int(response.headers["retry-after"]) > 0
        # A full pool is no lost server.
        assert database.nodes.primary().usable
        async with PatientClient(narrow) as client:
            response = await client.get("/admin/products", headers=shop.admin)
            assert response.status_code == 200

    async def test_a_crowd_takes_turns(self, settings, shop):
        patient = msgspec.structs.replace(settings, pool_max=2, pool_min=1, pool_wait_timeout=30)
        async with started(create_app(patient)) as app, PatientClient(app) as client:
            answers = await asyncio.gather(
                *(client.get("/admin/products", headers=shop.admin) for _ in range(50))
            )
            assert {answer.status_code for answer in answers} == {200}
            for node in app.state.runtime.database.nodes.nodes:
                assert node.engine.pool.checkedin() <= 2


async def test_another_kind_of_database(settings):
    with pytest.raises(ConfigurationError) as raised:
        create_engine("mysql://app:hunter2@db/x", settings, read_only=True)
    assert "hunter2" not in raised.value.message
