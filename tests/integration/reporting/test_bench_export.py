"""``impact bench export`` measures on a database of its own, and drops it."""

import asyncio
import json

import asyncpg
import pytest

from impact.stack import Stack
from support.dev import impact

# None beside another that counts the databases which benches leave.
pytestmark = pytest.mark.xdist_group("bench")

MOST = 50_000_000
"""Bytes that an export of any length may add to a worker's memory."""


async def test_it_measures_and_cleans_up(stack: Stack) -> None:
    endpoints = stack.endpoints()
    assert endpoints is not None
    options = ("--rows", "20000", "--json", "--data-dir", str(stack.data_dir))
    run = await asyncio.to_thread(impact, "bench", "export", *options)
    assert run.returncode == 0, run.stderr
    admin = await asyncpg.connect(endpoints.admin_url)
    try:
        left = await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'bench%'")
    finally:
        await admin.close()
    assert left == 0
    found = json.loads(run.stdout)
    assert list(found) == ["ndjson", "csv", "csv, gzip", "csv, zstd"]
    for each in found.values():
        assert each["rows"] == 20_000
        assert each["memory_before"] <= each["memory_peak"] < each["memory_before"] + MOST
    assert found["csv, gzip"]["bytes"] < found["csv"]["bytes"] < found["ndjson"]["bytes"]
