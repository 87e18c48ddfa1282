"""The figures of all processes: each leaves its own in Redis now and then, whoever asks adds."""

import time

import msgspec

from impact.engine.cache.remote import Remote
from impact.engine.cache.stats import Report, added

_EVERY = 2.0
_FORGET = 60.0
"""Seconds after which a process that reports no more is taken to have ended."""


class _Left(msgspec.Struct, array_like=True):
    at: float
    report: Report


class Figures:
    def __init__(self, remote: Remote, process: str) -> None:
        self._remote = remote
        self._process = process
        self._next = 0.0

    def _name(self) -> str:
        return f"{self._remote.service}:figures"

    async def leave(self, report: Report) -> None:
        """Leave this process's figures, at most every two seconds. Raises RedisAwayError."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            await self.leave_now(report)

    async def leave_now(self, report: Report) -> None:
        raw = msgspec.msgpack.encode(_Left(time.time(), report))
        client = self._remote.client
        await self._remote.call(lambda: client.hset(self._name(), self._process, raw), patient=True)

    async def total(self) -> Report:
        """The sum over the processes that live. Raises RedisAwayError."""
        client = self._remote.client
        found = await self._remote.call(lambda: client.hgetall(self._name()), patient=True)
        reports, gone = [], []
        for process, raw in found.items():
            left = msgspec.msgpack.decode(raw, type=_Left)
            if left.at < time.time() - _FORGET:
                gone.append(process)
            else:
                reports.append(left.report)
        if gone:
            await self._remote.call(lambda: client.hdel(self._name(), *gone), patient=True)
        return added(reports)
