"""The cache: L1 in the process, L2 in Redis, the database behind them.

Versions are noted before a load, the load sees at least the commits they speak of, and the value is
served only while they are unchanged: docs/caching.md has the protocol and why it holds.
"""

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.cache import codec
from impact.engine.cache.codec import Entry
from impact.engine.cache.figures import Figures
from impact.engine.cache.flights import Flight, Flights
from impact.engine.cache.keys import Key, depends
from impact.engine.cache.kinds import Kind
from impact.engine.cache.loading import Load, Loaded, Loader, Locks
from impact.engine.cache.local import Held, Local
from impact.engine.cache.remote import RedisAwayError
from impact.engine.cache.stats import Counters, Report, Stats
from impact.engine.cache.validity import Validity
from impact.engine.cache.versions import Noted, Versions
from impact.engine.db.session import Database
from impact.engine.tasks import end
from impact.engine.telemetry.tally import Tally
from impact.errors import NotFoundError, UnavailableError
from impact.settings import Settings

T = TypeVar("T")
_FIRST_POLL = 0.005
_LONGEST_POLL = 0.05


class _Looked(NamedTuple):
    """L2's entry if it is good and in time, any ``entry`` whose versions hold, the versions, and
    whether the lock was taken; None where that was not tried."""

    held: Held | None
    entry: Entry | None
    noted: Noted
    taken: bool | None


