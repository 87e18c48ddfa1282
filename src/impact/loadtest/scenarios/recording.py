"""What was measured of each kind of request, exactly: every latency is kept.

Two latencies of each. From when the request was sent, which is what a caller sees that nobody
waits behind; and from when it was *due*. With constant arrivals the second one counts: a server
that stalls keeps later requests from being sent, and a load generator that measures from the
sending leaves out those that the stall hit ("coordinated omission", Gil Tene, How NOT to Measure
Latency, 2015; corrected as his wrk2 does). In a closed loop nothing is due and both are the same.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999, 1.0)
_SLICES = 60


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank of sorted values: always one that was measured. 0 where there is none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Figures(msgspec.Struct, frozen=True):
    """Milliseconds of one kind of request. ``uncorrected_*`` are measured from the sending."""

    kind: str
    requests: int
    failed: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    uncorrected_p50: float
    uncorrected_p95: float
    uncorrected_p99: float
    curve: list[tuple[float, float]]
    """Quantile (0 to 1) and milliseconds."""
    uncorrected_curve: list[tuple[float, float]]


class Slice(msgspec.Struct, frozen=True):
    """A piece of the run, by when requests were due: seconds from its start, milliseconds."""

    at: float
    requests: int
    p50: float
    p95: float


class _Kind:
    __slots__ = ("due", "failed", "latency", "own")

    def __init__(self) -> None:
        self.due = array("d")
        self.latency = array("d")
        self.own = array("d")
        self.failed = 0


class Recording:
    """Takes times as seconds of one clock; ``began`` is the run's start on it."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._kinds: dict[str, _Kind] = {}
        self._unsent = 0
        self.failures: Counter[str] = Counter()
        """How often each thing went wrong, by kind of request and what it was."""

    def add(
        self, kind: str, due: float, sent: float, done: float, failure: str | None = None
    ) -> None:
        """A request that failed counts with the time it took: a time-out is not left out."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind()
        found.due.append(due - self._began)
        found.latency.append((done - due) * 1e3)
        found.own.append((done - sent) * 1e3)
        if failure is not None:
            found.failed += 1
            self.failures[f"{kind}: {failure}"] += 1

    def unsent(self, visits: int) -> None:
        """Visits that were due, and that nobody was free for until the end."""
        if visits:
            self._unsent += visits
            self.failures["visit: due, but not sent before the end"] += visits

    @property
    def requests(self) -> int:
        return sum(len(kind.latency) for kind in self._kinds.values())

    @property
    def failed(self) -> int:
        return self._unsent + sum(kind.failed for kind in self._kinds.values())

    def p95(self, kind: str) -> float | None:
        """Corrected, in milliseconds; None where no such request was made."""
        found = self._kinds.get(kind)
        return None if found is None else quantile(sorted(found.latency), 0.95)

    def mean(self, kind: str) -> float | None:
        """Corrected, in milliseconds; None where no such request was made."""
        found = self._kinds.get(kind)
        return None if found is None else sum(found.latency) / len(found.latency)

    def figures(self) -> list[Figures]:
        return [_figures(name, self._kinds[name]) for name in sorted(self._kinds)]

    def slices(self) -> list[Slice]:
        """All kinds together over time, in up to 60 pieces of the same length."""
        points = [
            (at, latency)
            for kind in self._kinds.values()
            for at, latency in zip(kind.due, kind.latency, strict=True)
        ]
        width = max((at for at, _ in points), default=0.0) / _SLICES or 1.0
        pieces: dict[int, list[float]] = {}
        for at, latency in points:
            pieces.setdefault(min(int(at / width), _SLICES - 1), []).append(latency)
        return [_slice((place + 0.5) * width, pieces[place]) for place in sorted(pieces)]


def _slice(at: float, latencies: list[float]) -> Slice:
    latencies.sort()
    return Slice(
        round(at, 3),
        len(latencies),
        round(quantile(latencies, 0.5), 3),
        round(quantile(latencies, 0.95), 3),
    )


def _figures(name: str, kind: _Kind) -> Figures:
    corrected, own = sorted(kind.latency), sorted(kind.own)
    of = {share: round(quantile(corrected, share), 3) for share in QUANTILES}
    plain = {share: round(quantile(own, share), 3) for share in QUANTILES}
    return Figures(
        kind=name,
        requests=len(corrected),
        failed=kind.failed,
        mean=round(_mean(corrected), 3),
        p50=of[0.5],
        p90=of[0.9],
        p95=of[0.95],
        p99=of[0.99],
        max=of[1.0],
        uncorrected_p50=plain[0.5],
        uncorrected_p95=plain[0.95],
        uncorrected_p99=plain[0.99],
        curve=list(of.items()),
        uncorrected_curve=list(plain.items()),
    )


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.fsum(values) / len(values) if values else 0.0
