"""/metrics of several worker processes: one true answer, also after one was killed."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.dev import Dev, free_port, impact

CONNECTIONS = 24
SHOP = {"x-tenant-id": "paris"}
PATHS = (
    "/store/products?limit=5",
    "/store/collections",
    "/health/live",
    "/nowhere",
    "/admin/users",
)
ROUTES = {
    "/store/products?limit=5": ("GET", "/store/products", "200"),
    "/store/collections": ("GET", "/store/collections", "200"),
    "/health/live": ("GET", "/health/live", "200"),
    "/nowhere": ("GET", "unrouted", "404"),
    "/admin/users": ("GET", "/admin/users", "401"),
}
PATHS = tuple(ROUTES)


@pytest.fixture(scope="module")
def served() -> Iterator[Dev]:
    directory = Path(tempfile.mkdtemp(prefix="impact-metrics-"))
    directory.chmod(0o711)
    with Dev(directory / "data", free_port(), "--workers", "4") as dev:
        yield dev
    shutil.rmtree(directory, ignore_errors=True)


def requests_in(text: str) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "http_server_request_duration_seconds_count":
                labels = sample.labels
                key = (
                    labels["http_request_method"],
                    labels["http_route"],
                    labels["http_response_status_code"],
                )
                found[key] += int(sample.value)
    return found


async def load(served: Dev, rounds: int) -> tuple[Counter[tuple[str, str, str]], set[int]]:
    """Requests over many connections, so that all workers serve some; counted by the client."""
    counted: Counter[tuple[str, str, str]] = Counter()
    workers: set[int] = set()
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=served.base, limits=limits, timeout=30) as client:

        async def one(path: str) -> None:
            response = await client.get(path, headers=SHOP)
            assert str(response.status_code) == ROUTES[path][2], response.text
            counted[ROUTES[path]] += 1
            ready = await client.get("/health/ready")
            counted["GET", "/health/ready", "200"] += 1
            workers.add(ready.json()["worker"])

        for _ in range(rounds):
            await asyncio.gather(*(one(PATHS[n % len(PATHS)]) for n in range(CONNECTIONS)))
    return counted, workers


async def load_all(served: Dev, gone: set[int]) -> Counter[tuple[str, str, str]]:
    """Load until four workers have served some of it, none of which is ``gone``; the kernel
    decides who gets a connection, and a worker may still be starting."""
    counted: Counter[tuple[str, str, str]] = Counter()
    seen: set[int] = set()
    for _ in range(100):
        more, workers = await load(served, 3)
        counted += more
        seen |= workers - gone
        if len(seen) == 4:
            return counted
        await asyncio.sleep(0.1)
    pytest.fail(f"only {seen} ever answered")


async def scrape(served: Dev) -> Counter[tuple[str, str, str]]:
    async with httpx.AsyncClient(base_url=served.base, timeout=30) as client:
        response = await client.get("/metrics")
    assert response.status_code == 200, response.text
    found = requests_in(response.text)
    # Of these nobody counts along: the one that asks is not counted yet, the earlier ones are.
    for key in [key for key in found if key[1] == "/metrics"]:
        del found[key]
    return found


async def test_totals_are_the_clients_counts_also_after_a_worker_was_killed(served: Dev) -> None:
    # Starting up asks whether the server is ready.
    before = await scrape(served)
    counted = await load_all(served, set())
    assert await scrape(served) - before == counted

    # No warning: what it measured last is in nobody's memory but the kernel's.
    last, workers = await load(served, 10)
    counted += last
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    seen = []
    for _ in range(20):
        seen.append(await scrape(served) - before)
        await asyncio.sleep(0.05)
    assert all(each == counted for each in seen)

    counted += await load_all(served, {victim})
    assert await scrape(served) - before == counted

    async with httpx.AsyncClient(base_url=served.base, timeout=30) as client:
        response = await client.get("/metrics", headers={"accept": "application/json"})
    totals = response.json()
    assert totals["processes"] == 4
    key = ("GET", "/store/products", "200")
    assert totals["routes"]["GET /store/products"]["count"] == counted[key] + before[key]
    assert totals["pool_stats"]["primary"]["max"] == 4 * 20
    where = ("--data-dir", str(served.data_dir), "--url", served.base, "--json")
    listed = impact("queries", "top", "--limit", "100", *where)
    rows = {row["name"]: row for row in json.loads(listed.stdout)["queries"]}
    row = rows["catalog.store_product_list"]
    assert row["count"] == totals["queries"]["catalog.store_product_list"]["count"]
    assert row["db_calls"] == row["count"]
