"""What the parts of a process tell to /metrics: nodes and pools, cache, breaker, the audit log."""

from collections.abc import Iterator

from sqlalchemy.pool import AsyncAdaptedQueuePool

from impact.engine.cache.stats import Counters
from impact.engine.cache.tiered import Cache
from impact.engine.changes.events import Events, EventStatus
from impact.engine.changes.partitions import Partitions, PartitionStatus
from impact.engine.changes.relay_status import RelayStatus
from impact.engine.db.base import utc_now
from impact.engine.db.nodes import NodeSet
from impact.engine.http.shortcuts import Shortcuts
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.telemetry import Telemetry


def collect(
    telemetry: Telemetry,
    nodes: NodeSet,
    cache: Cache,
    shortcuts: Shortcuts,
    relay: RelayStatus,
    events: Events,
    partitions: Partitions,
) -> None:
    """Let /metrics show what these have to tell, until the end: what a worker counted last is
    still part of the total when it has stopped."""
    telemetry.collectors.register(lambda: of_nodes(nodes))
    telemetry.collectors.register(lambda: of_cache(cache))
    telemetry.collectors.register(lambda: [Sample("impact.cache.shortcuts", shortcuts.taken)])
    telemetry.collectors.register(lambda: of_relay(relay))
    telemetry.collectors.register(lambda: of_events(events.status))
    telemetry.collectors.register(lambda: of_partitions(partitions.status))


def of_nodes(nodes: NodeSet) -> Iterator[Sample]:
    for node in nodes.nodes:
        pool = node.engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)  # noqa: S101 - create_engine made it
        idle, used = pool.checkedin(), max(pool.checkedout(), 0)
        yield Sample("db.client.connection.count", idle, (node.name, "idle"))
        yield Sample("db.client.connection.count", used, (node.name, "used"))
        yield Sample("db.client.connection.max", nodes.settings.pool_size, (node.name,))
        yield Sample("db.client.connection.pending_requests", node.waiting, (node.name,))
        if not node.primary and node.reachable and node.lag != float("inf"):
            yield Sample("impact.node.lag", round(node.lag, 3), (node.name,))
        yield Sample("impact.node.usable", float(node.usable), (node.name, node.role))
        yield Sample("impact.node.shed", node.queue.shed, (node.name,))
        yield Sample("impact.node.sessions", node.served, (node.name,))


def of_cache(cache: Cache) -> Iterator[Sample]:
    report = cache.report()
    for tier, entities in report.tiers.items():
        for entity, counters in entities.items():
            yield from _of_tier(tier, entity, counters)
    yield Sample("impact.cache.evictions", report.evictions)
    yield Sample("impact.cache.memory", report.bytes)
    yield Sample("impact.cache.entries", report.entries)
    remote = cache.versions.remote
    if remote is not None:
        yield Sample("impact.breaker.open", float(not remote.available), ("redis",))


def _of_tier(tier: str, entity: str, counters: Counters) -> Iterator[Sample]:
    for hit, count in (("true", counters.hits), ("false", counters.misses)):
        yield Sample("impact.cache.lookups", count, (tier, entity, hit))
    if counters.fills:
        yield Sample("impact.cache.fills", counters.fills, (tier, entity))
    if counters.stale:
        yield Sample("impact.cache.stale", counters.stale, (entity,))
    if counters.errors:
        yield Sample("impact.cache.errors", counters.errors, (entity,))


def of_relay(status: RelayStatus) -> Iterator[Sample]:
    if status.running:
        yield Sample("impact.relay.waiting", status.waiting)
        yield Sample("impact.relay.oldest", round(status.oldest_seconds, 3))
        yield Sample("impact.relay.moved", status.moved_total)


def of_events(status: EventStatus) -> Iterator[Sample]:
    yield Sample("impact.events.stored", status.stored)
    yield Sample("impact.events.dropped", status.dropped)


def of_partitions(status: PartitionStatus) -> Iterator[Sample]:
    """Nothing before the first look."""
    if status.checked_at is not None:
        yield Sample("impact.audit.default_rows", status.astray)
    if status.prepared_until is not None:
        left = (status.prepared_until - utc_now()).total_seconds()
        yield Sample("impact.audit.prepared", round(left))
