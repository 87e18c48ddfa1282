"""The set-based statements of the online-retail import, in the order they run.

The file's rows are staged in a temporary table, as COPY into a table under row-level security
is refused; all that follows is INSERT ... SELECT as the tenant. The statements after
``DROP_PRESENT`` see staged rows alone that are new.
"""

from impact.engine.db.statements import ALL, Statement
from impact.flows.imports.ids import uuid7_at, uuid7_like

STAGING_TABLE = "import_row"
CURRENCY = "gbp"

CREATE_STAGING = Statement(
    "import.create_staging",
    """
    CREATE TEMP TABLE import_row (
      line integer NOT NULL, tenant_id text NOT NULL, invoice text NOT NULL,
      kind text NOT NULL, is_charge boolean NOT NULL, sku text NOT NULL, title text,
      quantity integer NOT NULL, unit_price bigint NOT NULL, placed_at timestamptz NOT NULL,
      customer text, country text
    );
    CREATE TEMP TABLE import_order (
      tenant_id text NOT NULL, invoice text NOT NULL, id uuid NOT NULL, is_new boolean NOT NULL,
      kind text NOT NULL, placed_at timestamptz NOT NULL, customer text, country text
    );
    CREATE TEMP TABLE import_product (
      tenant_id text NOT NULL, sku text NOT NULL, product_id uuid NOT NULL, variant_id uuid,
      is_new boolean NOT NULL, title text NOT NULL, price bigint, seen_at timestamptz NOT NULL
    )
    """,
    tenantless=True,
)

DROP_STAGING = Statement(
    "import.drop_staging", "DROP TABLE import_row, import_order, import_product", tenantless=True
)
"""The connection may serve another import; a rollback drops them too."""

ANALYZE_ROWS = Statement(
    "import.analyze_rows", "ANALYZE import_row (tenant_id, invoice, customer, sku)", tenantless=True
)
ANALYZE_ORDERS = Statement("import.analyze_orders", "ANALYZE import_order", tenantless=True)
ANALYZE_PRODUCTS = Statement("import.analyze_products", "ANALYZE import_product", tenantless=True)

INDEX_ROWS = Statement(
    "import.index_rows", "CREATE INDEX ON import_row (tenant_id)", tenantless=True
)
"""For many tenants, each of which would read all rows else."""

LIST_TENANTS = Statement(
    "import.list_tenants",
    """
    SELECT tenant_id, min(country) AS country
    FROM import_row
    GROUP BY tenant_id
    ORDER BY tenant_id
    """,
    tenantless=True,
)

# An invoice is placed at its earliest row; its customer and country are those of its first row
# that names one.
FIND_ORDERS = Statement(
    "import.find_orders",
    f"""
    INSERT INTO import_order
    SELECT :tenant_id, i.invoice, coalesce(o.id, {uuid7_at("i.placed_at")}), o.id IS NULL,
           i.kind, i.placed_at, i.customer, i.country
    FROM (
      SELECT invoice, min(kind) AS kind, min(placed_at) AS placed_at,
             (array_agg(customer ORDER BY line) FILTER (WHERE customer IS NOT NULL))[1]
               AS customer,
             (array_agg(country ORDER BY line) FILTER (WHERE country IS NOT NULL))[1] AS country
      FROM import_row
      WHERE tenant_id = :tenant_id
      GROUP BY invoice
    ) AS i
    LEFT JOIN "order" o ON o.tenant_id = :tenant_id AND o.external_id = i.invoice
    """,
    writes={"import_order": ALL},
)

# A row is present when its invoice's order holds a line with the same stock code, quantity and
# price; of several equal rows as many are present as there are equal lines.
DROP_PRESENT = Statement(
    "import.drop_present",
    """
    WITH present AS (
      SELECT r.line
      FROM (
        SELECT i.line, o.id AS order_id, i.sku, i.quantity, i.unit_price,
               row_number() OVER (
                 PARTITION BY o.id, i.sku, i.quantity, i.unit_price ORDER BY i.line) AS occurrence
        FROM import_row i
        JOIN import_order o ON o.tenant_id = i.tenant_id AND o.invoice = i.invoice
        WHERE i.tenant_id = :tenant_id AND NOT o.is_new
      ) AS r
      JOIN (
        SELECT l.order_id, l.sku, l.quantity, l.unit_price,
               row_number() OVER (
                 PARTITION BY l.order_id, l.sku, l.quantity, l.unit_price ORDER BY l.rank
               ) AS occurrence
        FROM order_line l
        JOIN import_order o ON o.tenant_id = l.tenant_id AND o.id = l.order_id
        WHERE l.tenant_id = :tenant_id AND NOT o.is_new
      ) AS e USING (order_id, sku, quantity, unit_price, occurrence)
    ), dropped AS (
      DELETE FROM import_row i USING present p
      WHERE i.tenant_id = :tenant_id AND i.line = p.line
      RETURNING i.quantity::bigint * i.unit_price AS amount
    )
    SELECT count(*) AS rows, coalesce(sum(amount), 0)::bigint AS amount FROM dropped
    """,
    writes={"import_row": ALL},
)

