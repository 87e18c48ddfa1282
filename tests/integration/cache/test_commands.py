"""``impact cache`` and the browse of ``impact bench cache``."""

import asyncio
import json

import httpx
import pytest

from impact.loadtest.cache import browse
from impact.settings import Settings
from support.dev import impact
from support.shops import Shop

pytestmark = pytest.mark.xdist_group("replica")


def environment(settings: Settings) -> dict[str, str]:
    return {
        "IMPACT_PRIMARY_URL": settings.primary_url,
        "IMPACT_SIGNING_KEYS": settings.signing_keys,
        "IMPACT_REDIS_URL": settings.redis_url or "",
        "IMPACT_CACHE_SERVICE": settings.cache_service,
    }


async def test_figures_of_all_processes(
    settings: Settings, client: httpx.AsyncClient, shop: Shop
) -> None:
    await client.get("/admin/products", headers=shop.admin)
    await client.get("/admin/cache/stats", headers=shop.admin)  # Leaves its figures at once.
    run = await asyncio.to_thread(impact, "cache", "stats", "--json", **environment(settings))
    figures = json.loads(run.stdout)
    assert figures["processes"] >= 1
    assert figures["tiers"]["l1"]["product"]["misses"] > 0
    table = await asyncio.to_thread(impact, "cache", "stats", **environment(settings))
    assert "hit rate" in table.stdout


async def test_a_wildcard_from_outside(
    settings: Settings, client: httpx.AsyncClient, shop: Shop
) -> None:
    loads = client._transport.app.state.runtime.cache.stats.loads["product"]  # type: ignore[attr-defined]
    await client.get("/admin/products", headers=shop.admin)
    before = loads.misses
    pattern = f"product:{shop.tenant}:*"
    run = await asyncio.to_thread(impact, "cache", "invalidate", pattern, **environment(settings))
    assert run.returncode == 0, run.stderr
    async with asyncio.timeout(20):
        while loads.misses == before:
            await client.get("/admin/products", headers=shop.admin)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("pattern", ["product", "a:b", "product:Paris:*"])
def test_a_pattern_that_is_none(settings: Settings, pattern: str) -> None:
    run = impact("cache", "invalidate", pattern, **environment(settings))
    assert run.returncode == 1
    assert "Traceback" not in run.stderr


async def test_a_browse_hits(settings: Settings) -> None:
    """A short one, with all of its misses at the beginning; the figure is of the long one."""
    found = await browse(settings, requests=6000, products=500, tenants=5)
    assert found.hit_rate > 0.75
    assert found.writes > 0
