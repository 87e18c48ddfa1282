"""Events that change no row and must be in the audit log all the same: logins, denials, exports.

``record`` only puts an event into a buffer. A task writes batches of them into ``change_record``,
from where the relay enters them like every change. What the database does not take goes to disk,
and into the database once it is back.

Each batch has an id, and leaves a receipt of it in its own transaction. So it may be sent again
whenever it is not certain that it was stored: after a commit whose answer was lost, or from a
file that a crash left behind. A receipt is deleted when nothing can send its batch any more.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID

import msgspec

from impact.context import RequestContext, system_context
from impact.engine.cache.invalidation import declare
from impact.engine.changes.events_spool import Batch, Event, Spool
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import Database
from impact.engine.db.statements import ALL, Statement
from impact.engine.tasks import end, kept_up
from impact.errors import ImpactError, InvalidDataError
from impact.settings import Settings

logger = logging.getLogger(__name__)

LOGIN, ACCESS = "login", "access"
"""What stands for a table's name in the records of events that concern none."""

declare(LOGIN)
declare(ACCESS)

_RETRY_AFTER = 1.0
"""Seconds between looks whether the database is back."""
_AT_SHUTDOWN = 5.0
"""Seconds for the last batches to be stored rather than spilled."""

_STORE = Statement(
    "events.store",
    """
    WITH receipt AS (
        INSERT INTO event_receipt (tenant_id, id) VALUES (:tenant_id, :batch)
        ON CONFLICT DO NOTHING RETURNING 1
    )
    INSERT INTO change_record
        (tenant_id, occurred_at, table_name, row_id, action, after, actor, request_id)
    SELECT :tenant_id, e.*
    FROM receipt, unnest(:times::timestamptz[], :tables::text[], :rows::text[], :actions::text[],
                         :afters::jsonb[], :actors::text[], :requests::text[]) AS e
    """,
    writes={"change_record": ALL, "event_receipt": ALL},
)
_FORGET = Statement(
    "events.forget",
    "DELETE FROM event_receipt WHERE tenant_id = :tenant_id AND id = ANY(:ids)",
    writes={"event_receipt": ALL},
)


class EventStatus(msgspec.Struct):
    """Counts since the start of this process. ``dropped`` events are lost: memory was full and
    the disk did not take them. ``failure`` is why the last batch was not stored."""

    stored: int = 0
    spilled: int = 0
    replayed: int = 0
    dropped: int = 0
    failure: str | None = None


