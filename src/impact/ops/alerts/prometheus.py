"""The rules as Prometheus reads them.

Hysteresis, which Prometheus has no word for, is the alert's own series: a value on the good side
of the threshold, but within the margin, keeps an alert that fires and starts none.
"""

import json
from collections.abc import Iterable

from impact.ops.alerts.rules import Rule

_HEADER = "# Written by `impact alerts prometheus`; a test compares. Check: promtool check rules\n"


def rules_file(rules: Iterable[Rule]) -> str:
    """YAML, of which JSON's strings are a part."""
    lines = [_HEADER + "groups:", "  - name: impact", "    rules:"]
    for rule in rules:
        lines += [
            f"      - alert: {alert_name(rule)}",
            f"        expr: {json.dumps(expression(rule))}",
            *([f"        for: {rule.hold:.0f}s"] if rule.hold else []),
            "        labels:",
            f"          severity: {rule.severity}",
            "        annotations:",
            f"          summary: {json.dumps(rule.summary)}",
            f"          description: {json.dumps(rule.advice)}",
        ]
    return "\n".join(lines) + "\n"


def alert_name(rule: Rule) -> str:
    return "Impact" + "".join(part.title() for part in rule.name.split("-"))


def expression(rule: Rule) -> str:
    """PromQL that has a value where the alert stands."""
    value = rule.measure.promql()
    sign = ">" if rule.above is not None else "<"
    fires = f"{value} {sign} {rule.threshold:g}"
    if not rule.margin:
        return fires
    kept = rule.threshold + (-rule.margin if sign == ">" else rule.margin)
    by = ", ".join(label.replace(".", "_") for label in rule.measure.by)
    stands = f'ALERTS{{alertname="{alert_name(rule)}", alertstate="firing"}}'
    return f"{fires} or ({value} {sign} {kept:g} and on({by}) {stands})"
