"""The monitor: windows, failures, bounded names, threads."""

import threading

import pytest

from impact.engine.telemetry.journal import SLOTS
from impact.engine.telemetry.monitor import (
    OVERFLOW,
    PerformanceMonitor,
    by_name,
    installed,
    timed,
    timer,
)
from impact.engine.telemetry.series import Kind, Series
from impact.engine.telemetry.tally import EACH, Tally


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(clock: Clock) -> PerformanceMonitor:
    return PerformanceMonitor(clock=clock)


def only(monitor: PerformanceMonitor, kind: Kind, name: str) -> Series:
    monitor.fold()
    (found,) = by_name(monitor.series, kind)[name]
    return found


class TestWindows:
    def test_what_is_over_leaves_the_windows_and_stays_in_the_life(self, monitor, clock):
        for _ in range(40):
            monitor.observe(Kind.JOB, "tick", 5.0)
            monitor.fold()
            clock.now += 30
        clock.now -= 30
        series = only(monitor, Kind.JOB, "tick")
        assert series.life().count == 40
        # Two a minute; the slots under way count as well.
        assert [series.window(m, monitor.slot()).count for m in (1, 5, 15)] == [3, 11, 31]

    def test_a_quiet_series_leaves_them_too(self, monitor, clock):
        monitor.observe(Kind.JOB, "once", 5.0)
        monitor.fold()
        clock.now += 20 * 60
        series = only(monitor, Kind.JOB, "once")
        assert [series.window(m, monitor.slot()).count for m in (1, 5, 15)] == [0, 0, 0]
        assert series.life().count == 1

    def test_each_window_has_its_own_values(self, monitor, clock):
        monitor.observe(Kind.JOB, "x", 100.0)
        monitor.fold()
        clock.now += 180
        monitor.observe(Kind.JOB, "x", 1.0)
        series = only(monitor, Kind.JOB, "x")
        assert series.window(1, monitor.slot()).max == 1.0
        assert series.window(5, monitor.slot()).max == 100.0

    def test_its_memory_is_bounded(self, monitor, clock):
        for _ in range(500):
            monitor.observe(Kind.JOB, "x", 1.0)
            monitor.fold()
            clock.now += 10
        series = only(monitor, Kind.JOB, "x")
        assert len(series.fine) <= 7
        assert len(series.coarse) <= 17
        assert series.life().count == 500


class TestMerging:
    def test_processes_add_up(self, clock):
        both = [PerformanceMonitor(clock=clock), PerformanceMonitor(clock=clock)]
        one = PerformanceMonitor(clock=clock)
        for step in range(30):
            for each in (both[step % 2], one):
                each.observe(Kind.QUERY, "orders.page", float(step + 1))
                each.fold()
            clock.now += 7
        first, second = (only(each, Kind.QUERY, "orders.page") for each in both)
        first.merge(second)
        whole = only(one, Kind.QUERY, "orders.page")
        slot = one.slot()
        assert first.life().bins == whole.life().bins
        for minutes in (1, 5, 15):
            assert first.window(minutes, slot).bins == whole.window(minutes, slot).bins


class TestNames:
    def test_they_are_bounded_whatever_comes(self, monitor):
        for number in range(5000):
            monitor.observe(Kind.TENANT, f"tenant-{number}", 1.0)
        monitor.fold()
        names = by_name(monitor.series, Kind.TENANT)
        assert len(names) == 501
        assert sum(series.life().count for (series,) in names.values()) == 5000
        assert names[OVERFLOW][0].life().count == 4500
        monitor.observe(Kind.QUERY, "still.counted", 1.0)
        assert only(monitor, Kind.QUERY, "still.counted").life().count == 1

    def test_a_long_one_is_cut(self, monitor):
        for _ in range(3):
            monitor.observe(Kind.JOB, "x" * 10_000, 1.0)
        assert only(monitor, Kind.JOB, "x" * 200).life().count == 3


