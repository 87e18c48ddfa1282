"""Quantiles are within 2 % of the exact ones, and merging loses nothing."""

import math

import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from impact.engine.telemetry.sketch import ACCURACY, Sketch, merged

times = st.lists(st.floats(min_value=1e-3, max_value=1e6), min_size=1, max_size=300)
QUANTILES = (0.0, 0.5, 0.95, 0.99, 1.0)


def nearest_rank(quantile: float, count: int) -> int:
    return max(1, math.ceil(quantile * count)) - 1


def sketch_of(values: list[float]) -> Sketch:
    made = Sketch()
    made.add(values)
    return made


@given(times)
def test_quantiles_are_within_two_percent_of_the_exact_ones(values: list[float]) -> None:
    ordered = sorted(values)
    for quantile, found in zip(QUANTILES, sketch_of(values).quantiles(*QUANTILES), strict=True):
        exact = ordered[nearest_rank(quantile, len(ordered))]
        assert found == pytest.approx(exact, rel=0.02)


@given(times)
def test_they_are_the_librarys(values: list[float]) -> None:
    library = DDSketch(ACCURACY)
    for value in values:
        library.add(value)
    for quantile, found in zip(QUANTILES, sketch_of(values).quantiles(*QUANTILES), strict=True):
        # The library takes the rank below where a quantile falls between two.
        place = nearest_rank(quantile, len(values)) / max(1, len(values) - 1)
        assert found == pytest.approx(library.get_quantile_value(place), rel=2 * ACCURACY + 1e-9)


@given(st.lists(times, max_size=5))
def test_merging_equals_one(parts: list[list[float]]) -> None:
    whole = sketch_of([value for part in parts for value in part])
    together = merged(sketch_of(part) for part in parts)
    assert together.bins == whole.bins
    assert together.count == whole.count
    assert together.sum == pytest.approx(whole.sum)
    assert (together.min, together.max) == (whole.min, whole.max)


@given(st.lists(st.floats(min_value=0, max_value=1e12), max_size=200))
def test_any_time_is_counted_in_bounded_memory(values: list[float]) -> None:
    made = sketch_of(values)
    assert made.count == sum(made.bins.values()) == len(values)
    assert len(made.bins) <= 1400


def test_an_empty_one_has_zeros() -> None:
    assert Sketch().quantiles(0.5) == [0.0]
    assert Sketch().average == 0.0


def test_buckets_grow_with_their_bounds() -> None:
    made = sketch_of([0.4, 3.0, 3.0, 40.0, 9000.0])
    assert made.cumulative([0.5, 1.0, 5.0, 50.0, 10_000.0]) == [1, 1, 3, 4, 5]
