"""How long a call to Redis may take: Redis's own time, and not that of a busy process."""

import asyncio
import time

import msgspec
import pytest
import uvloop

from impact.engine.cache import remote as remote_module
from impact.engine.cache.remote import RedisAwayError, Remote
from impact.settings import Settings


@pytest.fixture
async def remote(settings: Settings):
    made = Remote(msgspec.structs.replace(settings, redis_timeout=0.02))
    await made.identify()
    yield made
    await made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock ends a call: what is tested is not how busy this machine is."""
    monkeypatch.setattr(remote_module, "_PATIENCE", 60.0)


@pytest.mark.usefixtures("patient")
async def test_a_busy_process_does_not_take_redis_for_slow(remote: Remote) -> None:
    busy = True

    def hog() -> None:
        # Each turn of the loop takes longer than the limit.
        time.sleep(0.03)
        if busy:
            asyncio.get_running_loop().call_soon(hog)

    hog()
    try:
        for _ in range(3):
            # Also where a connection must be opened first.
            await remote.client.connection_pool.disconnect()
            assert (
                await asyncio.gather(
                    *(remote.call(lambda: remote.client.echo("a")) for _ in range(5))
                )
                == [b"a"] * 5
            )
    finally:
        busy = False
    assert remote.available


def test_a_connection_that_was_lost_a_moment_ago(settings: Settings) -> None:
    """On the loop that serves: what it raises is no error of the connection's or of Redis."""

    async def lose_and_ask() -> None:
        remote = Remote(msgspec.structs.replace(settings, redis_timeout=0.5))
        try:
            await remote.identify()
            await remote.call(lambda: remote.client.echo("a"))
            (connection,) = remote.client.connection_pool._available_connections
            connection._writer.transport.abort()
            with pytest.raises(RedisAwayError):
                await remote.call(lambda: remote.client.echo("a"))
            assert await remote.call(lambda: remote.client.echo("a")) == b"a"
        finally:
            await remote.close()

    uvloop.run(lose_and_ask())


@pytest.mark.usefixtures("patient")
async def test_a_slow_redis_is_given_up_in_time(remote: Remote) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(RedisAwayError):
            await remote.call(lambda: remote.client.blpop("nothing comes here", timeout=60))
    # Patient work has its second, and is no proof that Redis is fast.
    for _ in range(3):
        assert (
            await remote.call(
                lambda: remote.client.blpop("nothing comes here", timeout=0.1), patient=True
            )
            is None
        )
    assert not remote.available
    await remote.call(lambda: remote.client.echo("a"), patient=True)
    assert remote.available
