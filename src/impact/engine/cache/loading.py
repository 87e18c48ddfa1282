"""What stands behind both tiers: the load itself, and the lock that keeps it to one process."""

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
from impact.engine.cache.versions import Versions
from impact.engine.db.consistency import STRONG
from impact.engine.db.session import Database, ReadSession
from impact.errors import NodeLostError, NotFoundError

T = TypeVar("T")
Load = Callable[[ReadSession], Awaitable[T]]

_MOST_TRIES = 3
_LOCK_MS = 10_000
"""A process that died with the lock holds nobody up for longer."""


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
        self, kind: Kind[T], key: Key, context: RequestContext, load: Load[T], floor: int | None
    ) -> Loaded:
        """Load in a session of its own.

        ``floor`` is the position the load must see, 0 where only the primary surely does, None
        where no more is asked than of any read of the caller's.
        """
        began = time.perf_counter()
        consistency = STRONG if floor == 0 else kind.consistency
        self._stats.loads[kind.entity].misses += 1
        tries = 0
        timeout = self._database.nodes.settings.report_timeout if kind.slow else None
        while True:
            tries += 1
            own = context.for_tenant(key.tenant)
            # A node of its own: what others will be served must not hang on what this request
            # was pinned to.
            own.actor, own.node = Actor(ActorKind.SYSTEM, key.tenant), None
            own.token = max(context.token, floor or 0)
            value: Any = None
            missing: str | None = None
            try:
                async with self._database.read(own, consistency, timeout=timeout) as session:
                    try:
                        value = await load(session)
                    except NotFoundError as error:
                        if not kind.negative:
                            raise
                        missing = error.message
            except NodeLostError:
                if tries == _MOST_TRIES:
                    raise
                continue
            finally:
                context.round_trips += own.round_trips
            return Loaded(value, missing, session.position, time.perf_counter() - began)


class Locks:
    """One process loads a key; the others wait for what it stores."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    async def take(self, key: Key) -> str | None:
        """The holder's name, or None where another process is. Raises RedisAwayError."""
        remote = self._versions.remote
        if remote is None:
            raise RedisAwayError
        name, lock = secrets.token_hex(8), self.name(key)
        taken = await remote.call(lambda: remote.client.set(lock, name, nx=True, px=_LOCK_MS))
        return name if taken else None

    async def give_back(self, key: Key, holder: str | None) -> None:
        remote = self._versions.remote
        if holder is not None and remote is not None:
            with contextlib.suppress(RedisAwayError):
                await remote.script(scripts.UNLOCK, [self.name(key)], [holder])

    def name(self, key: Key) -> str:
        remote = self._versions.remote
        if remote is None:
            raise RedisAwayError
        return key.redis(remote.service, f"{remote.incarnation}.lock")
