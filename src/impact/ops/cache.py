"""The cache's routes for staff: its figures, and ending what it holds of one's own shop."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import JSONBody
from msgspec import Meta

from impact.engine.cache.keys import tags_of_pattern
from impact.engine.cache.remote import RedisAwayError
from impact.engine.cache.stats import Counters
from impact.engine.http.dependencies import Context, Engine
from impact.engine.schemas import END, Input, Output
from impact.engine.security.permissions import requires
from impact.errors import TenantMismatchError


class CacheFigures(Output):
    """``tiers`` maps tier (``l1``, ``l2``, ``database``), then entity; ``bytes`` and ``entries``
    are L1's. Of all ``processes`` that report to Redis, or of this one while it is away."""

    tiers: dict[str, dict[str, Counters]]
    hit_rate: float
    evictions: int
    bytes: int
    entries: int
    processes: int


_TENANT = "[a-z][a-z0-9-]{0,62}"
_PATTERN = rf"^(\*:{_TENANT}:\*|[a-z]+(-[a-z]+)*:{_TENANT}:(\*|[A-Za-z0-9_.~-]{{1,128}}))"


class Invalidate(Input):
    """``product:paris:*``, ``product:paris:<id>`` or ``*:paris:*``."""

    pattern: Annotated[str, Meta(max_length=255, pattern=_PATTERN + END)]


class Invalidated(Output):
    pattern: str
    everywhere: bool
    """False while Redis is away: other processes forget within the bound for that."""


class AdminCache(Controller):
    path = "/cache"
    tags = ("Admin cache",)

    @get("/stats", opt=requires("cache:read"))
    async def get_stats(self, runtime: Engine) -> CacheFigures:
        report = await runtime.cache.total()
        return CacheFigures(
            tiers=report.tiers,
            hit_rate=report.hit_rate,
            evictions=report.evictions,
            bytes=report.bytes,
            entries=report.entries,
            processes=report.processes,
        )

    @post("/invalidate", opt=requires("cache:update"), status_code=200)
    async def invalidate(
        self, context: Context, runtime: Engine, data: JSONBody[Invalidate]
    ) -> Invalidated:
        """End what is cached of one's own shop; one step, however much that is."""
        tenant, tags = tags_of_pattern(data.pattern)
        if tenant != context.tenant:
            raise TenantMismatchError(f"this is the cache of '{tenant}', not '{context.tenant}'")
        try:
            await runtime.cache.versions.raise_now(tenant, tags)
        except RedisAwayError:
            return Invalidated(pattern=data.pattern, everywhere=False)
        return Invalidated(
            pattern=data.pattern, everywhere=runtime.cache.versions.remote is not None
        )
