"""PerformanceMonitor: how often, how long and how often failed, by name.

    with monitor.timer("reindex"):
        ...

    @timed("price.quote")
    async def quote(...): ...

Recording costs about half a microsecond and adding up as much again, later and in batches. What
happens more often than that can bear is counted by a ``Tally``.
"""

import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from impact.engine.telemetry.journal import MOST_SERIES, Journal, set_number
from impact.engine.telemetry.series import Kind, Series, slot_at
from impact.engine.telemetry.sketch import sketched
from impact.engine.telemetry.tally import EACH, Tally

F = TypeVar("F", bound=Callable[..., Any])

OVERFLOW = "other"
"""The name that stands for all that came after a kind was full."""
_MOST = {
    Kind.ROUTE: 2000,
    Kind.TENANT: 500,
    Kind.QUERY: 2000,
    Kind.WORK: 50,
    Kind.POOL: 100,
    Kind.CACHE: 1000,
    Kind.STEP: 500,
    Kind.JOB: 500,
}
_MOST_SETS = 8000
"""Sets of series that count together."""
assert sum(_MOST.values()) + 2 * len(_MOST) + _MOST_SETS < MOST_SERIES  # noqa: S101 - our own
_FOLD_EVERY = 1024
_FOLD_MASK = _FOLD_EVERY - 1
_LONGEST_NAME = 200

Clock = Callable[[], float]
_current: list["PerformanceMonitor"] = []


class PerformanceMonitor:
    """One process's figures. Bounded: a kind that has all its names counts further ones as
    ``other``. ``clock`` is in seconds and never goes back."""

    def __init__(self, journal: Journal | None = None, clock: Clock = time.monotonic) -> None:
        self.journal = journal or Journal.anonymous()
        self.on_new: Callable[[int, Series], None] = lambda number, series: None
        """Told of each series before its first value."""
        self.on_set: Callable[[tuple[int, ...]], None] = lambda numbers: None
        """Told of each set of series before its first value."""
        self.on_full: Callable[[], None] = self.fold
        self.series: list[Series] = []
        self.changed: set[int] = set()
        """Numbers of the series that a fold changed; whoever keeps copies empties it."""
        self.folded = 0
        self._clock = clock
        self._numbers: dict[tuple[Kind, str, str], int] = {}
        self._names: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._sets: dict[tuple[int, ...], int] = {}
        self._in_set: dict[int, tuple[int, ...]] = {}
        self._tallies: dict[int, Tally] = {}
        self._lock = threading.RLock()

    def number(self, kind: Kind, name: str, detail: str = "", *, failed: bool = False) -> int:
        """The series' number, for ``record``; made at its first use."""
        found = self._numbers.get((kind, name, detail))
        return self._register(kind, name, detail, failed) if found is None else found

    def _register(self, kind: Kind, name: str, detail: str, failed: bool) -> int:
        with self._lock:
            key = (kind, name, detail)
            if key not in self._numbers:
                if self._names[kind] >= _MOST[kind] and name != OVERFLOW:
                    # Not remembered under its own name: that would grow as well.
                    return self.number(kind, OVERFLOW, "failed" if failed else "", failed=failed)
                short = key if len(name) <= _LONGEST_NAME else (kind, name[:_LONGEST_NAME], detail)
                if short != key:
                    return self.number(*short, failed=failed)
                self._names[kind] += 1
                self.series.append(Series(kind, name, detail, failed))
                self.on_new(len(self.series) - 1, self.series[-1])
                self._numbers[key] = len(self.series) - 1
            return self._numbers[key]

    def together(self, *numbers: int) -> int | None:
        """A number for ``record`` under which a value counts in each of these series; None where
        too many sets are known."""
        found = self._sets.get(numbers)
        if found is not None or len(self._sets) >= _MOST_SETS:
            return found
        with self._lock:
            found = self._sets.get(numbers)
            if found is None:
                self.on_set(numbers)
                found = set_number(len(self._sets))
                self._in_set[found] = numbers
                self._sets[numbers] = found
            return found

    def tally(self, kind: Kind, name: str, detail: str = "") -> Tally:
        """For events of the series that are too many to be timed each."""
        with self._lock:
            number = self.number(kind, name, detail)
            found = self._tallies.get(number)
            if found is None:
                many = self.together(*[number] * EACH)
                found = self._tallies[number] = Tally(self.record, number, many)
            return found

    def record(self, number: int, milliseconds: float) -> None:
        """Count one event that took that long."""
        if not self.journal.write(number, milliseconds) & _FOLD_MASK:
            self.on_full()

    def observe(
        self, kind: Kind, name: str, milliseconds: float, detail: str = "", *, failed: bool = False
    ) -> None:
        number = self._numbers.get((kind, name, detail))
        if number is None:
            number = self._register(kind, name, detail, failed)
        if not self.journal.write(number, milliseconds) & _FOLD_MASK:
            self.on_full()

    def fold(self) -> None:
        """Add up what was recorded. Called every second or sooner, so that each value is counted
        in the ten seconds it belongs to."""
        with self._lock:
            for tally in list(self._tallies.values()):
                tally.settle()
            found, self.folded = self.journal.read(self.folded)
            slot = self.slot()
            for number, values in found.items():
                sketch = sketched(values)
                numbers = self._in_set.get(number) or (number,)
                for each in numbers:
                    self.series[each].take(sketch, slot)
                self.changed.update(numbers)

    def slot(self) -> int:
        return slot_at(self._clock())

    def locked(self) -> contextlib.AbstractContextManager[bool]:
        """While it is held no fold changes a series."""
        return self._lock

    @contextlib.contextmanager
    def timer(self, name: str, kind: Kind = Kind.JOB) -> Iterator[None]:
        """Measure a block of code of one's own; one that raises counts as failed too."""
        began = time.perf_counter()
        try:
            yield
        except BaseException:
            self.observe(kind, name, (time.perf_counter() - began) * 1e3, "failed", failed=True)
            raise
        self.observe(kind, name, (time.perf_counter() - began) * 1e3)

    def timed(self, name: str) -> Callable[[F], F]:
        """Measure each call of a function, plain or async."""
        return timed(name, self)


def timed(name: str, monitor: PerformanceMonitor | None = None) -> Callable[[F], F]:
    """Measure each call of a function, plain or async, with the process's monitor.

    It may stand in a module that is imported before there is one; without one it does nothing.
    """

    def decorate(function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with timer(name, monitor):
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with timer(name, monitor):
                    return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate


def timer(
    name: str, monitor: PerformanceMonitor | None = None
) -> contextlib.AbstractContextManager[None]:
    """Measure a block with the process's monitor, if there is one."""
    found = monitor or current()
    return contextlib.nullcontext() if found is None else found.timer(name)


def current() -> PerformanceMonitor | None:
    """The monitor of the runtime that was opened last in this process."""
    return _current[-1] if _current else None


@contextlib.contextmanager
def installed(monitor: PerformanceMonitor) -> Iterator[PerformanceMonitor]:
    """While the block lasts it is the process's monitor."""
    _current.append(monitor)
    try:
        yield monitor
    finally:
        _current.remove(monitor)


def by_name(series: Iterable[Series], kind: Kind) -> dict[str, list[Series]]:
    """A kind's series by name, one for each detail."""
    found: dict[str, list[Series]] = {}
    for each in series:
        if each.kind is kind:
            found.setdefault(each.name, []).append(each)
    return found
