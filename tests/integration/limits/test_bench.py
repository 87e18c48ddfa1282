"""The measurements of docs/limits.md run, and measure what they say."""

import asyncio
from pathlib import Path

import msgspec

from impact.loadtest import fairness, rate_limits
from impact.settings import Settings
from support.shops import Shop


async def test_limits(settings: Settings) -> None:
    cost = await rate_limits.measure(settings)
    assert cost.charge > 0
    assert cost.headers > 0
    # Nearly no request waits for Redis.
    assert 0 < cost.asked < 0.01


async def test_fairness(settings: Settings, shop: Shop, other_shop: Shop, tmp_path: Path) -> None:
    chosen = msgspec.structs.replace(settings, data_dir=tmp_path)
    found = await asyncio.to_thread(
        lambda: fairness.measure(
            chosen, shop.tenant, other_shop.tenant, budget=None, times=20, rounds=1, seconds=0.5
        )
    )
    assert found.errors == 0
    assert found.budget >= 1
    assert found.alone.ratio == 1
    assert found.neighbour.keys() == {200, 429}
    assert found.neighbour[429] > found.neighbour[200]
