"""A row of any table, with no more than it must have."""

import asyncpg

# What a row needs: the columns without which it cannot be, each with a value of its type.
_NEEDED = """
SELECT attname AS name, format_type(atttypid, NULL) AS type
FROM pg_attribute
WHERE attrelid = format('public.%I', $1::text)::regclass AND attnum > 0 AND NOT attisdropped
  AND attnotnull AND NOT atthasdef AND attidentity = '' AND attname <> 'tenant_id'
"""
_VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'eur'",
    "bytea": "'x'",
    "jsonb": "'{}'",
    "text[]": "'{x}'",
    "integer": "1",
    "bigint": "1",
    "timestamp with time zone": "now()",
    "date": "now()",
}
_SPECIAL = {
    ("api_key", "kind"): "'publishable'",
    ("rbac_policy", "permission"): "'a:b'",
}


async def add_row(admin: asyncpg.Connection, table: str, tenant: str) -> None:
    """A row of the tenant with no more than it must have; foreign keys do not count here."""
    needed = await admin.fetch(_NEEDED, table)
    columns = ["tenant_id", *(column["name"] for column in needed)]
    values = [
        f"'{tenant}'",
        *(_SPECIAL.get((table, c["name"]), _VALUES[c["type"]]) for c in needed),
    ]
    names = ", ".join(f'"{name}"' for name in columns)
    await admin.execute(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join(values)})')
