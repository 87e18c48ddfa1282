"""What an import has filled is analyzed within it.

Where statistics said that a shop has a single order, the planner took any index that begins with
the shop for the checks of foreign keys and the sums of lines: an import of 368,993 lines into a
database of 23 shops with an order each took 218 s in place of 20. PostgreSQL lets the owner alone
ANALYZE, or whoever holds MAINTAIN, which is also the right to lock and rewrite the table; so a
function does it, for these tables and nothing else.

Revision: 0012, after 0011
"""

import os

from alembic import op

revision = "0012"
down_revision = "0011"

APP_ROLE = os.environ.get("IMPACT_APP_ROLE", "impact_app")

FUNCTION = """
CREATE FUNCTION analyze_imported() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- The lock is kept until the import ends; another import does not wait for it.
    ANALYZE (SKIP_LOCKED) public.customer, public.product, public.product_variant, public."order";
END $body$
"""


def upgrade() -> None:
    op.execute(FUNCTION)
    op.execute("REVOKE ALL ON FUNCTION analyze_imported() FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION analyze_imported() TO {APP_ROLE}")


def downgrade() -> None:
    op.execute("DROP FUNCTION analyze_imported()")
