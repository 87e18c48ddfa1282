"""``impact bench``: measurements of this machine, each beside what it is compared with."""

import asyncio
import textwrap
from pathlib import Path

import asyncpg
import click
import msgspec

from impact.cli._bench_database import own_database, running_stack
from impact.cli._measuring import (
    CannotRunError,
    Finite,
    Measurements,
    refuse_dropped,
    report_option,
    write_report,
)
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, load_settings
from impact.cli._tables import markdown_table
from impact.cli.bench_growth import command as growth_command
from impact.engine.runtime import open_runtime
from impact.errors import ConfigurationError
from impact.loadtest import audit as audit_bench
from impact.loadtest import audit_log as log_bench
from impact.loadtest import cache as cache_bench
from impact.loadtest import export as export_bench
from impact.loadtest import fairness as fairness_bench
from impact.loadtest import rate_limits as rate_bench
from impact.loadtest import ratios, rows
from impact.loadtest import telemetry as telemetry_bench
from impact.loadtest.goods import Shop, stocked_shop
from impact.loadtest.wrk import require_wrk
from impact.settings import Settings
from impact.stack import Stack


@click.group(cls=Measurements, invoke_without_command=True)
@click.pass_context
@data_dir_option
@click.option(
    "--row",
    "chosen",
    type=click.Choice(list(rows.ROWS)),
    multiple=True,
    help="Only this row; may be given several times.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option(
    "--seconds", type=click.IntRange(1, 3600), default=3, show_default=True, help="Of a round."
)
@click.option(
    "--products",
    type=click.IntRange(10_100, 10_000_000),
    default=50_500,
    show_default=True,
    help="Of the shop whose page 10,000 is asked for.",
)
@report_option("--save", help="Keep the report as JSON.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def bench(
    context: click.Context,
    data_dir: Path,
    chosen: tuple[str, ...],
    rounds: int,
    seconds: int,
    products: int,
    save: Path | None,
    as_json: bool,
) -> None:
    """Measure what Impact does beside the best that could be done for the same, in turns.

    Needs wrk, and a stack in the data directory, on which it makes a database of its own and drops
    it at the end.

    It and its commands exit with 1 where a row is below what it must be or errors were counted, 2
    where nothing could be measured, and 130 after Ctrl-C.
    """
    if context.invoked_subcommand is not None:
        refuse_dropped(context)
        return
    with progress_bar(quiet=as_json) as progress:
        require_wrk()
        stack = running_stack(data_dir)
        with own_database(stack) as (settings, place):
            progress("making two shops", None)
            few, many, version = asyncio.run(_shops(settings, place.owner_url, products))
            machine = ratios.machine(version)
            plan = rows.Bench(
                settings,
                place.owner_url,
                stack.programs / "pgbench",
                few,
                many,
                rounds,
                seconds,
                progress,
            )
            report = ratios.Report(machine, rows.measure(plan, chosen or tuple(rows.ROWS)))
    raw = msgspec.json.format(msgspec.json.encode(report))
    click.echo(raw if as_json else _table(report))
    write_report(save, raw + b"\n")
    context.exit(0 if all(row.met for row in report.rows) else 1)


@bench.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def show(file: Path) -> None:
    """Print the table of a report that --save kept."""
    try:
        report = msgspec.json.decode(file.read_bytes(), type=ratios.Report)
    except msgspec.MsgspecError as error:
        raise CannotRunError(f"{file} is no report of 'impact bench': {error}") from None
    if not report.rows:
        raise CannotRunError(f"{file} has no rows")
    click.echo(_table(report))


def _table(report: ratios.Report) -> str:
    lines = []
    rounds = {row.rounds for row in report.rows}
    for row in report.rows:
        sign = "" if row.more else "at most "
        lines.append(
            [
                row.work,
                row.compared,
                _figure(row.system, row.unit),
                "" if row.limit is None else _figure(row.limit, row.unit),
                f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})",
                f"{sign}{row.at_least:g}: {'met' if row.met else 'NOT MET'}",
                f"{sign}{row.aim:g}: {'met' if row.aimed else row.distance or 'not met'}",
                *([row.rounds] if len(rounds) > 1 else []),
            ]
        )
    head = ["work", "beside", "Impact", "limit", "ratio (spread)", "must be", "aim"]
    if len(rounds) > 1:
        head.append("rounds")
    many = "as many rounds" if len(rounds) > 1 else f"{max(rounds)} rounds"
    found = report.machine
    packages = ", ".join(f"{name} {each}" for name, each in found.packages.items())
    about = (
        f"{found.cores} cores ({found.processor}), load {found.load}, {found.memory_gib} GiB,"
        f" {found.system}, Python {found.python}, PostgreSQL {found.postgresql}, {packages}; commit"
        f" {found.commit or 'unknown'}; medians of {many}."
    )
    return f"{markdown_table(head, lines)}\n\n{textwrap.fill(about, 100)}"


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"


