"""The import of the whole online-retail file, where it is at hand."""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

Query = Callable[..., Any]


async def test_the_whole_file(run_retail: Any, tenant: str, query: Query) -> None:
    shared = Path(os.environ.get("IMPACT_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
    path = shared / "online_retail_2010-12_2011-09.csv.gz"
    if not os.path.exists(path):  # noqa: PTH110, ASYNC240
        pytest.skip(f"{path} is not here; IMPACT_SHARED_DATA names its folder")
    summary = await run_retail(path, tenant)
    assert summary.read.rows == 370_931
    assert summary.read.amount == Decimal("6781619.004")
    assert summary.reasons == {"stock_adjustment": 1934, "sub_penny": 4}
    assert summary.imported.rows == 368_993
    assert summary.read.amount == summary.imported.amount + summary.rejected.amount
    before = await query(tenant, 'SELECT count(*), max(updated_at) FROM "order"')
    assert not (await run_retail(path, tenant)).changed
    assert await query(tenant, 'SELECT count(*), max(updated_at) FROM "order"') == before
