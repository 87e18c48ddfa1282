"""``impact audit verify``: is the audit log what the relay wrote?"""

import asyncio
import datetime as dt
import functools
from collections.abc import Callable
from pathlib import Path

import asyncpg
import click
import msgspec

from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.context import HEADQUARTERS
from impact.engine.changes.chain_verify import Verified, verify_tenant
from impact.engine.changes.relay_moves import require_log
from impact.engine.db.connection import connect
from impact.engine.db.failures import DRIVER_ERRORS
from impact.engine.db.tenancy import switch, validate_slug
from impact.errors import UnavailableError
from impact.settings import Settings

Progress = Callable[[str, float | None], None]


class _Moment(click.ParamType[dt.datetime]):
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no ISO 8601 date or time", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


@click.command()
@data_dir_option
@click.option("--tenant", "tenants", multiple=True, help="This shop; may be repeated.")
@click.option("--from", "since", type=_Moment(), help="Entries of changes from then on, UTC.")
@click.option("--to", "until", type=_Moment(), help="Entries of changes before then, UTC.")
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def verify(
    data_dir: Path,
    tenants: tuple[str, ...],
    since: dt.datetime | None,
    until: dt.datetime | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute the hash chain of every shop's audit log anew and name the first broken link.

    Exit status 0: every chain holds. 1: one is broken, or could not be read.
    """
    with one_line(), progress_bar(quiet=quiet or as_json) as progress:
        settings = load_settings(data_dir)
        found = asyncio.run(_verify(settings, tenants, since, until, progress))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        for each in found:
            click.echo(_line(each))
    if any(each.broken for each in found):
        raise SystemExit(1)


def _line(found: Verified) -> str:
    if found.broken is None:
        end = f", to position {found.position} with hash {found.hash}" if found.entries else ""
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
                    connection, name, since=since, until=until, progress=report
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
