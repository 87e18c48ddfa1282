"""What this process knows of the tags' versions, and how it raises and hears of new ones.

The subscription delivers in the order of publication. A beat that this process sends itself
through Redis and hears again therefore proves that everything published before was heard: L1 is
good for as long as the last such proof is young, and for a caller whose write is older than it.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import msgspec

from impact.engine.cache import codec, keys, scripts
from impact.engine.cache.codec import Entry
from impact.engine.cache.remote import FAILURES, RedisAwayError, Remote
from impact.engine.tasks import end
from impact.settings import Settings

logger = logging.getLogger(__name__)

UNTOLD = "untold"
"""A change record's action: the tags, by tenant, that a commit could not announce."""
_HOLD = 60_000_000
"""Microseconds after which a commit whose process died no longer keeps its tags from being
cached. Longer than any commit takes."""
_MOST_TAGS = 200_000
_LIFE_MARGIN = 600
LOCK_MS = 10_000
"""A process that died with the lock of an entry holds nobody up for longer."""
_decode = msgspec.msgpack.Decoder().decode
_encode = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class Noted:
    """The tags' versions before a load, in the tags' order; ``epoch`` is the subscription's."""

    generations: tuple[int, ...]
    wal: int
    """The load must see this position; 0 where only the primary surely does."""
    held: bool
    """A commit to one of the tags is under way: what is loaded now is not to be kept."""
    epoch: int


class Look(NamedTuple):
    """What Redis answered: the entry if it stands for the versions, and whether the lock was taken;
    None where it was not tried, as there is an entry, or a commit under way."""

    raw: bytes | None
    noted: Noted
    taken: bool | None


@dataclass(slots=True)
class Raised:
    """A commit's announcement, per tenant."""

    name: str
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    untold: bool = False
    """Redis has not heard of all of it."""


