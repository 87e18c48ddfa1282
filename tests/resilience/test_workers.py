"""Several worker processes behind one port: no one reads behind their own write (P2)."""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from impact.stack import Stack
from support.dev import Dev, free_port, impact
from support.replication import replay_paused

PAIRS = 1000
WORKERS = 4
# Pairs at once: each keeps to connections of its own, one to each worker.
LANES = 12


@pytest.fixture(scope="module")
def served() -> Iterator[Dev]:
    directory = Path(tempfile.mkdtemp(prefix="impact-workers-"))
    directory.chmod(0o711)
    with Dev(directory / "data", free_port(), "--workers", str(WORKERS)) as dev:
        yield dev
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def connections(served: Dev) -> AsyncIterator[list[list[httpx.AsyncClient]]]:
    """Clients of one connection each, ``LANES`` for each worker. The kernel decides who gets a
    connection, and a worker may still be starting: more are opened until all have enough."""
    found: defaultdict[int, list[httpx.AsyncClient]] = defaultdict(list)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> None:
            made = httpx.AsyncClient(base_url=served.base, limits=limits, timeout=30)
            client = await stack.enter_async_context(made)
            ready = await client.get("/health/ready")
            found[ready.json()["worker"]].append(client)

        async with asyncio.timeout(60):
            while len(found) < WORKERS or min(map(len, found.values())) < LANES:
                await asyncio.gather(*(connect() for _ in range(LANES)))
        yield [clients[:LANES] for clients in found.values()]


async def test_a_thousand_pairs_over_four_workers_with_replay_held_back(served: Dev) -> None:
    arguments = ("--tenant", "paris", "--data-dir", str(served.data_dir))
    token = impact("token", *arguments).stdout.strip()
    headers = {"authorization": f"Bearer {token}"}
    endpoints = Stack(served.data_dir).endpoints()
    assert endpoints is not None
    stale: list[str] = []
    async with connections(served) as workers:

        async def pair(number: int, lane: int) -> None:
            """What one worker has written, another is asked for."""
            writer, reader = random.Random(number).sample(workers, 2)  # noqa: S311
            body = {"title": f"Pair {number}"}
            made = await writer[lane].post("/admin/collections", headers=headers, json=body)
            assert made.status_code == 200, made.text
            seen = {"x-consistency-token": made.headers["x-consistency-token"]}
            path = f"/admin/collections/{made.json()['collection']['id']}"
            found = await reader[lane].get(path, headers={**headers, **seen})
            if found.status_code != 200 or found.json()["collection"]["title"] != body["title"]:
                stale.append(f"{number}: {found.status_code} {found.text}")

        async def pairs(numbers: range) -> None:
            async def some(lane: int) -> None:
                for number in numbers[lane::LANES]:
                    await pair(number, lane)

            await asyncio.gather(*(some(lane) for lane in range(LANES)))

        await pairs(range(PAIRS // 2))
        async with replay_paused(endpoints):
            await pairs(range(PAIRS // 2, PAIRS))
    assert stale == []
