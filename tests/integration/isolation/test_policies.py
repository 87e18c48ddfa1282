"""Every table that there is stands behind a policy, and gives the application what it needs."""

import asyncpg
import pytest

import impact.models
from impact.stack import Endpoints

TABLES = sorted(impact.models.metadata.tables)
# Triggers and functions of the schema's owner write these, and nobody else.
SUMS = {"sales_day", "sales_day_delta", "product_sales", "product_sales_delta"}
_STATE = """
    SELECT c.relrowsecurity,
           EXISTS (SELECT FROM pg_policy p
                   WHERE p.polrelid = c.oid AND p.polcmd = '*'
                     AND pg_get_expr(p.polqual, p.polrelid) LIKE '%impact.tenant_id%'
                     AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%impact.tenant_id%')
             AS policy,
           has_table_privilege('impact_app', c.oid, 'SELECT') AS readable,
           has_table_privilege('impact_app', c.oid, 'INSERT') AS insertable,
           has_table_privilege('impact_app', c.oid, 'TRUNCATE') AS truncatable
    FROM pg_class c WHERE c.oid = format('public.%I', $1::text)::regclass
"""


@pytest.mark.parametrize("table", TABLES)
async def test_table_is_guarded(endpoints: Endpoints, table: str) -> None:
    owner = await asyncpg.connect(endpoints.owner_url)
    try:
        state = dict(await owner.fetchrow(_STATE, table))
    finally:
        await owner.close()
    # Row-level security does not hold for TRUNCATE.
    assert state == {
        "relrowsecurity": True,
        "policy": True,
        "readable": True,
        "insertable": table not in SUMS,
        "truncatable": False,
    }


async def test_partitions_are_guarded_too(endpoints: Endpoints) -> None:
    owner = await asyncpg.connect(endpoints.owner_url)
    try:
        open_ones = await owner.fetch(
            "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
            " AND NOT relrowsecurity"
        )
    finally:
        await owner.close()
    assert open_ones == []
