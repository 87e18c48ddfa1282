"""Sales by day or month, from the orders' own totals."""

import datetime as dt
from typing import Literal

import msgspec

from impact.engine.cache.decorator import cached
from impact.engine.cache.kinds import TtlClass, struct_kind
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement

Interval = Literal["day", "month"]


class SalesFigures(msgspec.Struct, kw_only=True):
    """Amounts in minor units of the currency: ``net = gross - returns + charges``.

    ``gross`` is what sold products cost, ``returns`` what came back (positive), ``charges``
    postage, fees, discounts and adjustments of all orders. ``orders`` counts sales alone;
    ``units`` are sold less returned.
    """

    currency_code: str
    orders: int
    units: int
    gross: int
    returns: int
    charges: int
    net: int


class SalesRow(SalesFigures, kw_only=True):
    """``period`` is the first day of the interval, e.g. ``2010-12-01``."""

    period: dt.date


class SalesReport(msgspec.Struct, kw_only=True):
    """``totals`` holds one entry per currency. ``as_of`` is the moment the answer is true of:
    on a replica that is behind, when its last replayed transaction was committed."""

    rows: list[SalesRow]
    totals: list[SalesFigures]
    as_of: dt.datetime


# One pass: the grouping sets give the rows, a total per currency, and one row for as_of that is
# there even when no order is. Only "order" is read: its totals are kept with it.
_SALES = Statement(
    "reporting.sales",
    """
    SELECT period, currency_code, grouping(period, currency_code) AS level,
           count(*) FILTER (WHERE kind = 'sale') AS orders,
           coalesce(sum(units), 0)::bigint AS units,
           coalesce(sum(item_total) FILTER (WHERE kind = 'sale'), 0)::bigint AS gross,
           coalesce(-sum(item_total) FILTER (WHERE kind = 'return'), 0)::bigint AS returns,
           coalesce(sum(CASE kind WHEN 'adjustment' THEN total ELSE charge_total END), 0)::bigint
             AS charges,
           CASE WHEN pg_is_in_recovery()
                 AND pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
                THEN coalesce(pg_last_xact_replay_timestamp(), now())
                ELSE now() END AS as_of
    FROM (
      SELECT date_trunc(:interval::text, created_at AT TIME ZONE 'UTC')::date AS period,
             currency_code, kind, units, item_total, charge_total, total
      FROM "order"
      WHERE tenant_id = :tenant_id
        AND status <> 'canceled'
        AND created_at >= :start::date::timestamp AT TIME ZONE 'UTC'
        AND created_at < (:end::date + 1)::timestamp AT TIME ZONE 'UTC'
    ) AS placed
    GROUP BY GROUPING SETS ((period, currency_code), (currency_code), ())
    ORDER BY period, currency_code
    """,
)
_TOTAL_OF_CURRENCY = 2
_TOTAL = 3


@cached(struct_kind("sales", TtlClass.REPORT, SalesReport, depends=("order",), slow=True))
async def sales(
    session: ReadSession, *, interval: Interval, start: dt.date | None, end: dt.date | None
) -> SalesReport:
    """Sales from ``start`` to ``end``, both days included and taken in UTC; None leaves a side
    open. Cancelled orders do not count."""
    records = await session.fetch(
        _SALES,
        interval=interval,
        # asyncpg sends the extreme dates as PostgreSQL's infinities.
        start=start or dt.date.min,
        end=end or dt.date.max,
    )
    rows: list[SalesRow] = []
    totals: list[SalesFigures] = []
    as_of = dt.datetime.now(dt.UTC)
    for record in records:
        if record["level"] == _TOTAL:
            as_of = record["as_of"]
            continue
        figures = {
            name: record[name]
            for name in ("currency_code", "orders", "units", "gross", "returns", "charges")
        }
        figures["net"] = figures["gross"] - figures["returns"] + figures["charges"]
        if record["level"] == _TOTAL_OF_CURRENCY:
            totals.append(SalesFigures(**figures))
        else:
            rows.append(SalesRow(period=record["period"], **figures))
    return SalesReport(rows=rows, totals=totals, as_of=as_of)
