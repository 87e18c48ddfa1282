"""``impact bench growth``: the same routes at a thousand and at ten million."""

import asyncio
from pathlib import Path

import click
import msgspec

from impact.cli._bench_database import own_database, running_stack
from impact.cli._measuring import CannotRunError, refuse_dropped, report_option, write_report
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option
from impact.cli._tables import markdown_table
from impact.loadtest import growth
from impact.loadtest.growth import Growth, Progress, Sizes


@click.group("growth", invoke_without_command=True)
@click.pass_context
@data_dir_option
@click.option(
    "--size",
    type=click.Choice(["full", "quick"]),
    default="full",
    show_default=True,
    help="Full: a million products, 10 million order lines, 10,000 shops. Quick: a hundredth.",
)
@click.option(
    "--lines", type=click.IntRange(3, 1_000_000_000), help="Order lines, in place of the size's."
)
@report_option("--save", help="Keep the figures as JSON.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def command(
    context: click.Context,
    data_dir: Path,
    size: str,
    lines: int | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Show what the same routes cost as a shop and its platform grow.

    It makes a database of its own on the stack in the data directory and drops it at the end. The
    full size takes about a quarter of an hour and 8 GB on each node.
    """
    if context.invoked_subcommand is not None:
        refuse_dropped(context)
        return
    sizes = Sizes() if size == "full" else growth.QUICK
    if lines is not None:
        sizes = msgspec.structs.replace(sizes, lines=lines)
    with progress_bar(quiet=as_json) as progress:
        found = _measure(data_dir, sizes, progress)
    raw = msgspec.json.format(msgspec.json.encode(found))
    click.echo(raw if as_json else table(found))
    write_report(save, raw + b"\n")


def _measure(data_dir: Path, sizes: Sizes, progress: Progress) -> Growth:
    with own_database(running_stack(data_dir)) as (settings, place):
        # What is measured is one node; whatever replicas there are follow it.
        alone = msgspec.structs.replace(settings, replica_urls=())
        work = growth.measure(alone, place.owner_url, place.admin_url, sizes, progress)
        return asyncio.run(work)


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def show(file: Path) -> None:
    """Print the tables of figures that --save kept."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Growth)
    except msgspec.MsgspecError as error:
        raise CannotRunError(f"{file} is no figures of 'bench growth': {error}") from None
    click.echo(table(found))


def table(found: Growth) -> str:
    costs = [
        (each.route, each.at, f"{each.ms:.2f}", f"{each.buffers:,.0f}", f"{each.rows:,.0f}")
        for each in found.costs
    ]
    deep = [(name, f"{ratio:.2f}") for name, ratio in found.deep.items()]
    memory = [(name, f"{size / 1e6:.0f}") for name, size in found.memory.items()]
    machine = found.machine
    return "\n\n".join(
        (
            markdown_table(("request", "at", "ms", "buffers", "rows"), costs),
            markdown_table(("page 10,000 by cursor over page 1", "buffers"), deep),
            markdown_table(("resident memory of the worker after", "MB"), memory),
            f"{machine.cores} cores ({machine.processor}), load {machine.load}, Python"
            f" {machine.python}, PostgreSQL {machine.postgresql}; commit"
            f" {machine.commit or 'unknown'}.",
        )
    )
