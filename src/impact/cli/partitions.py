"""``impact partitions``: the audit log's partitions, and those that are missing."""

import asyncio
import datetime as dt
from pathlib import Path

import click
import msgspec

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.cli._tables import markdown_table
from impact.engine.changes.partitions import AHEAD, Partition
from impact.engine.runtime import open_runtime
from impact.settings import Settings


class _Report(msgspec.Struct):
    """``astray`` maps a day or month to its rows in the default partition."""

    partitions: list[Partition]
    made: list[str]
    astray: dict[dt.date, int]


@click.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def partitions(data_dir: Path, as_json: bool) -> None:
    """Make the partitions of the audit log that are missing, and list all.

    Prepared are the current day or month (IMPACT_AUDIT_PARTITION) and the seven after it. Entries
    in the default partition are moved into one of their own. The server does the same by itself,
    every hour. Row counts are PostgreSQL's estimates. Exit status 1 when one could not be made
    or entries are left in the default partition.
    """
    with one_line():
        report = asyncio.run(_prepare(load_settings(data_dir, telemetry=False)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        click.echo(_table(report))
    if report.astray:
        raise SystemExit(1)


async def _prepare(settings: Settings) -> _Report:
    async with open_runtime(settings) as runtime:
        made = await runtime.partitions.ensure()
        return _Report(
            partitions=await runtime.partitions.listed(),
            made=made,
            astray=await runtime.partitions.astray(),
        )


def _table(report: _Report) -> str:
    rows = [
        (
            part.name,
            f"{part.lower:%Y-%m-%d}",
            f"{part.upper:%Y-%m-%d}",
            f"{part.rows:,}",
            f"{part.bytes:,}",
            "made now" if part.name in report.made else "",
        )
        for part in report.partitions
    ]
    lines = [markdown_table(("partition", "from", "before", "rows", "bytes", ""), rows), ""]
    if report.astray:
        lines.append("In the default partition, which should be empty:")
        lines += [f"  {day}  {count:,} rows" for day, count in report.astray.items()]
    else:
        lines.append(f"{AHEAD} periods ahead are prepared; the default partition is empty.")
    return "\n".join(lines)
