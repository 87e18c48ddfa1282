"""Four workers, a replica that stalls and a Redis that dies: no answer older than what its caller
knows, and none that is an error (P2, P5, P7).

``IMPACT_CHAOS_ROUNDS=1000`` makes a long run, ``IMPACT_CHAOS_SEED`` another one.
"""

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio

from impact.engine.tasks import end
from impact.stack import Endpoints, Stack
from support.dev import Dev, free_port, impact
from support.replication import replay_paused

WRITERS = 8
ROUNDS = int(os.environ.get("IMPACT_CHAOS_ROUNDS", "60"))
SEED = int(os.environ.get("IMPACT_CHAOS_SEED", "1"))


@pytest.fixture(scope="module")
def served() -> Iterator[Dev]:
    directory = Path(tempfile.mkdtemp(prefix="impact-chaos-"))
    directory.chmod(0o711)
    with Dev(directory / "data", free_port(), "--workers", "4") as dev:
        yield dev
    shutil.rmtree(directory, ignore_errors=True)


async def torment(stack: Stack, endpoints: Endpoints, chance: random.Random) -> None:
    """Until cancelled: hold back the replica, empty Redis, kill it; ``impact dev`` starts it
    again."""
    while True:
        match chance.randrange(3):
            case 0:
                async with replay_paused(endpoints):
                    await asyncio.sleep(chance.uniform(0.1, 1.0))
            case 1 if endpoints.redis_url is not None:
                with contextlib.suppress(redis.RedisError):
                    async with redis.asyncio.from_url(endpoints.redis_url) as client:
                        await client.flushall()
            case 2 if stack.redis is not None:
                await asyncio.to_thread(stack.redis.kill)
        await asyncio.sleep(chance.uniform(0.1, 0.5))


async def test_nobody_reads_behind_what_they_know(served: Dev) -> None:
    stack = Stack(served.data_dir)
    endpoints = stack.endpoints()
    assert endpoints is not None
    found = impact("token", "--tenant", "paris", "--data-dir", str(served.data_dir))
    headers = {"authorization": f"Bearer {found.stdout.strip()}"}
    wrong: list[str] = []
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    async with httpx.AsyncClient(base_url=served.base, limits=limits, timeout=30) as client:
        listed = await client.get("/admin/products", headers=headers, params={"limit": WRITERS})
        products = [product["id"] for product in listed.json()["products"]]

        async def get(path: str, token: str, **parameters: Any) -> Any:
            seen = {**headers, "x-consistency-token": token}
            response = await client.get(path, headers=seen, params=parameters)
            if response.status_code != 200:
                wrong.append(f"GET {path}: {response.status_code} {response.text}")
                return None
            return response.json()

        async def write_and_read(id: str) -> None:
            for number in range(ROUNDS):
                title = f"{id} {number}"
                made = await client.post(
                    f"/admin/products/{id}",
                    headers=headers,
                    json={"title": title, "status": "published"},
                )
                if made.status_code != 200:
                    wrong.append(f"POST {id}: {made.status_code} {made.text}")
                    continue
                token = made.headers["x-consistency-token"]
                one, listing, shown = await asyncio.gather(
                    get(f"/admin/products/{id}", token),
                    get("/admin/products", token, id=id),
                    get("/admin/products", token),
                )
                if one is not None and one["product"]["title"] != title:
                    wrong.append(f"{id}: wrote {number}, saw {one['product']['title']}")
                for page in (listing, shown):
                    titles = {} if page is None else {p["id"]: p["title"] for p in page["products"]}
                    if titles.get(id, title) != title:
                        wrong.append(f"{id}: wrote {number}, the list says {titles[id]}")

        trouble = asyncio.create_task(torment(stack, endpoints, random.Random(SEED)))  # noqa: S311
        await asyncio.gather(*(write_and_read(id) for id in products))
        # Redis's client may take the cancellation for a limit of its own and go on.
        await end([trouble])
    assert wrong == [], served.output[-20_000:]
