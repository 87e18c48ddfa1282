"""Looking at change records and the log, as their owner."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec

from impact.engine.cache.versions import Versions
from impact.engine.changes.chain_verify import Verified, verify_tenant
from impact.engine.changes.relay import LOCK, Relay
from impact.engine.changes.relay_status import RelayStatus
from impact.engine.runtime import Runtime
from impact.settings import Settings
from impact.stack import Endpoints

# Of the records that wait and the entries made of them: which have been moved does not matter.
_CHANGES = """
SELECT id, table_name, row_id, action, before::text, after::text, actor, request_id, reason
FROM (SELECT id, tenant_id, table_name, row_id, action, before, after, actor, request_id, reason
        FROM change_record
      UNION ALL
      SELECT id, tenant_id, table_name, row_id, action, before, after, actor, request_id, reason
        FROM audit_log) AS every
WHERE tenant_id = $1 ORDER BY id
"""


async def changes(connection: asyncpg.Connection, tenant: str) -> list[dict[str, Any]]:
    """All changes of a tenant, in the order they were made; needs the owner or a superuser."""
    found = [dict(row) for row in await connection.fetch(_CHANGES, tenant)]
    for each in found:
        for side in ("before", "after"):
            each[side] = None if each[side] is None else json.loads(each[side])
    return found


@contextlib.asynccontextmanager
async def without_relay(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Keep every relay of the database waiting: this connection holds their lock."""
    async with asyncio.timeout(20):
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", *LOCK):
            # Whoever has it is ended, as a crash would; another may be faster than we are.
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND classid = $1 AND objid = $2 AND granted AND pid <> pg_backend_pid()",
                *LOCK,
            )
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1, $2)", *LOCK)


def relay_of(runtime: Runtime, **other: Any) -> Relay:
    """A relay of its own on the runtime's nodes, with some settings changed."""
    settings: Settings = msgspec.structs.replace(runtime.settings, **other)
    versions: Versions = runtime.database.versions
    return Relay(settings, runtime.database.nodes, versions, RelayStatus())


async def verified(endpoints: Endpoints, tenant: str) -> Verified:
    """The chain as ``impact audit verify`` sees it."""
    connection = await asyncpg.connect(endpoints.primary_url)
    try:
        return await verify_tenant(connection, tenant)
    finally:
        await connection.close()
