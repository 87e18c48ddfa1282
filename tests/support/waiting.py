"""Waiting for what a background task does, for as long as a broken one may take."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(check: Callable[[], bool], seconds: float = 30) -> None:
    """Return once ``check`` holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """The same for a check that has to ask somebody."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