async def _shops(settings: Settings, owner_url: str, products: int) -> tuple[Shop, Shop, str]:
    """One of fifty products, one of thousands, and PostgreSQL's version."""
    owner = await asyncpg.connect(owner_url)
    try:
        async with open_runtime(settings) as runtime:
            few = await stocked_shop(runtime, owner, "bench", 50)
            many = await stocked_shop(runtime, owner, "bench-many", products)
        return few, many, await owner.fetchval("SHOW server_version")
    finally:
        await owner.close()


@bench.command()
@data_dir_option
@click.option("--requests", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def cache(data_dir: Path, requests: int, as_json: bool) -> None:
    """Show what a hit costs in either tier, and the hit rate of a Zipf-distributed browse over
    10,000 products of 20 shops with 5 % writes."""
    settings = load_settings(data_dir)
    if settings.redis_url is None:
        raise ConfigurationError("IMPACT_REDIS_URL is not set: there is no L2 to measure")
    costs = asyncio.run(cache_bench.measure(settings))
    browse = asyncio.run(cache_bench.browse(settings, requests=requests))
    figures = {**msgspec.structs.asdict(costs), **msgspec.structs.asdict(browse)}
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(figures)))
        return
    click.echo(
        f"L1 hit              {costs.l1_hit:8.2f} us   (without waiting {costs.l1_peek:.2f})"
    )
    click.echo(f"permission check    {costs.permission_check:8.2f} us")
    click.echo(
        f"L2 hit              {costs.l2_hit:8.1f} us   ({costs.l2_to_get:.2f} of a bare GET)"
    )
    click.echo(f"bare GET            {costs.bare_get:8.1f} us")
    click.echo(
        f"browse              {browse.hit_rate:8.1%}      of {browse.requests:,} requests,"
        f" {browse.writes:,} of them writes; L1 alone {browse.l1_hit_rate:.1%}"
    )


@bench.command()
@data_dir_option
@click.option("--tenant", default="paris", show_default=True, help="Whose products are listed.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option(
    "--seconds", type=click.IntRange(1, 3600), default=1, show_default=True, help="Of a round."
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def telemetry(data_dir: Path, tenant: str, rounds: int, seconds: int, as_json: bool) -> None:
    """Show what measuring costs: a cached and an uncached list, everything on against off.

    Starts two servers beside what runs, on free ports, and asks them in turns.
    """
    settings = load_settings(data_dir)
    costs = telemetry_bench.measure(settings, tenant, rounds=rounds, seconds=seconds)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(costs)))
        return
    for name, cost in costs.items():
        click.echo(
            f"{name:<10}{cost.on:>8.0f}/s{cost.off:>8.0f}/s{cost.ratio:>10.3f}"
            f"{cost.cpu_on:>8.0f}us{cost.cpu_off:>8.0f}us{cost.cpu_ratio:>10.3f}"
        )


@bench.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def limits(data_dir: Path, as_json: bool) -> None:
    """Show what rate limits cost a request that passes."""
    cost = asyncio.run(rate_bench.measure(load_settings(data_dir)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(cost)))
        return
    click.echo(f"charge              {cost.charge:8.2f} us")
    click.echo(f"headers             {cost.headers:8.2f} us")
    click.echo(f"waited for Redis    {cost.asked:8.2%}      of the requests")


