"""Is an archive what it was when it was written? If not, where?"""

from collections.abc import Iterator

import msgspec
import pyarrow as pa

from impact.engine.changes.archive_files import Manifest, Store, TenantRange, note
from impact.engine.changes.chain import link

_MOST = 100
"""Findings of one file; a damaged chain breaks at every entry after."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong, as exactly as it can be said. Row groups count from 0."""

    file: str
    problem: str
    row_group: int | None = None
    tenant: str | None = None
    position: int | None = None

    def __str__(self) -> str:
        places = {"row group": self.row_group, "tenant": self.tenant, "position": self.position}
        where = ", ".join(f"{name} {value}" for name, value in places.items() if value is not None)
        return f"{self.file}{f' ({where})' if where else ''}: {self.problem}"


def check(store: Store, manifest: Manifest) -> list[Finding]:
    """Compare the file with its manifest, and compute every entry's hash anew."""
    name = manifest.file
    findings: list[Finding] = []
    sha256, length = store.digest(name)
    if (sha256, length) != (manifest.sha256, manifest.bytes):
        problem = f"its SHA-256 is {sha256}, the manifest says {manifest.sha256}"
        findings.append(Finding(name, problem))
    tenants: dict[str, TenantRange] = {}
    for finding in _contents(store, manifest, tenants):
        findings.append(finding)
        if len(findings) >= _MOST:
            return findings
    if not findings and tenants != manifest.tenants:
        findings.append(Finding(name, "its tenants' ranges are not those of the manifest"))
    return findings


def _contents(
    store: Store, manifest: Manifest, tenants: dict[str, TenantRange]
) -> Iterator[Finding]:
    name = manifest.file
    rows = 0
    try:
        with store.parquet(name) as file:
            for group in range(file.num_row_groups):
                try:
                    batches = file.iter_batches(2000, row_groups=[group], use_threads=False)
                    for batch in batches:
                        entries = batch.to_pylist()
                        rows += len(entries)
                        for entry in entries:
                            yield from _entry(name, group, entry, tenants)
                except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                    text = str(error).strip().splitlines()[0]
                    yield Finding(name, f"cannot be read: {text}", row_group=group)
    except Exception as error:  # a damaged footer may raise anything
        yield Finding(name, f"is no Parquet file any more: {str(error).splitlines()[0]}")
        return
    if rows != manifest.rows:
        yield Finding(name, f"{rows} rows can be read, the manifest says {manifest.rows}")


def _entry(
    name: str, group: int, entry: dict[str, object], tenants: dict[str, TenantRange]
) -> Iterator[Finding]:
    tenant, position = str(entry["tenant_id"]), entry["position"]
    assert isinstance(position, int)  # noqa: S101 - the file's schema says so
    before = tenants.get(tenant)
    previous, own = entry["previous_hash"], entry["hash"]
    assert isinstance(previous, bytes)  # noqa: S101
    assert isinstance(own, bytes)  # noqa: S101
    follows = before is not None and before.last_position + 1 == position
    if before is not None and follows and before.last_hash != previous.hex():
        yield Finding(name, "does not follow the entry before", group, tenant, position)
    if link(previous, entry) != own:
        yield Finding(name, "was edited: its hash does not fit", group, tenant, position)
    note(tenants, entry)
