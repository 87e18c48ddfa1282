"""A walk over the database's catalog: is every table that belongs to tenants fenced in?"""

from collections.abc import AsyncIterator

import asyncpg

_TABLES = """
SELECT c.oid::int AS oid, c.relname AS name, c.relrowsecurity AS secured,
       c.relispartition AS partition, pg_get_userbyid(c.relowner) AS owner
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND EXISTS (SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
ORDER BY 2
"""
_POLICIES = """
SELECT polname AS name, polcmd::text AS command, polpermissive AS permissive, polroles AS roles,
       pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS with_check
FROM pg_policy WHERE polrelid = $1
"""
_INDEXES = """
SELECT i.indexrelid::regclass::text AS name, i.indisprimary AS primary, i.indisvalid AS valid,
       i.indpred IS NOT NULL AS partial,
       array(SELECT coalesce((SELECT attname::text FROM pg_attribute
                               WHERE attrelid = i.indrelid AND attnum = k.number AND k.number > 0),
                             '(expression)')
             FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k(number, place)
             WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS columns
FROM pg_index i WHERE i.indrelid = $1
"""
_FOREIGN_KEYS = """
SELECT conname AS name, confrelid::regclass::text AS target,
       array(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS k(number, place)
             JOIN pg_attribute ON attrelid = conrelid AND attnum = k.number
             ORDER BY k.place) AS columns,
       array(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS k(number, place)
             JOIN pg_attribute ON attrelid = confrelid AND attnum = k.number
             ORDER BY k.place) AS targets
FROM pg_constraint WHERE conrelid = $1 AND contype = 'f'
"""
_CONDITION = "(tenant_id = current_setting('impact.tenant_id'::text, true))"


async def tenant_tables(connection: asyncpg.Connection, *, partitions: bool = True) -> list[str]:
    rows = await connection.fetch(_TABLES)
    return [row["name"] for row in rows if partitions or not row["partition"]]


async def gaps(connection: asyncpg.Connection, app_role: str) -> list[str]:
    """Everything that could let one tenant reach another's rows, or makes that slow."""
    found = []
    for table in await connection.fetch(_TABLES):
        if not table["secured"]:
            found.append(f"{table['name']}: row-level security is off")
        if table["owner"] == app_role:
            found.append(f"{table['name']}: {app_role} owns it")
        for check in (_policy_gaps, _key_gaps):
            found += [f"{table['name']}: {gap}" async for gap in check(connection, table["oid"])]
    return found


async def _policy_gaps(connection: asyncpg.Connection, table: int) -> AsyncIterator[str]:
    policies = await connection.fetch(_POLICIES, table)
    if [policy["name"] for policy in policies] != ["tenant_isolation"]:
        yield f"its policies are {[policy['name'] for policy in policies]}"
    for policy in policies:
        if policy["using"] != _CONDITION or policy["with_check"] != _CONDITION:
            yield f"{policy['name']} says {policy['using']}, {policy['with_check']}"
        # For every command and everybody.
        if (policy["command"], list(policy["roles"])) != ("*", [0]):
            yield f"{policy['name']} is for {policy['command']} and {policy['roles']}"


async def _key_gaps(connection: asyncpg.Connection, table: int) -> AsyncIterator[str]:
    indexes = await connection.fetch(_INDEXES, table)
    if not any(index["primary"] for index in indexes):
        yield "it has no primary key"
    for index in indexes:
        if index["columns"][0] != "tenant_id" or not index["valid"]:
            yield f"index {index['name']} is over {index['columns']}"
    whole = [index["columns"] for index in indexes if not index["partial"]]
    for key in await connection.fetch(_FOREIGN_KEYS, table):
        columns = key["columns"]
        if columns[0] != "tenant_id" or key["targets"][0] != "tenant_id":
            yield f"foreign key {key['name']} does not hold the tenant"
        if not any(set(each[: len(columns)]) == set(columns) for each in whole):
            yield f"no index covers foreign key {key['name']}"
