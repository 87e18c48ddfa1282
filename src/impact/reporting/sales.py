"""Sales by day or month, from the sums by day that are kept with the orders."""

import datetime as dt
from typing import Literal

import msgspec

from impact.engine.cache.decorator import cached
from impact.engine.cache.kinds import Body, TtlClass, body_kind, struct_kind
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
# there even when no order is. One statement has one snapshot, in which a delta is either where it
# was written or in the day's sum: the answer is exact at that moment, whatever is being folded.
_SALES = Statement(
    "reporting.sales",
    """
    SELECT date_trunc(:interval::text, day::timestamp)::date AS period, currency_code,
           grouping(date_trunc(:interval::text, day::timestamp)::date, currency_code) AS level,
           coalesce(sum(orders), 0)::bigint AS orders,
           coalesce(sum(units), 0)::bigint AS units,
           coalesce(sum(gross), 0)::bigint AS gross,
           coalesce(sum(returns), 0)::bigint AS returns,
           coalesce(sum(charges), 0)::bigint AS charges,
           CASE WHEN pg_is_in_recovery()
                 AND pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
                THEN coalesce(pg_last_xact_replay_timestamp(), now())
                ELSE now() END AS as_of
    FROM (
      SELECT day, currency_code, entries, orders, units, gross, returns, charges
      FROM sales_day
      WHERE tenant_id = :tenant_id AND day BETWEEN :start::date AND :end::date
      UNION ALL
      SELECT day, currency_code, entries, orders, units, gross, returns, charges
      FROM sales_day_delta
      WHERE tenant_id = :tenant_id AND day BETWEEN :start::date AND :end::date
    ) AS sold
    GROUP BY GROUPING SETS (
      (date_trunc(:interval::text, day::timestamp)::date, currency_code), (currency_code), ())
    HAVING sum(entries) <> 0
        OR grouping(date_trunc(:interval::text, day::timestamp)::date, currency_code) = 3
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


@cached(body_kind("sales", TtlClass.REPORT, depends=("order",), slow=True))
async def sales_body(
    session: ReadSession, *, interval: Interval, start: dt.date | None, end: dt.date | None
) -> Body:
    """The same as JSON that is ready to be sent."""
    report = await sales.load(session, interval=interval, start=start, end=end)
    return Body(msgspec.json.encode(report))
