"""What a measurement leaves in Redis, and nobody else asks for."""

import asyncio
import contextlib
from collections.abc import Iterator

from impact.engine.cache.remote import FAILURES, Remote
from impact.engine.interrupts import uninterrupted
from impact.settings import Settings

_SECONDS = 10.0
"""After which the rest is left to its own end."""


@contextlib.contextmanager
def forgotten(settings: Settings) -> Iterator[None]:
    """Delete all keys of the settings' ``cache_service``, a measurement's own, after the block."""
    try:
        yield
    finally:
        with uninterrupted():
            asyncio.run(forget(settings))


async def forget(settings: Settings) -> None:
    """Delete all keys of the settings' ``cache_service``. Where Redis is away it does nothing."""
    if settings.redis_url is None:
        return
    remote = Remote(settings)
    try:
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(_SECONDS):
                name = f"{settings.cache_service}:*"
                # One by one, as a cluster has them on several nodes.
                async for key in remote.client.scan_iter(match=name, count=1000):
                    await remote.client.unlink(key)
    finally:
        await remote.close()
