"""Entries of the log and of its archives, the newest first, of all tenants or one."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import msgspec
import pyarrow.compute as pc

from impact.engine.changes.archive_files import Entry, Manifest, Store
from impact.engine.changes.chain import ENTRY

_AFTER = """
SELECT {entry} FROM audit_log
WHERE tenant_id = $1 AND position > $2 ORDER BY position LIMIT 1000
"""


class Wanted(msgspec.Struct, frozen=True):
    """What to look for; ``start`` is in it, ``end`` is not."""

    tenant: str | None = None
    actor: str | None = None
    table: str | None = None
    id: str | None = None
    action: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None


_COLUMNS = {
    "tenant": "tenant_id",
    "actor": "actor",
    "table": "table_name",
    "id": "row_id",
    "action": "action",
}


def _equal(wanted: Wanted) -> dict[str, str]:
    values = msgspec.structs.asdict(wanted)
    return {column: values[name] for name, column in _COLUMNS.items() if values[name] is not None}


async def search(
    owner: asyncpg.Connection, store: Store | None, wanted: Wanted, limit: int
) -> list[Entry]:
    """At most ``limit`` entries. An entry that is in the log and in an archive comes once."""
    found = {(row["tenant_id"], row["id"]): row for row in await live(owner, wanted, limit)}
    if store is not None:
        for manifest in reversed(store.manifests()):
            if not _may_hold(manifest, wanted):
                continue
            oldest = _newest(found, limit)[-1]["occurred_at"] if len(found) >= limit else None
            if oldest is not None and oldest >= manifest.upper:
                break
            for entry in _archived(store, manifest, wanted):
                found.setdefault((entry["tenant_id"], entry["id"]), entry)
                if len(found) >= 2 * limit + 1000:
                    found = {(e["tenant_id"], e["id"]): e for e in _newest(found, limit)}
    return _newest(found, limit)


def _newest(found: dict[tuple[str, int], Entry], limit: int) -> list[Entry]:
    """Cut to the limit."""
    ordered = sorted(found.values(), key=lambda e: (e["occurred_at"], e["id"]), reverse=True)
    return ordered[:limit]


async def live(owner: asyncpg.Connection, wanted: Wanted, limit: int) -> Sequence[Entry]:
    """What is in the log: some of each tenant by its index, then the newest of those."""
    arguments: list[Any] = [limit]
    conditions = ["a.tenant_id = c.tenant_id"]
    for column, value in _equal(wanted).items():
        arguments.append(value)
        conditions.append(f"a.{column} = ${len(arguments)}")
    for operator, moment in ((">=", wanted.start), ("<", wanted.end)):
        if moment is not None:
            arguments.append(moment)
            conditions.append(f"a.occurred_at {operator} ${len(arguments)}")
    return await owner.fetch(
        f"""
        SELECT e.* FROM audit_chain c CROSS JOIN LATERAL (
            SELECT {ENTRY} FROM audit_log a WHERE {" AND ".join(conditions)}
            ORDER BY a.occurred_at DESC, a.id DESC LIMIT $1
        ) AS e
        ORDER BY e.occurred_at DESC, e.id DESC LIMIT $1
        """,
        *arguments,
    )


def _may_hold(manifest: Manifest, wanted: Wanted) -> bool:
    return (
        (wanted.tenant is None or wanted.tenant in manifest.tenants)
        and (wanted.start is None or wanted.start < manifest.upper)
        and (wanted.end is None or wanted.end > manifest.lower)
    )


def _archived(store: Store, manifest: Manifest, wanted: Wanted) -> Iterator[Entry]:
    condition = pc.scalar(True)
    for column, value in _equal(wanted).items():
        condition &= pc.field(column) == value
    if wanted.start is not None:
        condition &= pc.field("occurred_at") >= wanted.start
    if wanted.end is not None:
        condition &= pc.field("occurred_at") < wanted.end
    return store.matching(manifest.file, condition)


async def heads(owner: asyncpg.Connection, tenant: str | None) -> dict[str, int]:
    """Each tenant's last position."""
    rows = await owner.fetch(
        "SELECT tenant_id, position FROM audit_chain WHERE $1::text IS NULL OR tenant_id = $1",
        tenant,
    )
    return {row["tenant_id"]: row["position"] for row in rows}


async def entered_since(
    owner: asyncpg.Connection, known: dict[str, int], tenant: str | None
) -> list[Entry]:
    """What was entered into the log since ``known`` positions, which move on to the new ones."""
    found: list[Entry] = []
    for name, position in (await heads(owner, tenant)).items():
        while known.get(name, 0) < position:
            rows = await owner.fetch(_AFTER.format(entry=ENTRY), name, known.get(name, 0))
            found += rows
            # Entries that are not there any more are passed over.
            known[name] = rows[-1]["position"] if rows else position
    return sorted(found, key=lambda entry: (entry["occurred_at"], entry["id"]))
