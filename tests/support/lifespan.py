"""Starting an application inside a fixture."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar


@contextlib.asynccontextmanager
async def started(app: Litestar) -> AsyncIterator[Litestar]:
    """The application between start-up and shutdown.

    Its lifespan runs in a task of its own: it must end in the task that began it, and a
    fixture's set-up and tear-down are different tasks.
    """
    ready, done = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with app.lifespan():
            ready.set()
            await done.wait()

    task = asyncio.create_task(serve())
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield app
    finally:
        done.set()
        await task
