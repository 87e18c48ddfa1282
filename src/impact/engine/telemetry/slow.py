"""Slow statements: noted with their name, shown newest first; values never leave the process."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

KEPT = 50


class SlowQuery(msgspec.Struct, kw_only=True):
    """One statement that took longer than ``IMPACT_SLOW_QUERY``. ``at`` is in seconds since 1970;
    ``parameters`` say what kind of value each was, and not which."""

    at: float
    name: str
    node: str
    tenant: str
    wait_ms: float
    """For a connection, before the transaction began."""
    run_ms: float
    rows: int | None = None
    parameters: dict[str, str] = {}
    request_id: str = ""
    trace_id: str = ""
    query_id: str = ""
    """PostgreSQL's, as ``pg_stat_statements`` shows it; empty where it was not found out."""
    plan_hash: str = ""
    """Of the shape of the plan: it changes where the planner chose another way."""
    failed: str = ""


def newest(queries: Iterable[SlowQuery]) -> list[SlowQuery]:
    return heapq.nlargest(KEPT, queries, key=lambda query: query.at)


def masked(names: Sequence[str], values: Sequence[Any]) -> dict[str, str]:
    """What kind of value each parameter was, and how long: enough to see why it was slow."""
    return {name: _kind(value) for name, value in zip(names, values, strict=False)}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str | bytes | list | tuple):
        return f"{type(value).__name__}({len(value)})"
    return type(value).__name__
