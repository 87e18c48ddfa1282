"""Of what an import has filled, the columns are analyzed that its next statements look rows up by.

All columns of four tables, twice in each import, were 1.4 of its 28 seconds. Autovacuum sees to the
others: an ANALYZE of some columns leaves a table as due for it as it was.

Revision: 0014, after 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"

FUNCTION = """
CREATE OR REPLACE FUNCTION analyze_imported() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- The lock is kept until the import ends; another import does not wait for it.
    ANALYZE (SKIP_LOCKED) {tables};
END $body$
"""
KEYS = """
        public.customer (tenant_id, id, external_id),
        public.product (tenant_id, id, external_id, handle),
        public.product_variant (tenant_id, id, product_id, sku),
        public."order" (tenant_id, id, external_id)"""
ALL = 'public.customer, public.product, public.product_variant, public."order"'


def upgrade() -> None:
    op.execute(FUNCTION.format(tables=KEYS))


def downgrade() -> None:
    op.execute(FUNCTION.format(tables=ALL))
