"""This process's figures as the SDK's metrics, under the names that /metrics has.

Each process sends its own, told apart by ``service.instance.id``: adding up is the collector's.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

import impact
from impact.engine.telemetry.exposition import BOUNDS, labels_of
from impact.engine.telemetry.names import DURATIONS, METRICS, Metric, MetricKind
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.series import Kind, Series
from impact.engine.telemetry.workers import Totals

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_SCOPE = InstrumentationScope("impact", impact.__version__)
_CUMULATIVE = sdk.AggregationTemporality.CUMULATIVE
_BOUNDS_MS = [bound * 1000 for bound in BOUNDS]


class Moment(NamedTuple):
    """What was counted from ``began`` until ``now``, both in nanoseconds since 1970."""

    totals: Totals
    began: int
    now: int


def encode(moment: Moment, resource: "Resource") -> sdk.MetricsData:
    metrics = [*_histograms(moment), *_numbers(moment)]
    scope = sdk.ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
    return sdk.MetricsData(
        resource_metrics=[
            sdk.ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")
        ]
    )


def _histograms(moment: Moment) -> Iterable[sdk.Metric]:
    by_kind: dict[Kind, list[Series]] = {}
    for series in moment.totals.series:
        by_kind.setdefault(series.kind, []).append(series)
    for kind, found in by_kind.items():
        points = [_point(series, moment) for series in found]
        yield _metric(DURATIONS[kind], sdk.Histogram(points, _CUMULATIVE))


def _point(series: Series, moment: Moment) -> sdk.HistogramDataPoint:
    sketch = series.life()
    below = sketch.cumulative(_BOUNDS_MS)
    counts = [later - earlier for earlier, later in zip([0, *below], below, strict=False)]
    return sdk.HistogramDataPoint(
        attributes=dict(
            zip(DURATIONS[series.kind].labels, labels_of(series), strict=True),
        ),
        start_time_unix_nano=moment.began,
        time_unix_nano=moment.now,
        count=sketch.count,
        sum=sketch.sum / 1000,
        bucket_counts=[*counts, sketch.count - below[-1]],
        explicit_bounds=BOUNDS,
        min=sketch.min / 1000,
        max=sketch.max / 1000,
    )


def _numbers(moment: Moment) -> Iterable[sdk.Metric]:
    by_name: dict[str, list[Sample]] = {}
    for sample in moment.totals.samples:
        by_name.setdefault(sample.metric, []).append(sample)
    for name, samples in by_name.items():
        metric = METRICS[name]
        counter = metric.kind is MetricKind.COUNTER
        points = [
            sdk.NumberDataPoint(
                attributes=dict(zip(metric.labels, sample.labels, strict=True)),
                start_time_unix_nano=moment.began if counter else 0,
                time_unix_nano=moment.now,
                value=sample.value,
            )
            for sample in samples
        ]
        data = sdk.Sum(points, _CUMULATIVE, True) if counter else sdk.Gauge(points)
        yield _metric(metric, data)


def _metric(metric: Metric, data: Any) -> sdk.Metric:
    return sdk.Metric(name=metric.name, description=metric.help, unit=metric.unit, data=data)
