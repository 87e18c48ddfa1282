"""Pages of other origins (Fetch standard, CORS): each shop says whose may read its answers.

A preflight carries no header of ours, so nobody knows yet which shop it is about. It is answered
for every origin: it lets a browser send the request, of which the page sees the answer only where
the shop lists its origin. Nothing rides on cookies here: whoever sends a token had it.
"""

from collections.abc import Awaitable, Callable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from impact.context import RequestContext

Headers = list[tuple[bytes, bytes]]
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, x-tenant-id, x-publishable-api-key, x-consistency-token,"
        b" idempotency-key, if-match, if-none-match, x-request-id, traceparent, tracestate,"
        # Medusa's client sends the locale with each request, empty where none was chosen.
        b" baggage, x-medusa-locale",
    ),
    (b"access-control-max-age", b"7200"),
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
]
_EXPOSED = (
    b"access-control-expose-headers",
    b"etag, x-request-id, x-consistency-token, ratelimit, ratelimit-policy, retry-after,"
    b" content-disposition, traceresponse",
)


def of_origin(context: RequestContext) -> Headers:
    """What lets the page that asks read the answer; nothing where the shop does not list it."""
    if context.origin in context.allowed_origins:
        return [(b"access-control-allow-origin", context.origin.encode("latin-1")), _EXPOSED]
    return []


class PreflightMiddleware:
    """Answers preflights before they are routed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS":
            context: RequestContext = scope["state"]["context"]
            names = {name for name, _ in scope["headers"]}
            if context.origin and b"access-control-request-method" in names:
                origin = context.origin.encode("latin-1")
                headers = [(b"access-control-allow-origin", origin), *_PREFLIGHT]
                await send({"type": "http.response.start", "status": 204, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        await self._app(scope, receive, send)


class RefusalMiddleware:
    """Lets the pages that a shop lists read refusals, too, that came before anybody had looked the
    shop up: a token that has run out, a path that is none, a budget that is used up.

    ``find`` looks it up then, by what the request says of itself. Nothing of the shop stands in
    such an answer.
    """

    def __init__(
        self, app: ASGIApp, find: Callable[[HTTPScope, RequestContext], Awaitable[None]]
    ) -> None:
        self._app = app
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not scope["state"]["context"].origin:
            await self._app(scope, receive, send)
            return
        context: RequestContext = scope["state"]["context"]

        async def answer(message: Message) -> None:
            if (
                message["type"] == "http.response.start"
                # A server that is short of something looks nothing up for a refusal.
                and 400 <= message["status"] < 500
                and not context.admitted
            ):
                await self._find(scope, context)
            await send(message)

        await self._app(scope, receive, answer)
