"""``impact loadtest``: the platform's load on a server that runs, judged by its targets."""

import asyncio
import functools
from pathlib import Path

import click
import msgspec

from impact.cli._measuring import INTERRUPTED, Finite, one_line, report_option, write_report
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, load_settings
from impact.cli._tables import markdown_table
from impact.cli.token import issue
from impact.engine.db.tenancy import validate_slug

try:
    from impact.loadtest.scenarios import page
    from impact.loadtest.scenarios.recording import Figures
    from impact.loadtest.scenarios.report import Report, ScenarioReport
    from impact.loadtest.scenarios.run import SCENARIOS, Plan, run
    from impact.loadtest.scenarios.shop_day import ShopDay
    from impact.loadtest.scenarios.shops import Left
    from impact.loadtest.scenarios.targets import TARGETS, Check
except ModuleNotFoundError as missing:
    if missing.name != "aiohttp":
        raise
    raise click.ClickException("this needs aiohttp: pip install 'impact[loadtest]'") from missing

_TOKEN_SECONDS = 86_400


@click.command()
@click.argument("scenarios", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option(
    "--url", default="http://localhost:9000", show_default=True, help="The server that runs."
)
@data_dir_option
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="TENANT=TOKEN",
    help="A token of a shop's staff; may be given several times  [default: one is issued with the "
    "keys of the data directory]",
)
@click.option("--tenant", default="paris", show_default=True, help="The shop that is judged.")
@click.option(
    "--noisy-tenant", default="lyon", show_default=True, help="The noisy shop of the shop day."
)
@click.option(
    "--targets", type=click.Choice(list(TARGETS)), default="development", show_default=True
)
@click.option(
    "-n",
    "--visits",
    type=click.IntRange(1, 1_000_000_000),
    default=None,
    help="Visits of a scenario  [default: its own size, or no end with --duration]",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=None,
    help="Callers at once  [default: the scenario's own]",
)
@click.option(
    "--rate",
    type=Finite(0.001, 1_000_000),
    default=None,
    help="Visits that arrive each second, whatever becomes of them (open loop)  [default: the "
    "scenario's own; each caller sends its next request when it has its answer where it has none]",
)
@click.option(
    "--closed-loop",
    is_flag=True,
    help="No visits arrive by themselves: each caller sends its next request when it has its "
    "answer, in all scenarios.",
)
@click.option(
    "--duration",
    type=Finite(0.01, 604_800),
    default=None,
    help="Seconds after which a scenario ends; a visit due by then that was not sent has failed.",
)
@click.option(
    "--warm-up",
    type=click.IntRange(0, 1_000_000_000),
    default=None,
    help="Visits before a scenario is measured  [default: a tenth of its size]",
)
@click.option(
    "--timeout",
    type=Finite(0.001, 3_600),
    default=30.0,
    show_default=True,
    help="Seconds after which a request has failed.",
)
@click.option(
    "--metrics-token", default=None, help="IMPACT_METRICS_TOKEN of a server that has one."
)
@click.option("--seed", type=click.IntRange(0, 2**32), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@report_option("--html", help="Write a page with latency curves there.")
@click.pass_context
def loadtest(
    context: click.Context,
    scenarios: tuple[str, ...],
    url: str,
    data_dir: Path,
    tokens: tuple[str, ...],
    tenant: str,
    noisy_tenant: str,
    targets: str,
    visits: int | None,
    concurrency: int | None,
    rate: float | None,
    closed_loop: bool,
    duration: float | None,
    warm_up: int | None,
    timeout: float,
    metrics_token: str | None,
    seed: int,
    as_json: bool,
    html: Path | None,
) -> None:
    """Put the platform's load on a server that runs, and judge what it does.

    Without a scenario all are run, one after the other: products, orders, permissions and
    shop-day. What a run needs it makes through the API, and removes it at the end; cancelled
    orders remain.

    Exits with 0 where all targets are met, 1 where one is not or a request failed, 2 where it
    could not run, and 130 after Ctrl-C.
    """
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"'{url}' is no http:// or https:// address", param_hint="--url")
    chosen = scenarios or tuple(SCENARIOS)
    shops = {tenant, noisy_tenant} if ShopDay.name in chosen else {tenant}
    if ShopDay.name in chosen and len(shops) == 1:
        raise click.BadParameter("must be another shop than --tenant", param_hint="--noisy-tenant")
    if closed_loop and rate is not None:
        raise click.BadParameter("means an open loop", param_hint="--rate with --closed-loop")
    given = dict(_pair(each) for each in tokens)
    for stranger in given.keys() - shops:
        raise click.BadParameter(f"the shop '{stranger}' takes no part", param_hint="--token")
    plan = Plan(
        url=url.rstrip("/"),
        scenarios=chosen,
        targets=TARGETS[targets],
        token_of=functools.partial(_token, data_dir, given),
        tenant=tenant,
        noisy_tenant=noisy_tenant,
        visits=visits,
        concurrency=concurrency,
        rate=rate,
        closed_loop=closed_loop,
        duration=duration,
        warm_up=warm_up,
        timeout=timeout,
        metrics_token=metrics_token,
        seed=seed,
    )
    left = Left()
    try:
        with one_line(), progress_bar(quiet=as_json) as progress:
            report = asyncio.run(run(plan, progress, left))
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {_remains(left)}", err=True)
        context.exit(INTERRUPTED)
    click.echo(
        msgspec.json.format(msgspec.json.encode(report)).decode() if as_json else _shown(report)
    )
    if html is not None:
        write_report(html, page.written(report).encode())
    context.exit(0 if report.met else 1)


