"""A Redis that restarts answers before anybody has noticed: nothing may be told to it yet."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from impact.engine.cache.remote import RedisAwayError, Remote
from impact.settings import Settings
from impact.stack import Stack


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    directory = Path(tempfile.mkdtemp(prefix="impact-redis-"))
    directory.chmod(0o711)
    made = Stack(directory / "stack", replicas=0, durable=False)
    yield made
    made.down()
    shutil.rmtree(directory, ignore_errors=True)


async def test_another_run_is_refused_until_it_was_asked_for_its_name(
    own_stack: Stack, settings: Settings
) -> None:
    endpoints = own_stack.up()
    if own_stack.redis is None:
        pytest.skip("this machine has no Redis")
    remote = Remote(msgspec.structs.replace(settings, redis_url=endpoints.redis_url))
    try:
        first = await remote.identify()
        await remote.call(lambda: remote.client.set("a", "1"), patient=True)
        own_stack.redis.kill()
        own_stack.redis.start()
        # A version raised now would stand under the old run's name, where no reader looks.
        for _ in range(3):
            with pytest.raises(RedisAwayError):
                await remote.call(lambda: remote.client.set("a", "2"))
        assert not remote.available
        assert await remote.identify() != first
        await remote.call(lambda: remote.client.set("a", "3"), patient=True)
    finally:
        await remote.close()


async def test_what_asks_after_the_end_opens_no_connection(settings: Settings) -> None:
    """A subscription that was lost while it was being ended asked anew, and nobody closed that."""
    remote = Remote(settings)
    await remote.identify()
    await remote.close()
    with pytest.raises(RedisAwayError):
        await remote.identify()
    assert not any(
        each.is_connected for each in remote.client.connection_pool._available_connections
    )
