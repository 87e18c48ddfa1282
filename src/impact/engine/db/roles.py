"""The check that row-level security binds the role this process connects as (P3)."""

import asyncpg

from impact.engine.db.failures import DRIVER_ERRORS
from impact.engine.db.nodes import Node, NodeSet
from impact.errors import ConfigurationError

_ROLE = """
SELECT r.rolname,
       r.rolsuper,
       r.rolbypassrls,
       (SELECT count(*) FROM pg_class c
         WHERE pg_has_role(c.relowner, 'USAGE') AND c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p')) AS owned,
       to_regclass('public.tenant') IS NOT NULL AS migrated
FROM pg_roles r WHERE r.rolname = current_user
"""


async def refuse_unsafe_role(nodes: NodeSet) -> None:
    """Raise ConfigurationError for a role that owns tables, is a superuser or has BYPASSRLS, on
    any node that answers, and for a database that was never migrated."""
    usable = [node for node in nodes.nodes if node.usable]
    if not usable:
        found = "; ".join(f"{node.address}: {node.failure}" for node in nodes.nodes)
        raise ConfigurationError(
            f"no database answers ({found}); is it running, and is IMPACT_PRIMARY_URL right?"
        )
    # A replica may not have replayed the migrations yet: one node that has them is enough.
    migrated = [await _refuse_unsafe_role(node) for node in usable]
    if not any(migrated):
        raise ConfigurationError("the database has no schema yet; run: impact db upgrade")


async def _refuse_unsafe_role(node: Node) -> bool:
    """Whether the node's database has a schema. Raises ConfigurationError."""
    try:
        async with node.reader.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert isinstance(driver, asyncpg.Connection)  # noqa: S101 - the driver we chose
            row = await driver.fetchrow(_ROLE)
    except DRIVER_ERRORS as error:
        raise ConfigurationError(f"the database at {node.address} refused: {error}") from error
    assert row is not None  # noqa: S101 - one always has a role
    if row["rolsuper"] or row["rolbypassrls"] or row["owned"]:
        raise ConfigurationError(
            f"the role {row['rolname']} is a superuser, has BYPASSRLS or owns tables, so row-level "
            "security does not bind it; connect as a role that owns nothing, like impact_app"
        )
    return bool(row["migrated"])
