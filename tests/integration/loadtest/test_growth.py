"""``impact bench growth`` measures on a database of its own, and drops it."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from impact.stack import Stack
from support.dev import impact

# None beside another that counts the databases which benches leave.
pytestmark = pytest.mark.xdist_group("bench")


async def test_it_measures_and_cleans_up(stack: Stack, tmp_path: Path) -> None:
    endpoints = stack.endpoints()
    assert endpoints is not None
    saved = tmp_path / "growth.json"
    options = ("--size", "quick", "--json", "--data-dir", str(stack.data_dir))
    run = await asyncio.to_thread(impact, "bench", "growth", *options, "--save", str(saved))
    assert run.returncode == 0, run.stderr
    admin = await asyncpg.connect(endpoints.admin_url)
    try:
        left = await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'bench%'")
    finally:
        await admin.close()
    assert left == 0
    found = json.loads(run.stdout)
    read = {(each["route"], each["at"]): each["buffers"] for each in found["costs"]}
    # What a cache answers asks the database nothing; what it does not asks no order.
    at = "30,000 order lines"
    assert read["sales?interval=month, cached", at] == 0
    assert 0 < read["popular-products?limit=, cold", at] < 500
    # As many neighbours as there may be, a page costs what it costs.
    alone, among = (read["products, page 1", f"{n} tenants"] for n in ("10", "1,000"))
    assert among <= alone * 1.2
    shown = await asyncio.to_thread(impact, "bench", "growth", "show", str(saved))
    assert "| products, page 1 " in shown.stdout


async def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    run = await asyncio.to_thread(impact, "bench", "growth", "show", str(other))
    assert run.returncode == 2
    assert "is no figures of 'bench growth'" in run.stderr
