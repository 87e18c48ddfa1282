"""L1: decoded values in this process, bounded by bytes.

cachebox holds them: written in Rust, released often, O(1) and weighed by a function of our own.
cachetools weighs too, in pure Python and ten times slower; theine admits by W-TinyLFU but counts
entries, not bytes, and one list may weigh as much as a thousand permissions.
"""

import itertools
from collections.abc import Callable
from typing import Any

import cachebox

from impact.engine.cache.keys import Key

_serials = itertools.count()
_OVERHEAD = 400
"""Bytes of key, tags and record beside the value, measured with tracemalloc and rounded up."""


class Held:
    """One value in this process, with all that says for whom and how long it is good.

    ``until`` and ``soft`` are of ``time.monotonic``; ``cost`` is how long its load took, in
    seconds; ``wal`` a position that the load's snapshot is known to contain. ``marks`` are the
    tags' generations, and ``checked`` the state of the view that last agreed with them. An
    entry that is not ``verified`` was filled without Redis. ``missing`` says what was not found.
    ``version`` is a digest of the marks, "" where nothing vouches for them; ``serial`` is the
    entry's own in this process: the same one is the same value.
    """

    __slots__ = (
        "checked", "cost", "marks", "missing", "serial", "size", "soft", "until", "value",
        "verified", "version", "wal",
    )  # fmt: skip

    def __init__(
        self,
        value: Any,
        *,
        size: int,
        marks: tuple[tuple[str, int], ...],
        wal: int,
        until: float,
        soft: float,
        cost: float,
        verified: bool,
        missing: str | None,
        version: str = "",
    ) -> None:
        self.value = value
        self.size = size
        self.marks = marks
        self.wal = wal
        self.until = until
        self.soft = soft
        self.cost = cost
        self.verified = verified
        self.missing = missing
        self.version = version
        self.serial = next(_serials)
        self.checked = -1


def _weigh(_: Key, held: Held) -> int:
    return held.size + _OVERHEAD


class Local:
    """The entries of this process, the least recently used of which make room."""

    def __init__(self, limit: int) -> None:
        """``limit`` is in bytes."""
        self._limit = limit
        self._entries: cachebox.LRUCache[Key, Held] = cachebox.LRUCache(limit, getsizeof=_weigh)
        self.get: Callable[[Key], Held | None] = self._entries.get
        self._inserted = 0
        self._removed = 0

    def put(self, key: Key, held: Held) -> None:
        """Keep the entry; one that would take more than a tenth of the room is not kept."""
        if held.size + _OVERHEAD > self._limit // 10:
            return
        if key not in self._entries:
            self._inserted += 1
        self._entries.insert(key, held)

    def clear(self) -> None:
        self._removed += len(self._entries)
        self._entries.clear(reuse=True)

    @property
    def bytes(self) -> int:
        return self._entries.current_size()

    @property
    def evictions(self) -> int:
        """How many entries had to make room."""
        return self._inserted - self._removed - len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
