"""An archived partition comes back into the audit log, equal to what it was."""

import heapq
from collections.abc import Callable, Iterator, Sequence

import asyncpg

from impact.engine.changes.archive import compare, patiently
from impact.engine.changes.archive_check import check
from impact.engine.changes.archive_files import (
    COLUMNS,
    ArchiveError,
    Entry,
    Manifest,
    Store,
)

_BATCH = 5000
_NAMES = [field.name for field in COLUMNS]
_BUILDING = "audit_restore"


async def restore(
    owner: asyncpg.Connection,
    store: Store,
    manifests: Sequence[Manifest],
    *,
    progress: Callable[[str, float | None], None] = lambda _, __: None,
) -> int | None:
    """Bring back one partition from all of its archives; answers its rows, None where it is in
    the log already.

    The table is filled and compared apart and attached at the end, so an interruption leaves the
    log as it was. Raises ArchiveError for an archive that is damaged, and where the log has other
    entries of that time.
    """
    first = manifests[0]
    name, total = first.partition, sum(manifest.rows for manifest in manifests)
    for manifest in manifests:
        progress(f"checking {manifest.file}", None)
        findings = check(store, manifest)
        if findings:
            raise ArchiveError("\n".join(f"{store.place}/{finding}" for finding in findings))
    if await owner.fetchval("SELECT to_regclass('public.' || quote_ident($1))", name):
        async with owner.transaction(readonly=True):
            difference = await compare(owner, name, _merged(store, manifests))
        if difference is None and await owner.fetchval(
            "SELECT relispartition FROM pg_class WHERE oid = to_regclass($1)", f"public.{name}"
        ):
            return None
        raise ArchiveError(
            f"there is a table {name} already, and it is not the same:"
            f" {difference or 'it is not part of the log'};"
            " archive it first, then both come back together"
        )
    await owner.execute(f"DROP TABLE IF EXISTS {_BUILDING}")
    await owner.execute(
        f"CREATE TABLE {_BUILDING} (LIKE audit_log INCLUDING DEFAULTS INCLUDING INDEXES)"
    )
    done = 0
    for manifest in manifests:
        batch: list[tuple[object, ...]] = []
        for entry in store.entries(manifest.file):
            batch.append(tuple(entry[column] for column in _NAMES))
            if len(batch) >= _BATCH:
                done += await _copy(owner, batch)
                progress(f"restoring {name}", done / max(total, 1))
        done += await _copy(owner, batch)
    await patiently(lambda: owner.execute(f"ANALYZE {_BUILDING}"))
    progress(f"comparing {name}", None)
    async with owner.transaction(readonly=True):
        difference = await compare(owner, _BUILDING, _merged(store, manifests))
    if difference is not None:
        raise ArchiveError(f"{name} did not come back as it was: {difference}")

    async def attach() -> None:
        async with owner.transaction():
            await owner.execute(f'ALTER TABLE {_BUILDING} RENAME TO "{name}"')
            await owner.execute(
                "SELECT audit_log_attach($1, $2, $3)", name, first.lower, first.upper
            )

    try:
        await patiently(attach)
    except asyncpg.InvalidObjectDefinitionError as error:
        raise ArchiveError(f"the log has another partition for that time: {error}") from error
    return done


async def _copy(owner: asyncpg.Connection, batch: list[tuple[object, ...]]) -> int:
    count = len(batch)
    if batch:
        await owner.copy_records_to_table(_BUILDING, records=batch, columns=_NAMES)
        batch.clear()
    return count


def _merged(store: Store, manifests: Sequence[Manifest]) -> Iterator[Entry]:
    """The entries of all archives of one partition, in the order of each."""
    streams = [store.entries(manifest.file) for manifest in manifests]
    return iter(heapq.merge(*streams, key=lambda e: (e["tenant_id"], e["position"])))
