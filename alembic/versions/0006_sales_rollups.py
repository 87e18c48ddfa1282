"""Sums of orders by day and by product, exact at any moment, for reports of any length.

Triggers append what a statement adds or takes away to a delta table, in the same transaction: no
row is updated, so no order waits for another. ``sales_fold`` moves deltas into the sums now and
then. Sums and deltas together, read by one statement, are what the orders say.

Revision: 0006, after 0005
"""

import os

import sqlalchemy as sa
from alembic import op

from impact.engine.db.tenancy import policy_statements

revision = "0006"
down_revision = "0005"

APP_ROLE = os.environ.get("IMPACT_APP_ROLE", "impact_app")
DAY_FIGURES = ("entries", "orders", "units", "gross", "returns", "charges")
PRODUCT_FIGURES = ("order_count", "units", "revenue")
TABLES = ("sales_day", "sales_day_delta", "product_sales", "product_sales_delta")
# Deltas live for a second. See change_record in 0003.
STORAGE = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "-1",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "100000000",
    "autovacuum_vacuum_cost_delay": "0",
    "vacuum_truncate": "off",
}

# What rows of "order" add to a day, where ``sign`` is 1, or take from it, where it is -1.
# ``entries`` counts orders of any kind: a day without any has no row in the report.
_OF_DAY = """
    SELECT r.tenant_id, (r.created_at AT TIME ZONE 'UTC')::date AS day, r.currency_code,
           sum(r.sign) AS entries,
           coalesce(sum(r.sign) FILTER (WHERE r.kind = 'sale'), 0) AS orders,
           sum(r.sign * r.units) AS units,
           coalesce(sum(r.sign * r.item_total) FILTER (WHERE r.kind = 'sale'), 0) AS gross,
           coalesce(-sum(r.sign * r.item_total) FILTER (WHERE r.kind = 'return'), 0) AS returns,
           sum(r.sign * CASE r.kind WHEN 'adjustment' THEN r.total ELSE r.charge_total END)
             AS charges
    FROM ({rows}) AS r
    WHERE r.status <> 'canceled'
    GROUP BY 1, 2, 3
"""
_NO_FIGURE = {
    "day": "(entries, orders, units, gross, returns, charges) IS DISTINCT FROM (0, 0, 0, 0, 0, 0)",
    "product": "(order_count, units, revenue) IS DISTINCT FROM (0, 0, 0)",
}
_ROWS = {
    "INSERT": "SELECT 1 AS sign, n.* FROM new_rows n",
    "UPDATE": "SELECT 1 AS sign, n.* FROM new_rows n UNION ALL SELECT -1, o.* FROM old_rows o",
    "DELETE": "SELECT -1 AS sign, o.* FROM old_rows o",
}


def _add_to_days(event: str) -> str:
    return f"""
        INSERT INTO public.sales_day_delta
            (tenant_id, day, currency_code, entries, orders, units, gross, returns, charges)
        SELECT * FROM ({_OF_DAY.format(rows=_ROWS[event])}) AS s WHERE {_NO_FIGURE["day"]};
    """


# An order that begins or ceases to count brings or takes all its lines.
_ADD_LINES_OF_ORDERS = """
    INSERT INTO public.product_sales_delta
        (tenant_id, product_id, currency_code, order_count, units, revenue)
    SELECT * FROM (
        SELECT c.tenant_id, l.product_id, c.currency_code, sum(c.sign) AS order_count,
               sum(c.sign * l.units) AS units, sum(c.sign * l.revenue) AS revenue
        FROM ({orders}) AS c
        CROSS JOIN LATERAL (
            SELECT product_id, sum(quantity) AS units, sum(total) AS revenue
            FROM public.order_line
            WHERE tenant_id = c.tenant_id AND order_id = c.id
              AND kind = 'product' AND product_id IS NOT NULL
            GROUP BY product_id
        ) AS l
        GROUP BY 1, 2, 3
    ) AS s WHERE {changed};
"""
_CHANGED_ORDERS = f"""
    SELECT tenant_id, id, currency_code, sum(sign) AS sign FROM ({_ROWS["UPDATE"]}) AS r
    WHERE kind = 'sale' AND status <> 'canceled'
    GROUP BY 1, 2, 3 HAVING sum(sign) <> 0
"""
_THIS_ORDER = """
    SELECT OLD.tenant_id, OLD.id, OLD.currency_code, -1 AS sign
    WHERE OLD.kind = 'sale' AND OLD.status <> 'canceled'
"""


