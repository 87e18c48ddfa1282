"""The audit log's partitions: made ahead of time, and emptied of what came too early for them.

The application's role owns nothing. The functions of migration 0004, which belong to the schema's
owner, make a partition of the log and nothing else.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

import asyncpg
import msgspec

from impact.context import HEADQUARTERS, RequestContext, system_context
from impact.engine.db.base import utc_now
from impact.engine.db.consistency import STRONG
from impact.engine.db.failures import sqlstate
from impact.engine.db.session import Database
from impact.engine.db.statements import Statement
from impact.errors import ImpactError

logger = logging.getLogger(__name__)

Period = Literal["day", "month"]

AHEAD = 7
"""Days or months that are prepared beyond the current one."""
_PATIENCE = 600.0
"""Seconds for one partition: moving rows out of the default one takes as long as they are many."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Between tries where a lock was not free in time."""
_INTERVAL = 3600.0
_AFTER_A_FAILURE = 30.0
_LOCK_NOT_AVAILABLE = "55P03"

_TRY_LOCK = Statement(
    "partitions.try_lock",
    "SELECT pg_try_advisory_xact_lock(hashtextextended('impact audit_log partitions', 0))",
    tenantless=True,
)
_WAIT_LONG = Statement(
    "partitions.wait_long",
    f"SET LOCAL statement_timeout = {int(_PATIENCE * 1000)}",
    tenantless=True,
)
_MAKE = Statement(
    "partitions.make", "SELECT audit_log_make_partition(:period, :day)", tenantless=True
)
_GAP = Statement(
    "partitions.gap", "SELECT lower FROM audit_log_gap(:period, :day)", tenantless=True
)
_LIST = Statement("partitions.list", "SELECT * FROM audit_log_partitions()", tenantless=True)
_ASTRAY = Statement(
    "partitions.astray", "SELECT day, entries FROM audit_log_astray(:period)", tenantless=True
)


class Partition(msgspec.Struct, frozen=True):
    """``lower`` is in it, ``upper`` is not. ``rows`` is PostgreSQL's estimate."""

    name: str
    lower: dt.datetime
    upper: dt.datetime
    rows: int
    bytes: int


class PartitionStatus(msgspec.Struct):
    """What the last look found. ``astray`` rows are in the default partition still, ``moved``
    ones were taken out of it by this process."""

    checked_at: dt.datetime | None = None
    prepared_until: dt.datetime | None = None
    made: int = 0
    moved: int = 0
    astray: int = 0
    failure: str | None = None


class Partitions:
    """Prepares partitions. Many processes may try; an advisory lock lets one work at a time.

    Each partition is made in a transaction of its own. ``clock`` tells which day it is.
    """

    def __init__(
        self,
        database: Database,
        period: Period,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._period: Period = period
        self._clock = clock
        self._sleep = sleep
        self.status = PartitionStatus()

    async def listed(self) -> list[Partition]:
        """The partitions beside the default one, oldest first."""
        async with self._database.read(_context(), STRONG) as session:
            rows = await session.fetch(_LIST)
        return [Partition(*row.values()) for row in rows]

    async def astray(self) -> dict[dt.date, int]:
        """Rows of all tenants in the default partition, by the period they belong to."""
        async with self._database.read(_context(), STRONG, timeout=_PATIENCE) as session:
            rows = await session.fetch(_ASTRAY, period=self._period)
        return {row["day"]: row["entries"] for row in rows}

    async def ensure(self) -> list[str]:
        """Make what is missing and move what is astray; answers the partitions made.

        Raises ImpactError where a partition could not be made, after the others were.
        """
        made: list[str] = []
        failures: list[str] = []
        astray = await self.astray()
        for day in sorted({*self._due(), *astray}):
            try:
                made += await self._cover(day)
            except ImpactError as error:
                failures.append(f"{day}: {error.__cause__ or error}")
        left = await self.astray() if astray else {}
        prepared = [p.upper for p in await self.listed()]
        self.status = PartitionStatus(
            checked_at=self._clock(),
            prepared_until=max(prepared, default=None),
            made=self.status.made + len(made),
            moved=self.status.moved + max(0, sum(astray.values()) - sum(left.values())),
            astray=sum(left.values()),
            failure="; ".join(failures) or None,
        )
        if failures:
            raise ImpactError(f"partitions could not be made: {self.status.failure}")
        return made

    async def keep(self) -> None:
        """Prepare partitions now, each hour and after each midnight (UTC), until cancelled."""
        while True:
            pause = _until_next(self._clock())
            try:
                made = await self.ensure()
                if made:
                    logger.info("made audit_log partitions %s", ", ".join(made))
            except ImpactError as error:
                self.status.failure = str(error)
                logger.warning("preparing the audit log's partitions: %s", error)
                pause = _AFTER_A_FAILURE
            except Exception as error:
                # The log goes on into its default partition; the task must not end over it.
                self.status.failure = str(error)
                logger.exception("preparing the audit log's partitions")
                pause = _AFTER_A_FAILURE
            if self.status.astray:
                logger.warning(
                    "%d entries of the audit log are in its default partition", self.status.astray
                )
            await self._sleep(pause)

    def _due(self) -> list[dt.date]:
        """The first day of this period and of the next ones."""
        today = self._clock().astimezone(dt.UTC).date()
        if self._period == "day":
            return [today + dt.timedelta(days=number) for number in range(AHEAD + 1)]
        months = today.year * 12 + today.month - 1
        return [dt.date(m // 12, m % 12 + 1, 1) for m in range(months, months + AHEAD + 1)]

    async def _cover(self, day: dt.date) -> list[str]:
        """Make partitions until the day's period has no gap: one as a rule, more where periods
        of another length are in its midst."""
        made: list[str] = []
        while await self._lacks(day):
            for pause in (*_PAUSES, None):
                try:
                    name = await self._make(day)
                except ImpactError as error:
                    if pause is None or sqlstate(error) != _LOCK_NOT_AVAILABLE:
                        raise
                    await self._sleep(pause)
                    continue
                break
            if name is None:
                break
            made.append(name)
        return made

    async def _lacks(self, day: dt.date) -> bool:
        async with self._database.read(_context(), STRONG) as session:
            return bool(await session.fetch(_GAP, period=self._period, day=day))

    async def _make(self, day: dt.date) -> str | None:
        """One partition, or None where another process is at it."""
        async with self._database.write(_context()) as session:
            if not await session.fetch_value(_TRY_LOCK):
                return None
            await session.execute(_WAIT_LONG)
            row: asyncpg.Record | None = await session.fetch_one(
                _MAKE, timeout=_PATIENCE, period=self._period, day=day
            )
            name: str | None = None if row is None else row[0]
            return name


def _context() -> RequestContext:
    return system_context(HEADQUARTERS, "partitions of the audit log")


def _until_next(now: dt.datetime) -> float:
    """Seconds until the next full look: an hour, or a little past midnight if that is sooner."""
    midnight = dt.datetime.combine(now.date() + dt.timedelta(days=1), dt.time(), now.tzinfo)
    return min(_INTERVAL, (midnight - now).total_seconds() + 1)
