"""Figures that are not times: what parts of the process tell when they are asked."""

from collections.abc import Callable, Iterable

import msgspec

from impact.engine.telemetry.names import METRICS, Across


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """One value of a metric that ``impact.engine.telemetry.names`` declares, with the values of
    its labels in their declared order."""

    metric: str
    value: float
    labels: tuple[str, ...] = ()


Collector = Callable[[], Iterable[Sample]]


def added(samples: Iterable[Sample]) -> list[Sample]:
    """One sample for each metric and its labels, of several processes' together."""
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for sample in samples:
        key = (sample.metric, sample.labels)
        if key not in found:
            found[key] = sample.value
        elif METRICS[sample.metric].across is Across.SUM:
            found[key] += sample.value
        else:
            found[key] = max(found[key], sample.value)
    return [Sample(metric, value, labels) for (metric, labels), value in found.items()]


class Collectors:
    """``register(collector)`` makes a part's figures part of /metrics and of what OTLP sends."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []

    def register(self, collector: Collector) -> Callable[[], None]:
        """Ask this collector too, at most once a second or so. Answers how to stop that.

        Its metrics must be declared in ``names.METRICS``. It runs on the event loop or in a
        thread, and must neither wait nor ask a server.
        """
        self._collectors.append(collector)
        return lambda: self._collectors.remove(collector)

    def collect(self) -> list[Sample]:
        return added(sample for collector in list(self._collectors) for sample in collector())
