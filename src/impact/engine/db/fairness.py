"""Who gets a connection next, where there are too few: tenants in turn, by the time they held any.

Start-time fair queueing (Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996) for as many
servers as there are connections (SFQ(D), Jin, Chase, Kaur: Interposed Proportional Sharing for a
Storage Service Utility, SIGMETRICS 2004). What a turn costs is known at its end alone: it begins
with the tenant's mean and is corrected when the connection comes back.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable

from impact.errors import OverloadedError
from impact.settings import Settings

_NEWEST = 0.1
"""Weight of the newest turn in the means."""
_MANY = 1000
"""Tenants from which on those are forgotten that have nothing to make up for."""


class _Line:
    """One tenant: who waits, and the virtual time at which its next turn starts."""

    __slots__ = ("hold", "running", "start", "tenant", "urgent", "waiting")

    def __init__(self, tenant: str, hold: float) -> None:
        self.tenant = tenant
        self.start = 0.0
        self.hold = hold
        """Seconds that its turns last, on average."""
        self.running = 0
        self.waiting: deque[asyncio.Future[Turn]] = deque()
        self.urgent: deque[asyncio.Future[Turn]] = deque()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.urgent)


class Turn:
    """The right to a connection, until ``FairQueue.leave``."""

    __slots__ = ("began", "guess", "line", "over")

    def __init__(self, line: _Line) -> None:
        self.line = line
        self.guess = line.hold
        self.began = time.monotonic()
        self.over = False


class FairQueue:
    """In front of one node's pool: ``enter``, or else ``await wait``, and ``leave``."""

    def __init__(self, settings: Settings) -> None:
        self._size = settings.pool_size
        self._most = settings.pool_queue
        self._patience = settings.pool_wait_timeout
        self._reserve = settings.pool_reserved
        self.reserved = 0
        """Connections that urgent work alone may have: none on a replica, where there is none."""
        self.running = 0
        self.shed = 0
        """Requests sent away since the start."""
        self._now = 0.0
        """Virtual time: the start of the turn begun last."""
        self._hold = 0.0
        self._waiting = 0
        self._lines: dict[str, _Line] = {}

    def keep(self, *, primary: bool) -> None:
        """Follow the node's role."""
        self.reserved = self._reserve if primary else 0

    def enter(self, tenant: str, *, urgent: bool) -> Turn | None:
        """A turn now, or None where there is none free or others wait."""
        if urgent:
            free = self.running < self._size and not any(
                line.urgent for line in self._lines.values() if self._waiting
            )
        else:
            free = self.running < self._size - self.reserved and not self._waiting
        return self._begin(self._line(tenant)) if free else None

    async def wait(self, tenant: str, *, urgent: bool) -> Turn:
        """Wait for a turn. Raises OverloadedError where that takes too long, at once if it can be
        told."""
        line = self._line(tenant)
        self._require_hope(line, urgent=urgent)
        if self._waiting >= self._most:
            self._make_room(line)
        if not line:
            line.start = max(line.start, self._now)
        queue = line.urgent if urgent else line.waiting
        turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(turn.result())
            elif turn in queue:
                queue.remove(turn)
                self._waiting -= 1
            if isinstance(error, TimeoutError):
                raise self._overloaded(self._patience) from None
            raise

    def leave(self, turn: Turn) -> None:
        """The connection is back. Once more changes nothing."""
        if turn.over:
            return
        turn.over = True
        line, held = turn.line, time.monotonic() - turn.began
        line.start += held - turn.guess
        line.hold += (held - line.hold) * _NEWEST
        self._hold += (held - self._hold) * _NEWEST
        line.running -= 1
        self.running -= 1
        self._call()
        if not self.running and not self._waiting:
            # Nobody is owed anything any more.
            self._lines.clear()
            self._now = 0.0

    def _line(self, tenant: str) -> _Line:
        found = self._lines.get(tenant)
        if found is None:
            if len(self._lines) >= _MANY:
                for line in list(self._lines.values()):
                    if not line and not line.running and line.start <= self._now:
                        del self._lines[line.tenant]
            found = self._lines[tenant] = _Line(tenant, self._hold)
        return found

    def _begin(self, line: _Line) -> Turn:
        turn = Turn(line)
        self._now = max(line.start, self._now)
        line.start += turn.guess
        line.running += 1
        self.running += 1
        return turn

    def _call(self) -> None:
        """Give what is free to those whose turn it is."""
        while self._waiting and self.running < self._size:
            all_may = self.running < self._size - self.reserved
            lines: Iterable[_Line] = self._lines.values()
            line = min(
                (line for line in lines if line.urgent or (all_may and line.waiting)),
                key=lambda line: line.start,
                default=None,
            )
            if line is None:
                return
            queue = line.urgent or line.waiting
            waiter = queue.popleft()
            self._waiting -= 1
            if not waiter.done():
                waiter.set_result(self._begin(line))

    def _require_hope(self, line: _Line, *, urgent: bool) -> None:
        """Raise OverloadedError where this tenant's share of the connections would take longer to
        serve those before than anybody waits."""
        ahead = len(line.urgent) if urgent else len(line)
        tenants = 1 + sum(1 for each in self._lines.values() if each and each is not line)
        turns = min((ahead + 1) * tenants, self._waiting + 1)
        expected = turns * self._hold / self._size
        if expected > self._patience:
            raise self._overloaded(expected)

    def _make_room(self, line: _Line) -> None:
        """Send away the newest of whoever has the longest line, which may be this one."""
        longest = max(self._lines.values(), key=len)
        if len(line) >= len(longest):
            raise self._overloaded(self._patience)
        newest = (longest.waiting or longest.urgent).pop()
        self._waiting -= 1
        if not newest.done():
            newest.set_exception(self._overloaded(self._patience))

    def _overloaded(self, seconds: float) -> OverloadedError:
        self.shed += 1
        return OverloadedError(
            "all database connections are busy, and too many requests wait for one",
            retry_after=max(1, math.ceil(seconds)),
        )
