"""The reports' routes: computed on a replica, and again only once orders have changed."""

import datetime as dt
from typing import Annotated, Any

from litestar import Controller, Response, get
from litestar.params import FromQuery, QueryParameter

from impact.context import RequestContext
from impact.engine.cache.local import Held
from impact.engine.http import responses
from impact.engine.http.contract import produces
from impact.engine.http.dependencies import Accept, Context, Engine
from impact.engine.http.limits import counted_as
from impact.engine.schemas import Output
from impact.engine.security.permissions import requires
from impact.errors import InvalidDataError, Problem
from impact.reporting.exports.formats import TABLES
from impact.reporting.exports.tables import TableFormat, chosen_table, table
from impact.reporting.popular_products import (
    PopularProduct,
    popular_products,
    popular_products_body,
)
from impact.reporting.sales import Interval, SalesReport, SalesRow, sales, sales_body


class PopularProducts(Output):
    rows: list[PopularProduct]


class AdminReports(Controller):
    path = "/reports"
    tags = ("Admin reports",)
    opt = counted_as("report")

    @get("/sales", opt=requires("report:read") | produces(*TABLES))
    async def get_sales(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FromQuery[TableFormat | None] = None,
        interval: FromQuery[Interval] = "day",
        start: Annotated[dt.date | None, QueryParameter(name="from")] = None,
        end: Annotated[dt.date | None, QueryParameter(name="to")] = None,
    ) -> Response[SalesReport]:
        """Sales by day or month, in UTC, both days included. Amounts are in minor units.

        As CSV or Parquet it is the rows alone.
        """
        if start is not None and end is not None and start > end:
            message = "'from' is later than 'to'"
            raise InvalidDataError(message, problems=[Problem(message, parameter="from")])
        form = chosen_table(format, accept)
        if form == "json":
            held = await sales_body.entry(
                runtime.cache, context, interval=interval, start=start, end=end
            )
            return await _as_json(held, context)
        report = await sales(runtime.cache, context, interval=interval, start=start, end=end)
        about = {"as_of": report.as_of.isoformat()}
        return await table("sales", SalesRow, report.rows, form, about)

    @get("/popular-products", opt=requires("report:read") | produces(*TABLES))
    async def get_popular_products(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FromQuery[TableFormat | None] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 10,
    ) -> Response[PopularProducts]:
        form = chosen_table(format, accept)
        if form == "json":
            held = await popular_products_body.entry(runtime.cache, context, limit=limit)
            return await _as_json(held, context)
        rows = await popular_products(runtime.cache, context, limit=limit)
        return await table("popular-products", PopularProduct, rows, form)


async def _as_json(held: Held, context: RequestContext) -> Response[Any]:
    """The report as it is cached; the same address answers with tables too."""
    response = await responses.cached_body(held, context, None)
    response.headers["vary"] += ", accept"
    return response
