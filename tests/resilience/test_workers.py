"""Several worker processes behind one port: no one reads behind their own write (P2)."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from impact.stack import Stack
from support.dev import Dev, free_port, impact
from support.replication import replay_paused

PAIRS = 1000
# Each connection belongs to one worker; enough of them reach all four.
CONNECTIONS = 24


@pytest.fixture(scope="module")
def served() -> Iterator[Dev]:
    directory = Path(tempfile.mkdtemp(prefix="impact-workers-"))
    directory.chmod(0o711)
    with Dev(directory / "data", free_port(), "--workers", "4") as dev:
        yield dev
    shutil.rmtree(directory, ignore_errors=True)


async def test_a_thousand_pairs_over_four_workers_with_replay_held_back(served: Dev) -> None:
    arguments = ("--tenant", "paris", "--data-dir", str(served.data_dir))
    token = impact("token", *arguments).stdout.strip()
    headers = {"authorization": f"Bearer {token}"}
    endpoints = Stack(served.data_dir).endpoints()
    assert endpoints is not None
    stale: list[str] = []
    workers: set[int] = set()
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=served.base, limits=limits, timeout=30) as client:

        async def pair(number: int) -> None:
            body = {"title": f"Pair {number}"}
            made = await client.post("/admin/collections", headers=headers, json=body)
            assert made.status_code == 200, made.text
            seen = {"x-consistency-token": made.headers["x-consistency-token"]}
            path = f"/admin/collections/{made.json()['collection']['id']}"
            found = await client.get(path, headers={**headers, **seen})
            if found.status_code != 200 or found.json()["collection"]["title"] != body["title"]:
                stale.append(f"{number}: {found.status_code} {found.text}")
            ready = await client.get("/health/ready")
            workers.add(ready.json()["worker"])

        async def pairs(numbers: range) -> None:
            for start in range(numbers.start, numbers.stop, CONNECTIONS):
                stop = min(start + CONNECTIONS, numbers.stop)
                await asyncio.gather(*(pair(number) for number in range(start, stop)))

        await pairs(range(PAIRS // 2))
        async with replay_paused(endpoints):
            await pairs(range(PAIRS // 2, PAIRS))
    assert stale == []
    assert len(workers) == 4
