"""Triggers that record every change of a table's rows, in the changing transaction (P4).

A migration installs ``FUNCTIONS`` once and runs ``capture(table)`` for each table it makes, and
again for each whose columns it changes: what is recorded is written out column by column.

The triggers are per statement and read all of its rows at once from the transition tables, which
for many rows costs a third of a row-level trigger's work and for few about the same
(``impact bench audit``). On Citus, whose shards have no transition tables, ``capture`` would have
to generate row-level triggers.
"""

from collections.abc import Iterable

SECRET = {"secret": True}
"""``mapped_column(info=SECRET)``: records say that it changed and not what it is."""

NOT_RECORDED = {
    "change_record": "it is the record",
    "audit_log": "it is made from the records; its hash chain tells of changes",
    "audit_chain": "it moves with each entry of the log",
    "event_receipt": "it goes with events, which are records themselves",
    **dict.fromkeys(
        ("sales_day", "sales_day_delta", "product_sales", "product_sales_delta"),
        "they are sums over orders, which are recorded",
    ),
    "idempotency_key": "it repeats the order it belongs to, and is cleared away after a day",
}
"""Tables without triggers, and why."""

# SECURITY DEFINER: whoever may change a row need not be allowed to write the record, and cannot
# prevent it; the owner passes the row-level security of change_record, as headquarters writes
# the register's rows for other tenants. FULL JOIN: it is never planned as a nested loop, also
# where the plan was made for one row and is used for many; and a row that was given another
# key is recorded as one that went and one that came.
_CAPTURE = r"""
CREATE FUNCTION impact_capture(target regclass, secrets text[], counters text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $generator$
DECLARE
    relation text := (SELECT relname FROM pg_class WHERE oid = target);
    tenant text := CASE relation WHEN 'tenant' THEN 'id' ELSE 'tenant_id' END;
    handler text := format('public.%I()', 'capture_' || relation);
    same_key text;
    row_id text;
    present text;
    was text;
    became text;
    differs text;
BEGIN
    SELECT string_agg(format('o.%1$I = n.%1$I', a.attname), ' AND ' ORDER BY k.place),
           coalesce(
               string_agg(format('@.%I', a.attname), $s$ || ':' || $s$ ORDER BY k.place)
                   FILTER (WHERE a.attname <> tenant),
               format('@.%I', tenant))
      INTO same_key, row_id
      FROM pg_index i
      CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
     WHERE i.indrelid = target AND i.indisprimary;
    IF same_key IS NULL THEN
        RAISE EXCEPTION 'table % has no primary key to record its rows by', target;
    END IF;

    -- Text that jsonb reads in one pass: concat_ws leaves out what is NULL, that is, for a whole
    -- row columns without a value, for a difference those that are the same.
    SELECT string_agg(format('%L || %s', name, value), ', ' ORDER BY attnum),
           string_agg(format('CASE WHEN %s THEN %L || coalesce(%s, ''null'') END',
               changed, name, replace(value, '@.', 'o.')), ', ' ORDER BY attnum)
               FILTER (WHERE counts),
           string_agg(format('CASE WHEN %s THEN %L || coalesce(%s, ''null'') END',
               changed, name, replace(value, '@.', 'n.')), ', ' ORDER BY attnum)
               FILTER (WHERE counts),
           string_agg(changed, ' OR ' ORDER BY attnum) FILTER (WHERE counts)
      INTO present, was, became, differs
      FROM (
        SELECT attnum,
               to_json(attname)::text || ':' AS name,
               format('o.%1$I IS DISTINCT FROM n.%1$I', attname) AS changed,
               attname <> 'updated_at' AND attname <> ALL (counters) AS counts,
               CASE
                   WHEN attname = ANY (secrets)
                       THEN format($s$CASE WHEN @.%I IS NOT NULL THEN '"***"' END$s$, attname)
                   WHEN atttypid = ANY ('{int2,int4,int8,bool,jsonb}'::regtype[])
                       THEN format('@.%I::text', attname)
                   WHEN atttypid = 'uuid'::regtype
                       THEN format($s$'"' || @.%I || '"'$s$, attname)
                   ELSE format('to_json(@.%I)::text', attname)
               END AS value
          FROM pg_attribute
         WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
      ) AS column_of;

    EXECUTE format($f$
CREATE OR REPLACE FUNCTION %1$s RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
#variable_conflict use_variable
DECLARE
    -- Once, and not for each row.
    who constant text := coalesce(
        nullif(current_setting('impact.actor', true), ''), 'operator:' || session_user);
    request constant text := nullif(current_setting('impact.request_id', true), '');
    why constant text := nullif(current_setting('impact.reason', true), '');
    told constant boolean := coalesce(current_setting('impact.announces', true) = 'on', false);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.change_record (tenant_id, table_name, row_id, action, after,
            actor, request_id, reason, announced)
        SELECT n.%2$I, %3$L, %4$s, 'insert',
            ('{' || concat_ws(',', %5$s) || '}')::jsonb, who, request, why, told
        FROM new_rows n;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NOT EXISTS (SELECT FROM new_rows) THEN
            -- A statement that found no row fires too; the join below costs four times this.
            RETURN NULL;
        END IF;
        INSERT INTO public.change_record (tenant_id, table_name, row_id, action, before, after,
            actor, request_id, reason, announced)
        SELECT coalesce(n.%2$I, o.%2$I), %3$L, coalesce(%4$s, %6$s),
            CASE WHEN o.%2$I IS NULL THEN 'insert' WHEN n.%2$I IS NULL THEN 'delete'
                 ELSE 'update' END,
            CASE WHEN o.%2$I IS NOT NULL THEN
                ('{' || concat_ws(',', %7$s) || '}')::jsonb END,
            CASE WHEN n.%2$I IS NOT NULL THEN
                ('{' || concat_ws(',', %8$s) || '}')::jsonb END, who, request, why, told
        FROM old_rows o FULL JOIN new_rows n ON %9$s
        WHERE %10$s;
    ELSE
        INSERT INTO public.change_record (tenant_id, table_name, row_id, action, before,
            actor, request_id, reason, announced)
        SELECT o.%2$I, %3$L, %6$s, 'delete',
            ('{' || concat_ws(',', %11$s) || '}')::jsonb, who, request, why, told
        FROM old_rows o;
    END IF;
    RETURN NULL;
END $body$ $f$,
        handler, tenant, relation, replace(row_id, '@.', 'n.') || '::text',
        replace(present, '@.', 'n.'), replace(row_id, '@.', 'o.') || '::text',
        was, became, same_key, differs, replace(present, '@.', 'o.'));
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', handler);
    EXECUTE format('CREATE OR REPLACE TRIGGER capture_insert AFTER INSERT ON %s '
        'REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s',
        target, handler);
    EXECUTE format('CREATE OR REPLACE TRIGGER capture_update AFTER UPDATE ON %s '
        'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
        'FOR EACH STATEMENT EXECUTE FUNCTION %s', target, handler);
    EXECUTE format('CREATE OR REPLACE TRIGGER capture_delete AFTER DELETE ON %s '
        'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION %s',
        target, handler);
    EXECUTE format('CREATE OR REPLACE TRIGGER capture_truncate BEFORE TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION public.impact_refuse_truncate()', target);
    -- Also where a superuser has set session_replication_role.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER capture_insert, '
        'ENABLE ALWAYS TRIGGER capture_update, ENABLE ALWAYS TRIGGER capture_delete, '
        'ENABLE ALWAYS TRIGGER capture_truncate', target);
END $generator$
"""

