"""The routes of /ops: the page for anybody, its figures for staff of headquarters."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath

from impact.context import HEADQUARTERS, RequestContext
from impact.domains.identity.access import admit_platform
from impact.engine.db.plans import NamedPlan, plans_of
from impact.engine.http.contract import produces
from impact.engine.http.dependencies import Engine
from impact.engine.http.responses import json_body
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import public, requires
from impact.errors import NotFoundError, UnavailableError
from impact.ops.alerts.watch import Watch
from impact.ops.dashboard.assets import PAGE_HEADERS, site
from impact.ops.dashboard.feed import Feed
from impact.ops.dashboard.stream import MOST, EventStream

_NO_STORE = {"cache-control": "no-store"}
_PLANNING = 5.0
"""Seconds that PostgreSQL may take to plan a statement."""


@contextlib.contextmanager
def dashboard(state: State, runtime: Runtime, watch: Watch) -> Iterator[None]:
    """What the routes need, for as long as the application runs."""
    state.feed = Feed(runtime.telemetry, watch, runtime.settings.alert_thresholds)
    state.closing = runtime.closing
    site()  # now, rather than in somebody's request
    yield
    state.closing.set()


class DashboardPage(Controller):
    """Open: there are no figures in it."""

    path = "/ops"
    tags = ("Operations",)
    include_in_schema = False

    @get(opt=public())
    async def page(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        found = site()
        headers = {**PAGE_HEADERS, "etag": found.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(b"", status_code=304, headers=headers, media_type="text/html")
        return Response(found.page, headers=headers, media_type="text/html")

    @get("/assets/{name:str}", opt=public())
    async def asset(self, name: FromPath[str]) -> Response[bytes]:
        found = site().assets.get(name)
        if found is None:
            raise NotFoundError("there is no such file; load the page again")
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(found.body, headers=headers, media_type=found.media_type)


class DashboardFigures(Controller):
    """Of all worker processes and all shops."""

    path = "/ops"
    tags = ("Operations",)

    @get("/figures", opt=requires("ops:read"))
    async def get_figures(self, request: Request[Any, Any, Any]) -> Response[Any]:
        """What the dashboard shows now."""
        feed: Feed = request.app.state.feed
        response = json_body((await feed.newest()).figures)
        response.headers.update(_NO_STORE)
        return response

    @get("/events", opt=requires("ops:read") | produces("text/event-stream"))
    async def follow(self, request: Request[Any, Any, Any]) -> EventStream:
        """The same as server-sent events: ``figures``, ``charts``, and ``end`` with the reason."""
        feed: Feed = request.app.state.feed
        if feed.watching >= MOST:
            raise UnavailableError(
                f"this process serves {MOST} dashboards already; try again", retry_after=5
            )
        handler = request.route_handler

        async def admit() -> None:
            first: RequestContext = request.scope["state"]["context"]
            context = RequestContext(tenant=HEADQUARTERS, actor=first.actor)
            context.see(first.token, first.raised_at)
            await admit_platform(request, context, handler)

        head: bool = request.scope["state"]["head"]
        return EventStream(feed, admit, request.app.state.closing, head=head)

    @get("/queries/{name:str}/plan", opt=requires("ops:read"))
    async def get_plan(self, runtime: Engine, name: FromPath[str]) -> Response[list[NamedPlan]]:
        """How PostgreSQL would run the statement for any values; it is not run."""
        try:
            async with asyncio.timeout(_PLANNING):
                # The statistics of what the ORM sends are mostly the primary's.
                nodes = runtime.database.nodes
                node = nodes.primary() if nodes.has_primary() else nodes.replicas()[0]
                async with node.engine.connect() as connection:
                    driver: Any = (await connection.get_raw_connection()).driver_connection
                    plans = await plans_of(driver, name, HEADQUARTERS)
        except (TimeoutError, IndexError):
            raise UnavailableError("no database server plans it now; try again") from None
        return Response(plans, headers=_NO_STORE)
