"""Every metric, span and attribute that Impact gives out, declared once.

Names follow OpenTelemetry's semantic conventions where there is one (stable ones for HTTP and
databases), and begin with ``impact.`` where there is none. ``docs/observability.md`` lists them
all; a test compares the two.
"""

import enum
from typing import NamedTuple

from impact.engine.telemetry.series import Kind


class MetricKind(enum.StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Across(enum.Enum):
    """How the values of several processes make one."""

    SUM = "sum"
    MAX = "max"


class Metric(NamedTuple):
    name: str
    kind: MetricKind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    across: Across = Across.SUM

    @property
    def prometheus(self) -> str:
        """The name as OpenTelemetry's conversion to Prometheus makes it, without ``_total``."""
        unit = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}.get(self.unit, "")
        return self.name.replace(".", "_") + unit


_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

DURATIONS: dict[Kind, Metric] = {
    Kind.ROUTE: Metric(
        "http.server.request.duration",
        _H,
        "s",
        "Requests, until the last byte of the answer is handed over.",
        ("http.request.method", "http.route", "http.response.status_code"),
    ),
    Kind.TENANT: Metric(
        "impact.tenant.request.duration", _H, "s", "Requests by tenant.", ("impact.tenant",)
    ),
    Kind.QUERY: Metric(
        "db.client.operation.duration",
        _H,
        "s",
        "Named statements, without the wait for a connection.",
        ("db.query.summary", "error.type"),
    ),
    Kind.WORK: Metric(
        "impact.unit_of_work.duration",
        _H,
        "s",
        "Transactions, from asking for a connection to giving it back.",
        ("impact.access", "error.type"),
    ),
    Kind.POOL: Metric(
        "db.client.connection.wait_time",
        _H,
        "s",
        "Waits for a connection of a pool, with making one where needed.",
        ("db.client.connection.pool.name", "error.type"),
    ),
    Kind.CACHE: Metric(
        "impact.cache.duration",
        _H,
        "s",
        "Look-ups in the cache by where the answer was found.",
        ("impact.cache.entity", "impact.cache.outcome"),
    ),
    Kind.STEP: Metric(
        "impact.step.duration", _H, "s", "Steps of a flow.", ("impact.step", "error.type")
    ),
    Kind.JOB: Metric(
        "impact.job.duration",
        _H,
        "s",
        "Jobs, and what code of one's own measures.",
        ("impact.job", "error.type"),
    ),
}
"""What a series of each kind is called."""

QUANTILES = "impact.duration.quantile"

