"""What a rate limit costs a request that passes: ``impact bench limits``."""

import secrets
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.interrupts import uninterrupted
from impact.engine.limits.limiter import Limiter
from impact.engine.runtime import open_versions
from impact.loadtest.redis_keys import forget
from impact.settings import Settings

_REQUESTS = 2000
_ROUNDS = 50
_TENANT = "bench-limits"
_CALLER = UUID(int=1)


class Cost(msgspec.Struct):
    """Microseconds of processor time a request, of the fastest round; ``asked`` is the share of
    the requests that waited for Redis."""

    charge: float
    headers: float
    asked: float


async def measure(settings: Settings) -> Cost:
    """Raises ConfigurationError for limits that mean nothing."""
    own = msgspec.structs.replace(settings, cache_service=f"bench-{secrets.token_hex(4)}")
    try:
        return await _measured(own)
    finally:
        with uninterrupted():
            await forget(own)


async def _measured(settings: Settings) -> Cost:
    async with (
        open_versions(settings) as versions,
        Limiter(settings, versions.remote) as limiter,
    ):
        contexts = [
            RequestContext(_TENANT, Actor(ActorKind.USER, _TENANT, _CALLER), "bench")
            for _ in range(_REQUESTS)
        ]

        async def charge() -> None:
            for context in contexts:
                context.charged = None
                await limiter.charge(context, "read")

        async def headers() -> None:
            for context in contexts:
                context.charged.headers()

        cost = Cost(charge=await _fastest(charge), headers=await _fastest(headers), asked=0.0)
        cost.asked = limiter.asked / (_REQUESTS * (_ROUNDS + 1))
        return cost


async def _fastest(work: Callable[[], Awaitable[None]]) -> float:
    await work()
    times = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        await work()
        times.append(time.process_time() - began)
    return min(times) / _REQUESTS * 1e6
