"""The last fifteen minutes as SVG that says in words, too, what it draws."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from impact.ops.alerts.history import Point

SPAN = 900.0
"""Seconds from the left edge to the right one."""
_WIDTH, _HEIGHT = 320.0, 132.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 38.0, 6.0, 10.0, 20.0
_GAP = 20.0
"""Seconds between two points beyond which the line breaks."""


class Chart(NamedTuple):
    """``shown`` writes a value with its unit; ``top`` is the least that the axis reaches to, and
    ``limit`` where an alert fires."""

    name: str
    title: str
    value: Callable[[Point], float | None]
    shown: Callable[[float], str]
    axis: Callable[[float], str]
    top: float
    limit: float | None = None
    whole: float | None = None
    """The most there can be, where there is such a thing."""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.3g}"


def _percent(value: float) -> str:
    return f"{value * 100:.0f}%"


def charts(limits: dict[str, float]) -> tuple[Chart, ...]:
    """``limits`` are the thresholds of the alerts by rule."""
    return (
        Chart("requests", "Requests a second", lambda p: p.requests, _unit("/s"), _number, 1),
        Chart("p95", "95th percentile of the last minute", _p95, _unit(" ms"), _number, 1),
        Chart("errors", "Errors a second", lambda p: p.errors, _unit("/s"), _number, 1),
        Chart("waiting", "Requests that wait", lambda p: p.waiting, _number, _number, 1),
        Chart("refused", "Refused a second", lambda p: p.refused, _unit("/s"), _number, 1),
        Chart(
            "hit_rate",
            "Cache hit rate",
            lambda p: p.hit_rate,
            _percent,
            _percent,
            1,
            limits.get("cache-hit-rate"),
            1,
        ),
        Chart(
            "pool_use",
            "Use of the fullest pool",
            lambda p: p.pool_use,
            _percent,
            _percent,
            1,
            limits.get("pool-use"),
            1,
        ),
        Chart("lag", "Lag of the slowest replica", lambda p: p.lag, _unit(" s"), _number, 1),
    )


def _p95(point: Point) -> float | None:
    return point.p95_ms


def _unit(unit: str) -> Callable[[float], str]:
    return lambda value: f"{_number(value)}{unit}"


def draw(chart: Chart, points: Sequence[Point]) -> str:
    """The chart; its ``title`` and ``desc`` are its text for who does not see it."""
    known = [(p.at, v) for p in points if (v := chart.value(p)) is not None]
    end = points[-1].at if points else 0.0
    known = [(at, value) for at, value in known if at >= end - SPAN]
    top = chart.whole or _ceiling(max([chart.top, *(value for _, value in known)]))
    place = _Place(end, top)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img"'
        f' aria-labelledby="t-{chart.name} d-{chart.name}">',
        f'<title id="t-{chart.name}">{escape(chart.title)}, last 15 minutes</title>',
        f'<desc id="d-{chart.name}">{escape(described(chart, known))}</desc>',
        *_axes(chart, place),
    ]
    if chart.limit is not None and chart.limit < top:
        y = place.y(chart.limit)
        parts.append(
            f'<line class="limit" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y}" y2="{y}"/>'
            f'<text class="limit-text" x="{_LEFT + 4:g}" y="{float(y) - 3:.1f}">'
            f"alert at {escape(chart.shown(chart.limit))}</text>"
        )
    for run in _runs(known):
        line = " ".join(f"{place.x(at)},{place.y(value)}" for at, value in run)
        first, last = place.x(run[0][0]), place.x(run[-1][0])
        floor = place.y(0)
        parts.append(f'<polygon class="area" points="{first},{floor} {line} {last},{floor}"/>')
        parts.append(f'<polyline class="line" points="{line}"/>')
    if known:
        parts.append(
            f'<circle class="dot" cx="{place.x(known[-1][0])}" cy="{place.y(known[-1][1])}"'
            ' r="2.5"/>'
        )
    else:
        parts.append(
            f'<text class="none" x="{(_LEFT + _WIDTH) / 2:g}" y="{_HEIGHT / 2 - 4:g}"'
            ' text-anchor="middle">nothing measured yet</text>'
        )
    return "".join([*parts, "</svg>"])


def described(chart: Chart, known: Sequence[tuple[float, float]]) -> str:
    if not known:
        return "Nothing was measured."
    values = [value for _, value in known]
    return (
        f"Now {chart.shown(values[-1])}; lowest {chart.shown(min(values))}, highest"
        f" {chart.shown(max(values))}, mean {chart.shown(sum(values) / len(values))}."
    )


class _Place:
    """Where a moment and a value stand in the picture."""

    def __init__(self, end: float, top: float) -> None:
        self._end, self.top = end, top

    def x(self, at: float) -> str:
        share = 1 - (self._end - at) / SPAN
        return f"{_LEFT + share * (_WIDTH - _LEFT - _RIGHT):.1f}"

    def y(self, value: float) -> str:
        share = min(1.0, max(0.0, value / self.top))
        return f"{_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM):.1f}"


def _axes(chart: Chart, place: _Place) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        value = place.top * share
        y = place.y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y}" y2="{y}"/>'
            f'<text class="tick" x="{_LEFT - 5:g}" y="{float(y) + 3:.1f}" text-anchor="end">'
            f"{escape(chart.axis(value))}</text>"
        )
    for minutes, text, anchor in (
        (15, "15 min ago", "start"),
        (10, "10", "middle"),
        (5, "5", "middle"),
        (0, "now", "end"),
    ):
        x = _LEFT + (1 - minutes / 15) * (_WIDTH - _LEFT - _RIGHT)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 6:g}" text-anchor="{anchor}">'
            f"{text}</text>"
        )
    return parts


def _runs(known: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Stretches without a gap."""
    runs: list[list[tuple[float, float]]] = []
    for at, value in known:
        if runs and at - runs[-1][-1][0] <= _GAP:
            runs[-1].append((at, value))
        else:
            runs.append([(at, value)])
    return runs


def _ceiling(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ..."""
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