_OTHERS = (
    Metric(
        QUANTILES,
        _G,
        "s",
        "Quantiles of the last five minutes, within 1 %, by metric, name and quantile.",
        ("impact.kind", "impact.name", "quantile"),
    ),
    Metric(
        "impact.cache.lookups",
        _C,
        "{lookup}",
        "Look-ups by tier, entity and whether they were hits.",
        ("impact.cache.tier", "impact.cache.entity", "impact.cache.hit"),
    ),
    Metric(
        "impact.cache.fills",
        _C,
        "{fill}",
        "Values stored, by tier and entity.",
        ("impact.cache.tier", "impact.cache.entity"),
    ),
    Metric(
        "impact.cache.stale",
        _C,
        "{serve}",
        "Entries past their time that stood in for a database that was away.",
        ("impact.cache.entity",),
    ),
    Metric(
        "impact.cache.errors",
        _C,
        "{error}",
        "Look-ups that Redis did not answer.",
        ("impact.cache.entity",),
    ),
    Metric(
        "impact.cache.shortcuts",
        _C,
        "{request}",
        "Requests that L1 answered again without routing them.",
    ),
    Metric("impact.requests.waiting", _G, "{request}", "Requests that wait to begin."),
    Metric("impact.cache.evictions", _C, "{entry}", "Entries of L1 that made room."),
    Metric("impact.cache.memory", _G, "By", "Bytes in L1 of all processes."),
    Metric("impact.cache.entries", _G, "{entry}", "Entries in L1 of all processes."),
    Metric(
        "db.client.connection.count",
        _G,
        "{connection}",
        "Connections of the pools of all processes.",
        ("db.client.connection.pool.name", "db.client.connection.state"),
    ),
    Metric(
        "db.client.connection.max",
        _G,
        "{connection}",
        "The most connections that all processes may open.",
        ("db.client.connection.pool.name",),
    ),
    Metric(
        "db.client.connection.pending_requests",
        _G,
        "{request}",
        "Requests that wait for a connection now.",
        ("db.client.connection.pool.name",),
    ),
    Metric(
        "impact.node.shed",
        _C,
        "{request}",
        "Requests sent away as too many waited for a connection, or too long.",
        ("impact.node",),
    ),
    Metric(
        "impact.node.lag",
        _G,
        "s",
        "How far a replica is behind, as the worker that sees it furthest does.",
        ("impact.node",),
        Across.MAX,
    ),
    Metric(
        "impact.node.usable",
        _G,
        "{process}",
        "Processes that send requests to the node.",
        ("impact.node", "impact.node.role"),
    ),
    Metric(
        "impact.node.sessions",
        _C,
        "{session}",
        "Transactions that the node served.",
        ("impact.node",),
    ),
    Metric(
        "impact.breaker.open",
        _G,
        "{process}",
        "Processes that do not ask this dependency at the moment.",
        ("impact.breaker",),
    ),
    Metric(
        "impact.rate.requests",
        _C,
        "{request}",
        "Requests that rate limits let pass or refused, by class.",
        ("impact.rate.class", "impact.rate.outcome"),
    ),
    Metric(
        "impact.query.slow",
        _C,
        "{query}",
        "Statements that took longer than IMPACT_SLOW_QUERY.",
        ("db.query.summary",),
    ),
    Metric(
        "impact.query.alert",
        _C,
        "{query}",
        "Statements that took longer than IMPACT_SLOW_QUERY_ALERT.",
        ("db.query.summary",),
    ),
    Metric(
        "impact.relay.waiting",
        _G,
        "{record}",
        "Change records that are not yet in the audit log.",
        across=Across.MAX,
    ),
    Metric(
        "impact.relay.oldest",
        _G,
        "s",
        "How long the oldest of them has waited.",
        across=Across.MAX,
    ),
    Metric("impact.relay.moved", _C, "{record}", "Change records moved into the audit log."),
    Metric(
        "impact.audit.default_rows",
        _G,
        "{row}",
        "Entries of the audit log outside of its prepared partitions.",
        across=Across.MAX,
    ),
    Metric(
        "impact.audit.prepared",
        _G,
        "s",
        "Time until the last prepared partition of the audit log ends.",
        across=Across.MAX,
    ),
    Metric("impact.events.stored", _C, "{event}", "Logins, denials and exports recorded."),
    Metric(
        "impact.events.dropped",
        _C,
        "{event}",
        "Those lost: neither the database nor the disk took them in time.",
    ),
    Metric(
        "impact.disk.used",
        _G,
        "1",
        "How full the file systems are that the server writes to, from 0 to 1.",
        ("impact.path",),
        Across.MAX,
    ),
    Metric(
        "impact.telemetry.exported",
        _C,
        "{item}",
        "Spans, metrics and log records that a collector took.",
        ("impact.signal",),
    ),
    Metric(
        "impact.telemetry.dropped",
        _C,
        "{item}",
        "Those that were given up: the queue was full, or the collector away.",
        ("impact.signal", "impact.reason"),
    ),
    Metric("impact.journal.lost", _C, "{entry}", "Measurements overwritten before they counted."),
    Metric("impact.processes", _G, "{process}", "Worker processes whose figures these are."),
)

METRICS: dict[str, Metric] = {each.name: each for each in (*DURATIONS.values(), *_OTHERS)}


class Span(NamedTuple):
    name: str
    kind: str
    help: str
    attributes: tuple[str, ...]


_WHO = ("impact.tenant", "impact.request_id")
SPANS = {
    "request": Span(
        "{method} {route}",
        "SERVER",
        "One request; ``GET /admin/products/{id}``, or ``GET unrouted`` where no route is.",
        (
            "http.request.method",
            "http.request.method_original",
            "http.route",
            "http.response.status_code",
            "url.path",
            "url.scheme",
            "network.protocol.version",
            "client.address",
            "error.type",
            "impact.kept",
            "impact.round_trips",
            "impact.cache.outcome",
            *_WHO,
        ),
    ),
    "work": Span(
        "{read or write} {node}",
        "INTERNAL",
        "One transaction, from asking for a connection to giving it back.",
        (
            "impact.access",
            "impact.node",
            "impact.node.role",
            "impact.consistency",
            "impact.pool.wait_ms",
            "impact.tenant",
            "error.type",
        ),
    ),
    "statement": Span(
        "{name of the statement}",
        "CLIENT",
        "One statement; its time does not contain the wait for a connection.",
        (
            "db.system.name",
            "db.namespace",
            "db.query.summary",
            "db.response.returned_rows",
            "db.response.status_code",
            "server.address",
            "server.port",
            "impact.node",
            "impact.node.role",
            "error.type",
        ),
    ),
    "cache": Span(
        "cache {entity}",
        "INTERNAL",
        "One look-up that L1 could not answer, with the load where there was one.",
        (
            "impact.cache.entity",
            "impact.cache.outcome",
            "impact.tenant",
            "error.type",
        ),
    ),
    "step": Span("{name of the step}", "INTERNAL", "A step of a flow.", ("error.type",)),
}

RESOURCE = ("service.name", "service.version", "service.instance.id", "process.pid")
"""What describes the process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES add to it."""
LOG_ATTRIBUTES = ("impact.logger", "exception.type", "exception.message", "exception.stacktrace")
