"""Background tasks: begun with a block, and ended with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

_PATIENCE = 1.0
"""Seconds: shorter, and a busy machine would cut short what a task does at its end."""


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
