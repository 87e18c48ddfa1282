"""The cache: L1 in the process, L2 in Redis, the database behind them.

The protocol and why it holds stand in docs/caching.md. In short: versions are noted before a
load, the load sees at least the commits they speak of, and the value is kept and served only
while they are unchanged.
"""

import asyncio
import contextlib
import math
import random
import secrets
import time
from collections.abc import Sequence
from typing import Any, Self, TypeVar

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.cache import codec
from impact.engine.cache.codec import Entry
from impact.engine.cache.figures import Figures
from impact.engine.cache.keys import Key, depends
from impact.engine.cache.kinds import Kind
from impact.engine.cache.loading import Load, Loader, Locks
from impact.engine.cache.local import Held, Local
from impact.engine.cache.remote import RedisAwayError
from impact.engine.cache.stats import Report, Stats
from impact.engine.cache.versions import Noted, Versions
from impact.engine.db.session import Database
from impact.engine.tasks import end
from impact.engine.telemetry.telemetry import Lookup
from impact.errors import NotFoundError, UnavailableError
from impact.settings import Settings

T = TypeVar("T")
_EAGERNESS = 1.0
_FIRST_POLL = 0.005
_LONGEST_POLL = 0.05


class _Flight:
    """A look-up under way in this process, which others may wait for."""

    __slots__ = ("marks", "source", "started", "task")

    def __init__(self) -> None:
        self.source = "l2"
        self.started = time.monotonic()
        self.marks: tuple[tuple[str, int], ...] = ()
        self.task: asyncio.Task[Held] | None = None