def _lines(event: str) -> str:
    """What changed lines add to products.

    The order is locked first, except where this transaction has just written it: else it could
    be cancelled, or get another line of the same product, unseen by this one. It is read by the
    statement after, whose snapshot is newer than the lock. Rows are looked up one by one
    (LATERAL), so that a plan made for few rows is good for many and the other way round.
    """
    changed = f"""
        SELECT tenant_id, order_id, product_id, sum(sign) AS lines, sum(sign * quantity) AS units,
               sum(sign * total) AS revenue
        FROM ({_ROWS[event]}) AS r
        WHERE kind = 'product' AND product_id IS NOT NULL
        GROUP BY 1, 2, 3
        HAVING (sum(sign), sum(sign * quantity), sum(sign * total)) IS DISTINCT FROM (0, 0, 0)
    """
    # A line that is fulfilled is updated and counts as it did: its order is left alone.
    touched = f"({changed}) AS c" if event == "UPDATE" else f"({_ROWS[event]}) AS r"
    return f"""
        PERFORM FROM (SELECT DISTINCT tenant_id, order_id FROM {touched}
                      ORDER BY tenant_id, order_id) AS t
        CROSS JOIN LATERAL (
            SELECT FROM public."order" AS o
            WHERE o.tenant_id = t.tenant_id AND o.id = t.order_id
              AND o.xmin <> pg_current_xact_id()::xid
            FOR NO KEY UPDATE
        ) AS o;
        INSERT INTO public.product_sales_delta
            (tenant_id, product_id, currency_code, order_count, units, revenue)
        SELECT * FROM (
            WITH changed AS MATERIALIZED ({changed})
            SELECT p.tenant_id, p.product_id, o.currency_code, sum(p.order_count) AS order_count,
                   sum(p.units) AS units, sum(p.revenue) AS revenue
            FROM (
                -- Lines of the product that the order has now, and had before the statement.
                SELECT tenant_id, order_id, product_id, sum(units) AS units,
                       sum(revenue) AS revenue,
                       (sum(present) > 0)::int - (sum(present) > sum(lines))::int AS order_count
                FROM (
                    SELECT tenant_id, order_id, product_id, lines, units, revenue, 0 AS present
                    FROM changed
                    UNION ALL
                    SELECT t.tenant_id, t.order_id, l.product_id, 0, 0, 0, 1
                    FROM (SELECT DISTINCT tenant_id, order_id FROM changed) AS t
                    CROSS JOIN LATERAL (
                        SELECT product_id FROM public.order_line
                        WHERE tenant_id = t.tenant_id AND order_id = t.order_id
                          AND kind = 'product' AND product_id IS NOT NULL
                        ORDER BY rank
                    ) AS l
                ) AS r
                GROUP BY 1, 2, 3
                HAVING count(*) > sum(present)
            ) AS p
            CROSS JOIN LATERAL (
                SELECT currency_code FROM public."order"
                WHERE tenant_id = p.tenant_id AND id = p.order_id
                  AND kind = 'sale' AND status <> 'canceled'
                LIMIT 1
            ) AS o
            GROUP BY 1, 2, 3
        ) AS s WHERE {_NO_FIGURE["product"]};
    """


def _function(name: str, body: str, answer: str = "NULL") -> str:
    return f"""
CREATE FUNCTION {name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
BEGIN
    {body}
    RETURN {answer};
END $body$
"""


