"""Database nodes: what is known of each, and the choice of one for a read (P1, P2, P7)."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from impact.context import RequestContext
from impact.engine.db.consistency import CAUSAL, Consistency, Level
from impact.engine.db.fairness import FairQueue
from impact.engine.db.pool import create_engine
from impact.errors import UnavailableError
from impact.settings import Settings

_FIRST_BACK_OFF = 0.5
_LONGEST_BACK_OFF = 30.0


class Node:
    """One PostgreSQL server as its monitor last saw it.

    ``replay`` is a WAL position in bytes; ``lag`` is in seconds: how long ago the primary stood
    where this replica stands now. ``primary`` follows the server, not the configuration, so a
    promoted replica takes over without a restart.
    """

    def __init__(self, name: str, url: str, settings: Settings) -> None:
        self.name = name
        self.url = url
        parsed = make_url(url)
        self.address = f"{parsed.host}:{parsed.port or 5432}"
        # Two pools, of which a node uses the one for its role: a replica's cannot write.
        self.reader: AsyncEngine = create_engine(url, settings, read_only=True)
        self.writer: AsyncEngine = create_engine(url, settings, read_only=False)
        self.primary = False
        self.reachable = False
        self.replay = 0
        self.timeline = 0
        self.lag = float("inf")
        self.failure = ""
        self.database = parsed.database or ""
        self.queue = FairQueue(settings)
        self.served = 0
        self.waiting = 0
        """Requests that wait for one of its connections."""
        self._failures = 0
        self._retry_at = 0.0
        self._advanced = asyncio.Event()

    def observe(self, *, primary: bool, replay: int, lag: float, timeline: int = 0) -> None:
        """Take in what a probe saw and wake the reads that wait for this position.

        ``timeline`` is a primary's; a replica's is not asked for."""
        self.primary = primary
        self.queue.keep(primary=primary)
        self.timeline = timeline
        self.replay = max(replay, 0)
        self.lag = lag
        if not self.reachable or time.monotonic() >= self._retry_at + _LONGEST_BACK_OFF:
            # Back after an outage, or long without a failure: what was held against it is void.
            self._failures, self._retry_at = 0, 0.0
        self.reachable = True
        advanced, self._advanced = self._advanced, asyncio.Event()
        advanced.set()

    def lost(self, reason: str) -> None:
        """A probe found no server. The next probe that does takes it back at once."""
        self.reachable = False
        self.failure = reason

    def eject(self) -> None:
        """A request failed on the node: it pauses, for twice as long at each failure in a row.

        Requests that fail together count as one failure. A server that answers probes and
        fails requests is thus tried less and less.
        """
        now = time.monotonic()
        if now >= self._retry_at:
            pause = min(_FIRST_BACK_OFF * 2**self._failures, _LONGEST_BACK_OFF)
            self._failures += 1
            self._retry_at = now + pause * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret

    @property
    def engine(self) -> AsyncEngine:
        """The pool for the role that the node has now."""
        return self.writer if self.primary else self.reader

    @property
    def busy(self) -> int:
        """Connections in use."""
        pool = self.engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)  # noqa: S101 - create_engine made it
        return pool.checkedout()

    @property
    def role(self) -> str:
        return "primary" if self.primary else "replica"

    @property
    def usable(self) -> bool:
        return self.reachable and time.monotonic() >= self._retry_at

    async def wait_for_replay(self, position: int, timeout: float) -> bool:
        """Wait until the node has replayed ``position``, at most ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.replay < position:
            left = deadline - time.monotonic()
            if left <= 0 or not self.usable:
                return False
            try:
                await asyncio.wait_for(self._advanced.wait(), left)
            except TimeoutError:
                return self.replay >= position
        return True

    async def close(self) -> None:
        await self.reader.dispose()
        await self.writer.dispose()


class PrimaryTimeline:
    """Where the primary stood when, so that a replica's position can be told as seconds.

    Comparing with positions this process saw keeps clocks of two machines out of the sum, and
    an idle primary does not look like a growing lag.
    """

    def __init__(self, length: int = 2000) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=length)

    def note(self, position: int) -> None:
        if not self._samples or position > self._samples[-1][1]:
            self._samples.append((time.monotonic(), position))
        elif position < self._samples[-1][1]:
            # Another timeline: a failover lost WAL that no replica had.
            self._samples.clear()

    def lag(self, replay: int) -> float:
        """Seconds since the primary moved past ``replay``; 0 for a replica that has it all."""
        for moment, position in self._samples:
            if position > replay:
                return time.monotonic() - moment
        return 0.0


class NodeSet:
    """All nodes, and the rules that choose one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.timeline = PrimaryTimeline()
        urls = (settings.primary_url, *settings.replica_urls)
        names = ("primary", *(f"replica-{n}" for n in range(1, len(urls))))
        self.nodes: Sequence[Node] = [
            Node(name, url, settings) for name, url in zip(names, urls, strict=True)
        ]
        self.urgent = asyncio.Event()
        self._waiting = 0

    def primary(self) -> Node:
        """The node that takes writes now. Raises UnavailableError while there is none."""
        # An old primary that comes back unfenced beside the one promoted in its place is on an
        # older timeline: what it holds is history, and nothing may be read from or written to it.
        newest = max((node.timeline for node in self.nodes if node.primary), default=0)
        for node in self.nodes:
            if node.primary and node.usable and node.timeline == newest:
                return node
        raise UnavailableError("no primary database is reachable; writes are refused until one is")

    def has_primary(self) -> bool:
        return any(node.primary and node.usable for node in self.nodes)

    def replicas(self) -> list[Node]:
        return [node for node in self.nodes if not node.primary and node.usable]

    async def choose(self, context: RequestContext, consistency: Consistency = CAUSAL) -> Node:
        """The node that serves this read; the request stays on it (P1).

        A request that has written reads from the primary. Otherwise a replica within its lag
        bound that has replayed the caller's token serves, after a wait of at most
        ``causal_wait``; else the primary; else, for reads that allow it, any node at all.
        """
        pinned = context.node
        if context.wrote or consistency.level is Level.STRONG:
            return self.primary()
        if isinstance(pinned, Node) and pinned.usable and pinned not in context.lost_nodes:
            return pinned
        node = await self._choose_replica(context, consistency)
        if node is None:
            node = self._primary_or_last_resort(context, consistency)
        context.node = node
        return node

    async def _choose_replica(
        self, context: RequestContext, consistency: Consistency
    ) -> Node | None:
        bound = consistency.max_lag or self.settings.replica_max_lag
        candidates = [
            node for node in self.replicas() if node.lag <= bound and node not in context.lost_nodes
        ]
        if not candidates:
            return None
        if consistency.level is Level.EVENTUAL:
            return min(candidates, key=lambda node: node.busy)
        fresh = [node for node in candidates if node.replay >= context.token]
        if fresh:
            return min(fresh, key=lambda node: node.busy)
        ahead = max(candidates, key=lambda node: node.replay)
        self._waiting += 1
        self.urgent.set()
        try:
            if await ahead.wait_for_replay(context.token, self.settings.causal_wait):
                return ahead
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.urgent.clear()
        return None

    def _primary_or_last_resort(self, context: RequestContext, consistency: Consistency) -> Node:
        try:
            primary = self.primary()
            if primary not in context.lost_nodes:
                return primary
        except UnavailableError:
            pass
        # No primary: reads go on from any replica that cannot be behind the caller (P7).
        for node in self.replicas():
            if node in context.lost_nodes:
                continue
            if consistency.level is Level.EVENTUAL or node.replay >= context.token:
                return node
        raise UnavailableError("no database node can serve this read now")

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()
