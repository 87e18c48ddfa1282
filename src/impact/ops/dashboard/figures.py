"""What the page shows, of the totals: rows that are ready to be put into its tables.

Times are milliseconds. ``rate`` is a second, of the last minute; what else a row of times says is
of the last five. Shares are 0 to 1. What nobody measured is None.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from impact.engine.telemetry.monitor import by_name
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.series import SLOT_SECONDS, Kind, Series, slot_at
from impact.engine.telemetry.sketch import merged
from impact.engine.telemetry.slow import SlowQuery
from impact.engine.telemetry.workers import Totals
from impact.ops.alerts.state import Alert
from impact.ops.alerts.watch import Seen

_MINUTES = 5
MOST_ROWS = 200
"""Of a table; the page says how many more there are."""


class Timed(msgspec.Struct):
    name: str
    count: int
    rate: float
    errors: int
    total: float
    p50: float | None
    p95: float | None
    p99: float | None
    share: float = 0.0
    """Of the time that all rows of the table took."""


class Rows(msgspec.Struct):
    rows: list[Timed]
    more: int


class CacheRow(msgspec.Struct):
    """``l1`` is the share of look-ups that the process's own memory answered, ``l2`` the share of
    the others that Redis did; ``database`` counts what PostgreSQL had to."""

    entity: str
    lookups: int
    l1: float | None
    l2: float | None
    database: int
    p95: float | None


class LimitRow(msgspec.Struct):
    """A class of requests with a budget: what passed and what was refused since the processes
    began."""

    name: str
    admitted: int = 0
    limited: int = 0
    share: float | None = None
    """Refused of all."""


class PoolRow(msgspec.Struct):
    """``shed`` requests were sent away since the processes began, as too many waited."""

    node: str
    used: int = 0
    idle: int = 0
    max: int = 0
    waiting: int = 0
    waits: int = 0
    p95: float | None = None
    p99: float | None = None
    errors: int = 0
    shed: int = 0


class NodeRow(msgspec.Struct):
    """``usable`` is the number of processes that send requests to it."""

    name: str
    role: str
    usable: int
    lag: float | None
    sessions: int
    share: float | None


class Relay(msgspec.Struct):
    """Of the change records on their way into the audit log, and of its partitions."""

    waiting: float | None
    oldest: float | None
    moved: float | None
    default_rows: float | None
    prepared: float | None


class Figures(msgspec.Struct):
    """``at`` is in seconds since 1970; ``now`` is the last point of the charts, empty before
    there is one."""

    at: float
    processes: int
    now: dict[str, float | None]
    standing: list[Alert]
    ended: list[Alert]
    routes: Rows
    queries: Rows
    tenants: Rows
    cache: list[CacheRow]
    limits: list[LimitRow]
    pools: list[PoolRow]
    nodes: list[NodeRow]
    relay: Relay
    slow: list[SlowQuery]
    breakers: list[str]
    """Dependencies that are not asked at the moment."""


def figures(totals: Totals, seen: Seen, *, at: float, moment: float) -> Figures:
    """``at`` is the wall clock's, ``moment`` the machine's monotonic one."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    for sample in totals.samples:
        samples[sample.metric].append(sample)
    return Figures(
        at=at,
        processes=totals.processes,
        now=msgspec.structs.asdict(seen.points[-1]) if seen.points else {},
        standing=seen.standing,
        ended=seen.ended,
        routes=_timed(totals, Kind.ROUTE, moment, lambda row: row.count),
        queries=_timed(totals, Kind.QUERY, moment, lambda row: row.total),
        tenants=_timed(totals, Kind.TENANT, moment, lambda row: row.count),
        cache=_cache(totals, moment),
        limits=_limits(samples),
        pools=_pools(totals, samples, moment),
        nodes=_nodes(samples),
        relay=_relay(samples),
        slow=totals.slow,
        breakers=[each.labels[0] for each in samples["impact.breaker.open"] if each.value],
    )


def _timed(totals: Totals, kind: Kind, moment: float, order: Callable[[Timed], float]) -> Rows:
    rows = [_row(name, series, moment) for name, series in by_name(totals.series, kind).items()]
    rows.sort(key=lambda row: (-order(row), row.name))
    whole = sum(row.total for row in rows)
    for row in rows:
        row.share = row.total / whole if whole else 0.0
    return Rows(rows[:MOST_ROWS], max(0, len(rows) - MOST_ROWS))


