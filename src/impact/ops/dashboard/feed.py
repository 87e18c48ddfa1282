"""What all who look share: the figures are computed once a tick, and not at all for nobody."""

import asyncio
import time

import msgspec

from impact.engine.telemetry.telemetry import Telemetry
from impact.ops.alerts.rules import chosen
from impact.ops.alerts.watch import Watch
from impact.ops.dashboard.charts import charts, draw
from impact.ops.dashboard.figures import figures

EVERY = 2.0
"""Seconds between two frames."""


class Frame(msgspec.Struct, frozen=True):
    """Both as JSON. ``drawn`` is when the charts' last point was measured."""

    number: int
    at: float
    figures: bytes
    charts: bytes
    drawn: float


class Feed:
    def __init__(self, telemetry: Telemetry, watch: Watch, thresholds: tuple[str, ...]) -> None:
        self._telemetry = telemetry
        self._watch = watch
        self._charts = charts({rule.name: rule.threshold for rule in chosen(thresholds)})
        self._frame: Frame | None = None
        self._lock = asyncio.Lock()
        self.watching = 0
        """Streams that are open."""
        self.computed = 0

    async def newest(self) -> Frame:
        """One that is at most a tick old."""
        frame = self._frame
        if frame is not None and time.monotonic() - frame.at < EVERY:
            return frame
        return await self.after(0 if frame is None else frame.number)

    async def after(self, number: int) -> Frame:
        """The next one after that; whoever comes first waits for the tick and computes it."""
        async with self._lock:
            frame = self._frame
            if frame is None or frame.number <= number:
                if frame is not None:
                    await asyncio.sleep(max(0.0, frame.at + EVERY - time.monotonic()))
                frame = self._frame = await asyncio.to_thread(self._compute)
        return frame

    def _compute(self) -> Frame:
        self.computed += 1
        seen = self._watch.seen()
        drawn = seen.points[-1].at if seen.points else 0.0
        before = self._frame
        if before is not None and before.drawn == drawn:
            pictures = before.charts
        else:
            pictures = msgspec.json.encode({c.name: draw(c, seen.points) for c in self._charts})
        return Frame(
            number=self.computed,
            at=time.monotonic(),
            figures=msgspec.json.encode(
                figures(self._telemetry.total(), seen, at=time.time(), moment=time.monotonic())
            ),
            charts=pictures,
            drawn=drawn,
        )
