"""The reports' routes: computed on a replica, and again only once orders have changed."""

import datetime as dt
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromQuery, QueryParameter

from impact.engine.http.dependencies import Context, Engine
from impact.engine.schemas import Output
from impact.engine.security.permissions import requires
from impact.errors import InvalidDataError, Problem
from impact.reporting.popular_products import PopularProduct, popular_products
from impact.reporting.sales import Interval, SalesReport, sales


class PopularProducts(Output):
    rows: list[PopularProduct]


class AdminReports(Controller):
    path = "/reports"
    tags = ("Admin reports",)

    @get("/sales", opt=requires("report:read"))
    async def get_sales(
        self,
        context: Context,
        runtime: Engine,
        interval: FromQuery[Interval] = "day",
        start: Annotated[dt.date | None, QueryParameter(name="from")] = None,
        end: Annotated[dt.date | None, QueryParameter(name="to")] = None,
    ) -> Response[SalesReport]:
        """Sales by day or month, in UTC, both days included. Amounts are in minor units."""
        if start is not None and end is not None and start > end:
            message = "'from' is later than 'to'"
            raise InvalidDataError(message, problems=[Problem(message, parameter="from")])
        return Response(
            await sales(runtime.cache, context, interval=interval, start=start, end=end)
        )

    @get("/popular-products", opt=requires("report:read"))
    async def get_popular_products(
        self,
        context: Context,
        runtime: Engine,
        limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 10,
    ) -> Response[PopularProducts]:
        rows = await popular_products(runtime.cache, context, limit=limit)
        return Response(PopularProducts(rows=rows))
