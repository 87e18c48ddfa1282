"""What the server says of itself meanwhile: its cache's hit rate and its connections, /metrics."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import msgspec

from impact.loadtest.scenarios.client import CannotRunError, Client, decoded

_SOON, _EVERY, _FIRST = 0.5, 1.0, 6
"""Seconds between two looks: short for the first ones, so that a run of a second has some; each
costs the server some milliseconds of processor time."""
_FOLDED = 1.2
"""Seconds after which every worker has written down what it counted."""


class _Pool(msgspec.Struct):
    in_use: int = 0
    max: int = 0


class _Sample(msgspec.Struct):
    labels: dict[str, str]
    value: float


class _Metrics(msgspec.Struct):
    pool_stats: dict[str, _Pool]
    samples: dict[str, list[_Sample]]

    @property
    def lookups(self) -> tuple[float, float]:
        """Look-ups in the cache, and those that had to ask the database."""
        asked = loads = 0.0
        for sample in self.samples.get("impact.cache.lookups", ()):
            tier = sample.labels["impact.cache.tier"]
            if tier == "l1":
                asked += sample.value
            elif tier == "database" and sample.labels["impact.cache.hit"] == "false":
                loads += sample.value
        return asked, loads

    @property
    def pool_use(self) -> float:
        """Of the fullest pool."""
        shares = (pool.in_use / pool.max for pool in self.pool_stats.values() if pool.max)
        return max(shares, default=0.0)


class ServerFigures(msgspec.Struct):
    """``hit_rate`` is of the look-ups during the run alone; None without any. ``pool_use`` is the
    mean of the fullest pool, ``pool_peak`` the highest of ``samples`` looks."""

    hit_rate: float | None = None
    lookups: int = 0
    pool_use: float | None = None
    pool_peak: float | None = None
    samples: int = 0


async def _read(client: Client, headers: Mapping[str, str]) -> _Metrics:
    return decoded(await client.ask("GET", "/metrics", headers), _Metrics)


@contextlib.asynccontextmanager
async def watched(client: Client, token: str | None) -> AsyncIterator[ServerFigures]:
    """Look at the server while the block runs; the figures are complete after it.

    Raises CannotRunError where /metrics cannot be read before; one that stops answering later
    leaves the figures as they were.
    """
    headers = {"accept": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    before = await _read(client, headers)
    figures = ServerFigures()
    uses: list[float] = []

    async def look() -> None:
        while True:
            with contextlib.suppress(CannotRunError):
                uses.append((await _read(client, headers)).pool_use)
            await asyncio.sleep(_SOON if len(uses) < _FIRST else _EVERY)

    looking = asyncio.create_task(look())
    try:
        yield figures
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    await asyncio.sleep(_FOLDED)
    with contextlib.suppress(CannotRunError):
        asked, loads = (
            late - early
            for late, early in zip(
                (await _read(client, headers)).lookups, before.lookups, strict=True
            )
        )
        figures.lookups = int(asked)
        figures.hit_rate = round(max(0.0, 1 - loads / asked), 4) if asked > 0 else None
    figures.samples = len(uses)
    if uses:
        figures.pool_use = round(sum(uses) / len(uses), 4)
        figures.pool_peak = round(max(uses), 4)
