"""The same promises when Redis is watched by Sentinel, is a cluster, or speaks TLS."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.asyncio.connection import Connection

from impact.engine.db.base import new_id
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.caching import Worker, until, workers
from support.redises import Redises
from support.replication import caught_up
from support.shops import Shop


@pytest.fixture
def redises(stack: Stack) -> Iterator[Redises]:
    found = stack.primary.site.redis
    assert found is not None
    with Redises(Path(found.server)) as made:
        yield made


async def shared(made: list[Worker]) -> None:
    """One load serves every worker; a write is seen by all who know of it, then by all."""
    one, other = made
    row, before = new_id(), one.loads + other.loads
    await one.write(row, "one")
    assert await one.read(row) == await other.read(row) == "one"
    assert one.loads + other.loads == before + 1
    token = await other.write(row, "two")
    assert await one.read(row, token) == "two"
    await one.hear()
    assert await one.read(row) == await other.read(row) == "two"
    remote = one.cache.versions.remote
    assert remote.available
    assert one.cache.stats.l1["collection"].hits > 0


async def test_tls(settings: Settings, shop: Shop, redises: Redises) -> None:
    async with redises.tls() as url, workers(settings, shop.tenant, 2, redis_url=url) as made:
        await shared(made)


async def test_a_stranger_is_not_trusted(
    settings: Settings, endpoints: Endpoints, shop: Shop, redises: Redises
) -> None:
    async with redises.tls() as url:
        bare = url.partition("?")[0]
        async with workers(settings, shop.tenant, 1, redis_url=bare) as (worker,):
            row = new_id()
            await worker.write(row, "one")
            await caught_up(endpoints)
            assert await worker.read(row, (1, 0)) == "one"
            assert not worker.cache.versions.remote.available


async def test_cluster(settings: Settings, shop: Shop, redises: Redises) -> None:
    url, _ = redises.cluster()
    async with workers(settings, shop.tenant, 2, redis_url=url) as made:
        await shared(made)


@pytest.mark.parametrize("which", range(3))
async def test_a_node_of_the_cluster_that_starts_anew(
    settings: Settings, shop: Shop, redises: Redises, which: int
) -> None:
    url, ports = redises.cluster()
    async with workers(settings, shop.tenant, 2, redis_url=url) as made:
        await shared(made)
        row = new_id()
        await made[0].write(row, "before")
        assert await made[1].read(row) == "before"
        named = {worker.cache.versions.remote.incarnation for worker in made}
        assert len(named) == 1
        redises.kill(ports[which])
        token = await made[0].write(row, "meanwhile")
        assert await made[1].read(row, token) == "meanwhile"
        redises.start_again(ports[which])

        def renamed() -> bool:
            names = {worker.cache.versions.remote.incarnation for worker in made}
            heard = all(worker.cache.versions.hears() for worker in made)
            return heard and len(names) == 1 and not names & {None, *named}

        await until(renamed)
        assert await made[0].read(row) == await made[1].read(row) == "meanwhile"
        await shared(made)
    # redis-py forgets a node that is gone without closing what it had open there.
    for left in [each for each in gc.get_objects() if isinstance(each, Connection)]:
        if left.port in ports:
            await left.disconnect(nowait=True)


async def test_sentinel_names_another_primary(
    settings: Settings, shop: Shop, redises: Redises
) -> None:
    url, primary, watcher = redises.sentinel()
    async with workers(settings, shop.tenant, 2, redis_url=url) as made:
        await shared(made)
        row = new_id()
        await made[0].write(row, "before")
        assert await made[1].read(row) == "before"
        redises.kill(primary)
        # Slower, never wrong, while nobody is the primary.
        token = await made[0].write(row, "meanwhile")
        assert await made[1].read(row, token) == "meanwhile"
        with redis.Redis(port=watcher) as client:
            await until(lambda: client.sentinel_get_master_addr_by_name("shops")[1] != primary)
        await until(lambda: all(worker.cache.versions.hears() for worker in made))
        assert await made[0].read(row) == await made[1].read(row) == "meanwhile"
        await shared(made)
