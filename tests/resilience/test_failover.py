"""Losing the primary, and finding the new one (P7), with servers that really die."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest

from impact import settings as settings_module
from impact.app import create_app
from impact.ops import migrations
from impact.stack import Endpoints, Stack
from support.client import PatientClient
from support.lifespan import started
from support.shops import Shop, open_shop


@dataclass
class Site:
    stack: Stack
    endpoints: Endpoints
    shop: Shop
    client: httpx.AsyncClient

    async def read(self) -> int:
        response = await self.client.get("/admin/collections", headers=self.shop.admin)
        return response.status_code

    async def write(self) -> httpx.Response:
        body = {"title": secrets.token_hex(4)}
        return await self.client.post("/admin/collections", headers=self.shop.admin, json=body)

    async def until_written(self) -> httpx.Response:
        """Write again and again, as a client does that is told to retry; ends with the first
        success."""
        async with asyncio.timeout(60):
            while True:
                response = await self.write()
                if response.status_code == 200:
                    return response
                assert response.status_code == 503, response.text
                assert int(response.headers["retry-after"]) >= 1
                await asyncio.sleep(0.05)


@pytest.fixture
def stack() -> AsyncIterator[Stack]:
    """A stack of the test's own, to be broken."""
    directory = Path(tempfile.mkdtemp(prefix="impact-failover-"))
    directory.chmod(0o711)
    made = Stack(directory / "stack", replicas=1, durable=False)
    yield made
    made.down()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def endpoints(stack: Stack) -> Endpoints:
    found = stack.up()
    migrations.upgrade(found.owner_url)
    return found


@pytest.fixture
async def site(stack: Stack, endpoints: Endpoints) -> AsyncIterator[Site]:
    settings = settings_module.load(
        {},
        primary_url=endpoints.primary_url,
        replica_urls=",".join(endpoints.replica_urls),
        redis_url=endpoints.redis_url,
        signing_keys=f"test:{secrets.token_urlsafe(32)}",
        password_memory_kib=8,
        password_time_cost=1,
    )
    async with started(create_app(settings)) as app, PatientClient(app) as client:
        shop = await open_shop(app.state.runtime, client)
        yield Site(stack, endpoints, shop, client)


async def test_without_the_primary_reads_go_on_and_writes_are_told_to_wait(site: Site) -> None:
    assert (await site.write()).status_code == 200
    site.stack.primary.kill()
    refused = await site.write()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["code"] in {"unavailable", "node_lost"}
    for _ in range(20):
        assert await site.read() == 200
    ready = await site.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "read-only")
    site.stack.primary.start()
    assert (await site.until_written()).status_code == 200


async def test_a_promoted_replica_takes_the_writes_without_a_restart(site: Site) -> None:
    assert (await site.write()).status_code == 200
    site.stack.primary.kill()
    admin = await asyncpg.connect(site.endpoints.replica_admin_urls[0])
    await admin.execute("SELECT pg_promote()")
    await admin.close()
    written = await site.until_written()
    found = await site.client.get(
        f"/admin/collections/{written.json()['collection']['id']}", headers=site.shop.admin
    )
    assert found.status_code == 200
    # The relay has found it too.
    promoted = await asyncpg.connect(site.endpoints.replica_admin_urls[0])
    try:
        async with asyncio.timeout(30):
            while not await promoted.fetchval(  # noqa: ASYNC110 - another process's doing
                "SELECT count(*) FROM audit_log WHERE row_id = $1",
                written.json()["collection"]["id"],
            ):
                await asyncio.sleep(0.05)
    finally:
        await promoted.close()


async def test_an_old_primary_that_comes_back_is_history(site: Site) -> None:
    """Unfenced, it takes connections as a primary does; its timeline tells it from the new one."""
    site.stack.primary.kill()
    admin = await asyncpg.connect(site.endpoints.replica_admin_urls[0])
    await admin.execute("SELECT pg_promote()")
    await admin.close()
    await site.until_written()
    site.stack.primary.start()
    for _ in range(30):
        written = await site.until_written()
        id = written.json()["collection"]["id"]
        path = f"/admin/collections/{id}"
        assert (await site.client.get(path, headers=site.shop.admin)).status_code == 200
        await asyncio.sleep(0.02)
    old = await asyncpg.connect(site.endpoints.owner_url)
    try:
        known = await old.fetchval("SELECT count(*) FROM collection WHERE id = $1", UUID(id))
    finally:
        await old.close()
    assert known == 0


async def test_without_the_replica_nothing_is_refused(site: Site) -> None:
    site.stack.replicas[0].kill()
    for _ in range(20):
        assert await site.read() == 200
        assert (await site.write()).status_code == 200
    ready = await site.client.get("/health/ready")
    assert ready.status_code == 200


async def test_without_redis_nothing_is_refused(site: Site) -> None:
    if site.stack.redis is None:
        pytest.skip("this machine has no Redis")
    site.stack.redis.kill()
    assert await site.read() == 200
    assert (await site.write()).status_code == 200


async def test_every_acknowledged_order_survives_a_crash_and_its_key_finds_it(site: Site) -> None:
    """PostgreSQL is killed under load. What was answered 200 is there afterwards, once; a request
    that got no answer is sent again with its key and makes one order too."""
    variant = await site.shop.variant(stock=100_000)
    answers: dict[str, str] = {}
    busy = asyncio.Event()

    async def buy(key: str) -> None:
        body = {"email": "a@example.com", "lines": [{"variant_id": variant, "quantity": 1}]}
        headers = {**site.shop.store, "idempotency-key": key}
        async with asyncio.timeout(90):
            while key not in answers:
                response = await site.client.post("/store/orders", headers=headers, json=body)
                if response.status_code == 200:
                    answers[key] = response.json()["order"]["id"]
                    if len(answers) == 50:
                        busy.set()
                else:
                    assert response.status_code == 503, response.text
                    await asyncio.sleep(0.05)

    async def crash() -> None:
        await busy.wait()
        await asyncio.to_thread(site.stack.primary.kill)
        await asyncio.to_thread(site.stack.primary.start)

    keys = [f"key-{number}" for number in range(300)]
    gate = asyncio.Semaphore(16)

    async def paced(key: str) -> None:
        async with gate:
            await buy(key)

    await asyncio.gather(crash(), *(paced(key) for key in keys))
    owner = await asyncpg.connect(site.endpoints.owner_url)
    orders = await owner.fetch('SELECT id FROM "order" WHERE tenant_id = $1', site.shop.tenant)
    reserved = await owner.fetchval(
        "SELECT reserved_quantity FROM inventory_level WHERE tenant_id = $1", site.shop.tenant
    )
    await owner.close()
    assert {str(order["id"]) for order in orders} == set(answers.values())
    assert len(orders) == len(keys) == reserved
