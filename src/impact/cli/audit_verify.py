"""``impact audit verify``: is the audit log what the relay wrote?"""

import asyncio
import datetime as dt
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import click
import msgspec

from impact.cli._archives import Moment, require_pyarrow
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.context import HEADQUARTERS
from impact.engine.changes.chain import Run
from impact.engine.changes.chain_verify import Verified, verify_tenant
from impact.engine.changes.relay_moves import require_log
from impact.engine.db.connection import connect
from impact.engine.db.failures import DRIVER_ERRORS
from impact.engine.db.tenancy import switch, validate_slug
from impact.errors import UnavailableError
from impact.settings import Settings

if TYPE_CHECKING:
    # Imports pyarrow, which is an extra.
    from impact.engine.changes.archive_files import Manifest

Progress = Callable[[str, float | None], None]


@click.command()
@data_dir_option
@click.option("--tenant", "tenants", multiple=True, help="This shop; may be repeated.")
@click.option("--from", "since", type=Moment(), help="Entries of changes from then on, UTC.")
@click.option("--to", "until", type=Moment(), help="Entries of changes before then, UTC.")
@click.option("--archives", metavar="DIR|s3://...", help="Entries archived there need not be here.")
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def verify(
    data_dir: Path,
    tenants: tuple[str, ...],
    since: dt.datetime | None,
    until: dt.datetime | None,
    archives: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute the hash chain of every shop's audit log anew and name the first broken link.

    With --archives the files there are checked too: their hashes, and that the log goes on where
    they end. Exit status 0: every chain holds. 1: one is broken, or could not be read.
    """
    with one_line(), progress_bar(quiet=quiet or as_json) as progress:
        settings = load_settings(data_dir)
        archived = [] if archives is None else _check_archives(archives, progress)
        found = asyncio.run(_verify(settings, tenants, since, until, archived, progress))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        for each in found:
            click.echo(_line(each))
    if any(each.broken for each in found):
        raise SystemExit(1)


def _check_archives(place: str, progress: Progress) -> Sequence["Manifest"]:
    """The archives there. Raises ArchiveError that names all that is wrong with them."""
    require_pyarrow()
    from impact.engine.changes.archive_check import check
    from impact.engine.changes.archive_files import ArchiveError, Store

    store = Store(place)
    manifests = store.manifests()
    findings = []
    for number, manifest in enumerate(manifests):
        progress(manifest.file, number / len(manifests))
        findings += check(store, manifest)
    if findings:
        raise ArchiveError("\n".join(f"{place}/{finding}" for finding in findings))
    return manifests


def _runs(archived: Sequence["Manifest"], tenant: str) -> Sequence[Run]:
    return [run for each in archived if tenant in each.tenants for run in each.tenants[tenant].runs]


def _line(found: Verified) -> str:
    if found.broken is None:
        end = f", to position {found.position} with hash {found.hash}" if found.position else ""
        return f"{found.tenant}: {found.entries:,} entries hold{end}"
    broken = found.broken
    entry = "" if broken.id is None else f", entry {broken.id}"
    return (
        f"{found.tenant}: BROKEN at position {broken.position}{entry}: {broken.fault}: "
        f"{broken.detail} ({found.entries:,} entries before it hold)"
    )


async def _verify(
    settings: Settings,
    tenants: tuple[str, ...],
    since: dt.datetime | None,
    until: dt.datetime | None,
    archived: Sequence["Manifest"],
    progress: Progress,
) -> list[Verified]:
    timeout = settings.pool_connect_timeout
    try:
        names = [validate_slug(tenant) for tenant in tenants]
        async with connect(settings.primary_url, "impact audit verify", timeout=timeout) as source:
            names = names or await _tenants(source)
        url = settings.audit_url or settings.primary_url
        found = []
        async with connect(
            url, "impact audit verify", timeout=timeout, command_timeout=None
        ) as connection:
            await require_log(connection)
            for name in names:
                report = functools.partial(progress, name)
                checked = await verify_tenant(
                    connection,
                    name,
                    since=since,
                    until=until,
                    elsewhere=_runs(archived, name),
                    progress=report,
                )
                found.append(checked)
    except DRIVER_ERRORS as error:
        raise UnavailableError(f"the audit log cannot be read: {error}") from error
    return found


async def _tenants(source: asyncpg.Connection) -> list[str]:
    """Every shop there is: headquarters sees the register."""
    async with source.transaction(readonly=True):
        await source.execute(switch(HEADQUARTERS))
        rows = await source.fetch("SELECT id FROM tenant ORDER BY id")
    return [row["id"] for row in rows]
