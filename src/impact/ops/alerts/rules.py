"""The rules. Prometheus gets the same ones: ``impact alerts prometheus``."""

import enum
from collections.abc import Iterable

import msgspec

from impact.errors import ConfigurationError
from impact.ops.alerts.measures import Growth, Level, Measure, Share, Term

_FIVE_MINUTES = 300.0


class Severity(enum.StrEnum):
    CRITICAL = "critical"
    """Somebody has to act now: shops are hurt, or will be within hours."""
    WARNING = "warning"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """``above`` or ``below`` it fires; it is over once the value is back by ``margin`` on the other
    side, so that a value on the edge does not ring all day. ``hold`` is how long the value must
    stand before it fires, in seconds."""

    name: str
    summary: str
    advice: str
    severity: Severity
    measure: Measure
    unit: str = ""
    above: float | None = None
    below: float | None = None
    margin: float = 0.0
    hold: float = 0.0

    @property
    def threshold(self) -> float:
        found = self.above if self.above is not None else self.below
        assert found is not None  # noqa: S101 - every rule has one of the two; a test looks
        return found

    def fires(self, value: float, *, firing: bool) -> bool:
        """Whether the alert stands with this value; what stood before makes it stay longer."""
        if self.above is not None:
            return value > self.above - (self.margin if firing else 0.0)
        return value < self.threshold + (self.margin if firing else 0.0)

    def show(self, value: float) -> str:
        """The value as people read it."""
        if self.unit == "%":
            return f"{value:.1%}"
        return f"{value:,.4g}{' ' + self.unit if self.unit else ''}"


RULES = (
    Rule(
        name="cache-hit-rate",
        summary="Few look-ups are answered by the cache",
        advice="See docs/caching.md: which entity misses (impact cache stats), and what ends it.",
        severity=Severity.WARNING,
        measure=Share(
            Term(
                "impact.cache.lookups",
                {"impact.cache.tier": ("database",), "impact.cache.hit": ("false",)},
            ),
            Term("impact.cache.lookups", {"impact.cache.tier": ("l1",)}),
            seconds=_FIVE_MINUTES,
            least=500,
            rest=True,
        ),
        unit="%",
        below=0.75,
        margin=0.02,
    ),
    Rule(
        name="pool-use",
        summary="A pool of connections is nearly used up",
        advice="What holds them (impact queries top)? Then raise IMPACT_POOL_MAX or add nodes.",
        severity=Severity.CRITICAL,
        measure=Share(
            Term("db.client.connection.count", {"db.client.connection.state": ("used",)}),
            Term("db.client.connection.max"),
            by=("db.client.connection.pool.name",),
        ),
        unit="%",
        above=0.80,
        margin=0.10,
    ),
    Rule(
        name="slow-query",
        summary="A statement took longer than IMPACT_SLOW_QUERY_ALERT",
        advice="impact queries explain NAME shows its plan.",
        severity=Severity.WARNING,
        measure=Growth(Term("impact.query.alert"), by=("db.query.summary",)),
        unit="in a minute",
        above=0,
    ),
    Rule(
        name="replica-lag",
        summary="A replica is far behind the primary",
        advice="Look for long queries on the replica, and at its disk and network.",
        severity=Severity.WARNING,
        measure=Level(Term("impact.node.lag"), by=("impact.node",)),
        unit="s",
        above=10,
        margin=5,
        hold=10,
    ),
    Rule(
        name="node-unusable",
        summary="No process can use this database server",
        advice="Is it up, and does it let the application in? See docs/consistency.md.",
        severity=Severity.CRITICAL,
        measure=Level(Term("impact.node.usable"), by=("impact.node",)),
        below=1,
        hold=10,
    ),
    Rule(
        name="dependency-away",
        summary="A dependency is not asked at the moment",
        advice="Requests go on without it, slower. Is Redis up, and does it answer within 20 ms?",
        severity=Severity.WARNING,
        measure=Level(Term("impact.breaker.open"), by=("impact.breaker",)),
        above=0,
        hold=10,
    ),
    Rule(
        name="relay-lag",
        summary="Change records wait for the audit log",
        advice="impact relay must run in one process; its last error is in the log.",
        severity=Severity.CRITICAL,
        measure=Level(Term("impact.relay.oldest")),
        unit="s",
        above=30,
        margin=20,
    ),
    Rule(
        name="default-partition",
        summary="Entries of the audit log lie outside of the prepared partitions",
        advice="impact partitions moves them; is the clock right, and does the task run?",
        severity=Severity.WARNING,
        measure=Level(Term("impact.audit.default_rows")),
        unit="rows",
        above=0,
        hold=60,
    ),
    Rule(
        name="partitions-running-out",
        summary="The audit log's prepared partitions end soon",
        advice="impact partitions makes more, and says what stands in the way.",
        severity=Severity.WARNING,
        measure=Level(Term("impact.audit.prepared")),
        unit="s",
        below=3 * 86_400,
        hold=60,
    ),
    Rule(
        name="events-dropped",
        summary="Logins, denials or exports were not recorded",
        advice="The database was away, and IMPACT_SPOOL_DIR not writable. See the log.",
        severity=Severity.CRITICAL,
        measure=Growth(Term("impact.events.dropped"), seconds=_FIVE_MINUTES),
        above=0,
    ),
    Rule(
        name="error-rate",
        summary="Requests fail through a fault of ours",
        advice="The log has each with its request id; /ops shows which routes.",
        severity=Severity.CRITICAL,
        measure=Share(
            Term("http.server.request.duration", {"http.response.status_code": ("5.*",)}),
            Term("http.server.request.duration"),
            seconds=_FIVE_MINUTES,
            least=50,
        ),
        unit="%",
        above=0.01,
        margin=0.005,
    ),
    Rule(
        name="disk",
        summary="A disk is nearly full",
        advice="Move or archive what can go (impact audit archive), or make it larger.",
        severity=Severity.CRITICAL,
        measure=Level(Term("impact.disk.used"), by=("impact.path",)),
        unit="%",
        above=0.85,
        margin=0.03,
        hold=60,
    ),
    Rule(
        name="telemetry-dropped",
        summary="Spans, metrics or logs did not reach the collector",
        advice="Is the collector up? Requests are not affected.",
        severity=Severity.WARNING,
        measure=Growth(
            Term("impact.telemetry.dropped"), by=("impact.signal",), seconds=_FIVE_MINUTES
        ),
        above=0,
    ),
)


def chosen(thresholds: Iterable[str]) -> tuple[Rule, ...]:
    """The rules, with ``name=number`` instead of a rule's own threshold.

    Raises ConfigurationError for a rule that does not exist.
    """
    wanted = {name: float(number) for name, _, number in (t.partition("=") for t in thresholds)}
    known = {rule.name for rule in RULES}
    for name in wanted.keys() - known:
        raise ConfigurationError(
            f"IMPACT_ALERT_THRESHOLDS names {name!r}; the rules are {', '.join(sorted(known))}"
        )
    return tuple(
        msgspec.structs.replace(
            rule, **{"above" if rule.above is not None else "below": wanted[rule.name]}
        )
        if rule.name in wanted
        else rule
        for rule in RULES
    )