def _remains(left: Left) -> str:
    """Orders can be deleted by nobody."""
    orders = f"{left.orders:,} cancelled orders remain"
    if left.unanswered:
        orders += f", and up to {left.unanswered:,} pending ones whose answer had not come"
    if left.unremoved:
        return f"{orders}; {left.unremoved:,} orders or goods could not be removed."
    return f"{orders}; the goods and users of the run are removed."


def _pair(text: str) -> tuple[str, str]:
    tenant, found, token = text.partition("=")
    if not (tenant and found and token):
        raise click.BadParameter("write it as TENANT=TOKEN", param_hint="--token")
    return tenant, token


def _token(data_dir: Path, given: dict[str, str], tenant: str) -> str:
    """Raises ImpactError where none is given and none can be issued."""
    found = given.get(tenant)
    if found is not None:
        return found
    settings = load_settings(data_dir)
    return asyncio.run(issue(settings, validate_slug(tenant), None, _TOKEN_SECONDS))


def _shown(report: Report) -> str:
    parts = [_scenario(each) for each in report.scenarios]
    where = report.machine
    parts.append(
        f"{report.url}, targets: {report.targets.name}. {where.cores} cores, load average"
        f" {where.load:g} before.\n\n"
        f"{'All targets are met.' if report.met else 'NOT ALL TARGETS ARE MET.'}"
    )
    return "\n\n".join(parts)


def _scenario(found: ScenarioReport) -> str:
    load = found.load
    arrivals = "" if load.rate is None else f", {load.rate:g} visits due each second"
    if load.warm_up:
        arrivals += f", after {load.warm_up:,} visits to warm up"
    lines = [
        f"{found.title}: {found.requests:,} requests in {found.client.seconds:.1f} s"
        f" ({found.per_second:,.0f}/s), {load.concurrency} callers{arrivals}",
        "",
        _kinds(found.kinds, open_loop=load.rate is not None),
        "",
        markdown_table(
            ("target", "measured", "limit", "verdict"), [_check_row(each) for each in found.checks]
        ),
    ]
    lines += [f"{count:,} x {what}" for what, count in found.failures.items()]
    if found.client.bottleneck:
        lines.append(
            f"The load generator used {found.client.cpu:.0%} of a core: it may be what was"
            " measured. Use less concurrency, or several at once."
        )
    if found.left:
        lines.append(f"{found.left:,} orders or goods of the run could not be removed.")
    return "\n".join(lines)


def _kinds(kinds: list[Figures], *, open_loop: bool) -> str:
    head = ["request", "count", "failed", "mean ms", "p50", "p90", "p95", "p99", "max"]
    if open_loop:
        head.append("p99 from sending")
    rows = []
    for each in kinds:
        row = [each.kind, f"{each.requests:,}", f"{each.failed:,}"]
        shown = [each.mean, each.p50, each.p90, each.p95, each.p99, each.max]
        if open_loop:
            shown.append(each.uncorrected_p99)
        rows.append([*row, *(f"{value:,.1f}" for value in shown)])
    return markdown_table(head, rows)


def _check_row(check: Check) -> list[str]:
    return [
        check.name,
        "nothing" if check.measured is None else page.value(check.measured, check.unit),
        page.value(check.limit, check.unit),
        "met" if check.met else "NOT MET",
    ]