INSERT_CUSTOMERS = Statement(
    "import.insert_customers",
    f"""
    INSERT INTO customer
      (tenant_id, id, external_id, has_account, metadata, created_at, updated_at)
    SELECT :tenant_id, {uuid7_at("c.seen_at")}, c.customer, false,
           jsonb_strip_nulls(jsonb_build_object('country', c.country)), c.seen_at, now()
    FROM (
      SELECT customer, min(placed_at) AS seen_at,
             (array_agg(country ORDER BY placed_at, invoice))[1] AS country
      FROM import_order
      WHERE tenant_id = :tenant_id AND is_new AND customer IS NOT NULL
      GROUP BY customer
    ) AS c
    WHERE NOT EXISTS (
      SELECT FROM customer k WHERE k.tenant_id = :tenant_id AND k.external_id = c.customer)
    ORDER BY c.seen_at, c.customer
    """,
    writes={"customer": ALL},
)

# A product goes by its most frequent description and its most frequent price, of equally
# frequent ones by the latest. It exists already when one has its stock code as external id, or
# a variant has it as SKU.
FIND_PRODUCTS = Statement(
    "import.find_products",
    f"""
    INSERT INTO import_product
    WITH sold AS (
      SELECT * FROM import_row WHERE tenant_id = :tenant_id AND NOT is_charge
    ), title AS (
      SELECT DISTINCT ON (sku) sku, title FROM (
        SELECT sku, title, count(*) AS times, max(placed_at) AS latest FROM sold
        WHERE lower(title) <> upper(title) GROUP BY sku, title
      ) AS t ORDER BY sku, times DESC, latest DESC, title
    ), price AS (
      SELECT DISTINCT ON (sku) sku, unit_price FROM (
        SELECT sku, unit_price, count(*) AS times, max(placed_at) AS latest FROM sold
        WHERE unit_price > 0 GROUP BY sku, unit_price
      ) AS t ORDER BY sku, times DESC, latest DESC, unit_price
    )
    SELECT :tenant_id, s.sku, coalesce(p.id, v.product_id, {uuid7_at("s.seen_at")}),
           coalesce(v.id, CASE WHEN p.id IS NULL THEN {uuid7_at("s.seen_at")} END),
           p.id IS NULL AND v.id IS NULL, coalesce(title.title, s.sku), price.unit_price, s.seen_at
    FROM (SELECT sku, min(placed_at) AS seen_at FROM sold GROUP BY sku) AS s
    LEFT JOIN title USING (sku)
    LEFT JOIN price USING (sku)
    LEFT JOIN product p ON p.tenant_id = :tenant_id AND p.external_id = s.sku
    LEFT JOIN product_variant v ON v.tenant_id = :tenant_id AND v.sku = s.sku
    """,
    writes={"import_product": ALL},
)

# The handle ends in the stock code; should it be taken all the same, a digest is added.
INSERT_PRODUCTS = Statement(
    "import.insert_products",
    """
    INSERT INTO product
      (tenant_id, id, title, handle, status, external_id, created_at, updated_at)
    SELECT :tenant_id, h.product_id, h.title,
           CASE WHEN h.place > 1 OR EXISTS (
                  SELECT FROM product p WHERE p.tenant_id = :tenant_id AND p.handle = h.handle)
                THEN h.handle || '-' || substr(md5(h.sku), 1, 8) ELSE h.handle END,
           CASE WHEN h.price IS NULL THEN 'draft' ELSE 'published' END, h.sku, h.seen_at, now()
    FROM (
      SELECT s.*, row_number() OVER (PARTITION BY s.handle ORDER BY s.sku) AS place
      FROM (
        SELECT *, trim(BOTH '-' FROM
                 regexp_replace(lower(title || '-' || sku), '[^a-z0-9]+', '-', 'g')) AS handle
        FROM import_product
        WHERE tenant_id = :tenant_id AND is_new
      ) AS s
    ) AS h
    ORDER BY h.seen_at, h.sku
    """,
    writes={"product": ALL},
)

# The file knows no stock, so none is managed: every variant can be sold.
INSERT_VARIANTS = Statement(
    "import.insert_variants",
    """
    INSERT INTO product_variant
      (tenant_id, id, product_id, title, sku, manage_inventory, created_at, updated_at)
    SELECT :tenant_id, variant_id, product_id, title, sku, false, seen_at, now()
    FROM import_product
    WHERE tenant_id = :tenant_id AND is_new
    ORDER BY seen_at, sku
    """,
    writes={"product_variant": ALL},
)

