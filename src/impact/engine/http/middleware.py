"""One pass over each request: its context in, its headers out, and a read run again elsewhere."""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.db.consistency import format_token, parse_token
from impact.engine.db.tenancy import validate_slug
from impact.engine.telemetry.logs import request
from impact.engine.telemetry.telemetry import Telemetry
from impact.errors import ImpactError

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_BRACKETS = re.compile(rb"(?:^|(?<=&))([\w.]+)(?:\[\d*\]|%5B\d*%5D)(?==)", re.IGNORECASE)
_GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|\s|$))", re.IGNORECASE)
_MOST_TRIES = 3
_CLIENT_GONE = 499
"""The status that figures show for a request whose client did not wait; nobody was sent it."""
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]

NO_TENANT = "none"
"""The tenant of a request that names none; no shop may be called so."""


class RequestMiddleware:
    """Makes the RequestContext and gives back request id and consistency token.

    It wraps the whole application, so that unknown paths pass through it too. A GET whose
    database node vanished under it runs again, on another node: nothing was sent yet and
    nothing changed (P7). A HEAD is a GET whose body stays here.
    """

    def __init__(self, app: ASGIApp, telemetry: Callable[[], Telemetry]) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter_ns()
        telemetry = self._telemetry()
        headers = dict(scope["headers"])
        query = scope["query_string"]
        if b"[" in query or b"%5" in query:
            scope["query_string"] = _BRACKETS.sub(rb"\1", query)
        context = _make_context(headers)
        context.trace = telemetry.start(headers, scope["method"])
        logged = request.set(context)
        finish = _Finish(telemetry, context, scope, began)
        try:
            await self._serve(scope, receive, send, context, headers, finish)
        finally:
            finish.gone()
            request.reset(logged)

    async def _serve(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        context: RequestContext,
        headers: dict[bytes, bytes],
        finish: "_Finish",
    ) -> None:
        state = {
            **scope.get("state", {}),
            "context": context,
            "request_error": _read_headers(context, headers),
            "head": scope["method"] == "HEAD",
        }
        head = scope["method"] == "HEAD"
        method = "GET" if head else scope["method"]
        tries = _MOST_TRIES if method == "GET" else 1
        for attempt in range(1, tries + 1):
            responder = _Responder(context, send, finish, head=head, last=attempt == tries)
            # The router writes the route's template into it.
            finish.routed = {**scope, "method": method, "state": dict(state)}
            await self._app(finish.routed, receive, responder)
            if not responder.discarded:
                return


class _Finish:
    """Counts the request, once: before its body goes out, or when it ends without one."""

    def __init__(
        self, telemetry: Telemetry, context: RequestContext, scope: Scope, began: int
    ) -> None:
        self.routed: Any = {}
        self.status = 0
        self._telemetry = telemetry
        self._context = context
        self._scope = scope
        self._began = began
        self._counted = False

    def count(self) -> None:
        if not self._counted:
            self._counted = True
            route = self.routed.get("path_template")
            scope: Any = self._scope
            self._telemetry.finish(self._context, scope, route, self.status, self._began)

    def gone(self) -> None:
        """The request is over. Without an answer its client has gone."""
        self.status = self.status or _CLIENT_GONE
        self.count()


class _Responder:
    """Adds Impact's headers to a response, or discards one that another try replaces."""

    def __init__(
        self, context: RequestContext, send: Send, finish: _Finish, *, head: bool, last: bool
    ) -> None:
        self._context = context
        self._finish = finish
        self._send = send
        self._head = head
        self._last = last
        self._lost_before = len(context.lost_nodes)
        self.discarded = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            lost = len(self._context.lost_nodes) > self._lost_before
            if message["status"] == 503 and lost and not self._last:
                self.discarded = True
            else:
                context = self._context
                headers = list(message.get("headers", []))
                headers += _SECURITY_HEADERS
                headers.append((b"x-request-id", context.request_id.encode()))
                if context.trace is not None:
                    headers.append((b"traceresponse", context.trace.traceparent.encode()))
                if context.wrote and context.token:
                    token = format_token(context.token, context.raised_at).encode()
                    headers.append((b"x-consistency-token", token))
                message["headers"] = headers
                self._finish.status = message["status"]
        elif message["type"] == "http.response.body" and self._head:
            message["body"] = b""
        if not self.discarded:
            if message["type"] == "http.response.body":
                # At the first part of a stream: how long somebody watches is no time that we took.
                self._finish.count()
            await self._send(message)


def _make_context(headers: dict[bytes, bytes]) -> RequestContext:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return RequestContext(
        tenant=NO_TENANT,
        actor=Actor(ActorKind.ANONYMOUS, NO_TENANT),
        request_id=request_id,
        takes_gzip=bool(_GZIP.search(headers.get(b"accept-encoding", b""))),
    )


def _read_headers(context: RequestContext, headers: dict[bytes, bytes]) -> ImpactError | None:
    """Tenant and token into the context. An error waits for the route's guard to raise it, so
    that it becomes a problem response like any other."""
    try:
        tenant = headers.get(b"x-tenant-id")
        if tenant is not None:
            context.tenant = validate_slug(unquote(tenant.decode("latin-1")))
        token = headers.get(b"x-consistency-token")
        if token is not None:
            context.token, context.raised_at = parse_token(token.decode("latin-1"))
    except ImpactError as error:
        return error
    return None


def context_of(connection: Any) -> RequestContext:
    """The request's context. Raises what was wrong with its headers."""
    state = connection.scope["state"]
    if state["request_error"] is not None:
        raise state["request_error"]
    context: RequestContext = state["context"]
    return context
