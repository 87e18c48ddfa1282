"""The products that most orders hold."""

from uuid import UUID

import msgspec

from impact.engine.cache.decorator import cached
from impact.engine.cache.kinds import Body, TtlClass, body_kind, struct_kind
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement


class PopularProduct(msgspec.Struct, kw_only=True):
    """``revenue`` is in minor units of ``currency_code``; a product sold in two currencies has
    two rows, as their sums cannot be added."""

    product_id: UUID
    title: str
    currency_code: str
    order_count: int
    units: int
    revenue: int


# The best of those without a delta beside all that have one: of these two the best are the best of
# all. As many more are taken from the index as may turn out to have a delta. Titles
# are looked up for the rows that are shown alone.
_POPULAR_PRODUCTS = Statement(
    "reporting.popular_products",
    """
    WITH delta AS MATERIALIZED (
      SELECT product_id, currency_code, sum(order_count) AS order_count, sum(units) AS units,
             sum(revenue) AS revenue
      FROM product_sales_delta
      WHERE tenant_id = :tenant_id
      GROUP BY product_id, currency_code
    ), settled AS (
      SELECT s.* FROM (
        SELECT product_id, currency_code, order_count, units, revenue
        FROM product_sales
        WHERE tenant_id = :tenant_id AND order_count > 0
        ORDER BY order_count DESC, units DESC, product_id, currency_code
        LIMIT :limit::int + (SELECT count(*) FROM delta)
      ) AS s
      WHERE NOT EXISTS (SELECT FROM delta d WHERE d.product_id = s.product_id
                          AND d.currency_code = s.currency_code)
    ), moving AS (
      SELECT d.product_id, d.currency_code,
             coalesce(s.order_count, 0) + d.order_count AS order_count,
             coalesce(s.units, 0) + d.units AS units,
             coalesce(s.revenue, 0) + d.revenue AS revenue
      FROM delta d
      LEFT JOIN product_sales s ON s.tenant_id = :tenant_id
        AND s.product_id = d.product_id AND s.currency_code = d.currency_code
    ), ranked AS (
      SELECT * FROM settled
      UNION ALL
      SELECT * FROM moving WHERE order_count > 0
      ORDER BY order_count DESC, units DESC, product_id, currency_code
      LIMIT :limit::int
    )
    SELECT r.product_id, p.title, r.currency_code, r.order_count::bigint AS order_count,
           r.units::bigint AS units, r.revenue::bigint AS revenue
    FROM ranked r
    JOIN product p ON p.tenant_id = :tenant_id AND p.id = r.product_id
    ORDER BY r.order_count DESC, r.units DESC, r.product_id, r.currency_code
    """,
)


@cached(
    struct_kind(
        "popular-products",
        TtlClass.REPORT,
        list[PopularProduct],
        depends=("order", "product"),
        slow=True,
    )
)
async def popular_products(session: ReadSession, *, limit: int) -> list[PopularProduct]:
    """The ``limit`` products with the most sales, all time; ties go to more units.

    Cancelled orders, charges, and lines of products deleted since do not count.
    """
    records = await session.fetch(_POPULAR_PRODUCTS, limit=limit)
    return [PopularProduct(**record) for record in records]


@cached(body_kind("popular-products", TtlClass.REPORT, depends=("order", "product"), slow=True))
async def popular_products_body(session: ReadSession, *, limit: int) -> Body:
    """The same as JSON that is ready to be sent."""
    rows = await popular_products.load(session, limit=limit)
    return Body(msgspec.json.encode({"rows": rows}))
