"""Several workers' files: every entry counts once, whatever a worker did last."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.series import Kind
from impact.engine.telemetry.workers import (
    Totals,
    Worker,
    gather,
    run_directory,
    shared,
    sum_up_ended,
)


@pytest.fixture
def new_worker(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Makes workers of one run; those that a test does not end live until its end."""
    with contextlib.ExitStack() as stack:

        def make() -> Worker:
            made = Worker(tmp_path)
            stack.callback(made.close)
            return made

        yield make


def count(totals: Totals, name: str = "orders.page") -> int:
    return sum(series.life().count for series in totals.series if series.name == name)


def value(totals: Totals, metric: str) -> float:
    return sum(sample.value for sample in totals.samples if sample.metric == metric)


def record(worker: Worker, times: int) -> None:
    for _ in range(times):
        worker.monitor.observe(Kind.QUERY, "orders.page", 1.5)


def test_what_was_not_added_up_yet_counts(tmp_path: Path, new_worker) -> None:
    workers = [new_worker() for _ in range(3)]
    for worker in workers:
        record(worker, 5)
        worker.persist([], [])
        record(worker, 7)
    assert count(gather(tmp_path)) == 36
    assert gather(tmp_path).processes == 3


def test_sets_of_series_count_for_who_reads_the_ring(tmp_path: Path, new_worker) -> None:
    """Those made before the state was written and after, and of a worker that ended."""
    ended, lives = new_worker(), new_worker()
    for worker in (ended, lives):
        monitor = worker.monitor
        page = monitor.number(Kind.QUERY, "orders.page")
        early = monitor.together(page, monitor.number(Kind.JOB, "early"))
        monitor.record(early, 1.0)
        worker.persist([], [])
        late = monitor.together(page, monitor.number(Kind.JOB, "late"), page)
        monitor.record(early, 1.0)
        monitor.record(late, 1.0)
    for _ in range(2):
        total = gather(tmp_path)
        assert [count(total, name) for name in ("orders.page", "early", "late")] == [8, 4, 2]
        ended.close()
        sum_up_ended(tmp_path)


def test_a_worker_that_ended_counts_for_ever_and_once(tmp_path: Path, new_worker) -> None:
    samples = [Sample("impact.cache.evictions", 3.0), Sample("impact.cache.memory", 9.0)]
    ended = new_worker()
    ended.persist(samples, [])
    # Its last entries are in the ring alone: it was killed, and said nothing.
    record(ended, 4)
    ended.close()
    found = gather(tmp_path)
    assert (count(found), found.processes) == (4, 0)
    # What it counted stays, what it had is gone.
    assert value(found, "impact.cache.evictions") == 3
    assert value(found, "impact.cache.memory") == 0

    heir = new_worker()
    record(heir, 2)
    heir.persist(samples, [])
    for _ in range(2):
        sum_up_ended(tmp_path)
        found = gather(tmp_path)
        assert (count(found), found.processes) == (6, 1)
        assert value(found, "impact.cache.evictions") == 6
        assert value(found, "impact.cache.memory") == 9
    assert len(list(tmp_path.glob("*.journal"))) == 1


def test_one_that_was_killed_while_it_summed_up_counts_nothing_twice(
    tmp_path: Path, new_worker
) -> None:
    ended = new_worker()
    record(ended, 4)
    ended.persist([], [])
    ended.close()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir() if "-" in path.name}
    sum_up_ended(tmp_path)
    # As if it had been killed before it removed the files it had summed up.
    for name, raw in kept.items():
        (tmp_path / name).write_bytes(raw)
    assert count(gather(tmp_path)) == 4
    sum_up_ended(tmp_path)
    assert count(gather(tmp_path)) == 4


def test_more_than_the_ring_holds(tmp_path: Path, new_worker) -> None:
    worker = new_worker()
    record(worker, 100_000)
    assert count(gather(tmp_path)) == 100_000


def test_what_ends_after_its_worker_disturbs_nobody(tmp_path: Path, new_worker) -> None:
    ended = new_worker()
    ended.monitor.observe(Kind.JOB, "orders.page", 5.0)
    ended.close()
    ended.monitor.observe(Kind.JOB, "the first of its name", 5.0)
    ended.monitor.tally(Kind.CACHE, "product", "l1").note(0.001)
    assert count(gather(tmp_path)) == 1
    assert count(gather(tmp_path), "the first of its name") == 0


def test_one_alone_shares_with_nobody() -> None:
    worker = Worker(None)
    record(worker, 3)
    assert count(worker.total([], [])) == 3


def test_the_directory_goes_with_its_server(tmp_path: Path) -> None:
    assert shared(None) is shared(tmp_path) is None
    with run_directory(tmp_path) as first, run_directory(tmp_path) as second:
        assert shared(first) == first
        assert first != second
        assert (first.stat().st_mode & 0o777) == 0o700
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    import os

    left = tmp_path / "impact-run-old"
    left.mkdir()
    (left / "owner").touch()
    os.utime(left, (0, 0))
    with run_directory(tmp_path) as directory:
        assert list(tmp_path.iterdir()) == [directory]
