"""Which alerts stand. A rule's values become events: one when it fires, one when it is over."""

from collections.abc import Iterable, Sequence

import msgspec

from impact.engine.telemetry.workers import Totals
from impact.ops.alerts.measures import Labels, Record, figures
from impact.ops.alerts.rules import Rule


class Alert(msgspec.Struct, kw_only=True):
    """One rule's alert for one set of labels. Times are seconds since 1970."""

    rule: str
    severity: str
    summary: str
    advice: str
    labels: dict[str, str]
    value: float
    shown: str
    threshold: str
    since: float
    resolved: float | None = None


class Judge:
    """Judges the rules again and again; keeps what a rule needs to know of before."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.standing: dict[tuple[str, Labels], Alert] = {}
        self._beyond_since: dict[tuple[str, Labels], float] = {}
        self._record = Record()
        self._metrics = {term.metric for rule in rules for term in rule.measure.terms()}

    def judge(self, totals: Totals, at: float, clock: float) -> list[Alert]:
        """What fired or ended. ``at`` never goes back; ``clock`` is what people read."""
        self._record.add(at, figures(totals, self._metrics))
        return [event for rule in self.rules for event in self._judge(rule, at, clock)]

    def _judge(self, rule: Rule, at: float, clock: float) -> Iterable[Alert]:
        values = rule.measure.values(self._record)
        stood = {labels for name, labels in self.standing if name == rule.name}
        for labels, value in values.items():
            key = rule.name, labels
            standing = self.standing.get(key)
            if not rule.fires(value, firing=standing is not None):
                self._beyond_since.pop(key, None)
                continue
            stood.discard(labels)
            if standing is not None:
                standing.value, standing.shown = value, rule.show(value)
            elif at - self._beyond_since.setdefault(key, at) >= rule.hold:
                alert = self.standing[key] = _made(rule, labels, value, clock)
                yield alert
        # Back on the good side, or nothing is measured any more.
        for labels in stood:
            alert = self.standing.pop(key := (rule.name, labels))
            self._beyond_since.pop(key, None)
            if labels in values:
                alert.value, alert.shown = values[labels], rule.show(values[labels])
            alert.resolved = clock
            yield alert


def _made(rule: Rule, labels: Labels, value: float, clock: float) -> Alert:
    sign = ">" if rule.above is not None else "<"
    return Alert(
        rule=rule.name,
        severity=rule.severity,
        summary=rule.summary,
        advice=rule.advice,
        labels=dict(zip(rule.measure.by, labels, strict=True)),
        value=value,
        shown=rule.show(value),
        threshold=f"{sign} {rule.show(rule.threshold)}",
        since=clock,
    )
