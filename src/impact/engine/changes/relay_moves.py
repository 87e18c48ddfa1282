"""Moving change records into the log: in one transaction where both are in one database, else
at least once, with what was delivered before dropped by its id.

Everything runs as the application's role, which sees one tenant at a time. COPY into a table
with row-level security is refused by PostgreSQL, so entries come as arrays of one INSERT.
"""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import asyncpg

from impact.engine.changes import chain
from impact.engine.db.statements import named
from impact.engine.db.tenancy import switch
from impact.errors import ConfigurationError, ImpactError

_READ = named(
    "relay.read",
    """
SELECT tenant_id, id, occurred_at, table_name, row_id, action, before::text AS before,
       after::text AS after, actor, request_id, reason, announced,
       pg_current_wal_flush_lsn()::text AS wal
FROM change_record
WHERE tenant_id = $1 AND id > $2 AND {}
ORDER BY id LIMIT $3
""",
)
_HEAD = named(
    "relay.head",
    "SELECT position, hash FROM audit_chain WHERE tenant_id = $1 FOR UPDATE",
)
_FIRST_HEAD = named(
    "relay.first_head",
    """
INSERT INTO audit_chain (tenant_id, position, hash) VALUES ($1, 0, $2)
ON CONFLICT (tenant_id) DO NOTHING
""",
)
# The content stays in the database; only each entry's place and hashes travel.
_MOVE = named(
    "relay.move",
    """
WITH gone AS (
    DELETE FROM change_record WHERE tenant_id = $1 AND id = ANY ($2::bigint[]) RETURNING *
), entered AS (
    INSERT INTO audit_log (tenant_id, id, occurred_at, table_name, row_id, action, before, after,
        actor, request_id, reason, position, previous_hash, hash)
    SELECT tenant_id, id, occurred_at, table_name, row_id, action, before, after,
        actor, request_id, reason, position, previous_hash, hash
    FROM gone
    JOIN unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])
        AS place (id, position, previous_hash, hash) USING (id)
    RETURNING 1
), headed AS (
    UPDATE audit_chain SET position = $6, hash = $7 WHERE tenant_id = $1
)
SELECT count(*) FROM entered
""",
)
_TOLD = named(
    "relay.told",
    "UPDATE change_record SET announced = true WHERE tenant_id = $1 AND id = ANY ($2::bigint[])",
)
_DELETE = named(
    "relay.delete",
    "DELETE FROM change_record WHERE tenant_id = $1 AND id = ANY ($2::bigint[])",
)
# The log's lock for writing before any of its partitions is read: whoever makes a partition has
# the log's and then wants the default partition's.
_LOCK_LOG = named("relay.lock_log", "LOCK TABLE ONLY audit_log IN ROW EXCLUSIVE MODE")
_KNOWN = named(
    "relay.known",
    """
SELECT id FROM audit_log
WHERE tenant_id = $1 AND id = ANY ($2::bigint[]) AND occurred_at BETWEEN $3 AND $4
""",
)
_ENTER = named(
    "relay.enter",
    """
INSERT INTO audit_log (tenant_id, id, occurred_at, table_name, row_id, action, before, after,
    actor, request_id, reason, position, previous_hash, hash)
SELECT $1, id, occurred_at, table_name, row_id, action, before::jsonb, after::jsonb,
    actor, request_id, reason, position, previous_hash, hash
FROM unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bytea[], $14::bytea[])
    AS entry (id, occurred_at, table_name, row_id, action, before, after, actor, request_id,
        reason, position, previous_hash, hash)
""",
)
_SET_HEAD = named(
    "relay.set_head",
    "UPDATE audit_chain SET position = $2, hash = $3 WHERE tenant_id = $1",
)
_COLUMNS = ("table_name", "row_id", "action", "before", "after", "actor", "request_id", "reason")
_MISSING = named(
    "relay.missing",
    "SELECT to_regclass('public.audit_chain') IS NULL OR to_regclass('audit_log') IS NULL",
)

Record = Any


class Which(enum.Enum):
    """The records to read."""

    ALL = "true"
    TOLD = "announced"
    """Of which the cache need not be told."""
    UNTOLD = "NOT announced"


class Link(NamedTuple):
    """A record's place in the chain."""

    record: Record
    position: int
    previous_hash: bytes
    hash: bytes


class Mover(Protocol):
    """Where the log is: beside the records, elsewhere, or out of reach."""

    async def move(self, tenant: str, records: Sequence[Record], dropped: Sequence[int]) -> int:
        """Enter the records into the log and take them and the ``dropped`` ids away from where
        they wait; answers how many entries are new."""


