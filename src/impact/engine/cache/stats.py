"""What the cache did, counted by tier and entity."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec


class Counters(msgspec.Struct):
    """Counts since the process started; ``bytes`` were stored. A stale serve is an entry past
    its time that stood in for a database that was away; its versions were checked."""

    hits: int = 0
    misses: int = 0
    fills: int = 0
    refused: int = 0
    stale: int = 0
    errors: int = 0
    bytes: int = 0

    @property
    def hit_rate(self) -> float:
        """Hits of all look-ups, 0 to 1."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0


class Report(msgspec.Struct):
    """What one process, or all of them, counted. ``tiers`` maps tier, then entity."""

    tiers: dict[str, dict[str, Counters]]
    evictions: int
    bytes: int
    entries: int
    processes: int = 1

    @property
    def hit_rate(self) -> float:
        """Look-ups that did not have to ask PostgreSQL, of all, 0 to 1."""
        first = self.tiers.get("l1", {}).values()
        asked = sum(counters.hits + counters.misses for counters in first)
        loads = sum(counters.misses for counters in self.tiers.get("database", {}).values())
        return max(0.0, 1 - loads / asked) if asked else 0.0


class Stats:
    """One process's counters. ``l1``, ``l2`` and ``loads`` by entity; loads asked PostgreSQL."""

    def __init__(self) -> None:
        self.l1: defaultdict[str, Counters] = defaultdict(Counters)
        self.l2: defaultdict[str, Counters] = defaultdict(Counters)
        self.loads: defaultdict[str, Counters] = defaultdict(Counters)

    def report(self, *, evictions: int, bytes: int, entries: int) -> Report:
        tiers = {"l1": dict(self.l1), "l2": dict(self.l2), "database": dict(self.loads)}
        return Report(tiers, evictions, bytes, entries)


def added(reports: Iterable[Report]) -> Report:
    """The sum of several processes' reports."""
    total = Report({}, 0, 0, 0, 0)
    for report in reports:
        total.evictions += report.evictions
        total.bytes += report.bytes
        total.entries += report.entries
        total.processes += report.processes
        for tier, entities in report.tiers.items():
            for entity, counters in entities.items():
                sums = total.tiers.setdefault(tier, {}).setdefault(entity, Counters())
                for name in counters.__struct_fields__:
                    setattr(sums, name, getattr(sums, name) + getattr(counters, name))
    return total