class TestRecording:
    def test_nothing_is_lost_when_nobody_folds(self, monitor):
        for _ in range(SLOTS * 3):
            monitor.observe(Kind.JOB, "x", 1.0)
        assert only(monitor, Kind.JOB, "x").life().count == SLOTS * 3
        assert monitor.journal.lost == 0

    def test_threads_add_up(self, monitor):
        def work() -> None:
            for _ in range(5000):
                monitor.observe(Kind.JOB, "x", 1.0)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert only(monitor, Kind.JOB, "x").life().count == 20_000


class TestSets:
    def test_one_entry_counts_in_each_series_and_as_often_as_it_is_named(self, monitor):
        route = monitor.number(Kind.ROUTE, "GET /a", "200")
        shop = monitor.number(Kind.TENANT, "paris")
        both, twice = monitor.together(route, shop), monitor.together(shop, shop)
        assert both is not None
        assert twice is not None
        assert monitor.together(route, shop) == both
        for _ in range(3):
            monitor.record(both, 2.0)
        monitor.record(twice, 4.0)
        assert only(monitor, Kind.ROUTE, "GET /a").life().sum == 6
        assert only(monitor, Kind.TENANT, "paris").life().count == 5
        assert monitor.changed == {route, shop}

    def test_they_are_bounded(self, monitor):
        numbers = [monitor.number(Kind.JOB, str(number)) for number in range(100)]
        made = {monitor.together(a, b) for a in numbers for b in numbers}
        assert None in made
        assert 1000 < len(made) < 10_000
        assert monitor.together(numbers[0], numbers[1]) in made - {None}
        monitor.record(monitor.together(numbers[0], numbers[1]), 1.0)
        assert only(monitor, Kind.JOB, "1").life().count == 1


def count(tally: Tally, events: int) -> None:
    for _ in range(events):
        if tally.due():
            tally.note(2.0)
        else:
            tally.count += 1


class TestTallies:
    @pytest.mark.parametrize("events", [0, 1, EACH - 1, EACH, EACH + 1, 1000])
    def test_all_are_counted_and_few_are_written(self, monitor, events):
        tally = monitor.tally(Kind.CACHE, "product", "l1")
        count(tally, events)
        life = only(monitor, Kind.CACHE, "product").life()
        assert (life.count, life.sum) == (events, 2.0 * events)
        # One for each block, and those of the last by themselves.
        assert monitor.folded <= events / EACH + EACH

    def test_it_is_the_same_one_for_the_same_series(self, monitor):
        assert monitor.tally(Kind.CACHE, "a", "l1") is monitor.tally(Kind.CACHE, "a", "l1")
        count(monitor.tally(Kind.CACHE, "a", "l1"), 3)
        monitor.observe(Kind.CACHE, "a", 2.0, "l1")
        assert only(monitor, Kind.CACHE, "a").life().count == 4

    def test_folding_meanwhile_loses_and_doubles_nothing(self, monitor):
        tally = monitor.tally(Kind.CACHE, "product", "l1")
        counting = threading.Thread(target=count, args=(tally, 200_000))
        counting.start()
        while counting.is_alive():
            monitor.fold()
        assert only(monitor, Kind.CACHE, "product").life().count == 200_000


class TestOwnCode:
    def test_a_block_that_raises_counts_as_failed(self, monitor):
        with monitor.timer("job"):
            pass
        with pytest.raises(ZeroDivisionError), monitor.timer("job"):
            raise ZeroDivisionError
        monitor.fold()
        failed = {s.failed: s.life().count for s in by_name(monitor.series, Kind.JOB)["job"]}
        assert failed == {False: 1, True: 1}

    async def test_functions_plain_and_async(self, monitor):
        @monitor.timed("plain")
        def plain(value: int) -> int:
            return value + 1

        @timed("later")
        async def later(value: int) -> int:
            return value + 1

        assert plain(1) == 2
        # Without a monitor it only runs.
        assert await later(1) == 2
        with installed(monitor), timer("block"):
            assert await later(1) == 2
        monitor.fold()
        counts = {s.name: s.life().count for s in monitor.series}
        assert counts == {"plain": 1, "later": 1, "block": 1}
