"""What the cache costs on this machine, and how often it answers: ``impact bench cache``.

Times are medians over batches; what they are compared with runs in the same process.
"""

import asyncio
import random
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec

from impact.context import NOBODY, Actor, ActorKind, RequestContext, system_context
from impact.domains.identity.access import user_access
from impact.domains.identity.cache import UserAccess, UserGrant, users
from impact.engine.cache import keys
from impact.engine.cache.kinds import Body, TtlClass, body_kind
from impact.engine.cache.tiered import Cache
from impact.engine.db.session import ReadSession
from impact.engine.runtime import Runtime, open_runtime
from impact.loadtest.redis_keys import forget
from impact.settings import Settings

_BATCHES = 30
_BODY = b'{"products":[' + b",".join(b'{"id":"%d"}' % n for n in range(80)) + b"]}"
PAGE = body_kind("bench", TtlClass.CONTENT)


class Costs(msgspec.Struct):
    """Microseconds each, but for the ratio."""

    l1_hit: float
    l1_peek: float
    l2_hit: float
    bare_get: float
    l2_to_get: float
    permission_check: float
    """What a route does: a warm look-up of the caller's compiled set, and one check of it."""


class Browse(msgspec.Struct):
    requests: int
    writes: int
    l1_hit_rate: float
    hit_rate: float
    """Of both tiers: what did not ask the database."""


async def _page(_: ReadSession) -> Body:
    return Body(_BODY)


async def _kept(cache: Cache, key: keys.Key, context: RequestContext, id: str) -> None:
    """Have it in L1, which is filled after the answer."""
    await asyncio.sleep(0.001)
    while cache.peek(PAGE, key, context) is None:
        await cache.get(PAGE, key, context, _page, id=id)
        await asyncio.sleep(0.001)


async def measure(settings: Settings) -> Costs:
    """Cost of a hit in either tier, of a bare GET of as many bytes, and of a permission check.

    Raises ConfigurationError without Redis.
    """
    async with _alone(settings) as runtime:
        cache, context = runtime.cache, system_context("bench", "bench")
        key = keys.make_key("bench", "bench", "1", "page")
        remote = cache.versions.remote
        assert remote is not None  # noqa: S101 - _alone refuses to go without
        name = f"{remote.service}:bare"
        await remote.client.set(name, _BODY)

        def peek() -> None:
            held = cache.peek(PAGE, key, context)
            assert held is not None  # noqa: S101 - a miss is cheaper: it must not be measured

        async def l1() -> None:
            await cache.get(PAGE, key, context, _page, id="1")

        async def l2() -> None:
            cache.local.clear()
            await cache.get(PAGE, key, context, _page, id="1")

        async def bare() -> None:
            await remote.client.get(name)

        actor = Actor(ActorKind.USER, "bench", NOBODY)
        grant = keys.make_key("bench", "rbac", NOBODY, "grant")
        access = UserAccess(UserGrant(0.0, frozenset(), True, ["product:*", "order:read"], []))

        async def granted(_: ReadSession) -> UserAccess:
            return access

        async def check() -> None:
            found = await user_access(runtime, context, actor)
            # What is not there was not looked up in L1: it must not be measured.
            assert found is not None and found.held.allows("product:read")  # noqa: S101, PT018

        async def kept() -> None:
            await _kept(cache, key, context, "1")
            while cache.peek(users, grant, context) is None:
                await cache.get(users, grant, context, granted)
                await asyncio.sleep(0.001)

        costs = Costs(
            l1_hit=await _median(l1, 2000, kept),
            l1_peek=await _median_of(peek, 2000, kept),
            l2_hit=await _median(l2, 100, kept),
            bare_get=await _median(bare, 100, kept),
            l2_to_get=0.0,
            permission_check=await _median(check, 2000, kept),
        )
        await remote.client.delete(name)
    costs.l2_to_get = costs.l2_hit / costs.bare_get
    return costs


async def browse(
    settings: Settings,
    *,
    requests: int = 100_000,
    products: int = 10_000,
    tenants: int = 20,
    writes: float = 0.05,
    seed: int = 7,
) -> Browse:
    """Pages drawn by Zipf's law (s = 1) over ``products`` spread over ``tenants``, while a share
    ``writes`` of the requests changes a product drawn by the same law."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    weights = [1 / rank for rank in range(1, products + 1)]
    order = list(range(products))
    chance.shuffle(order)
    drawn = chance.choices(order, weights, k=requests)
    made = 0
    async with _alone(settings) as runtime:
        cache = runtime.cache
        contexts = [system_context(f"bench-{n}", "bench") for n in range(tenants)]
        for product in drawn:
            context = contexts[product % tenants]
            if chance.random() < writes:
                made += 1
                await _write(cache, context, product)
            else:
                key = keys.make_key(context.tenant, "bench", str(product), "page")
                await cache.get(PAGE, key, context, _page, id=product)
        report = cache.report()
        first = report.tiers["l1"]["bench"]
        return Browse(requests, made, first.hit_rate, report.hit_rate)


async def _write(cache: Cache, context: RequestContext, product: int) -> None:
    """What a unit of work tells the cache around its commit."""
    tags = {context.tenant: set(keys.changed(context.tenant, "bench", product))}
    raised = await cache.versions.announce(tags)
    await cache.versions.settle(raised, 1)


class _alone:  # noqa: N801 - reads as a function
    """A runtime under a name of its own in Redis, so that figures and entries are its own."""

    def __init__(self, settings: Settings) -> None:
        name = f"bench-{secrets.token_hex(4)}"
        self._own = msgspec.structs.replace(settings, cache_service=name, redis_timeout=1.0)
        self._opened = open_runtime(self._own)

    async def __aenter__(self) -> Runtime:
        return await self._opened.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._opened.__aexit__(None, None, None)
        await forget(self._own)


async def _median(
    work: Callable[[], Awaitable[None]], count: int, before: Callable[[], Awaitable[None]]
) -> float:
    """Microseconds of one call: the median of batches of ``count``, ``before`` each of which the
    entry is seen to, and Redis's beat is heard."""
    times = []
    for _ in range(_BATCHES):
        await before()
        began = time.perf_counter()
        for _ in range(count):
            await work()
        times.append((time.perf_counter() - began) / count)
    return statistics.median(times) * 1e6


async def _median_of(
    work: Callable[[], object], count: int, before: Callable[[], Awaitable[None]]
) -> float:
    """The same of what is no coroutine."""
    times = []
    for _ in range(_BATCHES):
        await before()
        began = time.perf_counter()
        for _ in range(count):
            work()
        times.append((time.perf_counter() - began) / count)
    return statistics.median(times) * 1e6
