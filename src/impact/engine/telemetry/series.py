"""One series: what is measured under one name, over the process's life and of late."""

import enum
from collections.abc import Sequence

import msgspec

from impact.engine.telemetry.sketch import Sketch, merged, sketched

SLOT_SECONDS = 10
_SLOTS_A_MINUTE = 6
WINDOWS = (1, 5, 15)
"""Minutes that the sliding windows reach back. The slots under way count beside the full ones:
the first window covers 60 to 70 s, the others up to a minute more than they are called."""


def slot_at(seconds: float) -> int:
    """The number of the ten seconds that a moment of the monotonic clock is in."""
    return int(seconds // SLOT_SECONDS)


class Kind(enum.StrEnum):
    """What is measured. The metric of each stands in ``impact.engine.telemetry.names``."""

    ROUTE = "route"
    TENANT = "tenant"
    QUERY = "query"
    WORK = "work"
    POOL = "pool"
    CACHE = "cache"
    STEP = "step"
    JOB = "job"


class Series(msgspec.Struct, array_like=True):
    """``detail`` tells outcomes of one name apart: a status, a cache's tier. ``slot`` numbers the
    ten seconds of ``open`` on the machine's monotonic clock, which all its processes share."""

    kind: Kind
    name: str
    detail: str = ""
    failed: bool = False
    slot: int = 0
    open: Sketch = msgspec.field(default_factory=Sketch)
    closed: Sketch = msgspec.field(default_factory=Sketch)
    fine: dict[int, Sketch] = {}
    coarse: dict[int, Sketch] = {}

    @property
    def key(self) -> tuple[Kind, str, str]:
        return self.kind, self.name, self.detail

    def add(self, values: Sequence[float], slot: int) -> None:
        """Take in a batch of milliseconds measured in that slot."""
        self.take(sketched(values), slot)

    def take(self, sketch: Sketch, slot: int) -> None:
        """Take in what was measured in that slot; the sketch stays the caller's."""
        if slot > self.slot:
            self._close(slot)
        self.open.merge(sketch)

    def _close(self, slot: int) -> None:
        if self.open.count:
            self.closed.merge(self.open)
            self.fine[self.slot] = self.open
            minute = self.slot // _SLOTS_A_MINUTE
            self.coarse[minute] = merged((self.coarse.get(minute, Sketch()), self.open))
            self.open = Sketch()
        self.slot = slot
        self._forget(slot)

    def _forget(self, slot: int) -> None:
        for old in [each for each in self.fine if each < slot - _SLOTS_A_MINUTE]:
            del self.fine[old]
        for old in [each for each in self.coarse if each < slot // _SLOTS_A_MINUTE - WINDOWS[-1]]:
            del self.coarse[old]

    def life(self) -> Sketch:
        return merged((self.closed, self.open))

    def window(self, minutes: int, slot: int) -> Sketch:
        """The last minutes, one of ``WINDOWS``, seen from that slot."""
        if minutes == 1:
            first = slot - _SLOTS_A_MINUTE
            kept = [sketch for at, sketch in self.fine.items() if at >= first]
        else:
            first = (slot // _SLOTS_A_MINUTE - minutes) * _SLOTS_A_MINUTE
            kept = [s for at, s in self.coarse.items() if at * _SLOTS_A_MINUTE >= first]
        if self.slot >= first:
            kept.append(self.open)
        return merged(kept)

    def merge(self, other: "Series") -> None:
        """Add another process's series of the same key."""
        slot = max(self.slot, other.slot)
        for each in (self, other):
            if each.slot < slot:
                each._close(slot)
        self.open.merge(other.open)
        self.closed.merge(other.closed)
        for mine, theirs in ((self.fine, other.fine), (self.coarse, other.coarse)):
            for at, sketch in theirs.items():
                if at in mine:
                    mine[at].merge(sketch)
                else:
                    mine[at] = sketch
