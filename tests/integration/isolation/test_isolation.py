"""A tenant sees and changes its own rows only (P3), tried on every route there is.

Two walls keep shops apart: the filter in every statement and row-level security. Each is taken
down in turn to see that the other one holds, and both together to see that these tests notice.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar

from impact.app import create_app
from impact.engine.cache.keys import whole_tenant
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.client import PatientClient
from support.intruder import Victim, attempt, fingerprint, furnish, routes
from support.lifespan import started
from support.shops import Shop, open_shop

_FILTER = re.compile(r"((?:\w+\.)?tenant_id) = \$(\d+)")


@dataclass
class Scene:
    app: Litestar
    client: httpx.AsyncClient
    owner: asyncpg.Connection
    intruder: Shop
    victim: Victim


async def set_scene(app: Litestar, endpoints: Endpoints) -> AsyncIterator[Scene]:
    async with PatientClient(app) as client:
        runtime = app.state.runtime
        intruder = await open_shop(runtime, client)
        owner = await asyncpg.connect(endpoints.owner_url)
        yield Scene(app, client, owner, intruder, await furnish(runtime, client))
        await owner.close()


@pytest.fixture(scope="module")
async def scene(app: Litestar, endpoints: Endpoints) -> AsyncIterator[Scene]:
    async for made in set_scene(app, endpoints):
        yield made


@pytest.fixture(scope="module")
def unguarded(stack: Stack, worker_id: str) -> Iterator[Endpoints]:
    """A database of its own whose tables have no row-level security any more."""
    name = f"unguarded_{worker_id}"
    endpoints = stack.create_database(name)
    migrations.upgrade(endpoints.owner_url)
    yield endpoints
    stack.drop_database(name)


@pytest.fixture(scope="module")
async def open_scene(unguarded: Endpoints, settings: Settings) -> AsyncIterator[Scene]:
    owner = await asyncpg.connect(unguarded.owner_url)
    for (table,) in await owner.fetch(
        "SELECT relname FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')"
    ):
        await owner.execute(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')
    await owner.close()
    moved = msgspec.structs.replace(
        settings, primary_url=unguarded.primary_url, replica_urls=(), cache_service="unguarded"
    )
    async with started(create_app(moved)) as app:
        async for made in set_scene(app, unguarded):
            yield made


@pytest.fixture
def without_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements whose tenant filter always passes, as if somebody had forgotten it."""

    def forget(statement: Statement) -> Statement:
        twin = object.__new__(Statement)
        twin.name, twin.parameters = statement.name, statement.parameters
        twin.writes, twin.declared = statement.writes, statement.declared
        twin.sql = _FILTER.sub(r"(\1 = $\2 OR true)", statement.sql)
        return twin

    for name in ("fetch", "fetch_one"):
        original = getattr(ReadSession, name)

        async def forgetful(
            self: ReadSession, statement: Statement, *, run: Any = original, **values: Any
        ) -> Any:
            return await run(self, forget(statement), **values)

        monkeypatch.setattr(ReadSession, name, forgetful)


async def leaks(scene: Scene) -> list[str]:
    """What the intruder gets to see by reading every list, and every entity by its id."""
    # What was read while the walls stood must not stand in for what is read now.
    tenant = scene.intruder.tenant
    await scene.app.state.runtime.cache.versions.raise_now(tenant, [whole_tenant(tenant)])
    found = []
    for method, template in routes(scene.app):
        if method != "GET":
            continue
        for id in scene.victim.ids if "{}" in template else [""]:
            leak = await attempt(
                scene.client, scene.intruder, scene.victim, method, template, [id] * 2
            )
            found += [leak] if leak else []
    return found


async def test_nothing_leaks(scene: Scene) -> None:
    assert await leaks(scene) == []


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_random_requests_neither_show_nor_change(scene: Scene, data: st.DataObject) -> None:
    method, template = data.draw(st.sampled_from(routes(scene.app)))
    ids = data.draw(
        st.lists(st.sampled_from(scene.victim.ids), min_size=3, max_size=3), label="ids"
    )
    body = data.draw(
        st.dictionaries(
            st.sampled_from(
                ["title", "name", "email", "quantity", "variant_id", "role_id", "id", "items"]
            ),
            st.one_of(st.sampled_from(scene.victim.ids), st.text(max_size=5), st.integers(0, 5)),
            max_size=4,
        ),
        label="body",
    )
    victim = scene.victim.shop
    headers = data.draw(
        st.sampled_from([{}, {"x-tenant-id": victim.tenant}, dict(victim.store)]), label="headers"
    )
    if template.startswith("/store") and headers:
        # The storefront's key is public: whoever has it is that shop's visitor.
        headers = {"x-tenant-id": victim.tenant}
    before = await fingerprint(scene.owner, victim.tenant)
    leak = await attempt(
        scene.client,
        scene.intruder,
        scene.victim,
        method,
        template,
        ids,
        body=body,
        headers=headers,
    )
    assert leak is None
    assert await fingerprint(scene.owner, victim.tenant) == before


async def test_the_filters_hold_without_row_level_security(open_scene: Scene) -> None:
    assert await leaks(open_scene) == []


@pytest.mark.usefixtures("without_filters")
async def test_row_level_security_holds_without_the_filters(scene: Scene) -> None:
    assert await leaks(scene) == []


@pytest.mark.usefixtures("without_filters")
async def test_with_both_walls_down_these_tests_notice(open_scene: Scene) -> None:
    found = await leaks(open_scene)
    for area in ("products", "orders", "customers", "users", "collections", "roles"):
        assert any(f"/admin/{area}" in leak for leak in found), area
