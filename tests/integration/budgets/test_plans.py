"""What PostgreSQL does for a page, seen in its plan rather than on a clock."""

from collections.abc import Iterator
from copy import copy
from typing import Any

import httpx
import pytest

from impact.domains.orders import read
from impact.engine.db import readmodel
from impact.engine.runtime import Runtime
from support.shops import Shop


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_rows_that_an_offset_skips_are_not_shaped(shop: Shop, runtime: Runtime) -> None:
    variant = await shop.variant(stock=100)
    for _ in range(30):
        assert (await shop.order(variant)).status_code == 200
    listed = read.orders._list_statement("o.created_at", True, frozenset())
    explain = copy(listed)
    explain.sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {listed.sql}"
    async with runtime.database.write(shop.context()) as session:
        found = await session.fetch_value(explain, limit=5, offset=20, count_limit=1000)
    plan = found[0]["Plan"]
    lines = [node for node in nodes(plan) if node.get("Relation Name") == "order_line"]
    assert lines
    assert all(node["Actual Loops"] <= 5 for node in lines)


async def test_a_long_lists_count_is_remembered(
    client: httpx.AsyncClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting more rows than these takes longer than the page; short lists are always exact."""
    variant = await shop.variant(stock=100)

    async def count(**params: str) -> int:
        response = await client.get("/admin/orders", headers=shop.admin, params=params)
        found: int = response.json()["count"]
        return found

    for placed in range(3):
        assert await count() == placed
        await shop.order(variant)
    monkeypatch.setattr(readmodel, "MANY", 2)
    assert await count() == 3
    await shop.order(variant)
    assert await count() == 3
    # Another question has another count, and another page of the same has the same.
    assert await count(status="pending") == 4
    assert await count(limit="1", offset="2") == 3
    monkeypatch.setattr(readmodel, "_REMEMBERED", 0.0)
    assert await count() == 4