class Events:
    """The buffered writer of one process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._most = settings.event_batch
        self._delay = settings.event_delay
        self._capacity = settings.event_buffer
        self._spool = Spool(settings.spool)
        self._buffer: deque[Event] = deque()
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._spilling: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._unsure: Batch | None = None
        self._away_until = 0.0
        self._settled: dict[str, list[UUID]] = {}
        self.status = EventStatus()

    def record(
        self,
        context: RequestContext,
        table_name: str,
        action: str,
        *,
        row_id: object = None,
        after: dict[str, Any] | None = None,
        tenant: str | None = None,
    ) -> None:
        """Take note of an event, in the name of the context's actor. Never waits, never raises.

        ``tenant`` is whose log it belongs to, where it is not the context's.
        """
        if len(self._buffer) >= self._capacity:
            self.status.dropped += 1
            if self.status.dropped == 1:
                logger.error("events are lost: the buffer is full and the disk takes no more")
            return
        self._buffer.append(
            Event(
                tenant=tenant or context.tenant,
                occurred_at=utc_now(),
                table_name=table_name,
                action=action,
                row_id=None if row_id is None else str(row_id),
                after=after,
                actor=str(context.actor),
                request_id=context.request_id,
            )
        )
        self._some.set()
        if len(self._buffer) >= self._most:
            self._full.set()
        if len(self._buffer) > self._capacity // 2 and self._spilling is None:
            self._spilling = asyncio.create_task(self._relieve())

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(kept_up(self._run, "storing events"))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store what is in memory, or write it to disk where the database takes too long."""
        if self._task is not None:
            await end([self._task])
        if self._spilling is not None:
            await self._spilling
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AT_SHUTDOWN):
                if self._unsure is not None:
                    unsure, self._unsure = self._unsure, None
                    await self._store_or_spill(unsure)
                while self._buffer and not self._is_away():
                    await self._store_or_spill(self._take())
                await self._forget()
        if self._unsure is not None:
            await self._spill(self._unsure)
        while self._buffer:
            before = len(self._buffer)
            await self._spill(self._take())
            if len(self._buffer) >= before:
                logger.error("%d events are lost: neither database nor disk takes them", before)
                break

    async def flush(self) -> None:
        """Store what was recorded until now."""
        while self._buffer:
            await self._store_or_spill(self._take())

    async def replay(self) -> int:
        """Store what waits on disk, unless another process is at it; answers how many events.

        Raises UnavailableError while the database is away.
        """
        count = 0
        with self._spool.emptying() as mine:
            if not mine:
                return 0
            for path in await asyncio.to_thread(self._spool.waiting):
                batch = await asyncio.to_thread(self._spool.read, path)
                if batch is None:
                    continue
                if not batch.events:
                    await asyncio.to_thread(self._spool.remove, batch.id)
                    continue
                try:
                    count += await self._store(batch)
                except InvalidDataError:
                    # It would be refused for ever, and hold up those behind it.
                    await asyncio.to_thread(self._spool.set_aside, path, "the database refused it")
                    continue
                await asyncio.to_thread(self._spool.remove, batch.id)
                self._settle(batch)
        self.status.replayed += count
        return count

    async def _run(self) -> None:
        """Write batches until cancelled."""
        await self._try_replay()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_AFTER):
                    await self._some.wait()
            if self._buffer:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._delay):
                        await self._full.wait()
                await self._store_or_spill(self._take())
            if not self._is_away():
                await self._try_replay()

    async def _try_replay(self) -> None:
        try:
            if await self.replay():
                logger.info("stored %d events that had waited on disk", self.status.replayed)
        except Exception as error:
            # Whatever it is, the task must go on: it is all that writes what is recorded.
            if not isinstance(error, ImpactError | OSError):
                logger.exception("events on disk cannot be stored")
            self._failed(error)

    async def _store_or_spill(self, batch: Batch) -> None:
        if not batch.events:
            # Somebody else took them meanwhile.
            return
        if self._is_away():
            await self._spill(batch)
            return
        try:
            await self._store(batch)
        except asyncio.CancelledError:
            # Stored or not: only under the same id may it be tried again.
            self._unsure = batch
            raise
        except Exception as error:
            self._failed(error)
            await self._spill(batch)
            return
        self.status.failure = None
        self._settle(batch)

    async def _store(self, batch: Batch) -> int:
        """Into the database, unless it is there already; answers how many events are new."""
        by_tenant = sorted(batch.events, key=lambda event: event.tenant)
        first = by_tenant[0].tenant
        stored = 0
        context = system_context(first, "events")
        async with self._database.write(context) as session:
            for tenant, group in itertools.groupby(by_tenant, lambda event: event.tenant):
                if tenant != session.tenant:
                    await session.switch_tenant(tenant)
                events = list(group)
                tag = await session.execute(_STORE, batch=batch.id, **_columns(events))
                stored += int(tag.rpartition(" ")[2])
                if settled := self._settled.pop(tenant, None):
                    await session.execute(_FORGET, ids=settled)
        self.status.stored += stored
        return stored

    def _settle(self, batch: Batch) -> None:
        """Nothing will send the batch again: its receipts may go, with the next batch."""
        for tenant in {event.tenant for event in batch.events}:
            self._settled.setdefault(tenant, []).append(batch.id)

    async def _forget(self) -> None:
        with contextlib.suppress(ImpactError):
            for tenant in list(self._settled):
                async with self._database.write(system_context(tenant, "events")) as session:
                    await session.execute(_FORGET, ids=self._settled.pop(tenant))

    async def _spill(self, batch: Batch) -> None:
        if not batch.events:
            return
        try:
            await asyncio.to_thread(self._spool.write, batch)
            self.status.spilled += len(batch.events)
        except OSError as error:
            # Back into memory, as long as there is room.
            logger.error("events cannot be written to disk: %s", error)
            self._buffer.extendleft(reversed(batch.events))
            self._failed(error)
            await asyncio.sleep(_RETRY_AFTER)

    async def _relieve(self) -> None:
        """The buffer fills faster than the database empties it: half of it goes to disk."""
        try:
            while len(self._buffer) > self._capacity // 4:
                before = len(self._buffer)
                await self._spill(self._take(self._capacity // 4))
                if len(self._buffer) >= before:
                    break
        finally:
            self._spilling = None

    def _take(self, most: int | None = None) -> Batch:
        count = min(most or self._most, len(self._buffer))
        events = [self._buffer.popleft() for _ in range(count)]
        if not self._buffer:
            self._some.clear()
        if len(self._buffer) < self._most:
            self._full.clear()
        return Batch(new_id(), events)

    def _is_away(self) -> bool:
        return asyncio.get_running_loop().time() < self._away_until

    def _failed(self, error: BaseException) -> None:
        text = str(error) or type(error).__name__
        if self.status.failure is None:
            logger.warning("events go to disk until they can be stored: %s", text)
        self.status.failure = text
        self._away_until = asyncio.get_running_loop().time() + _RETRY_AFTER


def _columns(events: Sequence[Event]) -> dict[str, Any]:
    return {
        "times": [event.occurred_at for event in events],
        "tables": [event.table_name for event in events],
        "rows": [event.row_id for event in events],
        "actions": [event.action for event in events],
        "afters": [
            None if event.after is None else msgspec.json.encode(event.after).decode()
            for event in events
        ],
        "actors": [event.actor for event in events],
        "requests": [event.request_id for event in events],
    }
