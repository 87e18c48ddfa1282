"""How long things took, as a sketch that merges: a DDSketch whose bins are a plain dict.

Masson, Rim, Lee: DDSketch, VLDB 2019. The mapping of values to bins is the ddsketch library's.
Its bins are not: they are dense lists, where most of a process's sketches hold a few values, and
it takes values one by one at 1.5 us; these take batches, at a fifth of that, and travel as
msgpack. A test compares the quantiles of both.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from ddsketch.mapping import LogarithmicMapping

ACCURACY = 0.01
"""A quantile is within one percent of a value of that rank."""
_MAPPING = LogarithmicMapping(ACCURACY)
_PER_DOUBLING = 1 / math.log2(_MAPPING.gamma)
_SHORTEST, _LONGEST = 1e-4, 1e8
"""Milliseconds; what is beyond counts as this. They bound a sketch to 1,400 bins."""


class Sketch(msgspec.Struct, array_like=True):
    """Count, sum, extremes and bins of milliseconds."""

    count: int = 0
    sum: float = 0.0
    min: float = math.inf
    max: float = 0.0
    bins: dict[int, int] = {}

    def add(self, values: Sequence[float]) -> None:
        """Take in a batch, which costs a fraction of as many single values."""
        self.merge(sketched(values))

    def merge(self, other: "Sketch") -> None:
        """Afterwards it is as if both had seen all values."""
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)
        bins = self.bins
        if not bins:
            # Most often it is the first of several, and a copy is ten times as fast.
            self.bins = other.bins.copy()
            return
        get = bins.get
        for key, count in other.bins.items():
            bins[key] = get(key, 0) + count

    @property
    def average(self) -> float:
        return self.sum / self.count if self.count else 0.0

    def quantiles(self, *quantiles: float) -> list[float]:
        """Milliseconds at each quantile, 0 to 1, by nearest rank; zeros of an empty sketch."""
        if not self.count:
            return [0.0] * len(quantiles)
        keys = sorted(self.bins.items())
        found = []
        for quantile in quantiles:
            rank, running = max(1, math.ceil(quantile * self.count)), 0
            for key, count in keys:
                running += count
                if running >= rank:
                    found.append(min(max(_MAPPING.value(key), self.min), self.max))
                    break
        return found

    def cumulative(self, bounds: Sequence[float]) -> list[int]:
        """How many values are at most each of the ascending bounds, whose error is the bins'."""
        keys = sorted(self.bins.items())
        found, total, at = [], 0, 0
        for bound in bounds:
            limit = math.floor(math.log2(bound) * _PER_DOUBLING + 0.5)
            while at < len(keys) and keys[at][0] <= limit:
                total += keys[at][1]
                at += 1
            found.append(total)
        return found


def sketched(values: Sequence[float]) -> Sketch:
    """The sketch of a batch of milliseconds."""
    if not values:
        return Sketch()
    ceil, log2 = math.ceil, math.log2
    smallest, largest = min(values), max(values)
    inside = smallest >= _SHORTEST and largest <= _LONGEST
    bins = Counter(
        [ceil(log2(value) * _PER_DOUBLING) for value in values]
        if inside
        else [ceil(log2(_clamped(value)) * _PER_DOUBLING) for value in values]
    )
    return Sketch(len(values), math.fsum(values), smallest, largest, dict(bins))


def _clamped(value: float) -> float:
    return min(max(value, _SHORTEST), _LONGEST)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    total = Sketch()
    for sketch in sketches:
        total.merge(sketch)
    return total
