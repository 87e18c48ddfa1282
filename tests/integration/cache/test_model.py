"""Random histories on four workers against an oracle that has no cache.

``IMPACT_CACHE_STEPS=50000`` makes the long run; the usual one is short.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from impact.engine.cache import keys
from impact.engine.db.base import new_id
from impact.settings import Settings
from impact.stack import Endpoints
from support.caching import RedisProxy, Worker, apart, redis_proxy, workers
from support.replication import caught_up, replay_paused
from support.shops import Shop

pytestmark = pytest.mark.xdist_group("replica")

T = TypeVar("T")
STEPS = int(os.environ.get("IMPACT_CACHE_STEPS", "500"))
PER_RUN = 50
ROWS = 4
BEHIND_PROXY = 3


class World:
    """Four workers on a loop in a thread of its own; the last one's Redis can be taken away."""

    def __init__(self, settings: Settings, endpoints: Endpoints, tenant: str) -> None:
        self._settings, self._endpoints, self.tenant = settings, endpoints, tenant
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.group: list[Worker] = []
        self.proxy: RedisProxy
        self.steps = 0
        self.checked = 0
        self._lag: Any = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def __enter__(self) -> "World":
        self._thread.start()
        self._stack = AsyncExitStack()
        self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        quick = {"cache_heartbeat": 0.005, "causal_wait": 0.005, "cache_lock_wait": 0.05}
        # Only who is cut off is without Redis: a machine that stalls does not make it seem away.
        quick |= {"redis_timeout": 5.0, "cache_silence": 5.0}
        self.proxy = await self._stack.enter_async_context(
            redis_proxy(apart(self._settings.redis_url))
        )
        self.group = await self._stack.enter_async_context(
            workers(self._settings, self.tenant, 3, **quick)
        )
        # They ask again before what they read is stored.
        self.group[0].hurried = self.group[1].hurried = True
        service = self.group[0].runtime.settings.cache_service
        self.group += await self._stack.enter_async_context(
            workers(
                self._settings,
                self.tenant,
                1,
                redis_url=self.proxy.url,
                cache_service=service,
                **quick,
            )
        )

    async def _close(self) -> None:
        await self.resume()
        await self._stack.aclose()

    async def pause(self) -> None:
        if self._lag is None:
            self._lag = replay_paused(self._endpoints)
            await self._lag.__aenter__()

    async def resume(self) -> None:
        """Let the replica go on; afterwards it has replayed all that was written."""
        if self._lag is not None:
            lag, self._lag = self._lag, None
            await lag.__aexit__(None, None, None)
        await caught_up(self._endpoints)


class Histories(RuleBasedStateMachine):
    """``values`` is what the database holds; ``possible`` what a worker may still answer to a
    caller who knows of no write: what was written since it last heard everything. While a worker
    cannot reach Redis it may ask a replica that is behind, so ``replica`` keeps what that one
    may still show."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.rows = [new_id() for _ in range(ROWS)]
        self.values: list[str | None] = [None] * ROWS
        self.tokens = [(0, 0)] * ROWS
        self.possible = [[{None} for _ in range(ROWS)] for _ in range(4)]
        self.replica: list[set[str | None]] = [{None} for _ in range(ROWS)]
        self.away = False
        self.count = 0

    worker = st.integers(0, 3)
    row = st.integers(0, ROWS - 1)

    @rule(worker=worker, row=row)
    def write(self, worker: int, row: int) -> None:
        self.count += 1
        value = f"v{self.count}"
        self.tokens[row] = self.world.run(self.world.group[worker].write(self.rows[row], value))
        self.values[row] = value
        for each in (*self.possible, self.replica):
            each[row].add(value)

    @rule(row=row)
    def read_knowing_of_the_last_write(self, row: int) -> None:
        assert self._read(row, self.tokens[row]) == [self.values[row]] * 4

    @rule(row=row)
    def read_knowing_of_nothing(self, row: int) -> None:
        for worker, found in enumerate(self._read(row, (0, 0))):
            assert found in self.possible[worker][row]

    def _read(self, row: int, token: tuple[int, int]) -> list[str | None]:
        async def everywhere() -> list[str | None]:
            reads = (worker.read(self.rows[row], token) for worker in self.world.group)
            return list(await asyncio.gather(*reads))

        self.world.checked += 4
        return self.world.run(everywhere())

    @rule(worker=worker)
    def hear(self, worker: int) -> None:
        if not self._owing():
            self.world.run(self.world.group[worker].hear())
            self.possible[worker] = [{value} for value in self.values]

    def _owing(self) -> bool:
        """Whether a write may not have been told: of a worker cut off from Redis the others hear
        when it has found back, which takes it a moment also where the connections were cut only."""
        return self.away or bool(self.world.group[BEHIND_PROXY].cache.versions._pending)

    @rule(worker=worker)
    def wildcard(self, worker: int) -> None:
        if worker != BEHIND_PROXY:
            _, tags = keys.tags_of_pattern(f"collection:{self.world.tenant}:*")
            versions = self.world.group[worker].cache.versions
            self.world.run(versions.raise_now(self.world.tenant, tags))

    @rule()
    def flush(self) -> None:
        client = self.world.group[0].cache.versions.remote.client
        self.world.run(client.flushdb())

    @rule()
    def cut_the_connections_of_one(self) -> None:
        async def cut() -> None:
            self.world.proxy.cut()

        self.world.run(cut())
        self._may_ask_the_replica()

    @rule()
    def take_redis_away_from_one(self) -> None:
        async def refuse() -> None:
            self.world.proxy.refuse = True
            self.world.proxy.cut()

        self.world.run(refuse())
        self._may_ask_the_replica()
        self.away = True

    def _may_ask_the_replica(self) -> None:
        for possible, shown in zip(self.possible[BEHIND_PROXY], self.replica, strict=True):
            possible.update(shown)

    @rule()
    def give_it_back(self) -> None:
        self.world.run(self._give_back())

    async def _give_back(self) -> None:
        self.world.proxy.refuse = False
        versions = self.world.group[BEHIND_PROXY].cache.versions
        async with asyncio.timeout(20):
            while versions._pending or not versions.hears():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        self.away = False

    @rule()
    def hold_the_replica_back(self) -> None:
        self.world.run(self.world.pause())

    @rule()
    def let_it_go_on(self) -> None:
        self.world.run(self.world.resume())
        self.replica = [{value} for value in self.values]

    @invariant()
    def counted(self) -> None:
        self.world.steps += 1

    def teardown(self) -> None:
        self.world.run(self._give_back())
        self.world.run(self.world.resume())


def test_no_history_serves_what_the_oracle_would_not(
    settings: Settings, endpoints: Endpoints, shop: Shop
) -> None:
    with World(settings, endpoints, shop.tenant) as world:
        Histories.world = world
        run_state_machine_as_test(
            Histories,
            settings=hypothesis_settings(
                max_examples=max(1, STEPS // PER_RUN),
                stateful_step_count=PER_RUN,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
        print(f"{world.steps} steps, {world.checked} reads compared")  # noqa: T201
    assert world.checked > 0