@bench.command()
@click.pass_context
@data_dir_option
@click.option("--tenant", default="paris", show_default=True, help="The one that is measured.")
@click.option("--neighbour", default="lyon", show_default=True, help="The one that asks too much.")
@click.option(
    "--budget",
    type=click.IntRange(1, 1_000_000),
    help="Its requests a second  [default: what takes a sixth of a worker's time here]",
)
@click.option(
    "--times", type=click.IntRange(1, 1000), default=20, show_default=True, help="As many it makes."
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--seconds", type=Finite(0.2, 3600), default=2.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def fairness(
    context: click.Context,
    data_dir: Path,
    tenant: str,
    neighbour: str,
    budget: int | None,
    times: int,
    rounds: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Show what a tenant notices of another that asks for 20 times its budget.

    Starts a server beside what runs, on a free port. Exits with 1 where the tenant was answered an
    error.
    """
    if tenant == neighbour:
        raise click.BadParameter("must be another shop than --tenant", param_hint="'--neighbour'")
    found = fairness_bench.measure(
        load_settings(data_dir),
        tenant,
        neighbour,
        budget=budget,
        times=times,
        rounds=rounds,
        seconds=seconds,
    )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        _show_fairness(found)
    context.exit(1 if found.errors else 0)


def _show_fairness(found: fairness_bench.Fairness) -> None:
    for name, times_of in (
        ("nobody", found.alone),
        ("one within its budget", found.within),
        ("one beyond it", found.beyond),
    ):
        click.echo(
            f"beside {name:<22} p50{times_of.p50:8.2f} ms   p95{times_of.p95:8.2f} ms"
            f"   ratio{times_of.ratio:6.2f}"
        )
    answers = ", ".join(f"{count:,} x {status}" for status, count in found.neighbour.items())
    click.echo(
        f"errors {found.errors}; the one beyond its {found.budget} a second was answered {answers}"
    )


@bench.command()
@data_dir_option
@click.option("--clients", type=click.IntRange(1, 1000), default=25, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--seconds", type=Finite(0.1, 3600), default=4.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def audit(data_dir: Path, clients: int, rounds: int, seconds: float, as_json: bool) -> None:
    """Show what recording changes costs: orders through the API and bulk updates with the
    triggers on and off, and how many records a second the relay moves.

    It makes a database of its own on the stack in the data directory and drops it at the end.
    """
    with progress_bar(quiet=as_json) as progress:
        stack = running_stack(data_dir)
        with own_database(stack) as (settings, place):
            costs = asyncio.run(
                audit_bench.measure(
                    settings,
                    place.owner_url,
                    clients=clients,
                    rounds=rounds,
                    seconds=seconds,
                    progress=progress,
                )
            )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(costs)))
        return
    click.echo(f"{'':20}{'recorded':>12}{'not':>12}{'cost':>8}")
    for label, unit, each in (
        (f"orders, {clients} clients", "/s", costs.orders),
        *((f"10,000 {name}", "ms", each) for name, each in costs.updates.items()),
    ):
        click.echo(f"{label:20}{each.on:10,.1f} {unit}{each.off:10,.1f} {unit}{each.ratio:7.2f}")
    click.echo(f"relay               {costs.relay:10,} records/s, of {costs.records:,}")


@bench.command("audit-log")
@data_dir_option
@click.option(
    "--rows", type=click.IntRange(1200, 1_000_000_000), default=10_000_000, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def audit_log(data_dir: Path, rows: int, as_json: bool) -> None:
    """Show what pages of an audit log of twelve months cost with B-tree and with BRIN indexes.

    Fills a database of its own in the stack of the data directory, and drops it. Ten million rows
    take about 12 GB and half an hour.
    """
    stack = Stack(running_stack(data_dir).data_dir, replicas=0)
    with own_database(stack) as (_, place), progress_bar(quiet=as_json) as progress:
        work = log_bench.measure(place.owner_url, place.primary_url, rows, progress)
        figures = asyncio.run(work)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(figures)))
        return
    btree, brin = figures.btree, figures.brin
    sizes = [
        (name, f"{size / 1e6:,.0f} MB")
        for name, size in ({"table": figures.table_bytes} | btree.bytes | brin.bytes).items()
    ]
    inserts = [
        ("primary key alone", f"{figures.bare_insert_us:.1f} us"),
        ("and B-tree", f"{btree.insert_us:.1f} us"),
        ("and BRIN", f"{brin.insert_us:.1f} us"),
    ]
    pages = [
        [
            *(one.case, one.found, one.partitions, f"{one.ms:.1f}", f"{one.generic_ms:.1f}"),
            *(other.partitions, f"{other.ms:.1f}"),
        ]
        for one, other in zip(btree.pages, brin.pages, strict=True)
    ]
    head = ("page", "rows", "partitions", "ms", "generic plan, ms", "BRIN: partitions", "ms")
    click.echo(markdown_table(head, pages))
    click.echo(f"\n{markdown_table(('insert of a row', ''), inserts)}")
    click.echo(f"\n{markdown_table((f'{figures.rows:,} rows', 'size'), sizes)}\n\n{figures.plan}")


@bench.command()
@data_dir_option
@click.option("--rows", type=click.IntRange(4, 1_000_000_000), default=1_000_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def export(data_dir: Path, rows: int, as_json: bool) -> None:
    """Show what an export of order lines costs: memory of the worker, time to the first byte,
    rows a second.

    It makes a database of its own on the stack in the data directory and drops it at the end. A
    million rows take some minutes and 600 MB on each node.
    """
    with (
        progress_bar(quiet=as_json) as progress,
        own_database(running_stack(data_dir)) as (settings, place),
    ):
        work = export_bench.measure(settings, place.owner_url, rows=rows, progress=progress)
        found = asyncio.run(work)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    head = ("export", "MB", "rows/s", "first byte, ms", "slowest", "memory, MB", "peak", "raised")
    table = [
        [
            *(name, f"{each.bytes / 1e6:,.0f}", f"{each.rows / each.seconds:,.0f}"),
            *(f"{each.first_ms:.0f}", f"{each.slowest_first_ms:.0f}"),
            *(f"{value / 1e6:.0f}" for value in (each.memory_before, each.memory_peak)),
            f"{each.raised / 1e6:.1f}",
        ]
        for name, each in found.items()
    ]
    click.echo(markdown_table(head, table))


bench.add_command(growth_command)
