"""Pages of other origins (Fetch standard, CORS): each shop says whose may read its answers.

A preflight carries no header of ours, so nobody knows yet which shop it is about. It is answered
for every origin: it lets a browser send the request, of which the page sees the answer only where
the shop lists its origin. Nothing rides on cookies here: whoever sends a token had it.
"""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from impact.context import RequestContext

Headers = list[tuple[bytes, bytes]]
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, x-tenant-id, x-publishable-api-key, x-consistency-token,"
        b" idempotency-key, if-match, if-none-match, x-request-id, traceparent, tracestate",
    ),
    (b"access-control-max-age", b"7200"),
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
]
_EXPOSED = (
    b"access-control-expose-headers",
    b"etag, x-request-id, x-consistency-token, ratelimit, ratelimit-policy, retry-after,"
    b" traceresponse",
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
