"""``impact alerts``: the rules, for people and for Prometheus."""

import asyncio
import time

import click
import msgspec

from impact.cli._settings import one_line
from impact.cli._tables import markdown_table
from impact.errors import ConfigurationError
from impact.ops.alerts.prometheus import expression, rules_file
from impact.ops.alerts.rules import RULES, Rule, chosen
from impact.ops.alerts.state import Alert
from impact.ops.alerts.webhook import Webhook

_thresholds = click.option(
    "--thresholds",
    envvar="IMPACT_ALERT_THRESHOLDS",
    default="",
    show_envvar=True,
    help="Instead of the rules' own: cache-hit-rate=0.7,pool-use=0.9",
)


@click.group()
def alerts() -> None:
    """Show the alert rules, write them for Prometheus, try the webhook."""


@alerts.command("list")
@_thresholds
@click.option("--json", "as_json", is_flag=True, help="The rules as JSON.")
def list_(thresholds: str, as_json: bool) -> None:
    """Show every rule with its threshold, and when it is over again."""
    with one_line():
        rules = _chosen(thresholds)
    if as_json:
        shown = [
            {
                "name": rule.name,
                "severity": rule.severity,
                "summary": rule.summary,
                "above": rule.above,
                "below": rule.below,
                "margin": rule.margin,
                "hold_seconds": rule.hold,
                "expression": expression(rule),
                "advice": rule.advice,
            }
            for rule in rules
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(shown)))
        return
    head = ("rule", "severity", "fires", "what it means")
    rows = [(rule.name, rule.severity, _condition(rule), rule.summary) for rule in rules]
    click.echo(markdown_table(head, rows))


def _condition(rule: Rule) -> str:
    sign, back = (">", -rule.margin) if rule.above is not None else ("<", rule.margin)
    text = f"{sign} {rule.show(rule.threshold)}"
    if rule.hold:
        text += f" for {rule.hold:.0f} s"
    return f"{text}, over at {rule.show(rule.threshold + back)}" if rule.margin else text


@alerts.command()
@_thresholds
def prometheus(thresholds: str) -> None:
    """Print the rules as a file for Prometheus (deploy/prometheus/rules.yml)."""
    with one_line():
        click.echo(rules_file(_chosen(thresholds)), nl=False)


def _chosen(thresholds: str) -> tuple[Rule, ...]:
    try:
        return chosen([part.strip() for part in thresholds.split(",") if part.strip()])
    except ValueError as error:
        raise ConfigurationError(f"IMPACT_ALERT_THRESHOLDS: {error}") from error


@alerts.command()
@click.option("--url", envvar="IMPACT_ALERT_WEBHOOK", required=True, show_envvar=True)
@click.option("--secret", envvar="IMPACT_ALERT_SECRET", required=True, show_envvar=True)
def test(url: str, secret: str) -> None:
    """Send one alert to the webhook, and its end. Exit status 1 where it was not taken."""
    rule = RULES[0]
    alert = Alert(
        rule="test",
        severity=rule.severity,
        summary="A test of the webhook: nothing is wrong",
        advice="",
        labels={},
        value=0.0,
        shown="0",
        threshold="> 0",
        since=time.time(),
    )
    alert.resolved = alert.since
    problem = asyncio.run(Webhook(url, secret).send_now(alert))
    if problem is not None:
        raise click.ClickException(f"the webhook did not take it: {problem}")
    click.echo("The webhook took it")
