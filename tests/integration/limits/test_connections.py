"""Who gets a connection when there are too few, on real pools."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.context import system_context
from impact.engine.cache.keys import make_key
from impact.engine.db.consistency import STRONG
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime
from impact.settings import Settings
from support.caching import TITLE, Gate, title_of
from support.client import PatientClient
from support.lifespan import started
from support.shops import Shop
from support.waiting import until

_SLEEP = Statement("tests.sleep", "SELECT pg_sleep(0.01)", tenantless=True)


@contextlib.asynccontextmanager
async def narrow(settings: Settings, **changes: Any) -> AsyncIterator[Litestar]:
    """An application with few connections to one server."""
    chosen = msgspec.structs.replace(settings, replica_urls=(), pool_min=1, **changes)
    async with started(create_app(chosen)) as app:
        yield app


async def test_a_tenant_with_one_request_does_not_wait_for_anothers_hundred(
    settings: Settings, shop: Shop, other_shop: Shop
) -> None:
    async with narrow(settings, pool_max=2, pool_wait_timeout=30.0) as app:
        database = app.state.runtime.database
        served: list[str] = []

        async def read(tenant: str) -> None:
            async with database.read(system_context(tenant, "test")) as session:
                await session.fetch(_SLEEP)
                served.append(tenant)

        crowd = [asyncio.create_task(read(shop.tenant)) for _ in range(100)]
        while len(served) < 10:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)
        before = len(served)
        await read(other_shop.tenant)
        # Those that had a connection, the next two at most, and what came in between.
        assert served.index(other_shop.tenant) - before <= 5
        await asyncio.gather(*crowd)
        assert len(served) == 101


async def test_the_caches_loads_count_for_their_tenant(runtime: Runtime, shop: Shop) -> None:
    gate = Gate()

    async def load(session: Any) -> str | None:
        await gate()
        return await title_of(session, shop.owner_id)

    key = make_key(shop.tenant, "collection", shop.owner_id, "title")
    context = system_context(shop.tenant, "test")
    loading = asyncio.create_task(runtime.cache.get(TITLE, key, context, load, id=shop.owner_id))
    await gate.reached.wait()
    lines = [node.queue._lines.get(shop.tenant) for node in runtime.database.nodes.nodes]
    assert sum(line.running for line in lines if line is not None) == 1
    gate.open()
    assert await loading is None


async def test_orders_are_placed_with_connections_that_nothing_else_may_have(
    settings: Settings, shop: Shop
) -> None:
    variant = await shop.variant()
    async with (
        narrow(settings, pool_max=8, pool_reserve=2, pool_wait_timeout=1.0) as app,
        PatientClient(app) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        # Whom the cache knows needs no connection to be let in.
        for headers, path in ((shop.admin, "/admin/collections"), (shop.store, "/store/products")):
            assert (await client.get(path, headers=headers)).status_code == 200
        database = app.state.runtime.database
        for _ in range(6):
            await stack.enter_async_context(database.read(shop.context(), STRONG))
        title = {"title": "A collection"}
        answer = await client.post("/admin/collections", headers=shop.admin, json=title)
        assert answer.status_code == 503
        assert answer.json()["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
        answer = await order(client, shop, variant)
        assert answer.status_code == 200, answer.text
        assert database.nodes.primary().queue.shed >= 1


async def order(client: httpx.AsyncClient, shop: Shop, variant: str) -> httpx.Response:
    body = {"email": "a@b.test", "lines": [{"variant_id": variant, "quantity": 1}]}
    return await client.post("/store/orders", headers=shop.store, json=body)


async def test_a_busy_database_refuses_nobody_as_unknown(settings: Settings, shop: Shop) -> None:
    """A user whom nothing is known of yet is asked to come back, rather than to log in."""
    user = await shop.user("product:read")
    async with (
        narrow(settings, pool_max=2, pool_wait_timeout=1.0) as app,
        PatientClient(app) as client,
    ):
        database = app.state.runtime.database
        async with database.read(shop.context()), database.read(shop.context()):
            answer = await client.get("/admin/products", headers=user)
        assert answer.status_code == 503
        assert (await client.get("/admin/products", headers=user)).status_code == 200


@pytest.mark.parametrize("how", ["read", "write"])
async def test_connections_come_back_however_a_session_ends(
    settings: Settings, shop: Shop, how: str
) -> None:
    async with narrow(settings, pool_max=2, pool_wait_timeout=30.0) as app:
        database = app.state.runtime.database
        opened = getattr(database, how)
        for _ in range(5):
            with pytest.raises(RuntimeError, match="mine"):
                async with opened(shop.context()):
                    raise RuntimeError("mine")

            async def forever() -> None:
                async with opened(shop.context()):
                    await asyncio.Event().wait()

            tasks = [asyncio.create_task(forever()) for _ in range(4)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        queue = database.nodes.primary().queue
        # The application's own jobs have one now and then.
        await until(lambda: (queue.running, queue._waiting, queue._lines) == (0, 0, {}))
