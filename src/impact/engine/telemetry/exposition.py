"""What /metrics answers: the text that Prometheus reads, and JSON for people and pages."""

import time
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from impact.engine.telemetry.monitor import by_name
from impact.engine.telemetry.names import DURATIONS, METRICS, QUANTILES, MetricKind
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.series import WINDOWS, Kind, Series, slot_at
from impact.engine.telemetry.sketch import Sketch, merged
from impact.engine.telemetry.workers import Totals

PROMETHEUS = CONTENT_TYPE_LATEST
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms' buckets in seconds."""
_BOUNDS_MS = [bound * 1000 for bound in BOUNDS]
_QUANTILES = (0.5, 0.95, 0.99)
_QUANTILES_OF = (Kind.ROUTE, Kind.QUERY, Kind.POOL, Kind.CACHE)
_OF_MINUTES = 5


def labels_of(series: Series) -> tuple[str, ...]:
    """The values of the labels that the metric of its kind declares."""
    if series.kind is Kind.ROUTE:
        method, _, route = series.name.partition(" ")
        return method, route, series.detail
    if series.kind is Kind.TENANT:
        return (series.name,)
    return series.name, series.detail


class _Families(Collector):
    """The totals as the Prometheus client's families, which write themselves."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Any] = {}
        for series in self._totals.series:
            metric = DURATIONS[series.kind]
            family = families.get(metric.name)
            if family is None:
                family = families[metric.name] = HistogramMetricFamily(
                    metric.prometheus, metric.help, labels=_prometheus(metric.labels)
                )
            sketch = series.life()
            below = sketch.cumulative(_BOUNDS_MS)
            buckets = [(str(bound), float(n)) for bound, n in zip(BOUNDS, below, strict=True)]
            buckets.append(("+Inf", float(sketch.count)))
            family.add_metric(labels_of(series), buckets, sum_value=sketch.sum / 1000)
        samples = [*self._totals.samples, *_quantiles(self._totals)]
        samples.append(Sample("impact.processes", self._totals.processes))
        for sample in samples:
            metric = METRICS[sample.metric]
            family = families.get(metric.name)
            if family is None:
                kind = (
                    CounterMetricFamily
                    if metric.kind is MetricKind.COUNTER
                    else (GaugeMetricFamily)
                )
                family = families[metric.name] = kind(
                    metric.prometheus, metric.help, labels=_prometheus(metric.labels)
                )
            family.add_metric(sample.labels, sample.value)
        yield from families.values()


def _prometheus(labels: Iterable[str]) -> list[str]:
    return [label.replace(".", "_") for label in labels]


def _quantiles(totals: Totals) -> Iterable[Sample]:
    slot = slot_at(time.monotonic())
    for kind in _QUANTILES_OF:
        for name, series in by_name(totals.series, kind).items():
            window = merged(each.window(_OF_MINUTES, slot) for each in series)
            if window.count:
                found = window.quantiles(*_QUANTILES)
                for quantile, value in zip(_QUANTILES, found, strict=True):
                    yield Sample(QUANTILES, value / 1000, (kind, name, str(quantile)))


def prometheus_text(totals: Totals) -> bytes:
    """The text exposition format, with HELP and TYPE."""
    text: bytes = generate_latest(_Families(totals))
    return text


# JSON.


def figures(series: Iterable[Series], slot: int) -> dict[str, Any]:
    """One name's figures in milliseconds: of the process's life, and of each window."""
    series = list(series)
    life = merged(each.life() for each in series)
    found = _one(life)
    found["errors"] = sum(each.life().count for each in series if each.failed)
    found["windows"] = {}
    for minutes in WINDOWS:
        window = _one(merged(each.window(minutes, slot) for each in series))
        window["errors"] = sum(each.window(minutes, slot).count for each in series if each.failed)
        found["windows"][f"{minutes}m"] = window
    return found


def _one(sketch: Sketch) -> dict[str, Any]:
    p50, p95, p99 = sketch.quantiles(0.5, 0.95, 0.99)
    return {
        "count": sketch.count,
        "avgMs": round(sketch.average, 4),
        "minMs": round(sketch.min, 4) if sketch.count else 0.0,
        "maxMs": round(sketch.max, 4),
        "p50Ms": round(p50, 4),
        "p95Ms": round(p95, 4),
        "p99Ms": round(p99, 4),
    }


def as_json(totals: Totals) -> dict[str, Any]:
    """All figures by name. Times are milliseconds, but for lags and waits named in seconds."""
    slot = slot_at(time.monotonic())

    def of(kind: Kind) -> dict[str, Any]:
        named = by_name(totals.series, kind)
        return {name: figures(named[name], slot) for name in sorted(named)}

    samples: dict[str, list[Sample]] = {}
    for sample in totals.samples:
        samples.setdefault(sample.metric, []).append(sample)
    return {
        "processes": totals.processes,
        "queries": of(Kind.QUERY),
        "routes": of(Kind.ROUTE),
        "tenants": of(Kind.TENANT),
        "cache": of(Kind.CACHE),
        "steps": of(Kind.STEP),
        "jobs": of(Kind.JOB),
        "units_of_work": of(Kind.WORK),
        "cache_hit_rate": _hit_rate(samples),
        "pool_stats": _pools(samples, of(Kind.POOL)),
        "replica_lag": {
            sample.labels[0]: sample.value for sample in samples.get("impact.node.lag", ())
        },
        "relay_lag": next(
            (sample.value for sample in samples.get("impact.relay.oldest", ())), None
        ),
        "breakers": {
            sample.labels[0]: "open" if sample.value else "closed"
            for sample in samples.get("impact.breaker.open", ())
        },
        "slow_queries": totals.slow,
        "samples": {
            name: [
                {"labels": dict(zip(METRICS[name].labels, s.labels, strict=True)), "value": s.value}
                for s in found
            ]
            for name, found in sorted(samples.items())
        },
    }


def _hit_rate(samples: dict[str, list[Sample]]) -> float | None:
    """Look-ups that did not have to ask PostgreSQL, of all; None before the first."""
    asked = loads = 0.0
    for sample in samples.get("impact.cache.lookups", ()):
        tier, _, hit = sample.labels
        if tier == "l1":
            asked += sample.value
        elif tier == "database" and hit == "false":
            loads += sample.value
    return round(max(0.0, 1 - loads / asked), 4) if asked else None


def _pools(samples: dict[str, list[Sample]], waits: dict[str, Any]) -> dict[str, Any]:
    pools: dict[str, dict[str, Any]] = {}
    for sample in samples.get("db.client.connection.count", ()):
        node, state = sample.labels
        pools.setdefault(node, {})["in_use" if state == "used" else state] = int(sample.value)
    for name, key in (
        ("db.client.connection.max", "max"),
        ("db.client.connection.pending_requests", "waiting"),
    ):
        for sample in samples.get(name, ()):
            pools.setdefault(sample.labels[0], {})[key] = int(sample.value)
    for node, pool in pools.items():
        pool["size"] = pool.get("in_use", 0) + pool.get("idle", 0)
        pool["wait"] = waits.get(node)
    return pools
