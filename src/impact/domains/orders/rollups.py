"""Sums of orders that triggers keep, so that a report reads days and products and not orders.

What orders say is the sums *and* the deltas that were not folded into them yet, read by one
statement. Nobody writes these tables but the functions of migration 0006.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy import BigInteger, Identity, text
from sqlalchemy.orm import Mapped, mapped_column

from impact.engine.cache.invalidation import declare
from impact.engine.db.base import TenantScoped, tenant_index

# They change with orders and lines, of which the cache is told, and when nothing else changes.
for _table in ("sales_day", "sales_day_delta", "product_sales", "product_sales_delta"):
    declare(_table)


class _DayFigures(TenantScoped):
    """Of the orders of a day (UTC) that are not cancelled; amounts in minor units.

    ``entries`` are orders of any kind, ``orders`` sales alone.
    """

    __abstract__ = True

    entries: Mapped[int] = mapped_column(BigInteger)
    orders: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
    gross: Mapped[int] = mapped_column(BigInteger)
    returns: Mapped[int] = mapped_column(BigInteger)
    charges: Mapped[int] = mapped_column(BigInteger)


class SalesDay(_DayFigures):
    __tablename__ = "sales_day"

    day: Mapped[dt.date] = mapped_column(primary_key=True, sort_order=-99)
    currency_code: Mapped[str] = mapped_column(primary_key=True, sort_order=-98)


class SalesDayDelta(_DayFigures):
    """What one statement added to a day, or took away."""

    __tablename__ = "sales_day_delta"

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, sort_order=-99
    )
    day: Mapped[dt.date]
    currency_code: Mapped[str]


class _ProductFigures(TenantScoped):
    """Of a product's lines in sales that are not cancelled, all time; ``revenue`` in minor units.

    An order counts once, on however many lines it holds the product.
    """

    __abstract__ = True

    order_count: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
    revenue: Mapped[int] = mapped_column(BigInteger)


class ProductSales(_ProductFigures):
    __tablename__ = "product_sales"
    __table_args__ = (
        tenant_index(
            text("order_count DESC"),
            text("units DESC"),
            "product_id",
            "currency_code",
            name="ix_product_sales_rank",
        ),
    )

    product_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-99)
    currency_code: Mapped[str] = mapped_column(primary_key=True, sort_order=-98)


class ProductSalesDelta(_ProductFigures):
    """What one statement added to a product, or took away."""

    __tablename__ = "product_sales_delta"

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, sort_order=-99
    )
    product_id: Mapped[UUID]
    currency_code: Mapped[str]