INSERT_PRICES = Statement(
    "import.insert_prices",
    f"""
    INSERT INTO variant_price
      (tenant_id, id, variant_id, currency_code, amount, created_at, updated_at)
    SELECT :tenant_id, {uuid7_at("seen_at")}, variant_id, '{CURRENCY}', price, seen_at, now()
    FROM import_product
    WHERE tenant_id = :tenant_id AND is_new AND price IS NOT NULL
    """,
    writes={"variant_price": ALL},
)

INSERT_LEVELS = Statement(
    "import.insert_levels",
    f"""
    INSERT INTO inventory_level (tenant_id, id, variant_id, created_at, updated_at)
    SELECT :tenant_id, {uuid7_at("seen_at")}, variant_id, seen_at, now()
    FROM import_product
    WHERE tenant_id = :tenant_id AND is_new
    """,
    writes={"inventory_level": ALL},
)

_TOTALS = """
    coalesce(sum(r.quantity * r.unit_price) FILTER (WHERE NOT r.is_charge), 0)::bigint
      AS item_total,
    coalesce(sum(r.quantity * r.unit_price) FILTER (WHERE r.is_charge), 0)::bigint
      AS charge_total,
    coalesce(sum(r.quantity) FILTER (WHERE NOT r.is_charge), 0)::bigint AS units
"""

# In the order of time, so that display ids follow it. A sale of the past has arrived; a return
# or an adjustment has nothing left to ship.
INSERT_ORDERS = Statement(
    "import.insert_orders",
    f"""
    INSERT INTO "order"
      (tenant_id, id, kind, status, fulfillment_status, customer_id, external_id, currency_code,
       item_total, charge_total, total, units, metadata, created_at, updated_at)
    SELECT :tenant_id, o.id, o.kind, 'completed',
           CASE o.kind WHEN 'sale' THEN 'delivered' ELSE 'fulfilled' END, c.id, o.invoice,
           '{CURRENCY}', t.item_total, t.charge_total, t.item_total + t.charge_total, t.units,
           jsonb_strip_nulls(jsonb_build_object('country', o.country)), o.placed_at, now()
    FROM import_order o
    JOIN (
      SELECT r.invoice, {_TOTALS}
      FROM import_row r
      WHERE r.tenant_id = :tenant_id
      GROUP BY r.invoice
    ) AS t ON t.invoice = o.invoice
    LEFT JOIN customer c ON c.tenant_id = :tenant_id AND c.external_id = o.customer
    WHERE o.tenant_id = :tenant_id AND o.is_new
    ORDER BY o.placed_at, o.invoice
    """,
    writes={"order": ALL},
)

EXTEND_ORDERS = Statement(
    "import.extend_orders",
    f"""
    UPDATE "order" AS k
    SET item_total = k.item_total + t.item_total,
        charge_total = k.charge_total + t.charge_total,
        total = k.total + t.item_total + t.charge_total,
        units = k.units + t.units,
        updated_at = now()
    FROM (
      SELECT o.id, {_TOTALS}
      FROM import_order o
      JOIN import_row r ON r.tenant_id = o.tenant_id AND r.invoice = o.invoice
      WHERE o.tenant_id = :tenant_id AND NOT o.is_new
      GROUP BY o.id
    ) AS t
    WHERE k.tenant_id = :tenant_id AND k.id = t.id
    """,
    writes={"order": ALL},
)

INSERT_LINES = Statement(
    "import.insert_lines",
    f"""
    INSERT INTO order_line
      (tenant_id, id, order_id, kind, product_id, variant_id, title, sku, quantity,
       fulfilled_quantity, unit_price, total, rank, created_at, updated_at)
    SELECT :tenant_id, {uuid7_like("o.id")}, o.id,
           CASE WHEN r.is_charge THEN 'charge' ELSE 'product' END, p.product_id, p.variant_id,
           coalesce(r.title, p.title, r.sku), r.sku, r.quantity,
           CASE WHEN r.is_charge OR o.kind <> 'sale' THEN 0 ELSE greatest(r.quantity, 0) END,
           r.unit_price, r.quantity * r.unit_price,
           row_number() OVER (PARTITION BY o.placed_at, o.id ORDER BY r.line) - 1
             + CASE WHEN o.is_new THEN 0 ELSE (
                 SELECT coalesce(max(l.rank) + 1, 0) FROM order_line l
                 WHERE l.tenant_id = :tenant_id AND l.order_id = o.id) END,
           o.placed_at, now()
    FROM import_row r
    JOIN import_order o ON o.tenant_id = r.tenant_id AND o.invoice = r.invoice
    LEFT JOIN import_product p
      ON p.tenant_id = r.tenant_id AND p.sku = r.sku AND NOT r.is_charge
    WHERE r.tenant_id = :tenant_id
    """,
    writes={"order_line": ALL},
)
