"""``impact reports``: the sums that the sales reports are made of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.context import HEADQUARTERS, system_context
from impact.engine.db.consistency import STRONG
from impact.engine.db.session import Database
from impact.engine.db.tenancy import validate_slug
from impact.engine.runtime import open_runtime
from impact.errors import NotFoundError
from impact.reporting.rollups import Difference, differences, rebuild, shops
from impact.settings import Settings

Progress = Callable[[str, float | None], None]
_LONGEST = 3600.0
_tenant = click.option("--tenant", "tenants", multiple=True, help="This shop; may be repeated.")
_json = click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
_quiet = click.option("--quiet", is_flag=True, help="No progress bar.")


@click.group()
def reports() -> None:
    """Check and make anew the sums behind the sales reports.

    Sums by day and by product are kept with every order, so that a report is as fast over ten
    years as over a day.
    """


@reports.command()
@data_dir_option
@_tenant
@_json
@_quiet
def verify(data_dir: Path, tenants: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Count every shop's orders again and name the sums that differ.

    Orders may be placed meanwhile. Exit status 0: every sum is right. 1: one is not, or could not
    be read; 'impact reports rebuild' makes it right.
    """
    with one_line(), progress_bar(quiet=quiet or as_json) as progress:
        found = asyncio.run(_verify(_settings(data_dir), tenants, progress))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        for tenant, wrong in found.items():
            click.echo(f"{tenant}: {len(wrong)} sums are wrong" if wrong else f"{tenant}: right")
            for each in wrong:
                key = each.day if each.kind == "day" else each.product_id
                click.echo(
                    f"  {each.kind} {key} {each.currency_code}: kept {each.kept or 'nothing'},"
                    f" counted {each.counted or 'nothing'}"
                )
    if any(found.values()):
        raise SystemExit(1)


@reports.command("rebuild")
@data_dir_option
@_tenant
@_json
@_quiet
def rebuild_command(data_dir: Path, tenants: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Make the sums of the shops' orders anew, of every shop where none is named.

    Orders are placed and reports answered meanwhile as ever.
    """
    with one_line(), progress_bar(quiet=quiet or as_json) as progress:
        done = asyncio.run(_rebuild(_settings(data_dir), tenants, progress))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"rebuilt": done})))
    else:
        click.echo(f"Rebuilt the sums of {', '.join(done) or 'no shop: there is none'}")


def _settings(data_dir: Path) -> Settings:
    return load_settings(
        data_dir, telemetry=False, statement_timeout=_LONGEST, report_timeout=_LONGEST
    )


async def _verify(
    settings: Settings, tenants: tuple[str, ...], progress: Progress
) -> dict[str, list[Difference]]:
    found = {}
    async with _opened(settings, tenants) as (database, names):
        for number, name in enumerate(names):
            progress(name, number / len(names))
            async with database.read(system_context(name, "verify"), STRONG) as session:
                found[name] = await differences(session)
    return found


async def _rebuild(settings: Settings, tenants: tuple[str, ...], progress: Progress) -> list[str]:
    async with _opened(settings, tenants) as (database, names):
        for number, name in enumerate(names):
            progress(name, number / len(names))
            async with database.write(system_context(name, "impact reports rebuild")) as session:
                await rebuild(session)
    return names


@asynccontextmanager
async def _opened(
    settings: Settings, tenants: tuple[str, ...]
) -> AsyncIterator[tuple[Database, list[str]]]:
    """The database, and the shops named or all. Raises NotFoundError for one that is none."""
    async with open_runtime(settings) as runtime:
        async with runtime.database.read(system_context(HEADQUARTERS, "list"), STRONG) as session:
            known = await shops(session)
        names = [validate_slug(tenant) for tenant in tenants] or known
        for missing in sorted(set(names) - set(known)):
            raise NotFoundError(f"tenant '{missing}' does not exist")
        yield runtime.database, names
