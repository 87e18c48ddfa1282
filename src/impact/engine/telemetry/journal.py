"""What was measured and not yet added up: a ring in shared memory, one per process.

An entry is a time and the number of its series. Writing one takes two stores and no lock, and
what is written survives the process however it ends, as the kernel keeps the pages: a killed
worker's last requests are still counted by whoever reads its ring.
"""

import itertools
import mmap
from collections import defaultdict
from pathlib import Path
from typing import Self

SLOTS = 32_768
"""Entries; half of them may wait, so that a reader with an old position still finds its own."""
_MASK = SLOTS - 1
_SERIES_BITS = 14
MOST_SERIES = 1 << _SERIES_BITS
_SERIES = MOST_SERIES - 1
_CHUNK = 256
_BYTES = SLOTS * 16


def set_number(count: int) -> int:
    """What stands in an entry for the set of series that was made after so many others: they are
    numbered from the end."""
    return _SERIES - count


class Journal:
    """``values`` holds milliseconds; ``marks`` the entry's number and its series, so that an
    entry proves itself: a slot whose number is another one is of another lap, or not written."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        view = memoryview(memory)
        self.values = view[: SLOTS * 8].cast("d")
        self.marks = view[SLOTS * 8 :].cast("Q")
        self._numbers = itertools.count(1)
        self.next_number = self._numbers.__next__
        self.lost = 0
        """Entries that were overwritten before they were added up."""

    @classmethod
    def anonymous(cls) -> Self:
        """For a process that shares its figures with nobody."""
        return cls(mmap.mmap(-1, _BYTES))

    @classmethod
    def create(cls, path: Path) -> Self:
        with path.open("w+b") as file:
            file.truncate(_BYTES)
            return cls(mmap.mmap(file.fileno(), _BYTES))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Another process's, to read."""
        with path.open("rb") as file:
            return cls(mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ))

    def write(self, series: int, milliseconds: float) -> int:
        """Add an entry; its number, from 1. Safe in threads: the number is taken atomically."""
        number = self.next_number()
        self.values[number & _MASK] = milliseconds
        self.marks[number & _MASK] = number << _SERIES_BITS | series
        return number

    def read(self, after: int) -> tuple[dict[int, list[float]], int]:
        """The times by series of the entries after that number, and the last one's number."""
        found: defaultdict[int, list[float]] = defaultdict(list)
        number = after + 1
        while True:
            slot = number & _MASK
            stop = min(slot + _CHUNK, SLOTS)
            marks, values = self.marks[slot:stop].tolist(), self.values[slot:stop].tolist()
            for mark, value in zip(marks, values, strict=True):
                written = mark >> _SERIES_BITS
                if written != number:
                    break
                found[mark & _SERIES].append(value)
                number += 1
            else:
                continue
            if written < number:
                return found, number - 1
            # Overtaken by a whole lap: go on with the oldest that is surely left.
            self.lost += written - SLOTS // 2 - number
            number = written - SLOTS // 2

    def close(self) -> None:
        self.values.release()
        self.marks.release()
        self._memory.close()
