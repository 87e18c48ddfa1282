"""``impact bench fairness`` compares answers, and no errors."""

import asyncio

import pytest

from impact.errors import ConfigurationError
from impact.loadtest.fairness import measure
from impact.settings import Settings
from support.shops import Shop


@pytest.mark.parametrize("budget", [None, 10])
async def test_a_shop_that_is_not_there(settings: Settings, shop: Shop, budget: int | None) -> None:
    sizes = {"budget": budget, "times": 2, "rounds": 1, "seconds": 0.5}
    with pytest.raises(ConfigurationError, match="'nowhere' has no answer but errors"):
        await asyncio.to_thread(measure, settings, "nowhere", shop.tenant, **sizes)
