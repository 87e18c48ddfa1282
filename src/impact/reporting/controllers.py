"""The reports' routes: read from a replica, with a bound on its lag instead of a token."""

import datetime as dt
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromQuery, QueryParameter

from impact.engine.db.consistency import CAUSAL, Consistency, eventual
from impact.engine.http.dependencies import Context, Engine
from impact.engine.runtime import Runtime
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
        async with runtime.database.read(
            context, _consistency(context, runtime), timeout=runtime.settings.report_timeout
        ) as session:
            return Response(await sales(session, interval=interval, start=start, end=end))

    @get("/popular-products", opt=requires("report:read"))
    async def get_popular_products(
        self,
        context: Context,
        runtime: Engine,
        limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 10,
    ) -> Response[PopularProducts]:
        async with runtime.database.read(
            context, _consistency(context, runtime), timeout=runtime.settings.report_timeout
        ) as session:
            return Response(PopularProducts(rows=await popular_products(session, limit=limit)))


def _consistency(context: Context, runtime: Runtime) -> Consistency:
    """A caller with a token sees its own writes in a report too; others take any replica."""
    return CAUSAL if context.token else eventual(runtime.settings.replica_max_lag)