class Cache:
    """``get`` answers from the nearest tier that may; ``peek`` from L1 alone, without waiting."""

    def __init__(self, settings: Settings, database: Database, versions: Versions) -> None:
        self.settings = settings
        self.versions = versions
        self.validity = Validity(versions)
        self.local = Local(settings.cache_memory)
        self.stats = Stats()
        self._nodes = database.nodes
        self._telemetry = database.telemetry
        self._hits: dict[str, tuple[Counters, Tally]] = {}
        self._loader = Loader(database, self.stats)
        self._background: set[asyncio.Task[Any]] = set()
        self._flights = Flights(versions, settings.cache_lonely_ttl, self._background)
        self._locks = Locks(versions, self._background)
        remote = versions.remote
        self._figures = Figures(remote, secrets.token_hex(6)) if remote is not None else None
        versions.on_loss = self.local.clear
        versions.on_beat = self._leave_figures

    def peek(self, kind: Kind[T], key: Key, context: RequestContext) -> Held | None:
        """L1's entry if this caller may have it now; with ``missing`` set, of what is not there."""
        counters, hits = self._hits.get(kind.entity) or self._counted(kind.entity)
        began = time.perf_counter_ns() if context.trace is not None or hits.due() else None
        held = self.local.get(key)
        if held is None or not self.validity.good(held, context):
            return None
        counters.hits += 1
        if began is None:
            hits.count += 1
        else:
            self._telemetry.cache_hit(context, kind.entity, hits, began)
        return held

    def at_hand(self, kind: Kind[T], key: Key, context: RequestContext) -> T | None:
        """What ``get`` would answer from L1, where it would do nothing else; else None."""
        held = self.local.get(key)
        if held is None or held.missing is not None:
            return None
        late = self.validity.due(held.soft - time.monotonic(), held.cost)
        if late or self.peek(kind, key, context) is None:
            return None
        if context.facts is not None:
            context.facts.append((key, held.serial))
        return held.value  # type: ignore[no-any-return]

    def _counted(self, entity: str) -> tuple[Counters, Tally]:
        made = self._hits[entity] = self.stats.l1[entity], self._telemetry.cache_hits(entity)
        return made

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
        held = self._from_l1(kind, key, context, load, id)
        if held is None:
            held = await self._fetch(kind, key, context, load, id)
        value: T = held.value
        return value

    async def entry(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        *,
        id: object | None = None,
    ) -> Held:
        """Like ``get``: the value with what is known of it."""
        held = self._from_l1(kind, key, context, load, id)
        return held if held is not None else await self._fetch(kind, key, context, load, id)

    def _from_l1(
        self, kind: Kind[T], key: Key, context: RequestContext, load: Load[T], id: object | None
    ) -> Held | None:
        """L1's entry, which is refreshed behind the caller's back where that is due."""
        held = self.peek(kind, key, context)
        if held is not None:
            if context.facts is not None:
                context.facts.append((key, held.serial))
            if self.validity.due(held.soft - time.monotonic(), held.cost):
                self._refresh(kind, key, load, id)
            if held.missing is not None:
                raise NotFoundError(held.missing)
        return held

    async def _fetch(
        self, kind: Kind[T], key: Key, context: RequestContext, load: Load[T], id: object | None
    ) -> Held:
        """The entry from behind L1."""
        context.facts = None
        self.stats.l1[kind.entity].misses += 1
        with self._telemetry.looking_up(context, kind.entity) as look:
            held = await self._flights.share(
                key,
                context,
                look,
                lambda flight: self._resolve(kind, key, context, load, id, flight, refresh=False),
            )
        if held.missing is not None:
            raise NotFoundError(held.missing)
        return held

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

    def _refresh(self, kind: Kind[T], key: Key, load: Load[T], id: object | None) -> None:
        if key not in self._flights:
            context = RequestContext(key.tenant, Actor(ActorKind.SYSTEM, key.tenant))
            self._flights.start(
                key,
                lambda flight: self._resolve(kind, key, context, load, id, flight, refresh=True),
            )

    # Behind L1.

    async def _resolve(  # noqa: PLR0911 - one return a case
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        id: object | None,
        flight: Flight,
        *,
        refresh: bool,
    ) -> Held:
        tags = depends(key.tenant, kind.depends, id, kind.also)
        flight.marks = tuple((tag, self.versions.known(tag)) for tag in tags)
        counters = self.stats.l2[kind.entity]
        holder = self._locks.holder()
        try:
            look = await self._look(kind, key, tags, context, flight, holder)
            if look.held is not None and not refresh:
                counters.hits += 1
                if self.validity.due(look.held.soft - time.monotonic(), look.held.cost):
                    # After this flight, in one of its own.
                    asyncio.get_running_loop().call_soon(self._refresh, kind, key, load, id)
                return look.held
            counters.misses += 1
            if look.taken is None and not look.noted.held:
                # There is an entry, but not for this caller, or not for long.
                taken = await self._locks.take(key, holder)
                if taken and not refresh:
                    # It may have been filled between our look and our lock.
                    look = await self._look(kind, key, tags, context, flight)
                    if look.held is not None:
                        await self._locks.give_back(key, holder)
                        return look.held
                look = look._replace(taken=taken)
            if look.taken is False:
                if refresh and look.held is not None:
                    return look.held
                look = await self._await_other(kind, key, tags, context, flight, holder)
                if look.held is not None:
                    counters.hits += 1
                    return look.held
        except RedisAwayError:
            # Redis may have heard us, and be late alone.
            self._locks.let_go(key, holder)
            counters.errors += 1
            flight.source = "database"
            return await self._fill_alone(kind, key, context, load, tags, flight)
        lock = holder if look.taken else None
        flight.source = "database"
        try:
            return await self._fill(kind, key, context, load, tags, look.noted, lock, flight)
        except UnavailableError:
            await self._locks.give_back(key, lock)
            if look.entry is None or not self.validity.shared_is_good(look.entry, context):
                raise
            # Past its time, but nothing it depends on has changed since: as good as new.
            counters.stale += 1
            flight.source = "stale"
            return self._decoded(kind, key, look.entry, tags, keep=0.0)
        except BaseException:
            await self._locks.give_back(key, lock)
            raise

    async def _look(
        self,
        kind: Kind[T],
        key: Key,
        tags: Sequence[str],
        context: RequestContext,
        flight: Flight,
        holder: str = "",
    ) -> _Looked:
        raw, noted, taken = await self.versions.look(tags, key, holder)
        marks = tuple(zip(tags, noted.generations, strict=True))
        newest = self.versions.take_in(marks) and not noted.held
        flight.marks = tuple((tag, self.versions.known(tag)) for tag in tags)
        entry = codec.decode(raw) if raw is not None else None
        if entry is None or not newest or entry.generations != noted.generations:
            return _Looked(None, None, noted, taken)
        left = entry.soft - time.time()
        if left <= 0 or not self.validity.shared_is_good(entry, context):
            return _Looked(None, entry, noted, taken)
        held = self._decoded(kind, key, entry, tags, keep=left)
        if noted.epoch == self.versions.epoch and self.versions.hears():
            self.local.put(key, held)
        return _Looked(held, entry, noted, taken)

    def _decoded(
        self, kind: Kind[T], key: Key, entry: Entry, tags: Sequence[str], *, keep: float
    ) -> Held:
        body = codec.unzipped(entry.body) if entry.zipped else entry.body
        value = kind.decode(body) if entry.missing is None else None
        now = time.monotonic()
        near, _ = kind.ttl.times(self.settings)
        return Held(
            value,
            # A long one is kept packed as well, once somebody asks for it so.
            size=len(body) * (1 + (len(body) > self.settings.cache_compress_above)),
            marks=tuple(zip(tags, entry.generations, strict=True)),
            wal=entry.wal,
            until=now + min(keep, near),
            soft=now + keep,
            cost=entry.cost,
            verified=True,
            missing=entry.missing,
            version=self.validity.digest(key, entry.generations),
        )

    # Across processes.

    async def _await_other(
        self,
        kind: Kind[T],
        key: Key,
        tags: Sequence[str],
        context: RequestContext,
        flight: Flight,
        holder: str,
    ) -> _Looked:
        """Wait for what another fills, for a bounded time. Whoever gives up leaves the lock, and we
        take it: of what it filled a version may have moved. Raises RedisAwayError."""
        deadline = time.monotonic() + self.settings.cache_lock_wait
        pause = _FIRST_POLL
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
            look = await self._look(kind, key, tags, context, flight, holder)
            over = look.held is not None or look.taken or look.noted.held
            if over or time.monotonic() >= deadline:
                return look

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
        flight: Flight,
    ) -> Held:
        kept = not noted.held
        keep = 0.0
        entry: Entry | None = None
        held: Held | None = None

        def ready(loaded: Loaded) -> None:
            nonlocal keep, entry, held
            keep = kind.ttl.lifetime(self.settings, loaded.missing)
            entry = Entry(
                generations=noted.generations,
                wal=loaded.wal,
                soft=time.time() + keep,
                cost=loaded.cost,
                missing=loaded.missing,
                zipped=False,
                body=loaded.encoded(kind),
            )
            held = self._decoded(kind, key, entry, tags, keep=keep)
            if not kept:
                # A commit is under way: these versions will not stand for what it leaves.
                held.version = ""
            flight.tell(held)

        try:
            await self._loader.load(kind, key, context, load, noted.wal, ready)
        except UnavailableError:
            if held is not None or self._nodes.has_primary():
                raise
            # No primary, and no replica as far as the last commit: serve what there is (P7), and
            # keep nothing of it.
            kept = False
            await self._loader.load(kind, key, context, load, None, ready)
        assert entry is not None  # noqa: S101 - a load without an error was ready
        assert held is not None  # noqa: S101
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
        if len(entry.body) > self.settings.cache_compress_above:
            entry = msgspec.structs.replace(entry, zipped=True, body=codec.zipped(entry.body))
        try:
            stored, size = await self.versions.store(
                key, tags, entry, int((keep + self.settings.cache_stale) * 1000), lock or ""
            )
        except RedisAwayError:
            self._locks.let_go(key, lock)
            return False
        if stored:
            self.stats.l2[kind.entity].fills += 1
            self.stats.l2[kind.entity].bytes += size
        return stored

    async def _fill_alone(
        self,
        kind: Kind[T],
        key: Key,
        context: RequestContext,
        load: Load[T],
        tags: Sequence[str],
        flight: Flight,
    ) -> Held:
        """Load without Redis: the value is kept for a second, unless this process changes it."""
        epoch = self.versions.epoch
        marks = tuple((tag, self.versions.known(tag)) for tag in tags)
        began = time.monotonic()
        held: Held | None = None

        def ready(loaded: Loaded) -> None:
            nonlocal held
            held = Held(
                loaded.value,
                size=len(loaded.encoded(kind)),
                marks=marks,
                wal=loaded.wal,
                # Counted from before the load, so that a second is a second.
                until=began + self.settings.cache_lonely_ttl,
                soft=math.inf,
                cost=loaded.cost,
                verified=False,
                missing=loaded.missing,
            )
            flight.tell(held)

        await self._loader.load(kind, key, context, load, None, ready)
        assert held is not None  # noqa: S101 - a load without an error was ready
        if epoch == self.versions.epoch and self.versions.agree(marks):
            self.local.put(key, held)
            self.stats.l1[kind.entity].fills += 1
        return held