_REFUSE_TRUNCATE = """
CREATE FUNCTION impact_refuse_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of % would leave no change records', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE, which is recorded.';
END $body$
"""

# The relay sees one tenant at a time; these two tell it whose turn it is, in an index's steps
# from one tenant to the next, and nothing else.
_TENANTS = """
CREATE FUNCTION change_record_tenants() RETURNS TABLE (tenant text, oldest timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $body$
    WITH RECURSIVE step AS (
        (SELECT tenant_id, occurred_at FROM change_record ORDER BY tenant_id, id LIMIT 1)
        UNION ALL
        SELECT later.tenant_id, later.occurred_at
        FROM step CROSS JOIN LATERAL (
            SELECT r.tenant_id, r.occurred_at FROM change_record r
            WHERE r.tenant_id > step.tenant_id ORDER BY r.tenant_id, r.id LIMIT 1
        ) AS later
    )
    SELECT tenant_id, occurred_at FROM step
$body$
"""
_WAITING = """
CREATE FUNCTION change_record_count(most integer) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
    SELECT count(*) FROM (SELECT FROM change_record LIMIT most) AS waiting
$body$
"""
# The same for those of which the cache has not been told, in an index of them alone: records of an
# import, a hundred thousand that nobody can see yet, cost no time here.
UNTOLD_TENANTS = """
CREATE FUNCTION change_record_untold_tenants() RETURNS TABLE (tenant text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $body$
    WITH RECURSIVE step AS (
        (SELECT tenant_id FROM change_record WHERE NOT announced ORDER BY tenant_id, id LIMIT 1)
        UNION ALL
        SELECT later.tenant_id
        FROM step CROSS JOIN LATERAL (
            SELECT r.tenant_id FROM change_record r
            WHERE NOT r.announced AND r.tenant_id > step.tenant_id
            ORDER BY r.tenant_id, r.id LIMIT 1
        ) AS later
    )
    SELECT tenant_id FROM step
$body$
"""
"""Since revision 0013."""

FUNCTIONS = {
    "impact_refuse_truncate()": _REFUSE_TRUNCATE,
    "impact_capture(regclass, text[], text[])": _CAPTURE,
    "change_record_tenants()": _TENANTS,
    "change_record_count(integer)": _WAITING,
}
"""DDL of revision 0003 by signature, in the order of creation."""


def capture(table: str, *, secrets: Iterable[str] = (), counters: Iterable[str] = ()) -> str:
    """SQL that records every change of ``table`` from now on; run it again after its columns
    have changed.

    ``secrets`` are masked. A change of ``counters`` alone, as of ``updated_at``, is no record.
    """
    return f"SELECT impact_capture('\"{table}\"', {_array(secrets)}, {_array(counters)})"


def release(table: str) -> list[str]:
    """SQL that undoes ``capture``."""
    drops = [
        f'DROP TRIGGER IF EXISTS capture_{event} ON "{table}"'
        for event in ("insert", "update", "delete", "truncate")
    ]
    return [*drops, f"DROP FUNCTION IF EXISTS capture_{table}()"]


def _array(names: Iterable[str]) -> str:
    return "'{" + ",".join(names) + "}'"
