"""``impact audit archive`` and ``restore``: old partitions go to files, and come back."""

import asyncio
import datetime as dt
from pathlib import Path

import click
import msgspec

from impact.cli._archives import Age, require_pyarrow
from impact.cli._database import as_owner
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, one_line
from impact.cli._tables import markdown_table
from impact.errors import InvalidDataError, NotFoundError


@click.command()
@data_dir_option
@click.option(
    "--older-than",
    type=Age(),
    required=True,
    metavar="AGE",
    help="Archive partitions that ended so long ago: 90d, 12w or 36h.",
)
@click.option("--to", "place", required=True, help="A directory, or s3://bucket/prefix.")
@click.option("--dry-run", is_flag=True, help="Show what would be archived.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def archive(
    data_dir: Path, older_than: dt.timedelta, place: str, dry_run: bool, as_json: bool
) -> None:
    """Move old partitions of the audit log into Parquet files.

    Each is detached, written with a manifest, read back and compared row by row and hash by hash,
    and only then dropped. Safe to interrupt and to run again. Connects as the schema's owner:
    IMPACT_OWNER_URL, else the stack's. S3 credentials come from where the AWS tools take them;
    s3://bucket/prefix?endpoint_override=host:port&scheme=http names another server.
    """
    with one_line():
        require_pyarrow()
        rows = asyncio.run(_archive(data_dir, older_than, place, dry_run, quiet=as_json))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"dry_run": dry_run, "archived": rows})))
    elif not rows:
        click.echo("Nothing is that old.")
    elif dry_run:
        lines = [(row["partition"], f"{row['rows']:,}") for row in rows]
        click.echo(markdown_table(("would be archived", "rows"), lines))
    else:
        files = [
            (row["partition"], row["file"], f"{row['rows']:,}", f"{row['bytes']:,}") for row in rows
        ]
        click.echo(markdown_table(("archived", "file", "rows", "bytes"), files))


async def _archive(
    data_dir: Path, older_than: dt.timedelta, place: str, dry_run: bool, *, quiet: bool
) -> list[dict[str, object]]:
    from impact.engine.changes import archive as work
    from impact.engine.changes.archive_files import Store

    before = dt.datetime.now(dt.UTC) - older_than
    async with as_owner(data_dir) as owner, work.alone(owner):
        found = await work.candidates(owner, before)
        if dry_run:
            return [
                {
                    "partition": each.name,
                    "rows": await owner.fetchval(f'SELECT count(*) FROM "{each.name}"'),
                }
                for each in found
            ]
        store = Store(place)
        store.prepare()
        done = []
        with progress_bar(quiet=quiet) as progress:
            for each in found:
                archived = await work.archive(owner, store, each, progress=progress)
                done.append(msgspec.structs.asdict(archived))
        return done


@click.command()
@data_dir_option
@click.argument("partition", required=False)
@click.option("--month", metavar="YYYY-MM", help="All partitions of this month.")
@click.option("--from", "place", required=True, help="A directory, or s3://bucket/prefix.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore(
    data_dir: Path, partition: str | None, month: str | None, place: str, as_json: bool
) -> None:
    """Bring an archived PARTITION, such as audit_log_202601, back into the audit log.

    The archive is checked first, and the rows and hashes are compared with it before they are in
    the log. The archive stays. Connects as the schema's owner.
    """
    if (partition is None) is (month is None):
        raise click.UsageError("name a PARTITION or give --month")
    with one_line():
        require_pyarrow()
        rows = asyncio.run(_restore(data_dir, partition, month, place, quiet=as_json))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"restored": rows})))
        return
    lines = [
        (name, "in the log already" if count is None else f"{count:,}")
        for name, count in rows.items()
    ]
    click.echo(markdown_table(("restored", "rows"), lines))


async def _restore(
    data_dir: Path, partition: str | None, month: str | None, place: str, *, quiet: bool
) -> dict[str, int | None]:
    from impact.engine.changes.archive import alone
    from impact.engine.changes.archive_files import Manifest, Store
    from impact.engine.changes.archive_restore import restore as bring_back

    try:
        start = None if month is None else dt.datetime.strptime(month, "%Y-%m")  # noqa: DTZ007
    except ValueError:
        raise InvalidDataError(f"{month!r} is no month such as 2026-01") from None
    store = Store(place)
    wanted: dict[str, list[Manifest]] = {}
    for manifest in store.manifests():
        lower = manifest.lower
        if manifest.partition == partition or (
            start is not None and (lower.year, lower.month) == (start.year, start.month)
        ):
            wanted.setdefault(manifest.partition, []).append(manifest)
    if not wanted:
        raise NotFoundError(f"{place} has no archive of {partition or month}")
    async with as_owner(data_dir) as owner, alone(owner):
        with progress_bar(quiet=quiet) as progress:
            return {
                name: await bring_back(owner, store, manifests, progress=progress)
                for name, manifests in wanted.items()
            }
