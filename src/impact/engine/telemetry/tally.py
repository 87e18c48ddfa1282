"""Events that are too many and too short for a clock each: all are counted, and one in ``EACH`` is
timed and stands for those before it."""

import threading
from collections.abc import Callable

EACH = 16
"""A power of two."""
_MASK = EACH - 1


class Tally:
    """Of one series, whose entries ``write`` adds under a number. One thread may count, any may
    settle. ``many`` is a number under which an entry counts ``EACH`` times, if there is one."""

    __slots__ = ("_last", "_lock", "_many", "_noted", "_number", "_write", "count")

    def __init__(
        self, write: Callable[[int, float], object], number: int, many: int | None
    ) -> None:
        self.count = 0
        """Events. Whoever counts one that is not ``due`` adds to it."""
        self._write = write
        self._number = number
        self._many = many
        self._noted = 0
        self._last = 0.0
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether the next event is to be timed."""
        return not self.count & _MASK

    def note(self, milliseconds: float) -> None:
        """Count one that took that long, as those have that were not timed before it."""
        self.count += 1
        self._last = milliseconds
        rest = self._take()
        if rest == EACH and self._many is not None:
            self._write(self._many, milliseconds)
        else:
            self._repeat(rest)

    def settle(self) -> None:
        """Have all that was counted written. The last that was timed stands for the rest."""
        self._repeat(self._take())

    def _take(self) -> int:
        with self._lock:
            rest = self.count - self._noted
            self._noted += rest
        return rest

    def _repeat(self, times: int) -> None:
        for _ in range(times):
            self._write(self._number, self._last)
