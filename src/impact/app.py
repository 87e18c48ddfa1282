"""The composition root. Importing it has no effect; ``create_app`` builds everything."""

import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

import impact
import impact.models
from impact import settings as settings_module
from impact.api import routers
from impact.engine.changes.relay import Relay
from impact.engine.http.dependencies import DEPENDENCIES
from impact.engine.http.middleware import RequestMiddleware
from impact.engine.http.problems import handle_exception
from impact.engine.runtime import open_runtime
from impact.engine.tasks import running
from impact.engine.telemetry import logs
from impact.ops.alerts.watch import watching
from impact.ops.dashboard.controllers import dashboard
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
            watch = app.state.watch = await stack.enter_async_context(watching(runtime))
            with dashboard(app.state, runtime, watch):
                yield

    app = Litestar(
        routers(),
        lifespan=[lifespan],
        dependencies=DEPENDENCIES,
        exception_handlers={Exception: handle_exception},
        request_max_body_size=chosen.body_limit,
        # The description itself and no viewer: Litestar's viewers load from the internet.
        openapi_config=OpenAPIConfig(
            title="Impact",
            version=impact.__version__,
            path="/schema",
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        logging_config=None,
        debug=False,
    )
    # Around the router, so that unknown paths and malformed requests pass through it too.
    app.asgi_handler = RequestMiddleware(app.asgi_handler, lambda: app.state.runtime.telemetry)
    return app
