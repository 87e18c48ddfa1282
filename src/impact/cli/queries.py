"""``impact queries``: which statements take the time, by our figures and by PostgreSQL's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import asyncpg
import click
import msgspec

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.engine.db.plans import MISSING, NAME, NamedPlan, plans_of
from impact.errors import ConfigurationError, UnavailableError
from impact.settings import Settings

_STATISTICS = """
SELECT s.queryid::text AS query_id, s.query, s.calls, s.total_exec_time AS total_ms,
       s.mean_exec_time AS mean_ms, s.max_exec_time AS max_ms, s.rows,
       s.shared_blks_hit, s.shared_blks_read
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND s.query LIKE '%db_operation=%'
"""
_url = click.option("--url", help="Of the server  [default: IMPACT_HOST and IMPACT_PORT here]")
_json = click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
_limit = click.option("--limit", type=click.IntRange(1), default=20, show_default=True)


class Row(msgspec.Struct, kw_only=True):
    """One named statement. The server's figures are of its life, PostgreSQL's since its
    statistics were reset; a side that was not reachable has None."""

    name: str
    count: int | None = None
    errors: int | None = None
    avg_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    slow: int | None = None
    db_calls: int | None = None
    db_total_ms: float | None = None
    db_mean_ms: float | None = None
    db_max_ms: float | None = None
    db_rows: int | None = None
    db_hit_rate: float | None = None
    query_ids: list[str] = []


@click.group()
def queries() -> None:
    """Show which statements take the time, and how they are planned.

    Joins what the server measured (/metrics) with PostgreSQL's pg_stat_statements, by name.
    """


@queries.command()
@data_dir_option
@_url
@_limit
@_json
def top(data_dir: Path, url: str | None, limit: int, as_json: bool) -> None:
    """Show the statements that took the most time in all."""
    _show(data_dir, url, limit, as_json, lambda row: row.db_total_ms or _total(row))


@queries.command()
@data_dir_option
@_url
@_limit
@_json
def slow(data_dir: Path, url: str | None, limit: int, as_json: bool) -> None:
    """Show the statements whose slowest percent is slowest, and the latest slow ones."""
    _show(data_dir, url, limit, as_json, lambda row: row.p99_ms or row.db_max_ms or 0.0, True)


@queries.command()
@data_dir_option
@click.argument("name")
@click.option("--tenant", default="hq", show_default=True, help="Under whose rules to plan.")
@_json
def explain(data_dir: Path, name: str, tenant: str, as_json: bool) -> None:
    """Show the plan of the statement called NAME, without running it.

    Planned for any values (plan_cache_mode = force_generic_plan); each variant that PostgreSQL
    knows of is shown.
    """
    with one_line():
        plans = asyncio.run(_plans(load_settings(data_dir), name, tenant))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(plans)))
        return
    for plan in plans:
        click.echo(f"{name}  query id {plan.query_id}  plan {plan.plan_hash}")
        click.echo(f"\n{plan.sql.strip()}\n\n{plan.text}\n")


def _show(
    data_dir: Path,
    url: str | None,
    limit: int,
    as_json: bool,
    order: Callable[[Row], float],
    latest: bool = False,
) -> None:
    with one_line():
        settings = load_settings(data_dir)
        ours, why_not = _ours(settings, url)
        theirs, missing = asyncio.run(_theirs(settings))
    rows = sorted(_joined(ours, theirs), key=order, reverse=True)[:limit]
    notes = [note for note in (why_not, missing) if note]
    if as_json:
        found: dict[str, Any] = {"queries": rows, "notes": notes}
        if latest:
            found["latest"] = ours.get("slow_queries", [])
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    for note in notes:
        click.echo(note, err=True)
    heads = (
        "count",
        "errors",
        "avg ms",
        "p95 ms",
        "p99 ms",
        "slow",
        "db calls",
        "db ms",
        "db mean",
    )
    click.echo(f"{'query':<36}" + "".join(f"{head:>10}" for head in heads))
    for row in rows:
        values = (row.count, row.errors, row.avg_ms, row.p95_ms, row.p99_ms, row.slow)
        database = (row.db_calls, row.db_total_ms, row.db_mean_ms)
        click.echo(f"{row.name:<36}" + "".join(f"{_cell(v):>10}" for v in (*values, *database)))
    if latest:
        for each in ours.get("slow_queries", [])[:limit]:
            click.echo(
                f"{each['run_ms']:>10.1f} ms  {each['name']}  tenant {each['tenant']}"
                f"  waited {each['wait_ms']:.1f} ms  plan {each['plan_hash'] or '-'}"
            )


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _total(row: Row) -> float:
    return (row.count or 0) * (row.avg_ms or 0.0)


def _ours(settings: Settings, url: str | None) -> tuple[dict[str, Any], str]:
    """The server's figures, or none and why."""
    base = (url or f"http://{settings.host}:{settings.port}").rstrip("/")
    headers = {"accept": "application/json"}
    if settings.metrics_token:
        headers["authorization"] = f"Bearer {settings.metrics_token}"
    if not base.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url is {base!r}; it begins with http:// or https://")
    try:
        with urlopen(Request(f"{base}/metrics", headers=headers), timeout=10) as response:  # noqa: S310
            found: dict[str, Any] = msgspec.json.decode(response.read())
            return found, ""
    except HTTPError as error:
        return {}, f"{base}/metrics answers {error.code}: is IMPACT_METRICS_TOKEN the server's?"
    except (URLError, OSError, msgspec.DecodeError) as error:
        return {}, f"no server answers at {base} ({error}); name it with --url"


