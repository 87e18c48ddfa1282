"""``impact audit search`` and ``tail``: reading the log, of all shops, in a terminal."""

import asyncio
import datetime as dt
from pathlib import Path

import click

from impact.cli._archives import (
    Moment,
    entries_table,
    entry_cells,
    entry_json,
    require_pyarrow,
)
from impact.cli._database import as_owner
from impact.cli._settings import data_dir_option, one_line

_LOOK_EVERY = 0.5


@click.command()
@data_dir_option
@click.option("--tenant", help="Of this shop alone.")
@click.option("--actor", help="Such as user:0199... or anonymous.")
@click.option("--table", help="Entries of this table.")
@click.option("--id", "row_id", help="Entries of the row with this id.")
@click.option("--action", help="insert, update, delete, or an event's.")
@click.option("--from", "start", type=Moment(), help="From this time on (ISO 8601, UTC).")
@click.option("--to", "end", type=Moment(), help="Before this time.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--archives", metavar="DIR|s3://...", help="Look into archives there too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def search(
    data_dir: Path,
    tenant: str | None,
    actor: str | None,
    table: str | None,
    row_id: str | None,
    action: str | None,
    start: dt.datetime | None,
    end: dt.datetime | None,
    limit: int,
    archives: str | None,
    as_json: bool,
) -> None:
    """Find entries of the audit log and its archives, the newest first.

    Connects as the schema's owner, who sees all shops. Exit status 1 when nothing is found.
    """
    with one_line():
        require_pyarrow()
        from impact.engine.changes.archive_files import Entry, Store
        from impact.engine.changes.archive_search import Wanted
        from impact.engine.changes.archive_search import search as find

        wanted = Wanted(tenant, actor, table, row_id, action, start, end)
        store = None if archives is None else Store(archives)

        async def run() -> list[Entry]:
            async with as_owner(data_dir, read_only=True) as owner:
                return await find(owner, store, wanted, limit)

        found = asyncio.run(run())
    if as_json:
        for entry in found:
            click.echo(entry_json(entry))
    else:
        click.echo(entries_table(found) if found else "Nothing found.")
    if not found:
        raise SystemExit(1)


@click.command()
@data_dir_option
@click.option("--tenant", help="Of this shop alone.")
@click.option("-n", "count", type=click.IntRange(0, 10_000), default=10, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is entered, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def tail(data_dir: Path, tenant: str | None, count: int, follow: bool, as_json: bool) -> None:
    """Show the audit log's last entries, the newest last.

    Connects as the schema's owner, who sees all shops.
    """
    with one_line():
        require_pyarrow()
        try:
            asyncio.run(_tail(data_dir, tenant, count, follow=follow, as_json=as_json))
        except KeyboardInterrupt:
            raise SystemExit(130) from None


async def _tail(
    data_dir: Path, tenant: str | None, count: int, *, follow: bool, as_json: bool
) -> None:
    from impact.engine.changes.archive_search import Wanted, entered_since, heads, live

    async with as_owner(data_dir, read_only=True) as owner:
        known = await heads(owner, tenant)
        entries = list(reversed(await live(owner, Wanted(tenant=tenant), count))) if count else []
        while True:
            for entry in entries:
                click.echo(entry_json(entry) if as_json else "  ".join(entry_cells(entry)))
            if not follow:
                return
            await asyncio.sleep(_LOOK_EVERY)
            entries = await entered_since(owner, known, tenant)