_NONE = "IF NOT EXISTS (SELECT FROM new_rows) THEN RETURN NULL; END IF;"
TRIGGER_FUNCTIONS = {
    "sum_order_insert": _function("sum_order_insert", _add_to_days("INSERT")),
    "sum_order_update": _function(
        "sum_order_update",
        _NONE
        + _add_to_days("UPDATE")
        + _ADD_LINES_OF_ORDERS.format(orders=_CHANGED_ORDERS, changed=_NO_FIGURE["product"]),
    ),
    "sum_order_delete": _function("sum_order_delete", _add_to_days("DELETE")),
    # Before the foreign key takes the lines along: they no longer find their order then.
    "sum_order_lines": _function(
        "sum_order_lines",
        _ADD_LINES_OF_ORDERS.format(orders=_THIS_ORDER, changed=_NO_FIGURE["product"]),
        "OLD",
    ),
    "sum_line_insert": _function("sum_line_insert", _lines("INSERT")),
    "sum_line_update": _function("sum_line_update", _NONE + _lines("UPDATE")),
    "sum_line_delete": _function("sum_line_delete", _lines("DELETE")),
}
_OLD, _NEW = "OLD TABLE AS old_rows", "NEW TABLE AS new_rows"
TRIGGERS = (
    (
        "order",
        "sum_insert",
        f"AFTER INSERT ON % REFERENCING {_NEW} FOR EACH STATEMENT",
        "order_insert",
    ),
    (
        "order",
        "sum_update",
        f"AFTER UPDATE ON % REFERENCING {_OLD} {_NEW} FOR EACH STATEMENT",
        "order_update",
    ),
    (
        "order",
        "sum_delete",
        f"AFTER DELETE ON % REFERENCING {_OLD} FOR EACH STATEMENT",
        "order_delete",
    ),
    ("order", "sum_lines", "BEFORE DELETE ON % FOR EACH ROW", "order_lines"),
    (
        "order_line",
        "sum_insert",
        f"AFTER INSERT ON % REFERENCING {_NEW} FOR EACH STATEMENT",
        "line_insert",
    ),
    (
        "order_line",
        "sum_update",
        f"AFTER UPDATE ON % REFERENCING {_OLD} {_NEW} FOR EACH STATEMENT",
        "line_update",
    ),
    (
        "order_line",
        "sum_delete",
        f"AFTER DELETE ON % REFERENCING {_OLD} FOR EACH STATEMENT",
        "line_delete",
    ),
)


def _fold(table: str, keys: str, figures: tuple[str, ...]) -> str:
    names = ", ".join(figures)
    return f"""
        WITH gone AS (
            DELETE FROM {table}_delta AS d USING (
                SELECT tenant_id, id FROM {table}_delta ORDER BY tenant_id, id LIMIT most
            ) AS k WHERE d.tenant_id = k.tenant_id AND d.id = k.id
            RETURNING d.*
        ), folded AS (
            INSERT INTO {table} AS s ({keys}, {names})
            SELECT {keys}, {", ".join(f"sum({name})" for name in figures)}
            FROM gone GROUP BY {keys}
            ON CONFLICT ({keys}) DO UPDATE SET
                {", ".join(f"{name} = s.{name} + excluded.{name}" for name in figures)}
        )
        SELECT moved + count(*) INTO moved FROM gone;
    """


_DAY_KEYS = "tenant_id, day, currency_code"
_PRODUCT_KEYS = "tenant_id, product_id, currency_code"
_LOCK = "7205, 1"

# A reader's one snapshot sees a delta either where it was or in the sum. One at a time folds, so
# that two never wait for each other's sums.
FOLD = f"""
CREATE FUNCTION sales_fold(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off AS $body$
DECLARE moved bigint := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM sales_day_delta)
        AND NOT EXISTS (SELECT FROM product_sales_delta) THEN
        RETURN 0;
    END IF;
    IF NOT pg_try_advisory_xact_lock({_LOCK}) THEN
        RETURN 0;
    END IF;
    {_fold("sales_day", _DAY_KEYS, DAY_FIGURES)}
    {_fold("product_sales", _PRODUCT_KEYS, PRODUCT_FIGURES)}
    RETURN moved;
END $body$
"""
_RECOUNT_DAYS = _OF_DAY.format(
    rows='SELECT 1 AS sign, o.* FROM "order" o WHERE o.tenant_id = tenant'
)
_RECOUNT_PRODUCTS = """
    SELECT tenant_id, product_id, currency_code, count(*) AS order_count, sum(units) AS units,
           sum(revenue) AS revenue
    FROM (
        SELECT l.tenant_id, l.product_id, o.currency_code, o.id, sum(l.quantity) AS units,
               sum(l.total) AS revenue
        FROM order_line l
        JOIN "order" o ON o.tenant_id = l.tenant_id AND o.id = l.order_id
        WHERE l.tenant_id = tenant AND o.tenant_id = tenant
          AND o.kind = 'sale' AND o.status <> 'canceled'
          AND l.kind = 'product' AND l.product_id IS NOT NULL
        GROUP BY 1, 2, 3, 4
    ) AS sold
    GROUP BY 1, 2, 3
"""


