"""Whose turn it is: by a clock that the test moves."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from impact import settings as settings_module
from impact.engine.db import fairness
from impact.engine.db.fairness import FairQueue, Turn
from impact.errors import OverloadedError


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(fairness, "time", made)
    return made


def queue(size: int = 4, **changes: Any) -> FairQueue:
    settings = settings_module.load(
        {},
        primary_url="postgresql://a:b@c/d",
        signing_keys="k:" + "x" * 32,
        pool_max=size,
        pool_min=0,
        **{"pool_reserve": 0, **changes},
    )
    return FairQueue(settings)


class Crowd:
    """Requests that take turns; who was served is noted in order."""

    def __init__(self, of: FairQueue, clock: Clock) -> None:
        self.queue = of
        self.clock = clock
        self.served: list[str] = []
        self.sent_away: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[None]] = []
        self._running: list[tuple[float, int, Turn]] = []
        self._number = 0

    async def ask(self, tenant: str, count: int = 1, hold: float = 1.0, **how: bool) -> None:
        urgent = how.get("urgent", False)

        async def request() -> None:
            try:
                turn = self.queue.enter(tenant, urgent=urgent) or await self.queue.wait(
                    tenant, urgent=urgent
                )
            except OverloadedError:
                self.sent_away[tenant] += 1
                return
            self.served.append(tenant)
            self._number += 1
            self._running.append((self.clock.now + hold, self._number, turn))

        self.tasks += [asyncio.create_task(request()) for _ in range(count)]
        await _settle()

    async def finish(self, count: int = 1) -> None:
        """The turns that are over first end, one after the other."""
        for _ in range(count):
            over = min(self._running)
            self._running.remove(over)
            self.clock.now = max(self.clock.now, over[0])
            self.queue.leave(over[2])
            await _settle()

    async def empty(self) -> None:
        while self._running:
            await self.finish()


async def _settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.fixture
def crowd(clock: Clock) -> Crowd:
    return Crowd(queue(), clock)


def test_a_free_connection_is_had_at_once() -> None:
    found = queue(2)
    assert found.enter("a", urgent=False)
    second = found.enter("b", urgent=False)
    assert second
    assert found.enter("c", urgent=False) is None
    found.leave(second)
    assert found.enter("c", urgent=False)


def test_leaving_twice_is_leaving_once() -> None:
    found = queue(2)
    turn = found.enter("a", urgent=False)
    assert turn
    found.leave(turn)
    found.leave(turn)
    assert found.running == 0


class TestOrder:
    async def test_who_comes_late_does_not_stand_behind_anothers_crowd(self, crowd: Crowd) -> None:
        await crowd.ask("many", 100)
        await crowd.ask("one")
        before = len(crowd.served)
        await crowd.finish(2)
        assert "one" in crowd.served[before:]

    async def test_tenants_take_turns_whatever_their_numbers(self, crowd: Crowd) -> None:
        await crowd.ask("many", 200)
        await crowd.ask("few", 20)
        await crowd.finish(40)
        served = Counter(crowd.served[4:])
        assert served["few"] == 20

    async def test_long_turns_cost_more(self, clock: Clock) -> None:
        crowd = Crowd(queue(1), clock)
        await crowd.ask("first")
        await crowd.ask("slow", 50, hold=10.0)
        await crowd.ask("quick", 200, hold=1.0)
        began, held = clock.now, Counter[str]()
        while clock.now < began + 200:
            await crowd.finish()
            tenant = crowd.served[-1]
            held[tenant] += 10 if tenant == "slow" else 1
        # Equal times, not equal numbers.
        assert 0.8 < held["slow"] / held["quick"] < 1.25

    async def test_what_was_used_while_nobody_else_came_is_no_debt(self, crowd: Crowd) -> None:
        for _ in range(50):
            await crowd.ask("old", 4)
            await crowd.finish(3)
        await crowd.ask("old", 20)
        await crowd.ask("new", 20)
        before = len(crowd.served)
        await crowd.finish(20)
        served = Counter(crowd.served[before:])
        assert abs(served["old"] - served["new"]) <= 4

    async def test_a_tenants_own_requests_keep_their_order(self, clock: Clock) -> None:
        found = queue(1)
        first = found.enter("a", urgent=False)
        assert first
        order: list[int] = []

        async def request(number: int) -> None:
            turn = await found.wait("a", urgent=False)
            order.append(number)
            found.leave(turn)

        tasks = [asyncio.create_task(request(number)) for number in range(5)]
        await _settle()
        found.leave(first)
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4]


class TestReserve:
    async def test_some_connections_are_for_urgent_work_alone(self, clock: Clock) -> None:
        found = queue(20, pool_reserve=2)
        found.keep(primary=True)
        crowd = Crowd(found, clock)
        await crowd.ask("a", 50)
        assert len(crowd.served) == 18
        await crowd.ask("b", 3, urgent=True)
        assert crowd.served[18:] == ["b", "b"]
        # The first that is free is the urgent one's who waits.
        await crowd.finish()
        assert crowd.served[20:] == ["b"]
        # Until the reserve is free again nobody else is served.
        await crowd.finish(2)
        assert crowd.served[21:] == []
        await crowd.finish()
        assert crowd.served[21:] == ["a"]

    def test_a_replica_keeps_none(self) -> None:
        found = queue(20, pool_reserve=2)
        found.keep(primary=False)
        assert all(found.enter("a", urgent=False) for _ in range(20))

    def test_a_small_pool_keeps_none(self) -> None:
        found = queue(3, pool_reserve=2)
        found.keep(primary=True)
        assert all(found.enter("a", urgent=False) for _ in range(3))


class TestShedding:
    async def test_a_full_queue_sends_away_the_newest_of_the_longest_line(
        self, clock: Clock
    ) -> None:
        crowd = Crowd(queue(4, pool_queue=10), clock)
        await crowd.ask("many", 14)
        assert not crowd.sent_away
        await crowd.ask("many", 5)
        assert crowd.sent_away == {"many": 5}
        await crowd.ask("few", 3)
        assert crowd.sent_away == {"many": 8}
        await crowd.empty()
        assert Counter(crowd.served) == {"many": 11, "few": 3}
        assert crowd.queue.running == 0

    async def test_who_could_not_be_served_in_time_is_sent_away_at_once(self, clock: Clock) -> None:
        crowd = Crowd(queue(1, pool_wait_timeout=5.0), clock)
        # Turns of a second each: the mean gets to know them.
        for _ in range(60):
            await crowd.ask("many")
            await crowd.finish()
        await crowd.ask("many", 20)
        assert crowd.sent_away["many"] == 14
        await crowd.ask("few")
        assert crowd.sent_away["few"] == 0
        with pytest.raises(OverloadedError) as refused:
            await crowd.queue.wait("many", urgent=False)
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 5
        assert crowd.queue.shed == 15

    async def test_waiting_has_an_end(self) -> None:
        found = queue(1, pool_wait_timeout=0.01)
        turn = found.enter("a", urgent=False)
        assert turn
        with pytest.raises(OverloadedError):
            await found.wait("b", urgent=False)
        found.leave(turn)
        assert found.enter("c", urgent=False)

    async def test_who_goes_away_leaves_nothing_behind(self, crowd: Crowd) -> None:
        await crowd.ask("a", 10)
        for task in crowd.tasks[5:]:
            task.cancel()
        await _settle()
        await crowd.empty()
        assert len(crowd.served) == 5
        assert crowd.queue.running == 0
        assert all(crowd.queue.enter("b", urgent=False) for _ in range(4))

    async def test_who_goes_away_as_its_turn_comes_gives_it_on(self, crowd: Crowd) -> None:
        await crowd.ask("a", 6)
        over = crowd._running.pop()
        crowd.queue.leave(over[2])
        # It has its turn, and has not run since.
        crowd.tasks[4].cancel()
        await _settle()
        assert len(crowd.served) == 5
        assert crowd.queue.running == 4
