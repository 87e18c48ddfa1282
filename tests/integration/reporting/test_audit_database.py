"""The log in a database of its own is prepared and read there."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.engine.changes.partitions import AHEAD
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.client import PatientClient
from support.lifespan import started
from support.shops import open_shop
from support.waiting import eventually, until


@pytest.fixture
def places(stack: Stack, worker_id: str) -> Iterator[tuple[Endpoints, Endpoints]]:
    """A database of shops and one of the log."""
    names = (f"shops_{worker_id}", f"log_{worker_id}")
    shops, log = (stack.create_database(name) for name in names)
    for endpoints in (shops, log):
        migrations.upgrade(endpoints.owner_url)
    yield shops, log
    for name in names:
        stack.drop_database(name)


@pytest.fixture
async def app(places: tuple[Endpoints, Endpoints], settings: Settings) -> AsyncIterator[Litestar]:
    shops, log = places
    apart = msgspec.structs.replace(
        settings,
        primary_url=shops.primary_url,
        replica_urls=(),
        audit_url=log.primary_url,
        cache_service=f"{settings.cache_service}-apart",
    )
    async with started(create_app(apart)) as made:
        yield made


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    async with PatientClient(app) as opened:
        yield opened


async def test_it_is_prepared_and_read_there(
    app: Litestar, client: httpx.AsyncClient, places: tuple[Endpoints, Endpoints]
) -> None:
    runtime = app.state.runtime
    shop = await open_shop(runtime, client)
    product = await shop.product()
    await until(lambda: runtime.relay.moved_total > 0)
    await until(lambda: runtime.partitions.status.checked_at is not None)
    assert runtime.partitions.status.failure is None
    counts = []
    for endpoints in places:
        owner = await asyncpg.connect(endpoints.owner_url)
        counts.append(await owner.fetchval("SELECT count(*) FROM audit_log_partitions()"))
        await owner.close()
    assert counts == [0, AHEAD + 1]
    path = f"/admin/products/{product['id']}/history"
    kinds = {"product", "product_variant", "variant_price", "product_option", "product_image"}

    async def all_there() -> bool:
        response = await client.get(path, headers=shop.admin)
        assert response.status_code == 200, response.text
        return {entry["entity"] for entry in response.json()["history"]} == kinds

    await eventually(all_there)
    listed = await client.get("/admin/audit-logs", headers=shop.admin, params={"limit": 200})
    assert {"product", "admin_user", "role"} <= {e["entity"] for e in listed.json()["audit_logs"]}
    assert (await client.get("/admin/audit-logs/export", headers=shop.admin)).text
