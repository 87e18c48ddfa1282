"""Reading the audit log: pages, newest first, that touch as few of its partitions as they can."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from impact.context import RequestContext
from impact.engine.changes.partitions import Period
from impact.engine.db.consistency import eventual
from impact.engine.db.readmodel import json_object
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime
from impact.engine.schemas import Output, Timestamp

_BEGINNING = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_CLOCKS_DIFFER = dt.timedelta(minutes=1)
_NEAR, _FAR = 1, 31
"""How many days or months before the newest one a page looks at first, and then."""


class AuditEntry(Output):
    """One change or event. ``before`` and ``after`` hold changed columns alone; hashes are in
    hexadecimal digits."""

    id: int
    occurred_at: Timestamp
    entity: str
    entity_id: str | None
    action: str
    actor: str | None
    request_id: str | None
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    position: int
    previous_hash: str
    hash: str


class LogFilters(msgspec.Struct, frozen=True, omit_defaults=True, rename={"start": "from"}):
    """What is asked for; ``start`` is in it, ``to`` is not. Without ``to`` it is now."""

    actor: str | None = None
    entity: str | None = None
    id: str | None = None
    action: str | None = None
    request_id: str | None = None
    start: dt.datetime | None = None
    to: dt.datetime | None = None


Place = tuple[dt.datetime, int]
"""Where an entry stands: when it happened, and its id."""

ENTRY = json_object(
    AuditEntry,
    "a",
    entity="a.table_name",
    entity_id="a.row_id",
    previous_hash="encode(a.previous_hash, 'hex')",
    hash="encode(a.hash, 'hex')",
)
_CONDITIONS = {
    "actor": "a.actor = :actor",
    "entity": "a.table_name = :entity",
    "id": "a.row_id = :id",
    "action": "a.action = :action",
    "request_id": "a.request_id = :request_id",
}
_statements: dict[frozenset[str], Statement] = {}


@contextlib.asynccontextmanager
async def log_session(
    runtime: Runtime, context: RequestContext, *, timeout: float | None = None
) -> AsyncIterator[ReadSession]:
    """A session of its own on a replica, however fresh: entries come up to a second late anyway."""
    if runtime.audit is not runtime.database:
        # Another cluster: neither the request's node nor its WAL position is one of it.
        context = RequestContext(context.tenant, context.actor, context.request_id)
    consistency = eventual(runtime.settings.replica_max_lag)
    async with runtime.audit.read(context, consistency, timeout=timeout) as session:
        yield session


async def read_entries(
    session: ReadSession,
    filters: LogFilters,
    *,
    limit: int,
    after: Place | None,
    period: Period,
    now: dt.datetime,
) -> list[tuple[Place, str]]:
    """At most ``limit`` entries as JSON, the newest first, from ``after`` on backwards."""
    statement, values = page_statement(filters, limit=limit, after=after, period=period, now=now)
    rows = await session.fetch(statement, **values)
    return [((row["occurred_at"], row["id"]), row["body"]) for row in rows]


def page_statement(
    filters: LogFilters, *, limit: int, after: Place | None, period: Period, now: dt.datetime
) -> tuple[Statement, dict[str, Any]]:
    """The statement of a page, and the values it takes."""
    values: dict[str, Any] = {
        name: value for name in _CONDITIONS if (value := getattr(filters, name)) is not None
    }
    statement = _statement(frozenset(values), after is not None)
    values |= {**_windows(filters, after, period, now), "limit": limit}
    if after is not None:
        values |= {"after_at": after[0], "after_id": after[1]}
    return statement, values


def _windows(
    filters: LogFilters, after: Place | None, period: Period, now: dt.datetime
) -> Mapping[str, dt.datetime]:
    """Where the newest part of the range ends and where the two older parts begin.

    What lies in the future is not listed unasked: an upper bound within the prepared partitions
    keeps the default one out of the plan.
    """
    until = filters.to or now + _CLOCKS_DIFFER
    if after is not None:
        until = min(until, after[0] + dt.timedelta(microseconds=1))
    start = filters.start or _BEGINNING
    near = max(start, _periods_before(until, _NEAR, period))
    return {
        "until": until,
        "near": near,
        "far": max(start, _periods_before(until, _FAR, period)),
        "start": start,
    }


def _periods_before(moment: dt.datetime, count: int, period: Period) -> dt.datetime:
    """The beginning of the day or month that is ``count`` before the moment's."""
    moment = moment.astimezone(dt.UTC)
    try:
        if period == "day":
            midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            return midnight - dt.timedelta(days=count)
        months = moment.year * 12 + moment.month - 1 - count
        return dt.datetime(months // 12, months % 12 + 1, 1, tzinfo=dt.UTC)
    except (OverflowError, ValueError):
        return _BEGINNING


def _statement(present: frozenset[str], after: bool) -> Statement:
    """One statement whatever is found: an older part is looked at only where the newer ones did
    not fill the page, which PostgreSQL decides before it opens the older partitions."""
    key = present | {"after"} if after else present
    statement = _statements.get(key)
    if statement is None:
        conditions = " AND ".join(
            ["a.tenant_id = :tenant_id", *(_CONDITIONS[name] for name in sorted(present))]
        )
        if after:
            conditions += " AND (a.occurred_at, a.id) < (:after_at, :after_id)"

        def part(lower: str, upper: str, *newer: str) -> str:
            found = " + ".join(f"(SELECT count(*) FROM {name})" for name in newer)
            lacking = f" AND {found} < :limit" if newer else ""
            return (
                f"(SELECT a.* FROM audit_log a WHERE {conditions}"
                f" AND a.occurred_at >= :{lower} AND a.occurred_at < :{upper}{lacking}"
                " ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit)"
            )

        statement = _statements[key] = Statement(
            "reporting.audit_log",
            f"""
            WITH newest AS MATERIALIZED {part("near", "until")},
                 older AS MATERIALIZED {part("far", "near", "newest")},
                 oldest AS MATERIALIZED {part("start", "far", "newest", "older")}
            SELECT a.occurred_at, a.id, {ENTRY}::text AS body
            FROM (SELECT * FROM newest UNION ALL SELECT * FROM older
                  UNION ALL SELECT * FROM oldest) AS a
            ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit
            """,
        )
    return statement
