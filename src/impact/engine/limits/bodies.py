"""Requests whose bodies are still to come."""

import asyncio
import contextlib
from collections.abc import Iterator


class Bodies:
    """Of one process. ``most`` may wait at once; one more ends the wait that is the longest.

    They are no requests that are served: whoever begins many and never sends what they announced
    would keep everybody else out. An honest body is there in a moment, so that the one which has
    waited longest is the one to give up (as with half-open connections: RFC 4987, 3.4).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waits: dict[asyncio.Timeout, None] = {}

    @property
    def awaited(self) -> int:
        """How many wait."""
        return len(self._waits)

    @contextlib.contextmanager
    def waiting(self, limit: asyncio.Timeout) -> Iterator[None]:
        """While the block waits, ``limit`` may run out earlier than it says."""
        while len(self._waits) >= self._most:
            longest = next(iter(self._waits))
            del self._waits[longest]
            if not longest.expired():
                longest.reschedule(0)
        self._waits[limit] = None
        try:
            yield
        finally:
            self._waits.pop(limit, None)
