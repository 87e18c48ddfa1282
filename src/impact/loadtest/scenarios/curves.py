"""Latency curves as SVG: by percentile, and over time."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 640.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 16.0, 12.0, 34.0
_MARKS = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)


class Line(NamedTuple):
    """``style`` is a class of the page's style sheet."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str


def by_percentile(title: str, lines: Sequence[Line], requests: int) -> str:
    """Milliseconds over the percentile, on an axis that gives each further nine as much room."""
    most = max(1.0, math.log10(max(requests, 10)))
    marks = [(_nines(share), f"{share * 100:g} %") for share in _MARKS if _nines(share) <= most]
    placed = [
        Line(
            each.name,
            [(min(_nines(share), most), ms) for share, ms in each.points],
            each.style,
        )
        for each in lines
    ]
    return _drawn(title, "Milliseconds by percentile", placed, most, marks)


def over_time(title: str, lines: Sequence[Line]) -> str:
    """Milliseconds over the second of the run at which requests were due."""
    end = max((at for line in lines for at, _ in line.points), default=0.0) or 1.0
    step = _round_up(end / 5)
    marks = [(n * step, f"{n * step:g} s") for n in range(int(end / step) + 1)]
    return _drawn(title, "Milliseconds over time", lines, end, marks)


def _nines(share: float) -> float:
    return math.inf if share >= 1 else -math.log10(1 - share)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ..."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _drawn(
    title: str,
    what: str,
    lines: Sequence[Line],
    most: float,
    marks: Sequence[tuple[float, str]],
) -> str:
    highest = max((ms for line in lines for _, ms in line.points), default=0.0)
    step = _round_up(max(highest, 0.1) / 4)
    top = step * max(1, math.ceil(highest / step))

    def x(value: float) -> str:
        return f"{_LEFT + value / most * (_WIDTH - _LEFT - _RIGHT):.1f}"

    def y(value: float) -> str:
        return f"{_HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    said = "; ".join(
        f"{line.name}: up to {max((m for _, m in line.points), default=0):,.1f} ms"
        for line in lines
    )
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">'
        f"<title>{escape(title)}: {escape(what)}</title><desc>{escape(said)}</desc>"
    ]
    for n in range(round(top / step) + 1):
        at = y(n * step)
        parts.append(
            f'<line class="grid" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{at}" y2="{at}"/>'
            f'<text x="{_LEFT - 6:g}" y="{float(at) + 4:.1f}" text-anchor="end">'
            f"{n * step:g} ms</text>"
        )
    for value, text in marks:
        anchor = "end" if value > 0.95 * most else "middle"
        parts.append(
            f'<line class="grid" x1="{x(value)}" x2="{x(value)}" y1="{_TOP:g}"'
            f' y2="{_HEIGHT - _BOTTOM:g}"/>'
            f'<text x="{x(value)}" y="{_HEIGHT - _BOTTOM + 18:g}" text-anchor="{anchor}">'
            f"{text}</text>"
        )
    for line in lines:
        points = " ".join(f"{x(at)},{y(ms)}" for at, ms in line.points)
        parts.append(f'<polyline class="{line.style}" points="{points}"/>')
    return "".join([*parts, "</svg>"])
