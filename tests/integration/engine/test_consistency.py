"""Reading one's own writes, whatever the replica does (P1, P2, P7)."""

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.context import RequestContext, system_context
from impact.engine.db.consistency import STRONG, eventual
from impact.engine.db.nodes import Node, NodeSet
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime, open_runtime
from impact.errors import ImpactError, UnavailableError
from impact.settings import Settings
from impact.stack import Endpoints
from support.lifespan import started
from support.replication import caught_up, replay_paused
from support.shops import Shop

NODE = Statement("tests.node", "SELECT pg_is_in_recovery()", tenantless=True)
WRITE = Statement("tests.write", "DELETE FROM product", tenantless=True)

# The replica is one for all test workers: tests that pause it take turns.
pytestmark = pytest.mark.xdist_group("replica")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task brings about; a hang is the test run's to end."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it is a number that moves, not an event
            await asyncio.sleep(0.02)


async def is_replica(runtime: Runtime, context: RequestContext, **options: object) -> bool:
    async with runtime.database.read(context, **options) as session:  # type: ignore[arg-type]
        return bool(await session.fetch_value(NODE))


class TestRouting:
    async def test_a_read_without_a_token_goes_to_the_replica(
        self, runtime: Runtime, context: RequestContext
    ) -> None:
        assert await is_replica(runtime, context)

    async def test_a_strong_read_goes_to_the_primary(
        self, runtime: Runtime, context: RequestContext
    ) -> None:
        assert not await is_replica(runtime, context, consistency=STRONG)

    async def test_a_request_that_wrote_stays_on_the_primary(
        self, runtime: Runtime, context: RequestContext
    ) -> None:
        async with runtime.database.write(context):
            pass
        assert not await is_replica(runtime, context)

    async def test_a_request_is_pinned_to_its_first_node(
        self, runtime: Runtime, context: RequestContext
    ) -> None:
        await is_replica(runtime, context)
        pinned = context.node
        for _ in range(20):
            await is_replica(runtime, context)
            assert context.node is pinned

    async def test_no_read_can_write(self, runtime: Runtime, context: RequestContext) -> None:
        for consistency in (STRONG, eventual(10)):
            with pytest.raises(ImpactError):
                async with runtime.database.read(context, consistency) as session:
                    await session.fetch(WRITE)

    async def test_a_replica_connection_cannot_write(self, runtime: Runtime) -> None:
        node = runtime.database.nodes.replicas()[0]
        async with node.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            assert await driver.fetchval("SHOW default_transaction_read_only") == "on"