def _row(name: str, series: Sequence[Series], moment: float) -> Timed:
    slot = slot_at(moment)
    window = merged(each.window(_MINUTES, slot) for each in series)
    p50, p95, p99 = window.quantiles(0.5, 0.95, 0.99) if window.count else (None, None, None)
    # The window of a minute is six full slots and the one under way.
    last = sum(each.window(1, slot).count for each in series)
    return Timed(
        name=name,
        count=window.count,
        rate=last / (60 + moment % SLOT_SECONDS),
        errors=sum(each.window(_MINUTES, slot).count for each in series if each.failed),
        total=window.sum,
        p50=p50,
        p95=p95,
        p99=p99,
    )


def _cache(totals: Totals, moment: float) -> list[CacheRow]:
    slot, rows = slot_at(moment), []
    for entity, series in by_name(totals.series, Kind.CACHE).items():
        windows = {each.detail: each.window(_MINUTES, slot) for each in series}
        counts = {outcome: window.count for outcome, window in windows.items()}
        every = merged(windows.values())
        l1, l2 = counts.get("l1", 0), counts.get("l2", 0)
        rows.append(
            CacheRow(
                entity=entity,
                lookups=every.count,
                l1=_share(l1, every.count),
                l2=_share(l2, every.count - l1),
                database=counts.get("database", 0),
                p95=every.quantiles(0.95)[0] if every.count else None,
            )
        )
    return sorted(rows, key=lambda row: (-row.lookups, row.entity))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _limits(samples: dict[str, list[Sample]]) -> list[LimitRow]:
    rows: dict[str, LimitRow] = {}
    for sample in samples["impact.rate.requests"]:
        name, outcome = sample.labels
        setattr(rows.setdefault(name, LimitRow(name)), outcome, int(sample.value))
    for row in rows.values():
        row.share = _share(row.limited, row.admitted + row.limited)
    return sorted(rows.values(), key=lambda row: (-row.limited, row.name))


def _pools(totals: Totals, samples: dict[str, list[Sample]], moment: float) -> list[PoolRow]:
    rows: dict[str, PoolRow] = {}

    def row(sample: Sample) -> PoolRow:
        return rows.setdefault(sample.labels[0], PoolRow(sample.labels[0]))

    for sample in samples["db.client.connection.count"]:
        setattr(row(sample), sample.labels[1], int(sample.value))
    for sample in samples["db.client.connection.max"]:
        row(sample).max = int(sample.value)
    for sample in samples["db.client.connection.pending_requests"]:
        row(sample).waiting = int(sample.value)
    for sample in samples["impact.node.shed"]:
        row(sample).shed = int(sample.value)
    for node, series in by_name(totals.series, Kind.POOL).items():
        if node in rows:
            waits = _row(node, series, moment)
            rows[node].waits, rows[node].errors = waits.count, waits.errors
            rows[node].p95, rows[node].p99 = waits.p95, waits.p99
    return [rows[node] for node in sorted(rows)]


def _nodes(samples: dict[str, list[Sample]]) -> list[NodeRow]:
    lags = {each.labels[0]: each.value for each in samples["impact.node.lag"]}
    sessions = {each.labels[0]: int(each.value) for each in samples["impact.node.sessions"]}
    every = sum(sessions.values())
    rows = [
        NodeRow(
            name=name,
            role=role,
            usable=int(each.value),
            lag=None if role == "primary" else lags.get(name),
            sessions=sessions.get(name, 0),
            share=_share(sessions.get(name, 0), every),
        )
        for each in samples["impact.node.usable"]
        for name, role in [each.labels]
    ]
    return sorted(rows, key=lambda row: (row.name, row.role))


def _relay(samples: dict[str, list[Sample]]) -> Relay:
    def worst(metric: str, of: Callable[[Iterable[float]], float]) -> float | None:
        values = [each.value for each in samples[metric]]
        return of(values) if values else None

    return Relay(
        waiting=worst("impact.relay.waiting", sum),
        oldest=worst("impact.relay.oldest", max),
        moved=worst("impact.relay.moved", sum),
        default_rows=worst("impact.audit.default_rows", sum),
        prepared=worst("impact.audit.prepared", max),
    )
