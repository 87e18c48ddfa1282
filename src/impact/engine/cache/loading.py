"""What stands behind both tiers: the load itself, and the lock that keeps it to one process."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.cache import scripts
from impact.engine.cache.keys import Key
from impact.engine.cache.kinds import Kind
from impact.engine.cache.remote import RedisAwayError
from impact.engine.cache.stats import Stats
from impact.engine.cache.versions import LOCK_MS, Versions
from impact.engine.db.consistency import STRONG
from impact.engine.db.session import Database, ReadSession
from impact.errors import NodeLostError, NotFoundError

T = TypeVar("T")
Load = Callable[[ReadSession], Awaitable[T]]

_MOST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """A value, or what was missing; ``wal`` is a position that the load's snapshot contains, and
    ``cost`` the seconds it took."""

    value: Any
    missing: str | None
    wal: int
    cost: float

    def encoded(self, kind: Kind[Any]) -> bytes:
        return b"" if self.missing is not None else kind.encode(self.value)


class Loader:
    def __init__(self, database: Database, stats: Stats) -> None:
        self._database = database
        self._stats = stats

    async def load(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        floor: int | None,
        ready: Callable[[Loaded], None],
    ) -> Loaded:
        """Load in a session of its own. ``ready`` is called once with what was found, before the
        session ends, for which nobody has to wait.

        ``floor`` is the position the load must see, 0 where only the primary surely does, None
        where no more is asked than of any read of the caller's.
        """
        began = time.perf_counter()
        consistency = STRONG if floor == 0 else kind.consistency
        self._stats.loads[kind.entity].misses += 1
        timeout = self._database.nodes.settings.report_timeout if kind.slow else None
        for tries_left in reversed(range(_MOST_TRIES)):
            own = context.for_tenant(key.tenant)
            # A node of its own: what others will be served must not hang on what this request
            # was pinned to.
            own.actor, own.node = Actor(ActorKind.SYSTEM, key.tenant), None
            own.token = max(context.token, floor or 0)
            found: Loaded | None = None
            try:
                async with self._database.read(own, consistency, timeout=timeout) as session:
                    value: Any = None
                    missing: str | None = None
                    try:
                        value = await load(session)
                    except NotFoundError as error:
                        if not kind.negative:
                            raise
                        missing = error.message
                    cost = time.perf_counter() - began
                    found = Loaded(value, missing, session.position, cost)
                    context.round_trips += own.round_trips
                    session.answered()
                    ready(found)
            except NodeLostError:
                if found is None and not tries_left:
                    raise
            finally:
                if found is None:
                    context.round_trips += own.round_trips
            if found is not None:
                return found
        raise AssertionError  # the last try returns or raises


class Locks:
    """One process loads a key; the others wait for what it stores."""

    def __init__(self, versions: Versions, background: set[asyncio.Task[Any]]) -> None:
        self._versions = versions
        self._background = background

    def holder(self) -> str:
        """A name for one who may hold a lock; empty where Redis is not asked anyway."""
        remote = self._versions.remote
        return secrets.token_hex(8) if remote is not None and remote.available else ""

    async def take(self, key: Key, holder: str) -> bool:
        """Whether nobody else had it. Raises RedisAwayError."""
        remote = self._versions.remote
        if remote is None:
            raise RedisAwayError
        lock = self.name(key)
        taken = await remote.call(lambda: remote.client.set(lock, holder, nx=True, px=LOCK_MS))
        return bool(taken)

    def let_go(self, key: Key, holder: str | None) -> None:
        """Give it back where Redis was late just now, when it answers: nobody waits for that."""
        remote = self._versions.remote
        if not holder or remote is None or remote.incarnation is None:
            return
        name = self.name(key)

        async def unlock() -> None:
            with contextlib.suppress(RedisAwayError):
                await remote.script(scripts.UNLOCK, [name], [holder], patient=True)

        task = asyncio.create_task(unlock())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def give_back(self, key: Key, holder: str | None) -> None:
        remote = self._versions.remote
        if holder is not None and remote is not None:
            try:
                await remote.script(scripts.UNLOCK, [self.name(key)], [holder])
            except RedisAwayError:
                self.let_go(key, holder)

    def name(self, key: Key) -> str:
        remote = self._versions.remote
        if remote is None:
            raise RedisAwayError
        return key.redis(remote.service, f"{remote.incarnation}.lock")
