"""``impact bench audit`` measures on a database of its own, and drops it."""

import asyncio
import json

import asyncpg
import pytest

from impact.stack import Stack
from support.dev import impact

# Who looks for databases left behind must not find another's.
pytestmark = pytest.mark.xdist_group("bench")


async def test_it_measures_and_cleans_up(stack: Stack) -> None:
    endpoints = stack.endpoints()
    assert endpoints is not None
    admin = await asyncpg.connect(endpoints.admin_url)
    try:
        options = ("--rounds", "1", "--seconds", "0.3", "--clients", "3", "--json")
        place = ("--data-dir", str(stack.data_dir))
        run = await asyncio.to_thread(impact, "bench", "audit", *options, *place)
        assert run.returncode == 0, run.stderr
        left = await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'bench%'")
    finally:
        await admin.close()
    assert left == 0
    found = json.loads(run.stdout)
    assert found["orders"]["on"] > 0
    assert found["orders"]["off"] > 0
    # One round of each update with the triggers on, and the shop itself.
    assert 20_000 < found["records"] < 60_100
    assert found["relay"] > 0
