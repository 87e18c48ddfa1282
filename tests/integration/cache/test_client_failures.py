"""Redis's client fails in a way that nobody foresaw, as redis-py's does where a node is lost while
others connect to it: requests are answered, and the cache comes back by itself."""

from typing import Any

import pytest
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection

from impact.engine.db.base import new_id
from impact.settings import Settings
from support.caching import until, workers
from support.shops import Shop


async def test_the_subscription_outlives_it(
    settings: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, service = PubSub.get_message, b""
    failed: list[PubSub] = []

    async def fails_once(self: PubSub, *args: Any, **options: Any) -> Any:
        if not failed and any(service in channel for channel in self.channels):
            failed.append(self)
            raise AttributeError("'NoneType' object has no attribute 'writelines'")
        return await hear(self, *args, **options)

    async with workers(settings, shop.tenant, 1) as (worker,):
        versions = worker.cache.versions
        await until(versions.hears)
        before, service = versions.epoch, versions.remote.service.encode()
        monkeypatch.setattr(PubSub, "get_message", fails_once)
        await until(lambda: versions.epoch > before + 1)
        await worker.hear()
        row = new_id()
        token = await worker.write(row, "one")
        assert await worker.read(row, token) == "one"
        hits = worker.cache.stats.l1["collection"].hits
        await worker.hear()
        assert await worker.read(row, token) == "one"
        assert worker.cache.stats.l1["collection"].hits == hits + 1


async def test_requests_do_without_redis(
    settings: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise LookupError("Cannot choose from an empty sequence")

    async with workers(settings, shop.tenant, 1) as (worker,):
        await until(worker.cache.versions.hears)
        row = new_id()
        with monkeypatch.context() as patch:
            patch.setattr(AbstractConnection, "send_packed_command", fails)
            token = await worker.write(row, "one")
            assert await worker.read(row, token) == "one"
            token = await worker.write(row, "two")
            assert await worker.read(row, token) == "two"
            await until(lambda: not worker.cache.versions.remote.available)
        await until(lambda: worker.cache.versions.remote.available)
        await worker.hear()
        assert await worker.read(row, token) == "two"
