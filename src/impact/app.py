"""The composition root. Importing it has no effect; ``create_app`` builds everything."""

import contextlib
import gc
from collections.abc import AsyncIterator

from litestar import Litestar

from impact import settings as settings_module
from impact.api import routers
from impact.domains.identity.access import find_origins
from impact.engine.changes.relay import Relay
from impact.engine.http.contract import attach_contracts
from impact.engine.http.cors import PreflightMiddleware, RefusalMiddleware
from impact.engine.http.dependencies import DEPENDENCIES
from impact.engine.http.limits import LimitsMiddleware
from impact.engine.http.middleware import RequestMiddleware
from impact.engine.http.problems import handle_exception
from impact.engine.http.requests import JsonRequest, check
from impact.engine.runtime import open_runtime
from impact.engine.tasks import running
from impact.engine.telemetry import logs
from impact.medusa import IGNORED_PARAMETERS
from impact.ops.alerts.watch import watching
from impact.ops.dashboard.controllers import dashboard
from impact.ops.stopping import told_to_stop
from impact.reporting import rollups
from impact.settings import Settings


def create_app(settings: Settings | None = None) -> Litestar:
    """The application. Its pools open at start-up and close at shutdown.

    Without ``settings`` it reads the environment, as a server's factory does.
    """
    chosen = settings or settings_module.load()
    logs.configure(chosen.log_level, chosen.log_format)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_runtime(chosen) as runtime, contextlib.AsyncExitStack() as stack:
            app.state.runtime = runtime
            await stack.enter_async_context(running(runtime.partitions.keep()))
            if chosen.relay == "on":
                database = runtime.database
                await stack.enter_async_context(
                    Relay(chosen, database.nodes, database.versions, runtime.relay)
                )
                await stack.enter_async_context(running(rollups.fold(chosen, database.nodes)))
            watch = app.state.watch = await stack.enter_async_context(watching(runtime))
            with (
                dashboard(app.state, runtime, watch),
                told_to_stop(runtime.closing.set, chosen.drain_delay),
            ):
                yield

    app = Litestar(
        routers(),
        lifespan=[lifespan],
        dependencies=DEPENDENCIES,
        exception_handlers={Exception: handle_exception},
        before_request=check,
        request_class=JsonRequest,
        # Impact describes itself: ``impact.openapi``.
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    attach_contracts(app, IGNORED_PARAMETERS)
    # Around the router, so that unknown paths and malformed requests pass through it too.
    preflight = PreflightMiddleware(app.asgi_handler)
    limits = LimitsMiddleware(preflight, chosen, lambda: app.state.runtime)
    refusals = RefusalMiddleware(
        limits, lambda scope, context: find_origins(app.state.runtime, scope, context)
    )
    app.asgi_handler = RequestMiddleware(refusals, lambda: app.state.runtime)
    return app


def create_worker() -> Litestar:
    """The application of a process that does nothing else: ``impact serve`` starts these."""
    app = create_app()
    app.on_startup.append(_settle_heap)
    return app


def _settle_heap() -> None:
    """Leave what lives as long as the process out of every collection, and collect less often.

    Requests leave little in cycles; going over 300,000 objects of modules and schemas for them
    took a tenth of an uncached list's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
