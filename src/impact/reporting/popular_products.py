"""The products that most orders hold."""

from uuid import UUID

import msgspec

from impact.engine.cache.decorator import cached
from impact.engine.cache.kinds import TtlClass, struct_kind
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


# Summed per order first, so that an order with a product on several lines counts once without
# a distinct count; titles are looked up for the rows that are shown alone.
_POPULAR_PRODUCTS = Statement(
    "reporting.popular_products",
    """
    WITH sold AS (
      SELECT l.product_id, o.id, o.currency_code,
             sum(l.quantity) AS units, sum(l.total) AS revenue
      FROM order_line l
      JOIN "order" o ON o.tenant_id = l.tenant_id AND o.id = l.order_id
      WHERE l.tenant_id = :tenant_id
        AND o.tenant_id = :tenant_id
        AND o.kind = 'sale'
        AND o.status <> 'canceled'
        AND l.kind = 'product'
        AND l.product_id IS NOT NULL
      GROUP BY l.product_id, o.id, o.currency_code
    ), ranked AS (
      SELECT product_id, currency_code, count(*) AS order_count,
             sum(units)::bigint AS units, sum(revenue)::bigint AS revenue
      FROM sold
      GROUP BY product_id, currency_code
      ORDER BY order_count DESC, units DESC, product_id, currency_code
      LIMIT :limit::int
    )
    SELECT r.product_id, p.title, r.currency_code, r.order_count, r.units, r.revenue
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
