"""Rate limits, the bound on requests at once and the door, as each request meets them.

The guards charge who was let in. Whatever they did not charge, unknown paths and refused tokens
for example, is charged to the client's address when it is answered: no route is forgotten.
"""

from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from impact.context import RequestContext
from impact.engine.http.problems import problem_response
from impact.engine.limits.policies import RateClass
from impact.engine.runtime import Runtime
from impact.errors import OverloadedError, RateLimitedError
from impact.settings import Settings

_CLASS = "rate_class"


def counted_as(rate_class: RateClass) -> dict[str, Any]:
    """The mark of a route or a controller whose requests are not simply reads or writes."""
    return {_CLASS: rate_class}


def class_of(opt: dict[str, Any], method: str) -> RateClass:
    """What a route's request is counted as."""
    marked: RateClass | None = opt.get(_CLASS)
    if marked is not None:
        return marked
    return "read" if method == "GET" else "write"


async def charge(
    connection: ASGIConnection[Any, Any, Any, Any],
    context: RequestContext,
    handler: BaseRouteHandler,
) -> None:
    """What a guard does once it knows tenant and caller. Raises RateLimitedError."""
    runtime: Runtime = connection.app.state.runtime
    rate_class = class_of(handler.opt, str(connection.scope.get("method", "")))
    context.rate_class = rate_class
    context.urgent = rate_class == "checkout"
    await runtime.limiter.charge(context, rate_class)


async def open_guard(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Charges the client's address for routes that let everybody in."""
    runtime: Runtime = connection.app.state.runtime
    context: RequestContext = connection.scope["state"]["context"]
    await runtime.limiter.charge_address(context, class_of(handler.opt, "GET"))


def _said(scope: HTTPScope) -> bytes:
    """By what the request names its shop, if it does."""
    headers = dict(scope["headers"])
    return (
        headers.get(b"x-tenant-id")
        or headers.get(b"x-publishable-api-key")
        or headers.get(b"authorization")
        or b""
    )


class LimitsMiddleware:
    """Stands between the request's context and the router."""

    def __init__(self, app: ASGIApp, settings: Settings, runtime: Callable[[], Runtime]) -> None:
        self._app = app
        self._runtime = runtime
        self._most = settings.requests_max
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        context: RequestContext = state["context"]
        runtime = self._runtime()
        full = self._running - runtime.bodies.awaited >= self._most
        if full:
            # The guards raise it before any work. Health checks and /metrics ask none for it.
            state["request_error"] = OverloadedError(
                f"this process serves {self._most} requests already; send it again"
            )
        self._running += 1
        replaced = False

        async def answer(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and context.charged is None:
                replaced = await self._charge_late(scope, receive, send, message["status"])
            if not replaced:
                await send(message)

        said = _said(scope)
        try:
            door = runtime.door
            # Whom there is no room for gets that answer at once.
            if not full and not door.open():
                await door.wait(door.flow(said, context.address))
            await self._app(scope, receive, answer)
        finally:
            self._running -= 1
            if context.admitted:
                door.know(said, context.tenant)

    async def _charge_late(
        self, scope: HTTPScope, receive: Receive, send: Send, status: int
    ) -> bool:
        """Charge what no guard did to the address, unless the fault is ours. Whether the answer
        was replaced, as the address has nothing left to pay it with."""
        context: RequestContext = scope["state"]["context"]
        handler: Any = scope.get("route_handler")
        if status >= 500 or (handler is not None and handler.opt.get(_CLASS) == "free"):
            return False
        try:
            rate_class: RateClass = "refused" if status >= 400 else "read"
            await self._runtime().limiter.charge_address(context, rate_class)
        except RateLimitedError as error:
            request: Request[Any, Any, Any] = Request(scope)
            response = problem_response(error, request)
            await response.to_asgi_response(None, request)(scope, receive, send)
            return True
        return False