def _rebuild(table: str, keys: str, figures: tuple[str, ...], recount: str) -> str:
    """One statement, so that orders and deltas are of one snapshot: a delta that it does not see
    belongs to an order that it does not see, and stays."""
    names = ", ".join(figures)
    found = ", ".join(f"coalesce(c.{name}, 0) AS {name}" for name in figures)
    was = ", ".join(f"s.{name}" for name in figures)
    now = ", ".join(f"coalesce(c.{name}, 0)" for name in figures)
    return f"""
        WITH gone AS (
            DELETE FROM {table}_delta WHERE tenant_id = tenant
        )
        INSERT INTO {table} ({keys}, {names})
        SELECT {keys}, {found}
        FROM ({recount}) AS c
        FULL JOIN (SELECT * FROM {table} WHERE tenant_id = tenant) AS s USING ({keys})
        WHERE ({was}) IS DISTINCT FROM ({now})
        ON CONFLICT ({keys}) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in figures)};
    """


# Never order by order: that is what a plan made before the first ANALYZE would do.
REBUILD = f"""
CREATE FUNCTION sales_rebuild(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET work_mem = '64MB' SET enable_nestloop = off AS $body$
#variable_conflict use_variable
BEGIN
    PERFORM pg_advisory_xact_lock({_LOCK});
    {_rebuild("sales_day", _DAY_KEYS, DAY_FIGURES, _RECOUNT_DAYS)}
    {_rebuild("product_sales", _PRODUCT_KEYS, PRODUCT_FIGURES, _RECOUNT_PRODUCTS)}
END $body$
"""
FOR_THE_APPLICATION = {"sales_fold(integer)": FOLD, "sales_rebuild(text)": REBUILD}


def _table(
    name: str, own: list[sa.Column], keys: list[sa.Column], figures: tuple[str, ...]
) -> None:
    """A table of ``keys`` and ``figures``; its primary key is the tenant and ``own``, or
    ``keys`` where there is none."""
    named = [column.name for column in own or keys]
    op.create_table(
        name,
        sa.Column("tenant_id", sa.Text(), nullable=False),
        *own,
        *keys,
        *(sa.Column(figure, sa.BigInteger(), nullable=False) for figure in figures),
        sa.PrimaryKeyConstraint("tenant_id", *named, name=op.f(f"pk_{name}")),
    )


def _keys(name: str, type_: sa.types.TypeEngine) -> list[sa.Column]:
    return [
        sa.Column(name, type_, nullable=False),
        sa.Column("currency_code", sa.Text(), nullable=False),
    ]


def upgrade() -> None:
    for name, key, type_, figures in (
        ("sales_day", "day", sa.Date(), DAY_FIGURES),
        ("product_sales", "product_id", sa.Uuid(), PRODUCT_FIGURES),
    ):
        _table(name, [], _keys(key, type_), figures)
        number = sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False)
        _table(f"{name}_delta", [number], _keys(key, type_), figures)
        settings = ", ".join(f"{option} = {value}" for option, value in STORAGE.items())
        op.execute(f"ALTER TABLE {name}_delta SET ({settings})")
    op.create_index(
        "ix_product_sales_rank",
        "product_sales",
        [
            "tenant_id",
            sa.literal_column("order_count DESC"),
            sa.literal_column("units DESC"),
            "product_id",
            "currency_code",
        ],
    )
    for table in TABLES:
        for statement in policy_statements(table):
            op.execute(statement)
        op.execute(f"GRANT SELECT ON {table} TO {APP_ROLE}")
    for name, statement in TRIGGER_FUNCTIONS.items():
        op.execute(statement.replace(":", r"\:"))
        op.execute(f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC")
    for signature, statement in FOR_THE_APPLICATION.items():
        op.execute(statement.replace(":", r"\:"))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {APP_ROLE}")
    for table, name, when, function in TRIGGERS:
        where = when.replace("%", f'"{table}"')
        op.execute(f"CREATE TRIGGER {name} {where} EXECUTE FUNCTION sum_{function}()")
        # Also where a superuser has set session_replication_role.
        op.execute(f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER {name}')


def downgrade() -> None:
    for table, name, _, _ in TRIGGERS:
        op.execute(f'DROP TRIGGER {name} ON "{table}"')
    for signature in FOR_THE_APPLICATION:
        op.execute(f"DROP FUNCTION {signature}")
    for name in TRIGGER_FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}()")
    for table in reversed(TABLES):
        op.drop_table(table)
