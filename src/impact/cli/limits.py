"""``impact limits``: the rate limits."""

import os

import click
import msgspec

from impact.cli._settings import one_line
from impact.cli._tables import markdown_table
from impact.engine.limits.policies import Policies
from impact.settings import variable


@click.command(name="limits")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the rate limits, with what IMPACT_RATE_LIMITS changes of them. Needs no server."""
    entries = os.environ.get(variable("rate_limits"), "").split(",")
    with one_line():
        policies = list(Policies(entry.strip() for entry in entries if entry.strip()))
    if as_json:
        rows = [{"tenant": tenant, **msgspec.structs.asdict(each)} for tenant, each in policies]
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    click.echo(
        markdown_table(
            ("tenant", "policy", "requests", "seconds", "which"),
            [
                (tenant, each.name, f"{each.limit:,}", each.window, each.about)
                for tenant, each in policies
            ],
        )
    )
