"""The last quarter of an hour in a few lines: what the charts are drawn of."""

import time
from collections import deque

import msgspec

from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.series import Kind, slot_at
from impact.engine.telemetry.sketch import Sketch, merged
from impact.engine.telemetry.workers import Totals

KEPT = 180
"""Points: fifteen minutes at one in five seconds."""

_WAITING = {"impact.requests.waiting", "db.client.connection.pending_requests"}


class Point(msgspec.Struct, array_like=True):
    """One look. ``at`` is in seconds since 1970; rates are per second since the look before; what
    nobody measured is None."""

    at: float
    requests: float
    errors: float
    refused: float
    """By rate limits, or because too many waited for a connection."""
    waiting: float
    """Requests that wait to begin or for a connection, now."""
    p95_ms: float | None
    hit_rate: float | None
    pool_use: float | None
    lag: float | None


class History:
    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=KEPT)
        self._before: tuple[float, ...] | None = None

    def add(self, totals: Totals, at: float, clock: float) -> list[Point]:
        """Take in a look; answers all that are kept, oldest first."""
        routes = [series for series in totals.series if series.kind is Kind.ROUTE]
        requests = float(sum(series.life().count for series in routes))
        errors = float(sum(series.life().count for series in routes if series.failed))
        asked, loads = _lookups(totals.samples)
        now = (at, requests, errors, asked, loads, _refused(totals.samples))
        if self._before is not None and at > self._before[0]:
            seconds, *grown = (new - old for new, old in zip(now, self._before, strict=True))
            window = merged([each.window(1, slot_at(time.monotonic())) for each in routes])
            self._points.append(
                Point(
                    at=clock,
                    requests=round(max(0.0, grown[0]) / seconds, 3),
                    errors=round(max(0.0, grown[1]) / seconds, 3),
                    refused=round(max(0.0, grown[4]) / seconds, 3),
                    waiting=sum(s.value for s in totals.samples if s.metric in _WAITING),
                    p95_ms=_p95(window),
                    hit_rate=1 - min(1.0, grown[3] / grown[2]) if grown[2] > 0 else None,
                    pool_use=_pool_use(totals.samples),
                    lag=max(
                        (s.value for s in totals.samples if s.metric == "impact.node.lag"),
                        default=None,
                    ),
                )
            )
        self._before = now
        return list(self._points)


def _p95(window: Sketch) -> float | None:
    return round(window.quantiles(0.95)[0], 3) if window.count else None


def _lookups(samples: list[Sample]) -> tuple[float, float]:
    """Questions asked of the cache, and those that PostgreSQL had to answer."""
    asked = loads = 0.0
    for sample in samples:
        if sample.metric == "impact.cache.lookups":
            tier, _, hit = sample.labels
            asked += sample.value if tier == "l1" else 0.0
            loads += sample.value if (tier, hit) == ("database", "false") else 0.0
    return asked, loads


def _refused(samples: list[Sample]) -> float:
    return sum(
        sample.value
        for sample in samples
        if sample.metric == "impact.node.shed"
        or (sample.metric == "impact.rate.requests" and sample.labels[1] == "limited")
    )


def _pool_use(samples: list[Sample]) -> float | None:
    """Of the pool that is used most."""
    used = {
        sample.labels[0]: sample.value
        for sample in samples
        if sample.metric == "db.client.connection.count" and sample.labels[1] == "used"
    }
    shares = [
        used.get(sample.labels[0], 0.0) / sample.value
        for sample in samples
        if sample.metric == "db.client.connection.max" and sample.value
    ]
    return max(shares, default=None)