class Versions:
    """One process's view. ``on_loss`` is called when L1 must be emptied."""

    def __init__(self, settings: Settings, remote: Remote | None) -> None:
        self.remote = remote
        self.on_loss: Callable[[], None] = lambda: None
        self.on_beat: Callable[[], Any] | None = None
        self.changes = 0
        """Moves with every version heard: an entry checked since needs no second look."""
        self.epoch = 0
        self.heard = 0
        """Redis's clock, in microseconds: all that was raised before has been heard."""
        self._view: dict[str, int] = {}
        self.good_until = 0.0
        """Of time.monotonic: before it, everything published until a moment ago has been heard."""
        self._listening = False
        self._beat_every = settings.cache_heartbeat
        self._silence = settings.cache_silence
        self._own = secrets.token_hex(6)
        longest = max(
            settings.rbac_cache_shared_ttl,
            settings.tenant_cache_ttl,
            settings.catalog_cache_ttl,
            settings.cart_cache_ttl,
            settings.report_cache_ttl,
        )
        self._life = int((longest * 1.1 + settings.cache_stale + _LIFE_MARGIN) * 1000)
        self._pending: list[tuple[str, Sequence[str], int, str]] = []
        self._untold: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    async def __aenter__(self) -> Self:
        if self.remote is not None:
            with contextlib.suppress(RedisAwayError):
                await self.remote.identify()
            ready = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._run(ready)))
            # The first request should find L1 working; without Redis nobody waits for it.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), 1.0 if self.remote.available else 0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await end(list(self._tasks))

    # What is known.

    def hears(self) -> bool:
        """Whether ``good_until`` lies ahead."""
        return time.monotonic() < self.good_until

    def known(self, tag: str) -> int:
        return self._view.get(tag, 0)

    def agree(self, marks: Iterable[tuple[str, int]]) -> bool:
        """Whether no newer version of any of these tags has been heard of."""
        view = self._view
        return all(view.get(tag, 0) == generation for tag, generation in marks)

    def take_in(self, marks: Iterable[tuple[str, int]]) -> bool:
        """Note versions that Redis told; whether none newer was heard meanwhile."""
        newest = True
        for tag, generation in marks:
            known = self._view.get(tag, 0)
            if known < generation:
                self._view[tag] = generation
                if known:
                    self.changes += 1
            elif known > generation:
                newest = False
        if len(self._view) > _MOST_TAGS:
            self._forget()
            return False
        return newest

    def _apply(self, tags: Iterable[str], generation: int) -> None:
        for tag in tags:
            if self._view.get(tag, 0) < generation:
                self._view[tag] = generation
        self.changes += 1
        if len(self._view) > _MOST_TAGS:
            self._forget()

    def _bump(self, tags: Iterable[str]) -> None:
        """A write of this process's own: it knows before Redis does."""
        for tag in tags:
            self._view[tag] = self._view.get(tag, 0) + 1
        self.changes += 1

    def _forget(self) -> None:
        """Start empty: what was known may have changed unheard."""
        self.epoch += 1
        self.changes += 1
        self._view.clear()
        self.on_loss()

    # Asking.

    async def look(self, tags: Sequence[str], entry: keys.Key, holder: str = "") -> Look:
        """What Redis has now. With ``holder`` its name is put into the entry's lock, where no entry
        stands for the versions and nobody else has it. Raises RedisAwayError."""
        remote = self._remote()
        epoch = self.epoch
        incarnation = self._incarnation(remote)
        names = self._names(remote, incarnation, entry, tags)
        args = [self._channel(incarnation), _encode(tags), self._life, holder, LOCK_MS]
        raw, lock, *versions = await remote.script(scripts.LOOK, names, args)
        found = [_decode(each) for each in versions]
        walls = [each[1] for each in found]
        noted = Noted(
            generations=tuple(each[0] for each in found),
            wal=max(walls) if all(walls) else 0,
            held=any(each[2] for each in found) or any(tag in self._untold for tag in tags),
            epoch=epoch,
        )
        return Look(raw, noted, None if lock < 0 else lock == 1)

    def _names(
        self, remote: Remote, incarnation: str, entry: keys.Key, tags: Sequence[str]
    ) -> list[str]:
        """The keys of the entry, of its lock and of the tags."""
        return [
            entry.redis(remote.service, incarnation),
            entry.redis(remote.service, f"{incarnation}.lock"),
            *(keys.tag_key(tag, remote.service, incarnation) for tag in tags),
        ]

    async def store(
        self, entry_key: keys.Key, tags: Sequence[str], entry: Entry, keep_ms: int, lock: str
    ) -> tuple[bool, int]:
        """Keep the entry in Redis unless one of its versions moved, and give up the lock.

        Whether it was kept, and its size in bytes. Raises RedisAwayError.
        """
        remote = self._remote()
        incarnation = self._incarnation(remote)
        names = self._names(remote, incarnation, entry_key, tags)
        raw = codec.encode(entry)
        args = [_encode(entry.generations), raw, keep_ms, lock]
        return await remote.script(scripts.STORE, names, args) == 1, len(raw)

    # Raising.

    async def announce(self, tags: Mapping[str, set[str]]) -> Raised:
        """Say that a commit to these tags, by tenant, is about to be tried.

        From here on no older entry is served and no fill is kept, until it is ``settled`` or
        its hold lapses: a process that dies in between leaves nothing stale behind.
        """
        raised = Raised(secrets.token_hex(6), {t: sorted(names) for t, names in tags.items()})
        for tenant, names in raised.tags.items():
            self._bump(names)
            try:
                await self._send(tenant, names, raised.name, hold=_HOLD)
            except RedisAwayError:
                # Without Redis nobody else has an entry that could outlive a second.
                raised.untold = self.remote is not None
        return raised

    async def settle(self, raised: Raised, wal: int) -> int:
        """Say that it was tried; ``wal`` is the commit's position, 0 if there was none.

        Answers Redis's clock at the last of it, 0 where Redis has not heard of it or of an
        earlier one of this process: it will be told as soon as it can be reached.
        """
        clocks: list[int] = []
        for tenant, names in raised.tags.items():
            self._bump(names)
            try:
                clocks.append(await self._send(tenant, names, raised.name, wal=wal))
            except RedisAwayError:
                clocks.append(0)
                if self.remote is not None:
                    self._pending.append((tenant, names, wal, raised.name))
                    self._untold.update(names)
        return max(clocks) if clocks and all(clocks) and not self._pending else 0

    async def raise_now(self, tenant: str, tags: Sequence[str], wal: int = 0) -> None:
        """Raise tags outside a unit of work. Raises RedisAwayError where Redis is."""
        self._bump(tags)
        if self.remote is not None:
            await self._send(tenant, tags, secrets.token_hex(6), wal=wal, patient=True)

    async def _send(
        self,
        tenant: str,
        tags: Sequence[str],
        name: str,
        *,
        hold: int = 0,
        wal: int = 0,
        patient: bool = False,
    ) -> int:
        remote = self._remote()
        incarnation = remote.incarnation
        if incarnation is None:
            if self._tasks:
                # The subscription's task is at it; no request waits for that.
                raise RedisAwayError
            incarnation = await remote.identify()
        names = [keys.tag_key(tag, remote.service, incarnation) for tag in tags]
        args = [self._channel(incarnation), _encode(tags), name, hold, wal, self._life]
        generation, clock = await remote.script(scripts.RAISE, names, args, patient=patient)
        self._apply(tags, generation)
        return int(clock)

    async def _send_pending(self) -> None:
        while self._pending:
            tenant, tags, wal, name = self._pending[0]
            await self._send(tenant, tags, name, wal=wal, patient=True)
            del self._pending[0]
            self._untold -= Counter(tags)

    def _remote(self) -> Remote:
        if self.remote is None:
            raise RedisAwayError
        return self.remote

    def _incarnation(self, remote: Remote) -> str:
        if remote.incarnation is None:
            raise RedisAwayError
        return remote.incarnation

    def _channel(self, incarnation: str) -> str:
        return f"{self._remote().service}:versions:v{keys.SCHEMA}.{incarnation}"

    # Hearing.

    async def _run(self, ready: asyncio.Event) -> None:
        pause = 0.02
        while True:
            began = time.monotonic()
            try:
                await self._listen(ready)
            except Exception as error:
                # Whatever it is: without a subscription this process would never use L1 again.
                known = isinstance(error, (*FAILURES, RedisAwayError))
                if self._listening or not known:
                    logger.warning(
                        "the cache's subscription is down: %r",
                        error,
                        exc_info=None if known else error,
                    )
            if self._listening:
                self._lose()
            pause = 0.02 if time.monotonic() - began > 1 else min(pause * 2, 1.0)
            await asyncio.sleep(pause)

    def _lose(self) -> None:
        self._listening = False
        self.good_until, self.heard = 0.0, 0
        remote = self._remote()
        remote.forget()
        self._forget()
        if self._ending:
            return
        self._tasks = [task for task in self._tasks if not task.done()]
        with contextlib.suppress(RuntimeError):
            self._tasks.append(asyncio.create_task(self._identify(remote)))

    async def _identify(self, remote: Remote) -> None:
        with contextlib.suppress(RedisAwayError):
            await remote.identify()

    async def _listen(self, ready: asyncio.Event) -> None:
        """Hear versions until the connection breaks or falls silent."""
        remote = self._remote()
        incarnation = await remote.identify()
        channel, own = self._channel(incarnation), f"{self._channel(incarnation)}:{self._own}"
        async with contextlib.AsyncExitStack() as stack:
            pubsub = remote.client.pubsub()
            stack.push_async_callback(pubsub.aclose)
            async with asyncio.timeout(1.0):
                await pubsub.subscribe(channel, own)
            self._forget()
            self._listening = True
            await self._send_pending()
            beats = asyncio.create_task(self._beat(own))
            # Ended with the subscription, or at the latest with everything else.
            self._tasks.append(beats)
            stack.push_async_callback(end, [beats])
            while True:
                async with asyncio.timeout(self._silence):
                    message = await pubsub.get_message(timeout=None)
                if message is None or message["type"] != "message":
                    continue
                if message["channel"] == own.encode():
                    clock, sent = _decode(message["data"])
                    await remote.require_same_runs()
                    self.good_until = float(sent) + self._silence
                    ready.set()
                else:
                    clock, generation, tags = _decode(message["data"])
                    self._apply(tags, generation)
                if not remote.is_cluster:
                    # The clocks of a cluster's nodes cannot be compared.
                    self.heard = max(self.heard, clock)

    async def _beat(self, own: str) -> None:
        while True:
            with contextlib.suppress(RedisAwayError):
                sent = repr(time.monotonic())
                await self._remote().script(scripts.BEAT, [], [own, sent], patient=True)
                await self._send_pending()
                if self.on_beat is not None:
                    await self.on_beat()
            await asyncio.sleep(self._beat_every)
