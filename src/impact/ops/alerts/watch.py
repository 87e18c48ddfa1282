"""The task that judges: in one worker process of a server, and what it found for all of them."""

import asyncio
import contextlib
import fcntl
import logging
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

import msgspec

from impact.engine.runtime import Runtime
from impact.engine.tasks import end, kept_up
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.workers import Totals
from impact.ops.alerts.history import History, Point
from impact.ops.alerts.rules import chosen
from impact.ops.alerts.state import Alert, Judge
from impact.ops.alerts.webhook import Webhook

logger = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks."""
_MOST_ENDED = 50
_STATE, _LOCK = "watch.state", "watch.lock"


class Seen(msgspec.Struct):
    """What the last look found: alerts that stand and those that ended, newest first."""

    standing: list[Alert] = []
    ended: list[Alert] = []
    points: list[Point] = []


class Watch:
    """Looks at the figures every few seconds; ``seen`` is what any worker of the server knows."""

    def __init__(self, runtime: Runtime, webhook: Webhook | None) -> None:
        self._telemetry = runtime.telemetry
        self._directory = runtime.settings.run_dir
        self._webhook = webhook
        self._judge = Judge(chosen(runtime.settings.alert_thresholds))
        self._history = History()
        self._ended: list[Alert] = []
        self._own = Seen()
        self._held: IO[bytes] | None = None

    async def run(self) -> None:
        while True:
            if self._elected():
                await self.look()
            await asyncio.sleep(EVERY)

    def _elected(self) -> bool:
        """Whether this process watches: the one that holds the lock, until it ends."""
        if self._directory is None or self._held is not None:
            return True
        file = (self._directory / _LOCK).open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._held = file
        return True

    async def look(self) -> None:
        totals = await asyncio.to_thread(self._telemetry.total)
        self.judge(totals, time.monotonic(), time.time())

    def judge(self, totals: Totals, at: float, clock: float) -> None:
        """Judge these figures, tell of what changed, and keep it for the pages."""
        for alert in self._judge.judge(totals, at, clock):
            self._tell(alert)
            if alert.resolved is not None:
                self._ended = [alert, *self._ended][:_MOST_ENDED]
        points = self._history.add(totals, at, clock)
        standing = sorted(self._judge.standing.values(), key=lambda alert: -alert.since)
        self._own = Seen(standing, self._ended, points)
        if self._directory is not None:
            draft = self._directory / f"{_STATE}.new"
            draft.write_bytes(msgspec.msgpack.encode(self._own))
            draft.replace(self._directory / _STATE)

    def _tell(self, alert: Alert) -> None:
        state = "is over" if alert.resolved is not None else "fires"
        logger.warning(
            "alert %s %s: %s (%s, limit %s) %s",
            alert.rule,
            state,
            alert.summary,
            alert.shown,
            alert.threshold,
            " ".join(f"{name}={value}" for name, value in alert.labels.items()),
            extra={"alert": alert.rule, "severity": alert.severity, "value": alert.value},
        )
        if self._webhook is not None:
            self._webhook.put(alert)

    def seen(self) -> Seen:
        """What the watching process of this server found last. Reads a small file."""
        if self._directory is None or self._held is not None:
            return self._own
        try:
            raw = (self._directory / _STATE).read_bytes()
        except FileNotFoundError:
            return Seen()
        return msgspec.msgpack.decode(raw, type=Seen)

    def close(self) -> None:
        if self._held is not None:
            self._held.close()


@contextlib.asynccontextmanager
async def watching(runtime: Runtime) -> AsyncIterator[Watch]:
    """Watch while the block lasts."""
    settings = runtime.settings
    stop = runtime.telemetry.collectors.register(lambda: disks(_places(runtime)))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(stop)
        webhook = None
        if settings.alert_webhook is not None:
            assert settings.alert_secret is not None  # noqa: S101 - settings check it
            webhook = await stack.enter_async_context(
                Webhook(settings.alert_webhook, settings.alert_secret)
            )
        watch = Watch(runtime, webhook)
        stack.callback(watch.close)
        if settings.telemetry:
            task = asyncio.create_task(kept_up(watch.run, "judging the figures"))
            stack.push_async_callback(end, [task])
        yield watch


def _places(runtime: Runtime) -> list[Path]:
    settings = runtime.settings
    return [path for path in (settings.data_dir, settings.spool, settings.run_dir) if path]


def disks(places: list[Path]) -> Iterator[Sample]:
    """How full the file systems are that this process writes to, each once."""
    seen = set()
    for place in places:
        with contextlib.suppress(OSError):
            device = place.stat().st_dev
            if device not in seen:
                seen.add(device)
                usage = shutil.disk_usage(place)
                yield Sample("impact.disk.used", usage.used / usage.total, (str(place),))
