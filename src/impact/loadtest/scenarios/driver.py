"""Closed loop and open loop: who sends the next request when."""

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable

import msgspec

from impact.loadtest.scenarios.client import Client, Visit
from impact.loadtest.scenarios.recording import Recording

_BUSY = 0.85
"""Share of a core from which on the load generator may be what is measured."""
_LATE = 0.25
"""Seconds by which a visit that is due at the very end may be late, as timers are."""


class Load(msgspec.Struct, frozen=True):
    """How many visits, and how they arrive.

    Without ``rate`` each of ``concurrency`` callers sends its next request when it has the answer
    to its last (a closed loop, as ``ab`` does). With it, that many visits arrive each second
    whatever becomes of them; ``concurrency`` callers make them, and a visit that none is free for
    waits, which counts. It ends after ``visits`` or ``duration`` seconds, whichever comes first;
    visits that were due by then and that no caller was free for have failed.
    ``warm_up`` visits are made before, in a closed loop, and not measured.
    """

    concurrency: int
    visits: int | None = None
    rate: float | None = None
    duration: float | None = None
    warm_up: int = 0

    @property
    def arrivals(self) -> float:
        """The visits there will be; infinite where only time ends them."""
        by_time = self.rate * self.duration if self.rate and self.duration else float("inf")
        return min(float("inf") if self.visits is None else self.visits, by_time)


class Effort(msgspec.Struct, frozen=True):
    """What the load generator itself had to do: its share of one core while it ran."""

    seconds: float
    cpu: float
    bottleneck: bool


async def drive(
    load: Load,
    client: Client,
    visit: Callable[[Visit], Awaitable[None]],
    progress: Callable[[float], object],
) -> tuple[Recording, Effort]:
    """Make the visits. ``progress`` is told which share of them is done.

    Raises what a visit raises, which ends the others.
    """
    began, worked = time.perf_counter(), time.process_time()
    recording = Recording(began)
    numbers = itertools.count()
    sent = 0

    async def caller() -> None:
        nonlocal sent
        while (number := next(numbers)) < load.arrivals:
            now = time.perf_counter() - began
            due = None
            if load.rate is not None:
                due = number / load.rate
                if due > now:
                    await asyncio.sleep(due - now)
                elif load.duration is not None and now >= load.duration + _LATE:
                    return
            elif load.duration is not None and now >= load.duration:
                return
            sent += 1
            await visit(Visit(client, recording, number, None if due is None else began + due))
            share = (number + 1) / load.arrivals
            if load.duration is not None:
                share = max(share, (time.perf_counter() - began) / load.duration)
            progress(min(1.0, share))

    try:
        async with asyncio.TaskGroup() as callers:
            for _ in range(load.concurrency):
                callers.create_task(caller())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    if load.rate is not None:
        recording.unsent(math.ceil(load.arrivals) - sent)
    seconds = time.perf_counter() - began
    cpu = (time.process_time() - worked) / seconds
    return recording, Effort(round(seconds, 3), round(cpu, 3), cpu > _BUSY)
