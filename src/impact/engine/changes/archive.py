"""Old partitions of the audit log go into archives: detached, written, read back, then dropped.

Each step finds out what is done already, so a run that was interrupted anywhere is finished by
the next one. A partition is dropped in the transaction that compared all of its rows with the
archive, under a lock that keeps everybody else out.

DETACH is not CONCURRENTLY, which PostgreSQL refuses beside a default partition. It is a moment's
work under a lock that is given up after two seconds, as autovacuum gives way after one, and tried
again.
"""

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import zip_longest

import asyncpg
import msgspec

from impact.engine.changes.archive_check import check
from impact.engine.changes.archive_files import (
    SCHEMA_VERSION,
    ArchiveError,
    Entry,
    Manifest,
    Store,
)
from impact.engine.changes.chain import ENTRY, link
from impact.engine.db.base import utc_now

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
_PREFETCH = 2000
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('impact audit archive', 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('impact audit archive', 0))"
# Detached ones, known by their names, were left by an interrupted run.
_PARTITIONS = """
SELECT c.relname AS name, i.inhrelid IS NOT NULL AS attached,
       coalesce(i.inhdetachpending, false) AS pending, p.lower, p.upper
FROM pg_class c
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'public.audit_log'::regclass
LEFT JOIN audit_log_partitions() p ON p.name = c.relname AND i.inhrelid IS NOT NULL
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^audit_log_[0-9]'
ORDER BY c.relname
"""
_NAME = re.compile(r"audit_log_(\d{4})(\d\d)(\d\d)?(?:_(\d{4})(\d\d)(\d\d))?")

Step = Callable[[str], None]
Progress = Callable[[str, float | None], None]


class Candidate(msgspec.Struct, frozen=True):
    """A partition, or what was one. ``pending`` is a DETACH CONCURRENTLY that was cut short."""

    name: str
    lower: dt.datetime
    upper: dt.datetime
    attached: bool
    pending: bool = False


class Archived(msgspec.Struct, frozen=True):
    """What became of a partition."""

    partition: str
    file: str
    rows: int
    bytes: int


def range_of(name: str) -> tuple[dt.datetime, dt.datetime] | None:
    """The range that a partition's name says; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    year, month, day, *end = (None if part is None else int(part) for part in match.groups())
    assert year is not None  # noqa: S101 - not optional in the pattern
    assert month is not None  # noqa: S101
    lower = dt.datetime(year, month, day or 1, tzinfo=dt.UTC)
    if end[0] is not None:
        upper = dt.datetime(end[0], end[1] or 1, end[2] or 1, tzinfo=dt.UTC)
    elif day is not None:
        upper = lower + dt.timedelta(days=1)
    else:
        upper = (lower + dt.timedelta(days=31)).replace(day=1)
    return lower, upper


async def candidates(owner: asyncpg.Connection, before: dt.datetime) -> list[Candidate]:
    """What is to be archived: partitions that end by ``before``, and those detached already."""
    found = []
    for row in await owner.fetch(_PARTITIONS):
        named = range_of(row["name"])
        if row["attached"] and row["upper"] is not None:
            if row["upper"] <= before:
                each = Candidate(row["name"], row["lower"], row["upper"], True, row["pending"])
                found.append(each)
        elif named is not None:
            found.append(Candidate(row["name"], *named, row["attached"], row["pending"]))
    return sorted(found, key=lambda each: each.lower)


@contextlib.asynccontextmanager
async def alone(owner: asyncpg.Connection) -> AsyncIterator[None]:
    """One archiving or restoring at a time. Raises ArchiveError while another one runs."""
    await owner.execute(
        "SET timezone = 'UTC'; SET statement_timeout = 0; SET lock_timeout = '2s';"
        " SET idle_in_transaction_session_timeout = 0; SET jit = off"
    )
    if not await owner.fetchval(_LOCK):
        raise ArchiveError("another archiving or restoring of the audit log runs")
    try:
        yield
    finally:
        if not owner.is_closed():
            await owner.execute(_UNLOCK)


async def archive(
    owner: asyncpg.Connection,
    store: Store,
    partition: Candidate,
    *,
    step: Step = lambda _: None,
    progress: Progress = lambda _, __: None,
) -> Archived:
    """Move a partition into the store. ``step`` is told of each step that is done.

    Raises ArchiveError, and leaves the partition in the log, where its chain is broken.
    """
    name = partition.name
    if partition.attached:
        progress(f"detaching {name}", None)
        await _detach(owner, partition)
        step("detached")
    progress(f"looking for an archive of {name}", None)
    manifest = await _written_before(owner, store, name)
    if manifest is None:
        try:
            manifest = await _write(owner, store, partition, step, progress)
        except BrokenChainError:
            # What cannot be vouched for stays where everybody can look at it.
            await patiently(lambda: _attach(owner, partition))
            raise
        step("manifest")
    progress(f"reading {manifest.file} back", None)
    findings = check(store, manifest)
    if findings:
        raise ArchiveError(f"{store.place}/{findings[0]}; {name} is kept")

    async def compare_and_drop() -> None:
        async with owner.transaction():
            await owner.execute(f'LOCK TABLE "{name}" IN ACCESS EXCLUSIVE MODE')
            difference = await compare(owner, name, store.entries(manifest.file))
            if difference is not None:
                raise ArchiveError(f"{store.place}/{manifest.file}: {difference}; {name} is kept")
            step("compared")
            await owner.execute(f'DROP TABLE "{name}"')

    await patiently(compare_and_drop)
    step("dropped")
    return Archived(name, manifest.file, manifest.rows, manifest.bytes)


class BrokenChainError(ArchiveError):
    """An entry of the log does not say what its hash was made of."""


async def _detach(owner: asyncpg.Connection, partition: Candidate) -> None:
    how = " FINALIZE" if partition.pending else ""
    statement = f'ALTER TABLE audit_log DETACH PARTITION "{partition.name}"{how}'
    await patiently(lambda: owner.execute(statement))


async def _attach(owner: asyncpg.Connection, partition: Candidate) -> None:
    await owner.execute(
        "SELECT audit_log_attach($1, $2, $3)", partition.name, partition.lower, partition.upper
    )


async def patiently(work: Callable[[], Awaitable[object]]) -> None:
    """Try again where a lock was not free in time. Raises ArchiveError in the end."""
    for pause in (*PAUSES, None):
        try:
            await work()
        except asyncpg.LockNotAvailableError as error:
            if pause is None:
                raise ArchiveError("the log is in use all the time; try again later") from error
            await asyncio.sleep(pause)
        else:
            return


async def _written_before(owner: asyncpg.Connection, store: Store, name: str) -> Manifest | None:
    """A complete archive that holds just the table's rows, left by a run that was interrupted."""
    rows = await owner.fetchval(f'SELECT count(*) FROM "{name}"')
    for manifest in reversed(store.manifests()):
        if manifest.partition == name and manifest.rows == rows and not check(store, manifest):
            async with owner.transaction(readonly=True):
                if await compare(owner, name, store.entries(manifest.file)) is None:
                    return manifest
    return None


