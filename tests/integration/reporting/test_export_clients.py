"""Clients of a real server that stall, leave or are cut off, as PostgreSQL sees it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from impact.engine.runtime import Runtime
from impact.settings import Settings
from impact.stack import Endpoints
from support.changes import changes
from support.customers import fill
from support.serving import Served, serving
from support.shops import Shop, open_shop

URL = "/admin/exports/customers"
ROWS, SIZE = 30_000, 600
"""More than all buffers between the two take."""
_STREAMS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND state <> 'idle' AND query LIKE 'FETCH % FROM stream%'
"""
_PATIENCE = 30


@pytest.fixture(scope="module")
async def large_shop(runtime: Runtime, endpoints: Endpoints) -> Shop:
    shop = await open_shop(runtime, None)
    await fill(endpoints, runtime, shop, ROWS, SIZE)
    return shop


@pytest.fixture
async def nodes(endpoints: Endpoints) -> AsyncIterator[list[asyncpg.Connection]]:
    urls = (endpoints.admin_url, *endpoints.replica_admin_urls)
    connections = [await asyncpg.connect(url) for url in urls]
    yield connections
    for connection in connections:
        await connection.close()


async def until_streams(nodes: list[asyncpg.Connection], count: int) -> None:
    """Wait until so many connections of the database are in the midst of an export."""
    async with asyncio.timeout(_PATIENCE):
        while sum([len(await node.fetch(_STREAMS)) for node in nodes]) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def client_of(served: Served, shop: Shop) -> httpx.AsyncClient:
    headers = {**shop.admin, "accept-encoding": "identity"}
    return httpx.AsyncClient(base_url=served.base, headers=headers, timeout=_PATIENCE)


async def test_one_who_reads_gets_all_of_it(
    settings: Settings, large_shop: Shop, nodes: list[asyncpg.Connection], tmp_path: Path
) -> None:
    async with serving(settings, tmp_path) as served, client_of(served, large_shop) as client:
        lines = size = 0
        async with client.stream("GET", URL) as response:
            async for part in response.aiter_raw():
                lines += part.count(b"\n")
                size += len(part)
        assert lines == ROWS
        assert size > ROWS * SIZE
        await until_streams(nodes, 0)


async def test_one_who_stalls_is_cut_off_and_holds_nothing(
    settings: Settings, large_shop: Shop, nodes: list[asyncpg.Connection], tmp_path: Path
) -> None:
    async with (
        serving(settings, tmp_path, IMPACT_EXPORT_STALL="1") as served,
        client_of(served, large_shop) as client,
        client.stream("GET", URL) as response,
    ):
        assert response.status_code == 200
        await until_streams(nodes, 0)
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in response.aiter_raw():
                pass
        assert "a response was cut off: the client takes nothing" in served.output


async def test_one_who_leaves_holds_nothing(
    settings: Settings, large_shop: Shop, nodes: list[asyncpg.Connection], tmp_path: Path
) -> None:
    # It is not for having stalled that its connection is free again.
    async with serving(settings, tmp_path, IMPACT_EXPORT_STALL="50") as served:
        async with client_of(served, large_shop) as client, client.stream("GET", URL):
            await until_streams(nodes, 1)
        await until_streams(nodes, 0)


async def test_a_lost_connection_to_the_database_is_no_short_file(
    settings: Settings, large_shop: Shop, nodes: list[asyncpg.Connection], tmp_path: Path
) -> None:
    async with (
        serving(settings, tmp_path) as served,
        client_of(served, large_shop) as client,
        client.stream("GET", URL) as response,
    ):
        await until_streams(nodes, 1)
        for node in nodes:
            await node.execute(f"SELECT pg_terminate_backend(pid) FROM ({_STREAMS}) AS found")
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in response.aiter_raw():
                pass
        assert "a response was cut off: the connection to the database was lost" in served.output
        # The server itself goes on.
        listed = await client.get("/admin/customers", params={"limit": 1})
        assert listed.status_code == 200


async def test_more_than_it_may_run_at_once_are_told_to_wait(
    settings: Settings, large_shop: Shop, nodes: list[asyncpg.Connection], tmp_path: Path
) -> None:
    async with (
        serving(settings, tmp_path, IMPACT_EXPORT_LIMIT="1", IMPACT_EXPORT_STALL="50") as served,
        client_of(served, large_shop) as client,
    ):
        async with client.stream("GET", URL):
            await until_streams(nodes, 1)
            response = await client.get(URL)
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            assert response.headers["content-type"] == "application/problem+json"
        await until_streams(nodes, 0)
        async with client.stream("GET", URL) as response:
            assert response.status_code == 200


async def test_an_export_ends_in_its_time(
    settings: Settings, large_shop: Shop, nodes: list[asyncpg.Connection], tmp_path: Path
) -> None:
    variables = {"IMPACT_EXPORT_TIMEOUT": "0.5", "IMPACT_EXPORT_STALL": "50"}
    async with (
        serving(settings, tmp_path, **variables) as served,
        client_of(served, large_shop) as client,
        client.stream("GET", URL) as response,
    ):
        await until_streams(nodes, 0)
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in response.aiter_raw():
                pass
        assert "a response was cut off: it took too long" in served.output


async def test_a_server_that_stops_ends_it_first(
    settings: Settings,
    large_shop: Shop,
    nodes: list[asyncpg.Connection],
    endpoints: Endpoints,
    tmp_path: Path,
) -> None:
    variables = {"IMPACT_EXPORT_STALL": "50", "IMPACT_DRAIN_DELAY": "0.1"}
    async with (
        serving(settings, tmp_path, **variables) as served,
        client_of(served, large_shop) as client,
        client.stream("GET", URL) as response,
    ):
        await until_streams(nodes, 1)
        served.process.terminate()
        assert await asyncio.to_thread(served.process.wait, _PATIENCE) == 0
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in response.aiter_raw():
                pass
    await until_streams(nodes, 0)
    # What was recorded last was stored before the end.
    owner = await asyncpg.connect(endpoints.owner_url)
    try:
        last = (await changes(owner, large_shop.tenant))[-1]
    finally:
        await owner.close()
    assert (last["table_name"], last["action"]) == ("export", "ended")
    assert last["after"]["complete"] is False
