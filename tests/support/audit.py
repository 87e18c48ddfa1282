"""Entries of the audit log at times of the test's choosing, with a chain as the relay makes it."""

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import asyncpg

from impact.engine.changes.chain import GENESIS, link

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
_COLUMNS = (
    *("tenant_id", "id", "occurred_at", "position", "previous_hash", "hash", "table_name"),
    *("row_id", "action", "before", "after", "actor", "request_id", "reason"),
)
_INSERT = (
    f"INSERT INTO audit_log ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(_COLUMNS) + 1))})"
)
_BEGIN = """
    INSERT INTO audit_chain (tenant_id, position, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING
"""
_HEAD = "UPDATE audit_chain SET position = $2, hash = $3 WHERE tenant_id = $1"


def canonical(value: dict[str, Any] | None) -> str | None:
    """As PostgreSQL prints a jsonb of this kind: short keys first, then by letters."""
    if value is None:
        return None
    ordered = dict(sorted(value.items(), key=lambda pair: (len(pair[0]), pair[0])))
    return json.dumps(ordered, ensure_ascii=False)


async def add_entries(
    owner: asyncpg.Connection, tenant: str, entries: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Append entries to a tenant's chain; what they leave out is made up. Answers all of it. The
    relay may be at the same chain: it waits."""
    async with owner.transaction():
        # In the relay's order: a partition may be made meanwhile.
        await owner.execute("LOCK TABLE audit_log IN ROW EXCLUSIVE MODE")
        await owner.execute(_BEGIN, tenant, GENESIS)
        row = await owner.fetchrow(
            "SELECT position, hash FROM audit_chain WHERE tenant_id = $1 FOR UPDATE", tenant
        )
        position, hash = row["position"], row["hash"]
        base = await owner.fetchval("SELECT coalesce(max(id), 0) FROM audit_log")
        made = []
        for number, given in enumerate(entries, 1):
            position += 1
            entry = {
                "tenant_id": tenant,
                "id": base + number,
                "occurred_at": NOON,
                "position": position,
                "previous_hash": hash,
                "table_name": "product",
                "row_id": f"row-{number}",
                "action": "update",
                "before": canonical(given.pop("before", {"price": number})),
                "after": canonical(given.pop("after", {"price": number + 1, "title": "Größe"})),
                "actor": "user:1",
                "request_id": f"request-{number}",
                "reason": None,
                **given,
            }
            hash = entry["hash"] = link(hash, entry)
            made.append(entry)
        await owner.executemany(_INSERT, [[entry[name] for name in _COLUMNS] for entry in made])
        await owner.execute(_HEAD, tenant, position, hash)
    return made