async def _write(
    owner: asyncpg.Connection, store: Store, partition: Candidate, step: Step, progress: Progress
) -> Manifest:
    name = partition.name
    file = _free_name(store, name)
    total = await owner.fetchval(f'SELECT count(*) FROM "{name}"')
    try:
        with store.writer(file) as writer:
            async with owner.transaction(readonly=True):
                async for entries in _rows(owner, name):
                    for entry in entries:
                        _require_unbroken(name, entry)
                    writer.add(entries)
                    progress(f"writing {file}", writer.rows / total)
            writer.flush()
    except BaseException:
        store.remove(file)
        raise
    step("written")
    sha256, length = store.digest(file)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        table="audit_log",
        partition=name,
        lower=partition.lower,
        upper=partition.upper,
        file=file,
        rows=writer.rows,
        bytes=length,
        sha256=sha256,
        row_groups=writer.row_groups,
        tenants=writer.tenants,
        created_at=utc_now(),
    )
    store.write_manifest(manifest)
    return manifest


def _require_unbroken(name: str, entry: Entry) -> None:
    if link(entry["previous_hash"], entry) != entry["hash"]:
        raise BrokenChainError(
            f"{name}: the entry of tenant {entry['tenant_id']} at position {entry['position']}"
            f" (id {entry['id']}) was edited: its hash does not fit. It stays in the log; see"
            " 'impact audit verify'"
        )


def _free_name(store: Store, name: str) -> str:
    """Entries that came late, after their partition was archived, get a file of their own."""
    taken = {manifest.file for manifest in store.manifests()}
    number, file = 1, f"{name}.parquet"
    while file in taken:
        number += 1
        file = f"{name}-{number}.parquet"
    return file


async def _rows(owner: asyncpg.Connection, name: str) -> AsyncIterator[list[Entry]]:
    """A table in the order of its archive. The cursor is closed at its end, and not only with
    the transaction, so that the table can be dropped in it."""
    order = 'tenant_id COLLATE "C", position'
    query = f'SELECT {ENTRY} FROM "{name}" ORDER BY {order}'
    await owner.execute(f"DECLARE audit_rows NO SCROLL CURSOR FOR {query}")
    while rows := await owner.fetch(f"FETCH {_PREFETCH} FROM audit_rows"):
        yield rows
    await owner.execute("CLOSE audit_rows")


async def compare(owner: asyncpg.Connection, name: str, archived: Iterator[Entry]) -> str | None:
    """The first difference between a table and what was archived of it, or None.

    Needs a transaction around it.
    """
    async for rows in _rows(owner, name):
        for row in rows:
            entry = next(archived, None)
            if entry is None:
                return f"row {_place(row)} is in the table alone"
            for (field, value), other in zip_longest(row.items(), entry.values()):
                if value != other:
                    return f"{field} of {_place(row)} differs from {_place(entry)}"
    extra = next(archived, None)
    return None if extra is None else f"row {_place(extra)} is in the archive alone"


def _place(entry: Entry) -> str:
    return f"tenant {entry['tenant_id']}, position {entry['position']}"
