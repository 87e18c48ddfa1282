"""Looking rows up by what row-level security keeps from the indexes.

PostgreSQL evaluates the policy's condition before any that could leak what it sees, and ``lower``
could, for all it knows. An index on ``lower(email)`` is thus of no use to a role that a policy
binds: it reads every row of the tenant. These functions belong to the schema's owner, whom no
policy binds, ask for the transaction's tenant as the policy does, and answer ids alone.

Revision: 0008, after 0007
"""

import os

from alembic import op

from impact.engine.db.tenancy import CURRENT_TENANT

revision = "0008"
down_revision = "0007"

APP_ROLE = os.environ.get("IMPACT_APP_ROLE", "impact_app")


def _lookup(signature: str, table: str, condition: str) -> str:
    return f"""
CREATE FUNCTION {signature} RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off AS $body$
    SELECT id FROM "{table}" WHERE tenant_id = {CURRENT_TENANT} AND {condition}
$body$
"""


# The first of a page's order are looked through before: what fills a page there need not be looked
# up. Fewer than three characters make no trigram; then, and where too many are found to be worth
# sorting, nothing but their number is answered. A bitmap alone can use a GIN index.
_PRODUCTS_BY_TEXT = f"""
CREATE FUNCTION product_ids_by_text(wanted text, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off AS $body$
BEGIN
    IF length(translate(wanted, '%_', '')) < 3 THEN
        RETURN QUERY SELECT NULL::uuid FROM generate_series(1, most);
        RETURN;
    END IF;
    RETURN QUERY SELECT id FROM product
        WHERE tenant_id = {CURRENT_TENANT} AND search_text LIKE lower(wanted) LIMIT most;
END $body$
"""
_PRODUCTS_BY_TAG = f"""
CREATE FUNCTION product_ids_by_tag(wanted text[], most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off AS $body$
    SELECT id FROM product WHERE tenant_id = {CURRENT_TENANT} AND tags && wanted LIMIT most
$body$
"""

FUNCTIONS = {
    "product_ids_by_text(text, integer)": _PRODUCTS_BY_TEXT,
    "product_ids_by_tag(text[], integer)": _PRODUCTS_BY_TAG,
    "order_ids_by_email(text)": _lookup(
        "order_ids_by_email(wanted text)", "order", "lower(email) = lower(wanted)"
    ),
    "customer_ids_by_email(text[])": _lookup(
        "customer_ids_by_email(wanted text[])", "customer", "lower(email) = ANY (wanted)"
    ),
}


def upgrade() -> None:
    for signature, statement in FUNCTIONS.items():
        op.execute(statement.replace(":", r"\:"))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {APP_ROLE}")


def downgrade() -> None:
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