async def _theirs(settings: Settings) -> tuple[list[Any], str]:
    """PostgreSQL's figures, of the primary and its replicas: each counts what it ran itself. Or
    none and what to do."""
    found: list[Any] = []
    notes = []
    for url in (settings.primary_url, *settings.replica_urls):
        try:
            async with _connected(url, settings) as connection:
                found += await connection.fetch(_STATISTICS)
        except (asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError):
            return [], MISSING
        except UnavailableError as error:
            notes.append(error.message)
    return found, "; ".join(notes)


@contextlib.asynccontextmanager
async def _connected(url: str, settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(url, timeout=settings.pool_connect_timeout)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise UnavailableError(f"a database server does not answer: {error}") from error
    try:
        yield connection
    finally:
        await connection.close()


def _joined(ours: dict[str, Any], theirs: list[Any]) -> list[Row]:
    rows: dict[str, Row] = {}
    slow = {
        sample["labels"]["db.query.summary"]: int(sample["value"])
        for sample in ours.get("samples", {}).get("impact.query.slow", [])
    }
    for name, figures in ours.get("queries", {}).items():
        rows[name] = Row(
            name=name,
            count=figures["count"],
            errors=figures["errors"],
            avg_ms=figures["avgMs"],
            p95_ms=figures["p95Ms"],
            p99_ms=figures["p99Ms"],
            max_ms=figures["maxMs"],
            slow=slow.get(name, 0),
        )
    blocks: dict[str, tuple[int, int]] = {}
    for found in theirs:
        match = NAME.search(found["query"])
        if match is None:
            continue
        row = rows.setdefault(match[1], Row(name=match[1]))
        row.db_calls = (row.db_calls or 0) + found["calls"]
        row.db_total_ms = round((row.db_total_ms or 0.0) + found["total_ms"], 3)
        row.db_mean_ms = round(row.db_total_ms / row.db_calls, 3)
        row.db_max_ms = round(max(row.db_max_ms or 0.0, found["max_ms"]), 3)
        row.db_rows = (row.db_rows or 0) + found["rows"]
        hit, read = blocks.get(row.name, (0, 0))
        hit, read = hit + found["shared_blks_hit"], read + found["shared_blks_read"]
        blocks[row.name] = hit, read
        row.db_hit_rate = round(hit / (hit + read), 4) if hit + read else None
        row.query_ids.append(found["query_id"])
    return list(rows.values())


async def _plans(settings: Settings, name: str, tenant: str) -> list[NamedPlan]:
    from impact.api import routers

    # Importing the routes is what makes the statements known.
    routers()
    async with _connected(settings.primary_url, settings) as connection:
        return await plans_of(connection, name, tenant)
