"""Alert rules: where they fire, where they do not, and when they are over."""

import pytest

from impact.engine.telemetry.names import METRICS
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.series import Kind, Series
from impact.engine.telemetry.workers import Totals
from impact.errors import ConfigurationError
from impact.ops.alerts.rules import RULES, chosen
from impact.ops.alerts.state import Judge


class Machine:
    """A server whose figures are set by hand, looked at every five seconds."""

    def __init__(self, *thresholds: str) -> None:
        self._judge = Judge(chosen(thresholds))
        self._now = 1000.0
        self.samples: dict[tuple[str, tuple[str, ...]], float] = {}
        self.statuses: dict[str, int] = {}

    def set(self, metric: str, value: float, *labels: str) -> None:
        self.samples[metric, labels] = value

    def lookups(self, asked: float, hits: float) -> None:
        """That many look-ups more, and those of them that PostgreSQL did not answer."""
        for labels, value in (
            (("l1", "product", "true"), hits),
            (("l1", "product", "false"), asked - hits),
            (("database", "product", "false"), asked - hits),
        ):
            key = ("impact.cache.lookups", labels)
            self.samples[key] = self.samples.get(key, 0.0) + value

    def look(self, seconds: float = 5.0) -> list[tuple[str, bool]]:
        """Time goes on, and the rules are judged; each event's rule, and whether it fires."""
        self._now += seconds
        series = []
        for status, count in self.statuses.items():
            each = Series(Kind.ROUTE, "GET /admin/products", status, status >= "500")
            each.add([1.0] * count, 1)
            series.append(each)
        samples = [
            Sample(metric, value, labels) for (metric, labels), value in self.samples.items()
        ]
        found = self._judge.judge(Totals(samples=samples, series=series), self._now, self._now)
        return [(alert.rule, alert.resolved is None) for alert in found]

    @property
    def standing(self) -> list[str]:
        return [alert.rule for alert in self._judge.standing.values()]


class TestDrill:
    @pytest.mark.parametrize(("percent", "fires"), [(74, True), (75, False), (76, False)])
    def test_hit_rate(self, percent: int, fires: bool) -> None:
        machine = Machine()
        machine.lookups(0, 0)
        machine.look()
        machine.lookups(1000, percent * 10)
        assert machine.look() == ([("cache-hit-rate", True)] if fires else [])

    @pytest.mark.parametrize(("percent", "fires"), [(81, True), (80, False), (79, False)])
    def test_pool(self, percent: int, fires: bool) -> None:
        machine = Machine()
        machine.set("db.client.connection.count", percent, "primary", "used")
        machine.set("db.client.connection.count", 3, "primary", "idle")
        machine.set("db.client.connection.max", 100, "primary")
        machine.set("db.client.connection.count", 1, "replica-1", "used")
        machine.set("db.client.connection.max", 100, "replica-1")
        assert machine.look() == ([("pool-use", True)] if fires else [])

    @pytest.mark.parametrize(("percent", "fires"), [(1.1, True), (1.0, False)])
    def test_errors(self, percent: float, fires: bool) -> None:
        machine = Machine()
        machine.statuses = {"200": 1, "500": 0}
        machine.look()
        machine.statuses = {"200": 1 + round(1000 - percent * 10), "500": round(percent * 10)}
        assert machine.look() == ([("error-rate", True)] if fires else [])

    def test_a_slow_query_rings_for_a_minute(self) -> None:
        machine = Machine()
        machine.look()
        machine.set("impact.query.alert", 1, "orders.page")
        assert machine.look() == [("slow-query", True)]
        assert machine.look(50) == []
        assert machine.look(10) == [("slow-query", False)]

    def test_lag_must_stand(self) -> None:
        machine = Machine()
        machine.set("impact.node.lag", 11, "replica-1")
        assert machine.look() == []
        assert machine.look() == []
        assert machine.look() == [("replica-lag", True)]
        machine.set("impact.node.lag", 11, "replica-1")
        machine.set("impact.node.lag", 0, "replica-1")
        machine.look()
        machine.set("impact.node.lag", 11, "replica-1")
        assert machine.look() == []

    @pytest.mark.parametrize(
        ("metric", "labels", "good", "bad", "rule"),
        [
            ("impact.node.usable", ("replica-1", "replica"), 1, 0, "node-unusable"),
            ("impact.breaker.open", ("redis",), 0, 1, "dependency-away"),
            ("impact.relay.oldest", (), 30, 31, "relay-lag"),
            ("impact.audit.default_rows", (), 0, 1, "default-partition"),
            ("impact.audit.prepared", (), 259_200, 259_199, "partitions-running-out"),
            ("impact.events.dropped", (), 0, 1, "events-dropped"),
            ("impact.disk.used", ("/",), 0.85, 0.86, "disk"),
            ("impact.telemetry.dropped", ("traces", "queue"), 0, 1, "telemetry-dropped"),
        ],
    )
    def test_the_others(
        self, metric: str, labels: tuple[str, ...], good: float, bad: float, rule: str
    ) -> None:
        machine = Machine()
        machine.set(metric, good, *labels)
        for _ in range(20):
            assert machine.look() == []
        machine.set(metric, bad, *labels)
        events = [event for _ in range(20) for event in machine.look()]
        assert events == [(rule, True)]


