"""Readers and writers in the orders that go wrong, brought about with hooks, not with luck.

Nobody may be served what was written before a write they could know of, on any of four workers.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from impact.engine.cache import keys
from impact.engine.cache.remote import RedisAwayError
from impact.engine.db.base import new_id
from impact.settings import Settings
from impact.stack import Endpoints
from support.caching import TITLE, Gate, Worker, apart, redis_proxy, until, workers
from support.replication import replay_paused
from support.shops import Shop

pytestmark = pytest.mark.xdist_group("replica")


@pytest.fixture
async def four(settings: Settings, shop: Shop) -> AsyncIterator[list[Worker]]:
    async with workers(settings, shop.tenant) as made:
        yield made


@pytest.fixture
async def row(four: list[Worker]) -> UUID:
    id = new_id()
    await four[0].write(id, "old")
    return id


async def settled(group: list[Worker]) -> None:
    await asyncio.gather(*(worker.hear() for worker in group))


async def everywhere(group: list[Worker], row: UUID) -> list[str | None]:
    return [await worker.read(row) for worker in group]


class TestAllWell:
    async def test_one_load_serves_every_worker(self, four: list[Worker], row: UUID) -> None:
        assert await everywhere(four, row) == ["old"] * 4
        assert await everywhere(four, row) == ["old"] * 4
        assert sum(worker.loads for worker in four) == 1
        assert [worker.cache.stats.l1["collection"].hits for worker in four] == [1] * 4

    async def test_a_write_is_seen_everywhere_once_it_was_heard_of(
        self, four: list[Worker], row: UUID
    ) -> None:
        await everywhere(four, row)
        await four[1].write(row, "new")
        await settled(four)
        assert await everywhere(four, row) == ["new"] * 4

    async def test_a_caller_with_a_token_need_not_wait(self, four: list[Worker], row: UUID) -> None:
        await everywhere(four, row)
        for number in range(50):
            token = await four[number % 4].write(row, f"v{number}")
            readers = [worker.read(row, token) for worker in four]
            assert await asyncio.gather(*readers) == [f"v{number}"] * 4

    async def test_another_row_stays(self, four: list[Worker], row: UUID) -> None:
        other = new_id()
        await four[0].write(other, "other")
        await everywhere(four, row)
        await four[0].write(other, "changed")
        await settled(four)
        before = sum(worker.loads for worker in four)
        await everywhere(four, row)
        assert sum(worker.loads for worker in four) == before

    async def test_a_wildcard_ends_all(self, four: list[Worker], row: UUID) -> None:
        await everywhere(four, row)
        _, tags = keys.tags_of_pattern(f"collection:{four[0].tenant}:*")
        await four[0].cache.versions.raise_now(four[0].tenant, tags)
        await settled(four)
        before = sum(worker.loads for worker in four)
        await everywhere(four, row)
        assert sum(worker.loads for worker in four) == before + 1


class TestAnsweredAndNotStored:
    """A reader has its answer before Redis has it, and before its transaction has ended."""

    @pytest.fixture
    async def storing(self, four: list[Worker], row: UUID, monkeypatch: pytest.MonkeyPatch) -> Gate:
        """The first worker has read the row, and is held up where it would store it."""
        gate, versions = Gate(), four[0].cache.versions
        store = versions.store

        async def held_up(*arguments: Any) -> tuple[bool, int]:
            await gate()
            return await store(*arguments)

        monkeypatch.setattr(versions, "store", held_up)
        four[0].hurried = True
        assert await four[0].read(row) == "old"
        await gate.reached.wait()
        return gate

    async def test_who_asks_meanwhile_shares_the_answer(
        self, four: list[Worker], row: UUID, storing: Gate
    ) -> None:
        assert await four[0].read(row) == "old"
        assert four[0].loads == 1
        storing.open()
        await settled(four)
        assert await everywhere(four, row) == ["old"] * 4
        assert sum(worker.loads for worker in four) == 1

    async def test_but_not_after_a_write(
        self, four: list[Worker], row: UUID, storing: Gate
    ) -> None:
        token = await four[1].write(row, "new")
        again = asyncio.create_task(four[0].read(row, token))
        # The other holds the lock until it has stored, which is then refused.
        storing.open()
        assert await again == "new"
        await settled(four)
        assert await everywhere(four, row) == ["new"] * 4

    async def test_nor_with_whoever_has_seen_more(
        self, four: list[Worker], row: UUID, storing: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        position, _ = await four[1].write(new_id(), "another row")
        flights = four[0].cache._flights
        joinable, asked = flights._joinable, 0

        def counted(flight: Any) -> bool:
            nonlocal asked
            asked += 1
            # A look-up that is over already answers without waiting: for ever, if asked again.
            assert asked < 10
            return bool(joinable(flight))

        monkeypatch.setattr(flights, "_joinable", counted)
        # Seen while Redis was away: only a snapshot that contains it will do.
        again = asyncio.create_task(four[0].read(row, (position, 0)))
        await asyncio.sleep(0.01)
        storing.open()
        assert await again == "old"


class TestLockLeftBehind:
    async def test_whoever_waits_loads_when_a_fill_was_refused(
        self, settings: Settings, shop: Shop
    ) -> None:
        """It waited out its time for an entry that nobody would store."""
        async with workers(settings, shop.tenant, 3, cache_lock_wait=3600.0) as made:
            slow, waiting, writer = made
            row = new_id()
            await writer.write(row, "old")
            slow.after_load = gate = Gate()
            reading = asyncio.create_task(slow.read(row))
            await gate.reached.wait()
            await writer.write(row, "new")
            await waiting.hear()
            again = asyncio.create_task(waiting.read(row))
            await asyncio.sleep(0.05)
            assert waiting.loads == 0  # The first one has the lock.
            gate.open()
            async with asyncio.timeout(20):
                assert await again == "new"
            assert await reading == "old"
            # And what it loaded was kept.
            assert await waiting.read(row) == "new"
            assert waiting.loads == 1


class TestSlowReader:
    async def test_cannot_store_an_old_value_over_a_new_one(
        self, four: list[Worker], row: UUID
    ) -> None:
        slow, writer = four[0], four[1]
        slow.after_load = gate = Gate()
        reading = asyncio.create_task(slow.read(row))
        await gate.reached.wait()
        token = await writer.write(row, "new")
        gate.open()
        assert await slow.read(row, token) == "new"
        assert await reading == "old"  # It began before the write.
        slow.after_load = None
        assert slow.cache.stats.l2["collection"].refused >= 1
        await settled(four)
        assert await everywhere(four, row) == ["new"] * 4

    async def test_whoever_comes_after_the_write_does_not_join_it(
        self, four: list[Worker], row: UUID
    ) -> None:
        slow, writer = four[0], four[1]
        gate = Gate()
        slow.after_load = gate
        reading = asyncio.create_task(slow.read(row))
        await gate.reached.wait()
        slow.after_load = None
        await writer.write(row, "new")
        await slow.hear()
        assert await slow.read(row) == "new"
        gate.open()
        assert await reading == "old"
        await settled(four)
        assert await everywhere(four, row) == ["new"] * 4

    async def test_a_write_that_is_not_committed_yet_keeps_fills_out(
        self, four: list[Worker], row: UUID
    ) -> None:
        """Between announcement and commit a reader may be served the old value, not keep it."""
        reader, writer = four[0], four[1]
        tags = {writer.tenant: set(keys.changed(writer.tenant, "collection", row))}
        raised = await writer.cache.versions.announce(tags)
        await reader.hear()
        assert await reader.read(row) == "old"
        assert await reader.read(row) == "old"
        assert reader.loads == 2
        await writer.cache.versions.settle(raised, 1)
        await reader.hear()
        await reader.read(row)
        await reader.read(row)
        assert reader.loads == 3


class TestLaggingReplica:
    async def test_cannot_fill_the_cache(
        self, settings: Settings, endpoints: Endpoints, four: list[Worker], row: UUID
    ) -> None:
        await everywhere(four, row)
        async with replay_paused(endpoints):
            await four[2].write(row, "new")
            await settled(four)
            assert await everywhere(four, row) == ["new"] * 4
        assert await everywhere(four, row) == ["new"] * 4

    async def test_nor_after_the_versions_were_lost(
        self, endpoints: Endpoints, four: list[Worker], row: UUID
    ) -> None:
        async with replay_paused(endpoints):
            await four[2].write(row, "new")
            await four[0].cache.versions.remote.client.flushdb()
            await settled(four)
            assert await everywhere(four, row) == ["new"] * 4


class TestMissedMessages:
    async def test_while_the_subscription_is_down_l1_is_empty_and_unused(
        self, settings: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with (
            redis_proxy(apart(settings.redis_url)) as proxy,
            workers(settings, shop.tenant, 1) as (writer,),
            workers(
                settings,
                shop.tenant,
                1,
                redis_url=proxy.url,
                cache_service=writer.runtime.settings.cache_service,
            ) as (deaf,),
        ):
            row = new_id()
            await writer.write(row, "old")
            assert await deaf.read(row) == "old"
            versions = deaf.cache.versions
            assert len(deaf.cache.local) == 1

            async def refuse(*_: object) -> None:
                raise RedisAwayError("no subscription")

            monkeypatch.setattr(versions, "_listen", refuse)
            proxy.cut()
            await until(lambda: not (versions.hears() or versions.remote.incarnation is None))
            assert len(deaf.cache.local) == 0
            # Redis itself is there: every value is checked with it, and none is kept here.
            assert await deaf.read(row) == "old"
            loads = deaf.loads
            assert await deaf.read(row) == "old"
            assert deaf.loads == loads
            assert len(deaf.cache.local) == 0
            await writer.write(row, "new")
            assert await deaf.read(row) == "new"
            # Heard again, it starts empty.
            monkeypatch.undo()
            await deaf.hear()
            assert await deaf.read(row) == "new"
            await writer.write(row, "newer")
            await deaf.hear()
            assert await deaf.read(row) == "newer"

    async def test_silence_is_not_taken_for_calm(self, settings: Settings, shop: Shop) -> None:
        """A connection that is open and passes nothing on: L1 is not trusted."""
        async with (
            redis_proxy(apart(settings.redis_url)) as proxy,
            workers(settings, shop.tenant, 1, redis_url=proxy.url, cache_silence=0.8) as (deaf,),
        ):
            row = new_id()
            await deaf.write(row, "old")
            await deaf.read(row)
            assert deaf.cache.versions.hears()
            proxy.delay = 3600
            await until(lambda: not (deaf.cache.versions.hears()))
            key = keys.make_key(deaf.tenant, "collection", row, "title")
            assert deaf.cache.peek(TITLE, key, deaf.context()) is None


class TestFlush:
    async def test_brings_nothing_back(self, four: list[Worker], row: UUID) -> None:
        await everywhere(four, row)
        client = four[0].cache.versions.remote.client
        await four[1].write(row, "second")
        await client.flushdb()
        await settled(four)
        assert await everywhere(four, row) == ["second"] * 4
        await four[1].write(row, "third")
        await client.flushdb()
        await four[1].write(row, "fourth")
        await settled(four)
        assert await everywhere(four, row) == ["fourth"] * 4

    async def test_an_entry_of_before_is_not_good_after(
        self, four: list[Worker], row: UUID
    ) -> None:
        """Versions that were lost do not begin where they once were."""
        remote = four[0].cache.versions.remote
        await four[0].read(row)
        key = keys.make_key(four[0].tenant, "collection", row, "title")
        name = key.redis(remote.service, remote.incarnation)
        entry = await remote.client.get(name)
        await four[1].write(row, "new")
        await remote.client.flushdb()
        await remote.client.set(name, entry)
        await settled(four)
        assert await everywhere(four, row) == ["new"] * 4


class TestCrash:
    async def test_between_commit_and_publication(
        self, four: list[Worker], row: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process dies with its commit done: the announcement made before it stands."""
        await everywhere(four, row)
        dying = four[3]

        class Killed(BaseException):
            pass

        async def die(*_: object) -> int:
            raise Killed

        monkeypatch.setattr(dying.cache.versions, "settle", die)
        with pytest.raises(Killed):
            await dying.write(row, "new")
        await settled(four)
        for _ in range(3):
            assert await everywhere(four[:3], row) == ["new"] * 3

    async def test_and_its_hold_lapses(
        self, four: list[Worker], row: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("impact.engine.cache.versions._HOLD", 1)
        await everywhere(four, row)
        tags = {four[3].tenant: set(keys.changed(four[3].tenant, "collection", row))}
        await four[3].cache.versions.announce(tags)
        await settled(four)
        before = sum(worker.loads for worker in four)
        await everywhere(four[:3], row)
        await everywhere(four[:3], row)
        assert sum(worker.loads for worker in four) == before + 1

    async def test_a_publication_that_failed_is_made_good(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with (
            redis_proxy(apart(settings.redis_url)) as proxy,
            workers(settings, shop.tenant, 1) as (reader,),
            workers(
                settings,
                shop.tenant,
                1,
                redis_url=proxy.url,
                cache_service=reader.runtime.settings.cache_service,
            ) as (writer,),
        ):
            row = new_id()
            await writer.write(row, "old")
            assert await reader.read(row) == "old"
            proxy.refuse = True
            proxy.cut()
            token = await writer.write(row, "new")
            assert token[1] == 0
            # Whoever knows of the write is not answered from before it, on any worker.
            assert await reader.read(row, token) == "new"
            assert await writer.read(row, token) == "new"
            proxy.refuse = False
            versions = writer.cache.versions
            await until(lambda: not (versions._pending or not versions.hears()))
            await reader.hear()
            assert await reader.read(row) == "new"
