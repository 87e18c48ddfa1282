"""What a process cannot do without is begun anew where it fails, and does not take all its time."""

import asyncio
import logging

import pytest

from impact.engine import tasks
from impact.engine.tasks import Pace, end, kept_up


async def test_begun_anew_until_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "_AGAIN", 0.001)
    begun, third = 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError(begun)
        third.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(kept_up(work, "counting"))
    async with asyncio.timeout(20):
        await third.wait()
    await end([task])
    assert task.cancelled()
    assert begun == 3
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in told] == ["counting failed, and is begun anew"] * 2
    assert "KeyError: 2" in caplog.text


@pytest.mark.parametrize(
    ("took", "every", "next_at"),
    [(0.5, 0.0, 5.0), (0.5, 8.0, 8.0), (0.0, 0.0, 0.0), (0.001, 5.0, 5.0)],
)
def test_a_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, took: float, every: float, next_at: float
) -> None:
    now = 1000.0
    monkeypatch.setattr(tasks.time, "monotonic", lambda: now)
    pace = Pace(0.1, every)
    assert pace.due()
    with pace.measured():
        now += took
    now = 1000.0 + next_at - 0.01
    assert not pace.due() or not next_at
    now = 1000.0 + next_at + 0.01
    assert pace.due()
