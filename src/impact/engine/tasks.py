"""Background tasks: begun with a block, and ended with it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any

logger = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds: shorter, and a busy machine would cut short what a task does at its end."""
_AGAIN = 1.0
"""Seconds until what failed is begun anew."""


async def kept_up(work: Callable[[], Awaitable[None]], about: str) -> None:
    """Do what has no end, and begin it anew where it fails.

    For what a process cannot do without as long as it lives. The work handles the failures that
    it knows; what else it raises, a mistake of ours or of a library's, is logged.
    """
    while True:
        try:
            await work()
        except Exception:
            logger.exception("%s failed, and is begun anew", about)
        await asyncio.sleep(_AGAIN)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until they are done.

    A library may take a cancellation for its own time limit and swallow it; a task that goes on
    is cancelled again, as waiting for it would never end.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE)


@contextlib.asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs each beside the block, and ends them with it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        await end(tasks)


class Pace:
    """Keeps what is done again and again to a share of the time, however long it takes."""

    def __init__(self, share: float, every: float = 0.0) -> None:
        """``every``: seconds from one beginning to the next, at the least."""
        self._share = share
        self._every = every
        self._next = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._next

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """The block is it: from its beginning on, the next is a while away."""
        began = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - began
            self._next = began + max(self._every, took / self._share)
