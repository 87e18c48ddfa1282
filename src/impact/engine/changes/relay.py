"""The relay: from change records to the audit log, and to the cache where nobody else told it.

Any process may be it; an advisory lock on the connection that does the work makes it one. A
connection that is lost has lost the lock and its transaction with it, so the next holder cannot
meet the last one's work half done.

Ids are given before transactions commit, so a lower one may appear after a higher: each round
takes whatever is visible, from the beginning. A round goes on from where it was only within
itself, so that it does not step over the dead rows of its own deletions again and again.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Self

import asyncpg
import msgspec

from impact.engine.cache.invalidation import tags_of_record
from impact.engine.cache.remote import RedisAwayError
from impact.engine.cache.versions import UNTOLD, Versions
from impact.engine.changes.relay_moves import (
    AuditDatabase,
    Mover,
    OutOfReach,
    Record,
    SameDatabase,
    Which,
    read,
    require_log,
)
from impact.engine.changes.relay_status import MOST_COUNTED, RelayStatus
from impact.engine.db.connection import connect
from impact.engine.db.consistency import parse_lsn
from impact.engine.db.failures import DRIVER_ERRORS, is_node_lost
from impact.engine.db.nodes import Node, NodeSet
from impact.engine.db.statements import named
from impact.engine.tasks import Pace, end
from impact.engine.telemetry.monitor import timer
from impact.errors import ConfigurationError, ImpactError
from impact.settings import Settings

logger = logging.getLogger(__name__)

LOCK = (7204, 1)
_RETRY_LOCK = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_RETRY_LOG = 1.0
_WELL = 10.0
"""Seconds after which what went wrong before is forgotten."""
_LOOK_EVERY = 5.0
_SHARE = 0.1
"""Of the time, that looks for records may take: they step over what cannot be seen yet."""
_NAME = "impact relay"
_TENANTS = named("relay.tenants", "SELECT tenant FROM change_record_tenants()")
_UNTOLD = named("relay.untold", "SELECT tenant FROM change_record_untold_tenants()")
_TRY = named("relay.try_lock", "SELECT pg_try_advisory_lock($1, $2)")
_LOOK = named(
    "relay.look",
    """
    SELECT change_record_count($1) AS waiting,
           coalesce(extract(epoch FROM clock_timestamp() -
               (SELECT min(oldest) FROM change_record_tenants()))::float8, 0) AS oldest
    """,
)
_ROW_ACTIONS = frozenset({"insert", "update", "delete"})
"""What triggers write. Other actions are events, of which nothing is cached."""


class Relay:
    """``async with`` runs it in the background; ``drain`` moves what waits now."""

    def __init__(
        self, settings: Settings, nodes: NodeSet, versions: Versions, status: RelayStatus
    ) -> None:
        self.status = status
        self._nodes = nodes
        self._versions = versions
        self._batch = settings.relay_batch
        self._interval = settings.relay_interval
        self._audit_url = settings.audit_url
        self._timeout = settings.pool_connect_timeout
        self._task: asyncio.Task[None] | None = None
        self._tenants_pace = Pace(_SHARE)
        self._status_pace = Pace(_SHARE, _LOOK_EVERY)
        self._redis_away = False
        self._log_away: str | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await end([self._task])

    async def run(self) -> None:
        """Relay until cancelled, through every outage."""
        pause = _FIRST_PAUSE
        self.status.running = True
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._serve()
                except (*DRIVER_ERRORS, ImpactError) as error:
                    self._note(error)
                except Exception as error:
                    # A mistake of ours must not end the relay for the life of the process.
                    logger.exception("the relay of change records failed")
                    self._note(error)
                well = time.monotonic() - began > _WELL
                pause = _FIRST_PAUSE if well else min(pause * 2, _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        finally:
            self.status.running = False

    async def drain(self) -> int:
        """Wait for the lock, move all that waits now, and answer how much that was.

        Raises what keeps it from that."""
        before = self.status.moved_total
        async with self._connected() as (node, source), contextlib.AsyncExitStack() as stack:
            await self._take_lock(node, source)
            mover = await self._open(source, stack)
            after: dict[str, int] = {}
            while await self._round(source, mover, after, patient=False):
                pass
        return self.status.moved_total - before

    async def _serve(self) -> None:
        """Relay on one connection to the primary, until it is lost or another node is it."""
        async with self._connected() as (node, source):
            if not await self._take_lock(node, source):
                return
            self.status.held_by_me = True
            logger.info("this process relays change records")
            try:
                while self._nodes.primary() is node:
                    async with contextlib.AsyncExitStack() as stack:
                        await self._serve_log(node, source, stack)
            finally:
                self.status.held_by_me = False

    async def _serve_log(
        self, node: Node, source: asyncpg.Connection, stack: contextlib.AsyncExitStack
    ) -> None:
        """Relay to the log; a while without it where it cannot be reached."""
        until = float("inf")
        try:
            mover = await self._open(source, stack)
            self._log_away = None
        except (*DRIVER_ERRORS, ConfigurationError) as error:
            self._note(error)
            self._log_away = self.status.last_error
            mover, until = OutOfReach(source), time.monotonic() + _RETRY_LOG
        after: dict[str, int] = {}
        while self._nodes.primary() is node and time.monotonic() < until:
            if not await self._round(source, mover, after):
                await asyncio.sleep(self._interval)
            await self._look(source)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Node, asyncpg.Connection]]:
        node = self._nodes.primary()
        async with connect(node.url, _NAME, timeout=self._timeout) as connection:
            # Statistics of a table that fills and empties all the time are always wrong, and
            # reading it from end to end is never right.
            await connection.execute("SET enable_seqscan = off")
            yield node, connection

    async def _take_lock(self, node: Node, source: asyncpg.Connection) -> bool:
        """Wait for the lock; False where another node became the primary meanwhile."""
        while not await source.fetchval(_TRY, *LOCK):
            self.status.last_error = None
            await self._look(source)
            await asyncio.sleep(_RETRY_LOCK * random.uniform(0.8, 1.2))  # noqa: S311
            if self._nodes.primary() is not node:
                return False
        return True

    async def _open(self, source: asyncpg.Connection, stack: contextlib.AsyncExitStack) -> Mover:
        if self._audit_url is None:
            return SameDatabase(source)
        opened = connect(self._audit_url, _NAME, timeout=self._timeout)
        target = await stack.enter_async_context(opened)
        await require_log(target)
        return AuditDatabase(source, target)

    async def _round(
        self,
        source: asyncpg.Connection,
        mover: Mover,
        after: dict[str, int],
        *,
        patient: bool = True,
    ) -> bool:
        """One batch of each tenant that has any; whether more is likely to wait.

        ``after`` remembers how far the tenants' unfinished rounds have come. A ``patient`` round
        leaves a tenant whose records are refused for the next one, and where it takes long to see
        who has any, it looks at each for what the cache has to be told, and at all now and then.
        """
        if not after:
            self._redis_away = False
        refused: str | None = None
        every = not patient or self._tenants_pace.due()
        with self._tenants_pace.measured() if every else contextlib.nullcontext():
            rows = await source.fetch(_TENANTS if every else _UNTOLD)
        tenants = [row["tenant"] for row in rows]
        if every:
            for done in after.keys() - set(tenants):
                del after[done]
        else:
            tenants = list(dict.fromkeys((*tenants, *after)))
        for tenant in tenants:
            which = Which.TOLD if self._redis_away else Which.ALL
            if isinstance(mover, OutOfReach):
                which = Which.UNTOLD
            elif not (every or tenant in after):
                if self._redis_away:
                    continue
                which = Which.UNTOLD
            records = await read(source, tenant, after.get(tenant, 0), self._batch, which)
            if len(records) == self._batch:
                after[tenant] = records[-1]["id"]
            else:
                after.pop(tenant, None)
            try:
                with timer("relay.batch") if records else contextlib.nullcontext():
                    await self._pass_on(mover, tenant, records)
            except asyncpg.PostgresError as error:
                if is_node_lost(error) or not patient:
                    raise
                # One tenant's trouble is not the others'.
                refused = f"{tenant}: {error}"
                self._note(refused)
                after.pop(tenant, None)
        away = "Redis is away" if self._redis_away else None
        self.status.last_error = self._log_away or refused or away
        return bool(after)

    async def _pass_on(self, mover: Mover, tenant: str, records: Sequence[Record]) -> None:
        """Tell the cache, then move: the other way round a crash between would leave it untold.

        While Redis is away, what it has to be told of waits, and the rest goes on."""
        if not await self._tell(tenant, [record for record in records if not record["announced"]]):
            records = [record for record in records if record["announced"]]
        dropped = [record["id"] for record in records if record["action"] == UNTOLD]
        entries = [record for record in records if record["action"] != UNTOLD]
        if entries or dropped:
            self.status.moved_total += await mover.move(tenant, entries, dropped)

    async def _tell(self, tenant: str, records: Sequence[Record]) -> bool:
        """Raise what the records touch; False while Redis cannot be told."""
        tags: dict[str, set[str]] = {}
        for record in records:
            if record["action"] == UNTOLD:
                owed = msgspec.json.decode(record["after"], type=dict[str, list[str]])
                for owner, names in owed.items():
                    tags.setdefault(owner, set()).update(names)
            elif record["action"] in _ROW_ACTIONS:
                tags.setdefault(tenant, set()).update(tags_of_record(tenant, record["table_name"]))
        try:
            for owner, raised in tags.items():
                if raised:
                    wal = parse_lsn(records[0]["wal"])
                    await self._versions.raise_now(owner, sorted(raised), wal)
                    self.status.raised_total += len(raised)
        except RedisAwayError:
            self._redis_away = True
            return False
        return True

    async def _look(self, source: asyncpg.Connection) -> None:
        """Refresh what the status says of the records that wait."""
        if self._status_pace.due():
            with self._status_pace.measured():
                row = await source.fetchrow(_LOOK, MOST_COUNTED)
            assert row is not None  # noqa: S101 - a SELECT without FROM
            self.status.waiting, self.status.oldest_seconds = row["waiting"], row["oldest"]

    def _note(self, error: BaseException | str) -> None:
        self.status.failures_total += 1
        text = str(error) or type(error).__name__
        if text != self.status.last_error:
            logger.warning("the relay of change records waits: %s", text)
        self.status.last_error = text
