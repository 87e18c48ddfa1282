"""Measurements leave nothing of their own in Redis."""

import asyncio

import pytest
import redis.asyncio as redis

from impact.cli._bench_database import own_database
from impact.context import system_context
from impact.engine.cache import keys
from impact.engine.runtime import open_runtime
from impact.loadtest import fairness, rate_limits
from impact.settings import Settings
from impact.stack import Stack
from support.shops import Shop

# None beside another that counts the databases which benches leave.
pytestmark = pytest.mark.xdist_group("bench")


async def _left(settings: Settings, service: str) -> set[bytes]:
    async with redis.Redis.from_url(str(settings.redis_url)) as client:
        return {key async for key in client.scan_iter(match=f"{service}:*")}


async def _use(settings: Settings) -> None:
    """Have an entry, versions and figures there."""
    async with open_runtime(settings) as runtime:
        context = system_context("bench", "bench")
        tag = keys.one(context.tenant, "bench", 1)
        await runtime.cache.versions.raise_now(context.tenant, [tag])
        await runtime.cache.total()


@pytest.mark.parametrize("ends_by", [None, KeyboardInterrupt])
def test_with_the_database(stack: Stack, ends_by: type[BaseException] | None) -> None:
    found: list[Settings] = []

    def bench() -> None:
        with own_database(stack) as (settings, _):
            found.append(settings)
            asyncio.run(_use(settings))
            assert asyncio.run(_left(settings, settings.cache_service))
            if ends_by is not None:
                raise ends_by

    if ends_by is None:
        bench()
    else:
        with pytest.raises(ends_by):
            bench()
    assert asyncio.run(_left(found[0], found[0].cache_service)) == set()


async def test_under_a_name_of_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits.secrets, "token_hex", lambda _: "rates")
    await rate_limits.measure(settings)
    assert await _left(settings, "bench-rates") == set()
    assert await _left(settings, f"{settings.cache_service}:{{bench-limits}}") == set()


async def test_with_the_server(
    settings: Settings, shop: Shop, other_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fairness.secrets, "token_hex", lambda _: "fair")
    sizes = {"budget": 10, "times": 2, "rounds": 1, "seconds": 0.5}
    await asyncio.to_thread(fairness.measure, settings, shop.tenant, other_shop.tenant, **sizes)
    assert await _left(settings, "bench-fair") == set()
