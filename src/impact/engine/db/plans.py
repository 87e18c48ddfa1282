"""The plan of a named statement, without running it."""

import hashlib
import re
from typing import Any

import asyncpg
import msgspec

from impact.engine.db import tenancy
from impact.engine.db.nodes import Node
from impact.engine.db.statements import Statement, registry
from impact.engine.telemetry.slowlog import Plan
from impact.errors import NotFoundError, UnavailableError

_TIMEOUT = 2.0
_SHAPE = (
    "Node Type",
    "Relation Name",
    "Index Name",
    "Join Type",
    "Strategy",
    "Scan Direction",
    "Subplan Name",
)
_PLACEHOLDER = re.compile(r"\$(\d+)")
NAME = re.compile(r"/\*db_operation='([a-z_.]+)'\*/")
"""A statement's name in its comment."""
_SEEN = """
SELECT DISTINCT s.query FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND s.query LIKE '%db_operation=%'
"""
MISSING = (
    "pg_stat_statements is not there: put it into shared_preload_libraries, restart PostgreSQL,"
    " and as a superuser run CREATE EXTENSION pg_stat_statements in the database"
    " (the embedded stack does all of that)"
)


class NamedPlan(msgspec.Struct, kw_only=True):
    """One variant of a named statement, planned for any values; ``text`` is PostgreSQL's own."""

    name: str
    query_id: str
    plan_hash: str
    sql: str
    text: str
    plan: dict[str, Any]


async def plans_of(connection: asyncpg.Connection, name: str, tenant: str) -> list[NamedPlan]:
    """The plan of each variant of the statement called ``name``, none of which is run.

    What the ORM sends is known to PostgreSQL's statistics alone. Raises NotFoundError, and
    UnavailableError where PostgreSQL refuses to plan it or has no statistics to ask.
    """
    texts = {statement.sql for statement in registry.get(name, ())}
    if not texts:
        try:
            known = await connection.fetch(_SEEN)
        except (asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError):
            raise UnavailableError(MISSING) from None
        texts = {
            row["query"]
            for row in known
            if (match := NAME.search(row["query"])) and match[1] == name
        }
    if not texts:
        raise NotFoundError(
            f"no statement is called '{name}'; 'impact queries top' lists those that ran"
        )
    plans = []
    for sql in sorted(texts):
        try:
            found = await explain(connection, sql, tenant)
            text = await explain(connection, sql, tenant, form="TEXT")
        except asyncpg.PostgresError as error:
            raise UnavailableError(f"PostgreSQL does not plan '{name}': {error}") from error
        plans.append(
            NamedPlan(
                name=name,
                query_id=str(found.get("Query Identifier", "")),
                plan_hash=shape_hash(found["Plan"]),
                sql=sql,
                text=text,
                plan=found["Plan"],
            )
        )
    return plans


async def explain(
    connection: asyncpg.Connection, sql: str, tenant: str, *, form: str = "JSON"
) -> Any:
    """What EXPLAIN says of a statement with placeholders, planned for values nobody knows.

    EXPLAIN (GENERIC_PLAN) takes placeholders in the simple protocol alone, whose rows asyncpg
    does not give out; a prepared statement whose plan has to be generic is the same plan.
    """
    count = max((int(number) for number in _PLACEHOLDER.findall(sql)), default=0)
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    async with connection.transaction(readonly=True):
        await connection.execute(tenancy.switch(tenant))
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE impact_explain AS {sql}")
        try:
            rows = await connection.fetch(
                f"EXPLAIN (VERBOSE, FORMAT {form}) EXECUTE impact_explain{values}"
            )
        finally:
            await connection.execute("DEALLOCATE impact_explain")
    if form == "JSON":
        # SQLAlchemy's connections decode JSON, bare ones do not.
        found = rows[0][0]
        return (msgspec.json.decode(found) if isinstance(found, str) else found)[0]
    return "\n".join(row[0] for row in rows)


async def plan_of(node: Node, statement: Statement, tenant: str) -> Plan | None:
    """PostgreSQL's number of the statement and a hash of its plan's shape."""
    async with node.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        found = await explain(driver, statement.sql, tenant)
    return Plan(str(found.get("Query Identifier", "")), shape_hash(found["Plan"]))


def shape_hash(plan: dict[str, Any]) -> str:
    """Of the kinds of nodes, tables and indexes: costs and row counts do not change it."""
    return hashlib.sha256(msgspec.json.encode(_shape(plan))).hexdigest()[:12]


def _shape(plan: dict[str, Any]) -> list[Any]:
    own = [plan.get(key, "") for key in _SHAPE]
    return [own, [_shape(child) for child in plan.get("Plans", ())]]
