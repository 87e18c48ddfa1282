"""What the monitor takes for a dead server, and what not."""

import asyncio
import time

import asyncpg
import pytest

from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.settings import Settings


async def test_a_process_that_stood_still_takes_no_server_for_dead(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = NodeSet(settings)
    losses: list[str] = []
    for node in nodes.nodes:
        monkeypatch.setattr(node, "lost", losses.append)
    probe = asyncpg.Connection.fetchrow
    stood = asyncio.Event()

    async def and_stand_still(connection: asyncpg.Connection, text: str) -> object:
        if not stood.is_set():
            stood.set()
            # Once the question is on its way, as a paused machine does.
            asyncio.get_running_loop().call_soon(time.sleep, 2.7)
        return await probe(connection, text)

    async with Monitor(nodes):
        monkeypatch.setattr(asyncpg.Connection, "fetchrow", and_stand_still)
        await stood.wait()
        seen = nodes.primary().replay
        async with asyncio.timeout(30):
            while nodes.primary().replay <= seen or not nodes.replicas():
                connection = await asyncpg.connect(settings.primary_url)
                await connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
                await connection.close()
    for node in nodes.nodes:
        await node.close()
    assert losses == []


async def test_a_driver_that_fails_in_its_own_way_ends_no_watch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = NodeSet(settings)

    async def fails(*_: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'writelines'")

    async def become(reachable: bool) -> None:
        async with asyncio.timeout(20):
            while any(node.reachable != reachable for node in nodes.nodes):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async with Monitor(nodes):
        await become(True)
        with monkeypatch.context() as patch:
            patch.setattr(asyncpg.Connection, "fetchrow", fails)
            await become(False)
        await become(True)
    for node in nodes.nodes:
        await node.close()