class TestTokens:
    async def test_every_write_answers_with_a_token(
        self, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        body = {"title": "Spring"}
        made = await client.post("/admin/collections", headers=shop.admin, json=body)
        assert int(made.headers["x-consistency-token"], 16) > 0
        read = await client.get("/admin/collections", headers=shop.admin)
        assert "x-consistency-token" not in read.headers

    @pytest.mark.parametrize("token", ["zz", "", "-1", "0" * 17, "ff"])
    async def test_a_token_that_is_not_ours(
        self, shop: Shop, client: httpx.AsyncClient, token: str
    ) -> None:
        headers = {**shop.admin, "x-consistency-token": token}
        response = await client.get("/admin/collections", headers=headers)
        assert response.status_code == 400
        assert response.json()["errors"][0]["parameter"] == "x-consistency-token"

    async def test_a_token_from_the_future_is_served(
        self, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        headers = {**shop.admin, "x-consistency-token": "F" * 16}
        response = await client.get("/admin/collections", headers=headers)
        assert response.status_code == 200

    async def test_a_thousand_reads_of_own_writes_over_four_processes_worth_of_pools(
        self, settings: Settings, endpoints: Endpoints, shop: Shop
    ) -> None:
        """Each write goes through one application and is read through another one, half of the
        time with the replica held back: not one may be missed."""
        apps: list[Litestar] = [create_app(settings) for _ in range(4)]
        stale = 0
        replica_reads = 0

        async def pair(number: int) -> None:
            nonlocal stale
            writer, reader = apps[number % 4], apps[(number + 1 + number // 4) % 4]
            path = "/admin/collections"
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(writer), base_url="http://a"
            ) as client:
                made = await client.post(path, headers=shop.admin, json={"title": f"C {number}"})
            token = made.headers["x-consistency-token"]
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(reader), base_url="http://b"
            ) as client:
                found = await client.get(
                    f"{path}/{made.json()['collection']['id']}",
                    headers={**shop.admin, "x-consistency-token": token},
                )
            stale += found.status_code != 200

        async def read_a_list(app: Litestar) -> None:
            """A list that is never cached."""
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://c"
            ) as client:
                found = await client.get("/admin/customers", headers=shop.admin)
            assert found.status_code == 200

        async with contextlib.AsyncExitStack() as stack:
            for app in apps:
                await stack.enter_async_context(app.lifespan())
            for batch in range(0, 500, 25):
                await asyncio.gather(*(pair(n) for n in range(batch, batch + 25)))
            # How often the replica was read so far depends on how fast it replays. It takes part:
            # the primary, which never lags, would pass alone.
            await caught_up(endpoints)
            for app in apps:
                await read_a_list(app)
                nodes: NodeSet = app.state.runtime.database.nodes
                replica_reads += sum(node.served for node in nodes.nodes if not node.primary)
            async with replay_paused(endpoints):
                for batch in range(500, 1000, 25):
                    await asyncio.gather(*(pair(n) for n in range(batch, batch + 25)))
        assert stale == 0
        assert replica_reads > 0


class TestLag:
    async def test_a_stale_read_without_a_token_is_consistent_in_itself(
        self, settings: Settings, endpoints: Endpoints, shop: Shop
    ) -> None:
        async with open_runtime(settings) as runtime, replay_paused(endpoints):
            before = system_context(shop.tenant, "test")
            assert await is_replica(runtime, before)
            async with runtime.database.write(system_context(shop.tenant, "test")) as session:
                await session.execute(
                    Statement(
                        "tests.add",
                        "INSERT INTO collection (tenant_id, id, title, handle)"
                        " VALUES (:tenant_id, gen_random_uuid(), 'New', 'new')",
                    )
                )
            count = Statement(
                "tests.count", "SELECT count(*) FROM collection WHERE tenant_id = :tenant_id"
            )
            # Without the token the old state may be seen, and then throughout the request.
            for _ in range(5):
                async with runtime.database.read(before) as session:
                    assert await session.fetch_value(count) == 0

    async def test_a_replica_too_far_behind_serves_nobody(
        self, settings: Settings, endpoints: Endpoints, shop: Shop
    ) -> None:
        tight = msgspec.structs.replace(settings, replica_max_lag=0.2)
        async with open_runtime(tight) as runtime:
            async with replay_paused(endpoints):
                async with runtime.database.write(system_context(shop.tenant, "test")) as session:
                    await session.execute(
                        Statement(
                            "tests.add",
                            "INSERT INTO collection (tenant_id, id, title, handle)"
                            " VALUES (:tenant_id, gen_random_uuid(), 'Late', 'late')",
                        )
                    )
                replica = runtime.database.nodes.replicas()[0]
                await until(lambda: replica.lag > tight.replica_max_lag)
                assert not await is_replica(runtime, system_context(shop.tenant, "test"))
            # It comes back by itself.
            await until(lambda: replica.lag == 0)
            assert await is_replica(runtime, system_context(shop.tenant, "test"))


class TestLostReplica:
    async def test_reads_go_on_at_the_primary(self, settings: Settings, shop: Shop) -> None:
        async with open_runtime(settings) as runtime:
            nodes = runtime.database.nodes
            replica = nodes.replicas()[0]
            replica.eject()
            assert not await is_replica(runtime, shop.context())

    async def test_a_connection_cut_under_a_get_is_not_seen(
        self, app: Litestar, endpoints: Endpoints, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        await shop.product()
        killer = await asyncpg.connect(endpoints.replica_admin_urls[0])
        statuses = set()
        try:
            for _ in range(20):
                task = asyncio.create_task(client.get("/admin/products", headers=shop.admin))
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'impact' AND datname = current_database()"
                )
                statuses.add((await task).status_code)
        finally:
            await killer.close()
        assert statuses == {200}

    async def test_without_any_node_the_answer_is_503(self, settings: Settings) -> None:
        nodes = NodeSet(settings)
        with pytest.raises(UnavailableError) as raised:
            nodes.primary()
        assert raised.value.retry_after == 1
        await nodes.close()


def test_back_off_doubles(settings: Settings) -> None:
    node = Node("x", settings.primary_url, settings)
    node.observe(primary=True, replay=1, lag=0)
    assert node.usable
    node.eject()
    assert not node.usable


class TestNewCustomer:
    async def test_is_found_at_once_whatever_the_replica_knows(
        self, settings: Settings, endpoints: Endpoints, shop: Shop
    ) -> None:
        """The token given at registration carries its write: no other header is needed."""
        async with (
            started(create_app(settings)) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://impact.test"
            ) as plain,
            replay_paused(endpoints),
        ):
            made = await plain.post(
                "/auth/customer/emailpass/register",
                headers=shop.store,
                json={"email": "new@example.com", "password": "correct horse"},
            )
            assert made.status_code == 200, made.text
            headers = {**shop.store, "authorization": f"Bearer {made.json()['token']}"}
            me = await plain.get("/store/customers/me", headers=headers)
        assert me.status_code == 200, me.text
