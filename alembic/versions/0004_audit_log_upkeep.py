"""The audit log's partitions, its indexes, and receipts of events that were stored.

The application's role owns nothing and so can make no partition. These functions, owned by the
schema's owner, make one for it: of the audit log alone, for one day or month alone, with the same
row-level security and privileges as the log.

Revision: 0004, after 0003
"""

import os

import sqlalchemy as sa
from alembic import op

from impact.engine.db.tenancy import CURRENT_TENANT, policy_statements

revision = "0004"
down_revision = "0003"

APP_ROLE = os.environ.get("IMPACT_APP_ROLE", "impact_app")

# Bounds are read from the catalog's own words; a default partition has none and is not listed.
PARTITIONS = """
CREATE FUNCTION audit_log_partitions()
RETURNS TABLE (name text, lower timestamptz, upper timestamptz, row_estimate bigint, bytes bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT c.relname::text, bound[1]::timestamptz, bound[2]::timestamptz,
           greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid,
    LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid),
                         'FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)') AS bound
    WHERE i.inhparent = 'public.audit_log'::regclass AND bound IS NOT NULL
    ORDER BY 2
$$
"""

# The first part of the period that no partition holds yet; no row where all of it is held.
# Existing partitions may be of another length, from before the setting was changed.
GAP = """
CREATE FUNCTION audit_log_gap(period text, day date)
RETURNS TABLE (lower timestamptz, upper timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part record;
BEGIN
    IF period NOT IN ('day', 'month') OR day NOT BETWEEN '2000-01-01' AND '2199-12-31' THEN
        RAISE EXCEPTION 'no partition for % %', period, day
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    lower := date_trunc(period, day::timestamp);
    upper := date_trunc(period, day::timestamp) + ('1 ' || period)::interval;
    FOR part IN SELECT p.lower, p.upper FROM public.audit_log_partitions() p ORDER BY 1 LOOP
        CONTINUE WHEN part.upper <= lower;
        IF part.lower <= lower THEN
            lower := part.upper;
        ELSE
            upper := least(upper, part.lower);
            EXIT;
        END IF;
    END LOOP;
    IF lower < upper THEN
        RETURN NEXT;
    END IF;
END
$$
"""

# lock_timeout is longer than the second after which autovacuum gives way to whoever waits.
#
# CREATE TABLE and ATTACH rather than PARTITION OF: the parent is not locked against readers, and
# rows of the new range that wait in the default partition, which would forbid the ATTACH, are
# moved in the same transaction. Inserts into the log wait meanwhile: one that had chosen the
# default partition before would fail when the range is taken from it.
MAKE = """
CREATE FUNCTION audit_log_make_partition(period text, day date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '2s'
AS $$
DECLARE
    gap record;
    made text;
BEGIN
    PERFORM FROM public.audit_log_gap(period, day);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    LOCK TABLE ONLY public.audit_log IN SHARE ROW EXCLUSIVE MODE;
    -- Again, as another one may have made it while this one waited.
    SELECT * INTO gap FROM public.audit_log_gap(period, day);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    made := 'audit_log_' || CASE
        WHEN gap.lower = date_trunc('month', gap.lower)
            AND gap.upper = gap.lower + interval '1 month' THEN to_char(gap.lower, 'YYYYMM')
        WHEN gap.upper = gap.lower + interval '1 day' THEN to_char(gap.lower, 'YYYYMMDD')
        ELSE to_char(gap.lower, 'YYYYMMDD_') || to_char(gap.upper, 'YYYYMMDD')
    END;
    EXECUTE format('CREATE TABLE public.%I'
                   ' (LIKE public.audit_log INCLUDING DEFAULTS INCLUDING INDEXES)', made);
    PERFORM public.audit_log_attach(made, gap.lower, gap.upper);
    RETURN made;
END
$$
"""

# For a table that is like the log and whose rows are all of the range.
ATTACH = f"""
CREATE FUNCTION audit_log_attach(name text, lower timestamptz, upper timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '2s'
AS $$
DECLARE
    columns text;
    given record;
BEGIN
    LOCK TABLE ONLY public.audit_log IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('DROP POLICY IF EXISTS tenant_isolation ON public.%I', name);
    EXECUTE format($policy$CREATE POLICY tenant_isolation ON public.%I
        USING (tenant_id = {CURRENT_TENANT})
        WITH CHECK (tenant_id = {CURRENT_TENANT})$policy$, name);
    FOR given IN
        SELECT a.privilege_type AS privilege, a.grantee::regrole AS grantee
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'public.audit_log'::regclass AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT %s ON public.%I TO %s', given.privilege, name, given.grantee);
    END LOOP;
    -- Proves the range, so that ATTACH need not look at the rows.
    EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT IF EXISTS audit_log_range', name);
    EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT audit_log_range'
                   ' CHECK (occurred_at >= %L AND occurred_at < %L)', name, lower, upper);
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
    FROM pg_attribute
    WHERE attrelid = 'public.audit_log'::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('WITH moved AS (DELETE FROM ONLY public.audit_log_default'
                   ' WHERE occurred_at >= $1 AND occurred_at < $2 RETURNING %1$s)'
                   ' INSERT INTO public.%2$I (%1$s) SELECT %1$s FROM moved', columns, name)
        USING lower, upper;
    EXECUTE format('ALTER TABLE public.audit_log ATTACH PARTITION public.%I'
                   ' FOR VALUES FROM (%L) TO (%L)', name, lower, upper);
    EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT audit_log_range', name);
END
$$
"""

# How many rows of all tenants wait in the default partition, by day or month.
ASTRAY = """
CREATE FUNCTION audit_log_astray(period text)
RETURNS TABLE (day date, entries bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT date_trunc(period, occurred_at)::date, count(*)
    FROM public.audit_log_default GROUP BY 1 ORDER BY 1
$$
"""

# One index for each way the log is asked, led by the tenant and ended by the order of its pages.
INDEXES = {
    "ix_audit_log_entity": ["tenant_id", "table_name", "occurred_at", "id"],
    "ix_audit_log_row": ["tenant_id", "row_id", "occurred_at", "id"],
    "ix_audit_log_actor": ["tenant_id", "actor", "occurred_at", "id"],
    "ix_audit_log_action": ["tenant_id", "action", "occurred_at", "id"],
    "ix_audit_log_request": ["tenant_id", "request_id"],
}

FOR_THE_APPLICATION = (
    "audit_log_partitions()",
    "audit_log_gap(text, date)",
    "audit_log_make_partition(text, date)",
    "audit_log_astray(text)",
)
FOR_THE_OWNER = "audit_log_attach(text, timestamptz, timestamptz)"


def upgrade() -> None:
    for name, columns in INDEXES.items():
        op.create_index(name, "audit_log", columns)
    for function in (PARTITIONS, GAP, ATTACH, MAKE, ASTRAY):
        op.execute(function)
    op.execute(f"REVOKE ALL ON FUNCTION {FOR_THE_OWNER} FROM PUBLIC")
    for signature in FOR_THE_APPLICATION:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {APP_ROLE}")
    op.create_table(
        "event_receipt",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_event_receipt")),
    )
    for statement in policy_statements("event_receipt"):
        op.execute(statement)
    op.execute(f"GRANT SELECT, INSERT, DELETE ON event_receipt TO {APP_ROLE}")


def downgrade() -> None:
    op.drop_table("event_receipt")
    for signature in (*reversed(FOR_THE_APPLICATION), FOR_THE_OWNER):
        op.execute(f"DROP FUNCTION {signature}")
    for name in INDEXES:
        op.drop_index(name, "audit_log")
