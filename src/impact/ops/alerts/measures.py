"""What a rule looks at: an expression over metrics, evaluated here and written as PromQL.

The two must mean the same, so a measure is one of three shapes and no more.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from impact.engine.telemetry.exposition import labels_of
from impact.engine.telemetry.names import DURATIONS, METRICS, Across, MetricKind
from impact.engine.telemetry.series import Kind
from impact.engine.telemetry.workers import Totals

Labels = tuple[str, ...]
Figures = dict[str, dict[Labels, float]]
"""Each metric's values by the values of its labels. A histogram counts its events."""

REACH = 300.0
"""Seconds that a measure may look back."""


def figures(totals: Totals, metrics: Iterable[str]) -> Figures:
    """The values of these metrics."""
    found: Figures = {metric: {} for metric in metrics}
    for sample in totals.samples:
        if sample.metric in found:
            found[sample.metric][sample.labels] = sample.value
    kinds = {kind: DURATIONS[kind].name for kind in Kind if DURATIONS[kind].name in found}
    for series in totals.series:
        if series.kind in kinds:
            of_metric, labels = found[kinds[series.kind]], labels_of(series)
            of_metric[labels] = of_metric.get(labels, 0.0) + series.life().count
    return found


class Past(NamedTuple):
    at: float
    figures: Figures


class Record:
    """The figures of the last minutes, for what grew since. ``at`` is in seconds and never goes
    back."""

    def __init__(self) -> None:
        self._kept: deque[Past] = deque()

    def add(self, at: float, found: Figures) -> None:
        self._kept.append(Past(at, found))
        # One from before the reach stays: what grew is told from there.
        while len(self._kept) > 1 and self._kept[1].at <= at - REACH:
            self._kept.popleft()

    @property
    def now(self) -> Figures:
        return self._kept[-1].figures

    def grown(self, metric: str, seconds: float) -> dict[Labels, float]:
        """How much each of a counter's values grew in that time, or since the record began."""
        newest = self._kept[-1]
        before = next(
            (past for past in reversed(self._kept) if past.at <= newest.at - seconds),
            self._kept[0],
        )
        old = before.figures.get(metric, {})
        return {
            labels: max(0.0, value - old.get(labels, 0.0))
            for labels, value in newest.figures.get(metric, {}).items()
        }


class Term(NamedTuple):
    """A metric, and the values of its labels that count: ``("5.*",)`` is a pattern with a final
    wildcard, as HTTP statuses want it."""

    metric: str
    where: Mapping[str, tuple[str, ...]] = {}

    def sums(self, values: Mapping[Labels, float], by: Labels) -> dict[Labels, float]:
        """The values that count, added up by these labels."""
        declared = METRICS[self.metric].labels
        found: dict[Labels, float] = {}
        for labels, value in values.items():
            named = dict(zip(declared, labels, strict=True))
            if all(_matches(named[label], wanted) for label, wanted in self.where.items()):
                key = tuple(named[label] for label in by)
                if METRICS[self.metric].across is Across.MAX:
                    found[key] = max(found.get(key, value), value)
                else:
                    found[key] = found.get(key, 0.0) + value
        return found

    def promql(self) -> str:
        metric = METRICS[self.metric]
        suffix = {MetricKind.COUNTER: "_total", MetricKind.HISTOGRAM: "_count"}.get(metric.kind, "")
        selectors = [
            f'{_plain(label)}=~"{"|".join(wanted)}"' for label, wanted in self.where.items()
        ]
        return metric.prometheus + suffix + ("{" + ", ".join(selectors) + "}" if selectors else "")


class Level(NamedTuple):
    """What a gauge shows now."""

    of: Term
    by: Labels = ()

    def terms(self) -> tuple[Term, ...]:
        return (self.of,)

    def values(self, record: Record) -> dict[Labels, float]:
        return self.of.sums(record.now.get(self.of.metric, {}), self.by)

    def promql(self) -> str:
        how = "max" if METRICS[self.of.metric].across is Across.MAX else "sum"
        return _aggregate(how, self.by, self.of.promql())


class Growth(NamedTuple):
    """By how much a counter grew in the last seconds."""

    of: Term
    by: Labels = ()
    seconds: float = 60.0

    def terms(self) -> tuple[Term, ...]:
        return (self.of,)

    def values(self, record: Record) -> dict[Labels, float]:
        return self.of.sums(record.grown(self.of.metric, self.seconds), self.by)

    def promql(self) -> str:
        return _aggregate("sum", self.by, f"increase({self.of.promql()}[{self.seconds:.0f}s])")


class Share(NamedTuple):
    """A part of a whole: of what gauges show, or, with ``seconds``, of what counters grew by.

    Below ``least`` of the whole nothing is said: three requests are no error rate. ``rest`` turns
    it round, to what the part leaves.
    """

    part: Term
    whole: Term
    by: Labels = ()
    seconds: float | None = None
    least: float = 0.0
    rest: bool = False

    def terms(self) -> tuple[Term, ...]:
        return self.part, self.whole

    def values(self, record: Record) -> dict[Labels, float]:
        parts = self._sums(self.part, record)
        found = {}
        for labels, whole in self._sums(self.whole, record).items():
            if whole > 0 and whole >= self.least:
                share = parts.get(labels, 0.0) / whole
                found[labels] = 1 - share if self.rest else share
        return found

    def _sums(self, term: Term, record: Record) -> dict[Labels, float]:
        if self.seconds is None:
            return term.sums(record.now.get(term.metric, {}), self.by)
        return term.sums(record.grown(term.metric, self.seconds), self.by)

    def promql(self) -> str:
        part, whole = (self._sum_text(term) for term in (self.part, self.whole))
        # A part that was never counted has no series: it is none of the whole.
        share = f"({part} or 0 * {whole}) / {whole}"
        share = f"(1 - {share})" if self.rest else f"({share})"
        return f"({share} and {whole} >= {self.least:g})" if self.least else share

    def _sum_text(self, term: Term) -> str:
        inner = term.promql()
        if self.seconds is not None:
            inner = f"increase({inner}[{self.seconds:.0f}s])"
        return _aggregate("sum", self.by, inner)


Measure = Level | Growth | Share
"""``by`` names the labels that tell alerts of one rule apart."""


def _aggregate(how: str, by: Labels, inner: str) -> str:
    return f"{how} by ({', '.join(map(_plain, by))}) ({inner})" if by else f"{how}({inner})"


def _plain(label: str) -> str:
    return label.replace(".", "_")


def _matches(value: str, wanted: tuple[str, ...]) -> bool:
    return any(
        value.startswith(each[:-2]) if each.endswith(".*") else value == each for each in wanted
    )