async def read(
    source: asyncpg.Connection, tenant: str, after: int, most: int, which: Which
) -> list[Record]:
    """The tenant's next records past an id."""
    async with source.transaction(readonly=True):
        await source.execute(switch(tenant))
        found: list[Record] = await source.fetch(_READ.format(which.value), tenant, after, most)
    return found


async def _lock_head(target: asyncpg.Connection, tenant: str) -> tuple[int, bytes]:
    row = await target.fetchrow(_HEAD, tenant)
    if row is None:
        await target.execute(_FIRST_HEAD, tenant, chain.GENESIS)
        row = await target.fetchrow(_HEAD, tenant)
    assert row is not None  # noqa: S101 - it was just made
    return row["position"], row["hash"]


def links(records: Sequence[Record], position: int, hash: bytes) -> list[Link]:
    """The records as the chain's next entries after its head."""
    made = []
    for record in records:
        position += 1
        following = chain.link(hash, {**record, "position": position})
        made.append(Link(record, position, hash, following))
        hash = following
    return made


class SameDatabase:
    """One statement takes records from where they wait and enters them: exactly once."""

    def __init__(self, source: asyncpg.Connection) -> None:
        self._source = source

    async def move(self, tenant: str, records: Sequence[Record], dropped: Sequence[int]) -> int:
        source = self._source
        async with source.transaction():
            await source.execute(switch(tenant))
            if records:
                made = links(records, *await _lock_head(source, tenant))
                entered = await source.fetchval(
                    _MOVE,
                    tenant,
                    [each.record["id"] for each in made],
                    [each.position for each in made],
                    [each.previous_hash for each in made],
                    [each.hash for each in made],
                    made[-1].position,
                    made[-1].hash,
                )
                if entered != len(made):
                    # The places were given to records that somebody else has taken meanwhile.
                    raise ImpactError("another relay moves the same records")
            if dropped:
                await source.execute(_DELETE, tenant, dropped)
        return len(records)


class AuditDatabase:
    """Entered there and then deleted here. What a crash between the two delivers again is
    known there by its id."""

    def __init__(self, source: asyncpg.Connection, target: asyncpg.Connection) -> None:
        self._source = source
        self._target = target

    async def move(self, tenant: str, records: Sequence[Record], dropped: Sequence[int]) -> int:
        entered = await self._enter(tenant, records) if records else 0
        source = self._source
        async with source.transaction():
            await source.execute(switch(tenant))
            ids = [*(record["id"] for record in records), *dropped]
            await source.execute(_DELETE, tenant, ids)
        return entered

    async def _enter(self, tenant: str, records: Sequence[Record]) -> int:
        target = self._target
        async with target.transaction():
            await target.execute(f"{switch(tenant)}; {_LOCK_LOG}")
            head = await _lock_head(target, tenant)
            moments = [record["occurred_at"] for record in records]
            ids = [record["id"] for record in records]
            known = await target.fetch(_KNOWN, tenant, ids, min(moments), max(moments))
            there = {row["id"] for row in known}
            made = links([record for record in records if record["id"] not in there], *head)
            if not made:
                return 0
            await target.execute(
                _ENTER,
                tenant,
                [each.record["id"] for each in made],
                [each.record["occurred_at"] for each in made],
                *([each.record[column] for each in made] for column in _COLUMNS),
                [each.position for each in made],
                [each.previous_hash for each in made],
                [each.hash for each in made],
            )
            await target.execute(_SET_HEAD, tenant, made[-1].position, made[-1].hash)
        return len(made)


class OutOfReach:
    """The log is away: records wait for it, marked so that the cache is told of them once."""

    def __init__(self, source: asyncpg.Connection) -> None:
        self._source = source

    async def move(self, tenant: str, records: Sequence[Record], dropped: Sequence[int]) -> int:
        async with self._source.transaction():
            await self._source.execute(switch(tenant))
            await self._source.execute(_TOLD, tenant, [record["id"] for record in records])
            await self._source.execute(_DELETE, tenant, dropped)
        return 0


async def require_log(target: asyncpg.Connection) -> None:
    """Raise ConfigurationError where the audit database has no schema."""
    if await target.fetchval(_MISSING):
        raise ConfigurationError(
            "the database of IMPACT_AUDIT_URL has no audit log; make it as its owner with:"
            " IMPACT_OWNER_URL=postgresql://... impact db upgrade"
        )