class Cache:
    """``get`` answers from the nearest tier that may; ``peek`` from L1 alone, without waiting."""

    def __init__(self, settings: Settings, database: Database, versions: Versions) -> None:
        self.settings = settings
        self.versions = versions
        self.local = Local(settings.cache_memory)
        self.stats = Stats()
        self._nodes = database.nodes
        self._telemetry = database.telemetry
        self._loader = Loader(database, self.stats)
        self._locks = Locks(versions)
        self._flights: dict[Key, _Flight] = {}
        self._background: set[asyncio.Task[Any]] = set()
        remote = versions.remote
        self._figures = Figures(remote, secrets.token_hex(6)) if remote is not None else None
        versions.on_loss = self.local.clear
        versions.on_beat = self._leave_figures

    def peek(self, kind: Kind[T], key: Key, context: RequestContext) -> Held | None:
        """L1's entry if this caller may have it now; with ``missing`` set, of what is not there."""
        began = time.perf_counter_ns()
        held = self.local.get(key)
        if held is None or not self._good(held, context):
            return None
        self.stats.l1[kind.entity].hits += 1
        self._telemetry.cache(context, kind.entity, "l1", began)
        return held

    async def get(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        *,
        id: object | None = None,
    ) -> T:
        """The value of ``key``: from L1, L2, or ``load`` in a read session of its own.

        With ``id`` the entry is about that row of each entity that the kind depends on, without
        about any row. Raises what ``load`` raises; NotFoundError also from a negative entry.
        """
        held = self.peek(kind, key, context)
        if held is None:
            self.stats.l1[kind.entity].misses += 1
            with self._telemetry.looking_up(context, kind.entity) as look:
                held = await self._fly(kind, key, context, load, id, look)
        elif self._due(held.soft - time.monotonic(), held.cost):
            self._refresh(kind, key, load, id)
        if held.missing is not None:
            raise NotFoundError(held.missing)
        value: T = held.value
        return value

    def report(self) -> Report:
        """This process's figures."""
        return self.stats.report(
            evictions=self.local.evictions, bytes=self.local.bytes, entries=len(self.local)
        )

    async def total(self) -> Report:
        """The figures of all processes; of this one while Redis is away."""
        if self._figures is not None:
            with contextlib.suppress(RedisAwayError):
                await self._figures.leave_now(self.report())
                return await self._figures.total()
        return self.report()

    async def _leave_figures(self) -> None:
        if self._figures is not None:
            await self._figures.leave(self.report())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._background)

    # What may be served.

    def _good(self, held: Held, context: RequestContext) -> bool:
        versions = self.versions
        if time.monotonic() >= held.until or (held.verified and not versions.hears()):
            return False
        if held.checked != versions.changes:
            if not versions.agree(held.marks):
                return False
            held.checked = versions.changes
        return context.token <= held.wal or (
            held.verified and 0 < context.raised_at <= versions.heard
        )

    def _shared_is_good(self, entry: Entry, context: RequestContext) -> bool:
        """Whether an L2 entry whose versions were just compared serves this caller.

        A token with the raise's time was given out after Redis heard of the write, so that the
        comparison included it. One without was not heard of: then the snapshot must contain it.
        """
        return context.token <= entry.wal or context.raised_at > 0

    def _due(self, left: float, cost: float) -> bool:
        """Whether to refresh now, ``left`` seconds before the end: the costlier the load, the
        earlier. Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
        Prevention, VLDB 2015 (XFetch)."""
        return left <= cost * _EAGERNESS * -math.log(1.0 - random.random())  # noqa: S311

    # One look-up at a time per key.

    async def _fly(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        id: object | None,
        look: Lookup,
    ) -> Held:
        arrived = time.monotonic()
        mine: _Flight | None = None
        while True:
            flight = self._flights.get(key)
            if flight is None or not self._joinable(flight):
                flight = mine = self._start(kind, key, context, load, id, refresh=False)
            assert flight.task is not None  # noqa: S101 - set where it starts
            held = await asyncio.shield(flight.task)
            look.outcome = flight.source if flight is mine else "joined"
            if flight is mine or context.token <= held.wal:
                return held
            if flight.started >= arrived and context.raised_at > 0:
                # It asked Redis after Redis had heard of the caller's write.
                return held

    def _joinable(self, flight: _Flight) -> bool:
        """Whether what it is loading is unchanged since: who comes later is owed the change."""
        if not self.versions.agree(flight.marks):
            return False
        young = time.monotonic() - flight.started < self.settings.cache_lonely_ttl
        return young or self.versions.hears()

    def _start(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        id: object | None,
        *,
        refresh: bool,
    ) -> _Flight:
        flight = self._flights[key] = _Flight()

        async def fly() -> Held:
            try:
                return await self._resolve(kind, key, context, load, id, flight, refresh=refresh)
            finally:
                if self._flights.get(key) is flight:
                    del self._flights[key]

        flight.task = asyncio.create_task(fly())
        self._background.add(flight.task)
        flight.task.add_done_callback(self._landed)
        return flight

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            # Taken note of, should everybody have gone who waited for it.
            task.exception()

    def _refresh(self, kind: Kind[T], key: Key, load: Load[T], id: object | None) -> None:
        if key not in self._flights:
            context = RequestContext(key.tenant, Actor(ActorKind.SYSTEM, key.tenant))
            self._start(kind, key, context, load, id, refresh=True)

    # Behind L1.

    async def _resolve(  # noqa: PLR0911 - one return a case
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        id: object | None,
        flight: _Flight,
        *,
        refresh: bool,
    ) -> Held:
        tags = depends(key.tenant, kind.depends, id, kind.also)
        flight.marks = tuple((tag, self.versions.known(tag)) for tag in tags)
        counters = self.stats.l2[kind.entity]
        try:
            found, entry, noted = await self._look(kind, key, tags, context, flight)
            if found is not None and not refresh:
                counters.hits += 1
                if self._due(found.soft - time.monotonic(), found.cost):
                    # After this flight, in one of its own.
                    asyncio.get_running_loop().call_soon(self._refresh, kind, key, load, id)
                return found
            counters.misses += 1
            lock = await self._locks.take(key)
            if lock is None and not noted.held:
                if refresh and found is not None:
                    return found
                waited = await self._await_other(kind, key, tags, context, flight)
                if waited is not None:
                    counters.hits += 1
                    return waited
            elif not refresh:
                # It may have been filled between our look and our lock.
                again, entry, noted = await self._look(kind, key, tags, context, flight)
                if again is not None:
                    await self._locks.give_back(key, lock)
                    return again
        except RedisAwayError:
            counters.errors += 1
            flight.source = "database"
            return await self._fill_alone(kind, key, context, load, tags)
        flight.source = "database"
        try:
            return await self._fill(kind, key, context, load, tags, noted, lock)
        except UnavailableError:
            await self._locks.give_back(key, lock)
            if entry is None or not self._shared_is_good(entry, context):
                raise
            # Past its time, but nothing it depends on has changed since: as good as new.
            counters.stale += 1
            flight.source = "stale"
            return self._decoded(kind, entry, tags, keep=0.0)
        except BaseException:
            await self._locks.give_back(key, lock)
            raise

    async def _look(
        self,
        kind: Kind[T],
        key: Key,
        tags: Sequence[str],
        context: RequestContext,
        flight: _Flight,
    ) -> tuple[Held | None, Entry | None, Noted]:
        """L2's entry if it is good and in time, any entry whose versions hold, and the versions."""
        raw, noted = await self.versions.read(tags, key)
        marks = tuple(zip(tags, noted.generations, strict=True))
        newest = self.versions.take_in(marks) and not noted.held
        flight.marks = tuple((tag, self.versions.known(tag)) for tag in tags)
        entry = codec.decode(raw) if raw is not None else None
        if entry is None or not newest or entry.generations != noted.generations:
            return None, None, noted
        left = entry.soft - time.time()
        if left <= 0 or not self._shared_is_good(entry, context):
            return None, entry, noted
        held = self._decoded(kind, entry, tags, keep=left)
        if noted.epoch == self.versions.epoch and self.versions.hears():
            self.local.put(key, held)
        return held, entry, noted

    def _decoded(self, kind: Kind[T], entry: Entry, tags: Sequence[str], *, keep: float) -> Held:
        body = codec.unzipped(entry.body) if entry.zipped else entry.body
        value = kind.decode(body) if entry.missing is None else None
        now = time.monotonic()
        near, _ = kind.ttl.times(self.settings)
        return Held(
            value,
            size=len(body) * (1 + entry.zipped),
            marks=tuple(zip(tags, entry.generations, strict=True)),
            wal=entry.wal,
            until=now + min(keep, near),
            soft=now + keep,
            cost=entry.cost,
            verified=True,
            missing=entry.missing,
        )

    # Across processes.

    async def _await_other(
        self, kind: Kind[T], key: Key, tags: Sequence[str], context: RequestContext, flight: _Flight
    ) -> Held | None:
        """Wait for another process's fill, for a bounded time. Raises RedisAwayError."""
        deadline = time.monotonic() + self.settings.cache_lock_wait
        pause = _FIRST_POLL
        while time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
            found, _, noted = await self._look(kind, key, tags, context, flight)
            if found is not None:
                return found
            if noted.held:
                break
        return None

    # Loading.

    async def _fill(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        tags: Sequence[str],
        noted: Noted,
        lock: str | None,
    ) -> Held:
        kept = not noted.held
        try:
            loaded = await self._loader.load(kind, key, context, load, noted.wal)
        except UnavailableError:
            if self._nodes.has_primary():
                raise
            # No primary, and no replica as far as the last commit: serve what there is (P7), and
            # keep nothing of it.
            kept = False
            loaded = await self._loader.load(kind, key, context, load, None)
        body = loaded.encoded(kind)
        keep = self._lifetime(kind, loaded.missing)
        packed = len(body) > self.settings.cache_compress_above
        entry = Entry(
            generations=noted.generations,
            wal=loaded.wal,
            soft=time.time() + keep,
            cost=loaded.cost,
            missing=loaded.missing,
            zipped=packed,
            body=codec.zipped(body) if packed else body,
        )
        held = self._decoded(kind, entry, tags, keep=keep)
        if not kept:
            await self._locks.give_back(key, lock)
            self.stats.l2[kind.entity].refused += 1
        elif await self._store(kind, key, tags, entry, keep, lock):
            still = noted.epoch == self.versions.epoch and self.versions.hears()
            if still and self.versions.agree(held.marks):
                self.local.put(key, held)
                self.stats.l1[kind.entity].fills += 1
        else:
            self.stats.l2[kind.entity].refused += 1
        return held

    async def _store(
        self,
        kind: Kind[T],
        key: Key,
        tags: Sequence[str],
        entry: Entry,
        keep: float,
        lock: str | None,
    ) -> bool:
        """Store in L2 unless a version moved; whether it did."""
        try:
            stored, size = await self.versions.store(
                key, tags, entry, int((keep + self.settings.cache_stale) * 1000), lock or ""
            )
        except RedisAwayError:
            return False
        if stored:
            self.stats.l2[kind.entity].fills += 1
            self.stats.l2[kind.entity].bytes += size
        return stored

    async def _fill_alone(
        self, kind: Kind[T], key: Key, context: RequestContext, load: Load[T], tags: Sequence[str]
    ) -> Held:
        """Load without Redis: the value is kept for a second, unless this process changes it."""
        epoch = self.versions.epoch
        marks = tuple((tag, self.versions.known(tag)) for tag in tags)
        began = time.monotonic()
        loaded = await self._loader.load(kind, key, context, load, None)
        size = len(loaded.encoded(kind))
        # Counted from before the load, so that a second is a second.
        until = began + self.settings.cache_lonely_ttl
        held = Held(
            loaded.value,
            size=size,
            marks=marks,
            wal=loaded.wal,
            until=until,
            soft=math.inf,
            cost=loaded.cost,
            verified=False,
            missing=loaded.missing,
        )
        if epoch == self.versions.epoch and self.versions.agree(marks):
            self.local.put(key, held)
            self.stats.l1[kind.entity].fills += 1
        return held

    def _lifetime(self, kind: Kind[Any], missing: str | None) -> float:
        """Seconds until the entry's time is up, scattered so that what was filled together does
        not end together."""
        _, far = kind.ttl.times(self.settings)
        keep = min(far, self.settings.cache_negative_ttl) if missing is not None else far
        return keep * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret
