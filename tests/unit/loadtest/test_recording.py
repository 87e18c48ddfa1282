"""Percentiles are values that were measured, and a due time counts."""

import pytest

from impact.loadtest.scenarios.recording import Recording, quantile
from impact.loadtest.scenarios.targets import above, below


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 5.0), (0.9, 9.0), (0.95, 10.0), (1.0, 10.0)]
)
def test_the_nearest_rank(share: float, expected: float) -> None:
    assert quantile([float(n) for n in range(1, 11)], share) == expected


def test_nothing_measured() -> None:
    recording = Recording(0.0)
    assert recording.p95("listing") is None
    assert recording.figures() == recording.slices() == []
    assert quantile([], 0.5) == 0.0


def test_latency_is_counted_from_when_a_request_was_due() -> None:
    recording = Recording(100.0)
    recording.add("order", due=100.0, sent=101.5, done=102.0)
    (found,) = recording.figures()
    assert found.p50 == found.max == pytest.approx(2000)
    assert found.uncorrected_p50 == pytest.approx(500)
    assert found.failed == 0


def test_failures_are_counted_by_what_they_are_and_keep_their_time() -> None:
    recording = Recording(0.0)
    recording.add("order", 0.0, 0.0, 30.0, "timed out")
    recording.add("order", 0.0, 0.0, 0.1, "503 overloaded")
    recording.add("order", 0.0, 0.0, 0.1, "503 overloaded")
    assert recording.failures == {"order: timed out": 1, "order: 503 overloaded": 2}
    assert recording.failed == recording.requests == 3
    assert recording.figures()[0].max == pytest.approx(30_000)


def test_pieces_hold_every_request_once() -> None:
    recording = Recording(0.0)
    for n in range(600):
        recording.add("listing" if n % 2 else "order", n / 10, n / 10, n / 10 + n / 1000)
    pieces = recording.slices()
    assert len(pieces) == 60
    assert sum(piece.requests for piece in pieces) == 600
    assert [piece.at for piece in pieces] == sorted(piece.at for piece in pieces)
    assert pieces[-1].p95 == pytest.approx(599)


@pytest.mark.parametrize(("measured", "met"), [(99.9, True), (100.0, False), (None, False)])
def test_a_limit_is_not_to_be_reached(measured: float | None, met: bool) -> None:
    assert below("listing", measured, 100.0).met is met


@pytest.mark.parametrize(("measured", "met"), [(0.86, True), (0.85, False), (None, False)])
def test_a_rate_is_to_be_exceeded(measured: float | None, met: bool) -> None:
    assert above("hit rate", measured, 0.85).met is met