class TestHysteresis:
    def test_a_value_on_the_edge_rings_once(self) -> None:
        machine = Machine()
        machine.set("db.client.connection.max", 100, "primary")
        events = []
        for used in (81, 79, 81, 75, 82, 71, 70):
            machine.set("db.client.connection.count", used, "primary", "used")
            events += machine.look()
        assert events == [("pool-use", True), ("pool-use", False)]

    def test_what_is_not_measured_any_more_is_over(self) -> None:
        machine = Machine()
        machine.set("impact.relay.oldest", 100)
        assert machine.look() == [("relay-lag", True)]
        machine.samples.clear()
        assert machine.look() == [("relay-lag", False)]
        assert machine.standing == []

    def test_each_label_rings_for_itself(self) -> None:
        machine = Machine()
        for node in ("primary", "replica-1"):
            machine.set("db.client.connection.max", 10, node)
            machine.set("db.client.connection.count", 9, node, "used")
        assert machine.look() == [("pool-use", True)] * 2
        machine.set("db.client.connection.count", 1, "primary", "used")
        assert machine.look() == [("pool-use", False)]
        assert machine.standing == ["pool-use"]


class TestVolume:
    def test_few_look_ups_are_no_rate(self) -> None:
        machine = Machine()
        machine.lookups(0, 0)
        machine.look()
        machine.lookups(499, 0)
        assert machine.look() == []

    def test_what_was_before_does_not_count(self) -> None:
        """A cold start is forgotten after five minutes; a bad hour behind it does not ring."""
        machine = Machine()
        machine.lookups(100_000, 0)
        machine.look()
        machine.lookups(1000, 800)
        assert machine.look() == []

    def test_a_counter_that_began_anew_is_no_negative_growth(self) -> None:
        machine = Machine()
        machine.set("impact.query.alert", 50, "orders.page")
        machine.look()
        machine.set("impact.query.alert", 0, "orders.page")
        assert machine.look() == []


class TestRules:
    def test_every_rule_has_one_threshold_and_known_metrics(self) -> None:
        for rule in RULES:
            assert (rule.above is None) is not (rule.below is None), rule.name
            for term in rule.measure.terms():
                assert set(term.where) | set(rule.measure.by) <= set(METRICS[term.metric].labels)

    def test_thresholds_of_ones_own(self) -> None:
        machine = Machine("pool-use=0.5")
        machine.set("db.client.connection.max", 100, "primary")
        machine.set("db.client.connection.count", 51, "primary", "used")
        assert machine.look() == [("pool-use", True)]

    def test_unknown_rule(self) -> None:
        with pytest.raises(ConfigurationError, match="the rules are cache-hit-rate"):
            chosen(["pool=0.5"])
