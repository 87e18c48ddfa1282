"""Limits that several processes share through Redis, and what holds while it is away."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.limits.limiter import Limiter
from impact.engine.limits.policies import RateClass
from impact.errors import RateLimitedError
from impact.settings import Settings
from impact.stack import Stack
from support.caching import Worker, apart, redis_proxy, workers
from support.redises import Redises
from support.shops import Shop

# As long as a day: nothing comes back while a test runs.
DAY = 86_400


def visitor(tenant: str, address: str = "192.0.2.1") -> RequestContext:
    return RequestContext(tenant, Actor(ActorKind.ANONYMOUS, tenant), address=address)


async def admits(
    limiter: Limiter,
    tenant: str,
    address: str = "192.0.2.1",
    rate_class: RateClass = "read",
) -> bool:
    try:
        await limiter.charge(visitor(tenant, address), rate_class)
    except RateLimitedError:
        return False
    return True


async def admitted(made: list[Worker], tenant: str, count: int, **who: Any) -> int:
    """How many of this many requests pass that come to all processes at once."""
    limiters = [worker.runtime.limiter for worker in made]
    asked = [admits(limiters[n % len(limiters)], tenant, **who) for n in range(count)]
    return sum(await asyncio.gather(*asked))


class TestExact:
    @pytest.mark.parametrize("limit", [1, 7, 250, 1000])
    async def test_as_many_as_the_limit_pass(
        self, settings: Settings, shop: Shop, limit: int
    ) -> None:
        limits = (f"tenant-read={limit}/{DAY}",)
        async with workers(settings, shop.tenant, 4, rate_limits=limits) as made:
            assert await admitted(made, shop.tenant, 2000) == limit

    async def test_one_after_the_other_too(self, settings: Settings, shop: Shop) -> None:
        limits = (f"tenant-read=500/{DAY}",)
        async with workers(settings, shop.tenant, 4, rate_limits=limits) as made:
            passed = 0
            for number in range(700):
                passed += await admits(made[number % 4].runtime.limiter, shop.tenant)
            assert passed == 500

    async def test_what_comes_back_is_the_rate(self, settings: Settings, shop: Shop) -> None:
        limits = ("tenant-read=2/1",)
        async with workers(settings, shop.tenant, 2, rate_limits=limits) as made:
            assert await admitted(made, shop.tenant, 10) >= 2
            await until_admitted(made[1].runtime.limiter, shop.tenant)

    async def test_all_of_a_requests_budgets_are_charged_or_none(
        self, settings: Settings, shop: Shop
    ) -> None:
        limits = (f"tenant-read=100/{DAY}", f"caller-read=30/{DAY}")
        async with workers(settings, shop.tenant, 4, rate_limits=limits) as made:
            assert await admitted(made, shop.tenant, 400, address="192.0.2.1") == 30
            # The seventy refused took nothing of the shop's.
            assert await admitted(made, shop.tenant, 400, address="192.0.2.2") == 30
            assert await admitted(made, shop.tenant, 400, address="192.0.2.3") == 30
            assert await admitted(made, shop.tenant, 400, address="192.0.2.4") == 10

    async def test_budgets_are_a_tenants_a_callers_and_a_classs_own(
        self, settings: Settings, shop: Shop, other_shop: Shop
    ) -> None:
        limits = (f"tenant-read=5/{DAY}", f"{other_shop.tenant}:tenant-read=9/{DAY}")
        async with workers(settings, shop.tenant, 2, rate_limits=limits) as made:
            assert await admitted(made, shop.tenant, 20) == 5
            assert await admitted(made, other_shop.tenant, 20) == 9
            assert await admitted(made, shop.tenant, 20, rate_class="write") == 20

    async def test_off(self, settings: Settings, shop: Shop) -> None:
        changes: dict[str, Any] = {"rate_limiting": "off", "rate_limits": ("tenant-read=1/60",)}
        async with workers(settings, shop.tenant, 1, **changes) as made:
            assert await admitted(made, shop.tenant, 10) == 10


class TestTopologies:
    async def test_a_cluster_keeps_a_tenants_buckets_together(
        self, settings: Settings, shop: Shop, stack: Stack
    ) -> None:
        found = stack.primary.site.redis
        assert found is not None
        limits = (f"tenant-read=50/{DAY}", f"caller-read=30/{DAY}")
        with Redises(Path(found.server)) as redises:
            url, _ = redises.cluster()
            changes: dict[str, Any] = {"redis_url": url, "rate_limits": limits}
            async with workers(settings, shop.tenant, 2, **changes) as made:
                assert await admitted(made, shop.tenant, 100, address="192.0.2.1") == 30
                assert await admitted(made, shop.tenant, 100, address="192.0.2.2") == 20
                assert not any(worker.runtime.limiter._away for worker in made)


class TestLeases:
    async def test_redis_is_asked_for_few_requests(self, settings: Settings, shop: Shop) -> None:
        limits = (f"tenant-read=10000/{DAY}", f"caller-read=10000/{DAY}")
        async with workers(settings, shop.tenant, 1, rate_limits=limits) as made:
            limiter = made[0].runtime.limiter
            for _ in range(2000):
                assert await admits(limiter, shop.tenant)
            assert limiter.asked <= 30

    async def test_a_process_holds_a_hundredth_at_most(
        self, settings: Settings, shop: Shop
    ) -> None:
        limits = (f"tenant-read=10000/{DAY}",)
        async with workers(settings, shop.tenant, 4, rate_limits=limits) as made:
            for worker in made[:3]:
                assert await admits(worker.runtime.limiter, shop.tenant)
            # Three processes keep what they took; the fourth gets all the rest.
            passed = await admitted(made[3:], shop.tenant, 10_100)
            assert 10_000 - 3 * 100 <= passed <= 10_000 - 3

    async def test_near_the_limit_only_what_is_used_is_leased(
        self, settings: Settings, shop: Shop
    ) -> None:
        limits = (f"tenant-read=1000/{DAY}",)
        async with workers(settings, shop.tenant, 2, rate_limits=limits) as made:
            one, other = made
            # Past half: the first leases no more than it needs.
            assert await admitted([one], shop.tenant, 600) == 600
            assert await admitted([other], shop.tenant, 1000) == 400 - _in_hand(one, shop.tenant)
            assert _in_hand(one, shop.tenant) == 0

    async def test_who_is_refused_asks_nobody(self, settings: Settings, shop: Shop) -> None:
        limits = (f"tenant-read=3/{DAY}",)
        async with workers(settings, shop.tenant, 1, rate_limits=limits) as made:
            assert await admitted(made, shop.tenant, 10) == 3
            before = made[0].runtime.limiter.asked
            assert await admitted(made, shop.tenant, 100) == 0
            assert made[0].runtime.limiter.asked == before


class TestWithoutRedis:
    async def test_each_process_gives_its_share(self, settings: Settings, shop: Shop) -> None:
        limits = (f"tenant-read=100/{DAY}",)
        changes: dict[str, Any] = {"redis_url": None, "workers": 4, "rate_limits": limits}
        async with workers(settings, shop.tenant, 4, **changes) as made:
            assert await admitted(made, shop.tenant, 1000) == 100
            assert await admitted(made[:1], shop.tenant, 100) == 0

    async def test_a_redis_that_goes_and_comes_back(self, settings: Settings, shop: Shop) -> None:
        limits = (f"tenant-read=40/{DAY}", f"caller-read=20/{DAY}")
        async with redis_proxy(apart(settings.redis_url)) as proxy:
            changes: dict[str, Any] = {"redis_url": proxy.url, "workers": 2, "rate_limits": limits}
            async with workers(settings, shop.tenant, 2, **changes) as made:
                assert await admitted(made, shop.tenant, 50, address="192.0.2.1") == 20
                proxy.refuse = True
                proxy.cut()
                # Nobody is failed, and each process lets through its half at most.
                assert await admitted(made, shop.tenant, 50, address="192.0.2.2") == 20
                proxy.refuse = False
                limiters = [worker.runtime.limiter for worker in made]

                async def nudge() -> None:
                    while away := [limiter for limiter in limiters if limiter._away]:
                        for limiter in away:
                            assert not await admits(limiter, shop.tenant, "192.0.2.2")
                        await asyncio.sleep(0.01)

                await asyncio.wait_for(nudge(), 20)
                # Twenty of the shop's forty are left in Redis, as nobody spent them there.
                for address in ("192.0.2.3", "192.0.2.4"):
                    await admitted(made, shop.tenant, 100, address=address)
                assert not await admits(limiters[0], shop.tenant, "192.0.2.5")

    async def test_a_redis_that_hangs_is_waited_for_once(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with (
            redis_proxy(apart(settings.redis_url)) as proxy,
            workers(settings, shop.tenant, 1, redis_url=proxy.url) as made,
        ):
            limiter = made[0].runtime.limiter
            proxy.delay = 5.0
            assert await admits(limiter, shop.tenant, "192.0.2.1")
            assert limiter._away
            for number in range(20):
                assert await admits(limiter, shop.tenant, f"198.51.100.{number}")
            # Whoever asked since, no request waited for it.
            assert limiter.asked == 1 + len(limiter._probes)

    async def test_a_process_that_stood_still_takes_nobody_for_away(
        self, settings: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = (f"tenant-read=3/{DAY}",)
        async with workers(settings, shop.tenant, 1, rate_limits=limits) as made:
            limiter = made[0].runtime.limiter
            assert await admits(limiter, shop.tenant)
            ask = limiter._ask

            async def and_stand_still(*args: Any) -> Any:
                # Once the question is on its way, as a paused machine does.
                asyncio.get_running_loop().call_later(0.0001, time.sleep, 0.7)
                return await ask(*args)

            monkeypatch.setattr(limiter, "_ask", and_stand_still)
            assert await admitted(made, shop.tenant, 10) == 2
            assert not limiter._away


class TestFigures:
    async def test_requests_are_counted_by_class_and_outcome(
        self, settings: Settings, shop: Shop
    ) -> None:
        limits = (f"tenant-read=3/{DAY}",)
        async with workers(settings, shop.tenant, 1, rate_limits=limits) as made:
            await admitted(made, shop.tenant, 10)
            counted = {
                sample.labels: sample.value
                for sample in made[0].runtime.limiter.samples()
                if sample.metric == "impact.rate.requests"
            }
            assert counted == {("read", "admitted"): 3, ("read", "limited"): 7}


def _in_hand(worker: Worker, tenant: str) -> int:
    """What a process has leased of a shop's budget and not used."""
    budget = worker.runtime.limiter._budget(tenant, "tenant-read", "")
    return budget.leased


async def until_admitted(limiter: Limiter, tenant: str) -> None:
    async with asyncio.timeout(20):
        while not await admits(limiter, tenant):  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(0.01)
