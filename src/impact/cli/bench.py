"""``impact bench``: measurements of this machine, each beside what it is compared with."""

import asyncio
import secrets
from pathlib import Path

import click
import msgspec

from impact import settings as settings_module
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, load_settings, one_line, signing_keys
from impact.cli._tables import markdown_table
from impact.cli.serve import require_free_port
from impact.errors import ConfigurationError
from impact.loadtest import audit as audit_bench
from impact.loadtest import audit_log as log_bench
from impact.loadtest import cache as cache_bench
from impact.loadtest import telemetry as telemetry_bench
from impact.ops import migrations
from impact.stack import Stack


@click.group()
def bench() -> None:
    """Measure this machine."""


@bench.command()
@data_dir_option
@click.option("--requests", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def cache(data_dir: Path, requests: int, as_json: bool) -> None:
    """Show what a hit costs in either tier, and the hit rate of a Zipf-distributed browse over
    10,000 products of 20 shops with 5 % writes."""
    with one_line():
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
@click.option("--rounds", type=click.IntRange(1), default=30, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.2), default=0.5, show_default=True, help="Of one round."
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def telemetry(data_dir: Path, tenant: str, rounds: int, seconds: float, as_json: bool) -> None:
    """Show what measuring costs: a cached and an uncached list, everything on against off.

    Starts two servers beside what runs, on free ports, and asks them in turns.
    """
    with one_line():
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
@click.option("--clients", type=click.IntRange(1), default=25, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1), default=4.0, show_default=True)
@click.option("--port", type=int, default=9099, show_default=True, help="Of the server it starts.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def audit(
    data_dir: Path, clients: int, rounds: int, seconds: float, port: int, as_json: bool
) -> None:
    """Show what recording changes costs: orders through the API and bulk updates with the
    triggers on and off, and how many records a second the relay moves.

    It makes a database of its own on the stack in the data directory and drops it at the end.
    """
    with one_line(), progress_bar(quiet=as_json) as progress:
        require_free_port("127.0.0.1", port)
        stack = Stack(data_dir)
        if stack.endpoints() is None:
            raise ConfigurationError(
                f"there is no stack in {data_dir}; start one with 'impact stack up'"
            )
        name = f"bench_{secrets.token_hex(4)}"
        endpoints = stack.create_database(name)
        try:
            migrations.upgrade(endpoints.owner_url)
            settings = settings_module.load(
                {},
                primary_url=endpoints.primary_url,
                redis_url=endpoints.redis_url,
                cache_service=name.replace("_", "-"),
                signing_keys=signing_keys(data_dir),
                data_dir=str(data_dir),
                port=port,
                log_level="error",
            )
            costs = asyncio.run(
                audit_bench.measure(
                    settings,
                    endpoints.owner_url,
                    clients=clients,
                    rounds=rounds,
                    seconds=seconds,
                    progress=progress,
                )
            )
        finally:
            stack.drop_database(name)
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
@click.option("--rows", type=click.IntRange(1200), default=10_000_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def audit_log(data_dir: Path, rows: int, as_json: bool) -> None:
    """Show what pages of an audit log of twelve months cost with B-tree and with BRIN indexes.

    Fills a database of its own in the stack of the data directory, and drops it. Ten million rows
    take about 12 GB and half an hour.
    """
    with one_line():
        stack = Stack(data_dir, replicas=0)
        if stack.endpoints() is None:
            raise ConfigurationError(f"there is no stack in {data_dir}: impact stack up")
        place = stack.create_database("bench_audit_log")
        try:
            migrations.upgrade(place.owner_url)
            with progress_bar(quiet=as_json) as progress:
                work = log_bench.measure(place.owner_url, place.primary_url, rows, progress)
                figures = asyncio.run(work)
        finally:
            stack.drop_database("bench_audit_log")
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
