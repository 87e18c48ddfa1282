"""One pass over each request: its context in, its headers out, and a read run again elsewhere."""

import random
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.db.consistency import parse_token
from impact.engine.db.tenancy import validate_slug
from impact.engine.http.encodings import choose
from impact.engine.http.problems import problem_response
from impact.engine.http.responder import Responder, of_request
from impact.engine.http.shortcuts import Answer, Shortcuts, question_of
from impact.engine.runtime import Runtime
from impact.engine.telemetry.logs import request
from impact.engine.telemetry.telemetry import Telemetry
from impact.errors import (
    AddressTooLongError,
    ImpactError,
    InvalidDataError,
    NotFoundError,
    Problem,
)

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_BRACKETS = re.compile(rb"(?:^|(?<=&))([\w.]+)(?:\[\d*\]|%5B\d*%5D)(?==)", re.IGNORECASE)
_MOST_TRIES = 3
_CLIENT_GONE = 499
"""The status that figures show for a request whose client did not wait; nobody was sent it."""
_MOST_ADDRESS = 16_384
"""Bytes of path and query: the router and the parser each keep a thousand of them."""
_SEPARATOR = re.compile(rb"%2f|%5c", re.IGNORECASE)
_SAID_ONCE = frozenset(
    {
        b"authorization",
        b"content-type",
        b"idempotency-key",
        b"x-consistency-token",
        b"x-publishable-api-key",
        b"x-tenant-id",
    }
)

NO_TENANT = "none"
"""The tenant of a request that names none; no shop may be called so."""
_NOBODY = Actor(ActorKind.ANONYMOUS, NO_TENANT)


class RequestMiddleware:
    """Makes the RequestContext and gives back request id and consistency token.

    It wraps the whole application, so that unknown paths pass through it too. A GET whose
    database node vanished under it runs again, on another node: nothing was sent yet and
    nothing changed (P7). A HEAD is a GET whose body stays here.
    """

    def __init__(self, app: ASGIApp, runtime: Callable[[], Runtime]) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter_ns()
        runtime = self._runtime()
        if runtime.closing.is_set():
            send = _last_answer(send)
        headers = dict(scope["headers"])
        context = _make_context(headers)
        context.address = runtime.limiter.addresses.of(scope)
        error = _read_headers(context, headers, scope)
        refused = _refusal(scope, headers)
        plain = error is None and refused is None
        question = question_of(scope, headers, context) if plain else None
        if question is not None:
            answer = runtime.shortcuts.find(question, context)
            if answer is not None and runtime.limiter.charge_now(context, answer.known.rate_class):
                context.trace = runtime.telemetry.start_repeated(headers)
                await _send(runtime.shortcuts, answer, context, scope, began, send)
                return
            context.facts = []
        context.trace = runtime.telemetry.start(headers)
        finish = _Finish(runtime.telemetry, context, scope, began)
        query = scope["query_string"]
        if b"[" in query or b"%5" in query:
            scope["query_string"] = _BRACKETS.sub(rb"\1", query)
        logged = request.set(context)
        try:
            app = self._app if refused is None else _refusing(refused)
            headers_sent = await self._serve(scope, receive, send, context, error, finish, app)
        finally:
            finish.gone()
            request.reset(logged)
        if question is not None and headers_sent is not None and finish.route is not None:
            runtime.shortcuts.note(question, context, finish.route, headers_sent)

    async def _serve(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        context: RequestContext,
        error: ImpactError | None,
        finish: "_Finish",
        app: ASGIApp,
    ) -> list[tuple[bytes, bytes]] | None:
        """The headers of a 200 that the request itself does not explain, or None."""
        head = scope["method"] == "HEAD"
        method = "GET" if head else scope["method"]
        state = {
            **scope.get("state", {}),
            "context": context,
            "request_error": error,
            "head": head,
        }
        tries = _MOST_TRIES if method == "GET" else 1
        for attempt in range(1, tries + 1):
            responder = Responder(context, send, finish, head=head, last=attempt == tries)
            # The router writes the route's template into it.
            finish.routed = {**scope, "method": method, "state": dict(state)}
            await app(finish.routed, receive, responder)
            if not responder.discarded:
                return responder.headers if finish.status == 200 else None
        return None


async def _send(
    shortcuts: Shortcuts,
    answer: Answer,
    context: RequestContext,
    scope: HTTPScope,
    began: int,
    send: Send,
) -> None:
    headers = [*answer.headers, *of_request(context)]
    start: Any = {"type": "http.response.start", "status": answer.status, "headers": headers}
    try:
        await send(start)
    finally:
        # Before its body goes out, as always.
        shortcuts.count(answer, context, scope, began)
    body: Any = {"type": "http.response.body", "body": answer.body, "more_body": False}
    await send(body)


def _refusal(scope: HTTPScope, headers: dict[bytes, bytes]) -> ImpactError | None:
    """Why no route is looked for: what another reader may take otherwise than we do (RFC 9112, 3.2
    and 6.3). A slash that was encoded is no separator, nor are two one, though the router would
    take them so: what stands before this service may have let ``/admin%2fusers`` pass."""
    if b"transfer-encoding" in headers and (
        b"content-length" in headers or headers[b"transfer-encoding"].lower() != b"chunked"
    ):
        return InvalidDataError("send a body with content-length, or chunked, and not otherwise")
    repeats = len(headers) != len(scope["headers"])  # type: ignore[arg-type]
    if scope["http_version"] == "1.1" and (
        b"host" not in headers
        or (repeats and [name for name, _ in scope["headers"]].count(b"host") > 1)
    ):
        return InvalidDataError("name the host, and one")
    if len(scope["path"]) + len(scope["query_string"]) > _MOST_ADDRESS:
        return AddressTooLongError(f"path and query have more than {_MOST_ADDRESS} bytes")
    raw = scope.get("raw_path") or b""
    if b"//" in raw or (b"%" in raw and _SEPARATOR.search(raw)):
        return NotFoundError("there is nothing at this path")
    return None


def _refusing(error: ImpactError) -> ASGIApp:
    async def refuse(scope: Any, receive: Receive, send: Send) -> None:
        asked: Request[Any, Any, Any] = Request(scope, receive, send)
        response = problem_response(error, asked).to_asgi_response(None, asked)
        await response(scope, receive, send)

    return refuse


def _last_answer(send: Send) -> Send:
    """The server is about to stop: the client's next request is for another connection."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
        await send(message)

    return sending


class _Finish:
    """Counts the request, once: before its body goes out, or when it ends without one."""

    __slots__ = (
        "_began",
        "_context",
        "_counted",
        "_route",
        "_scope",
        "_telemetry",
        "routed",
        "status",
    )

    def __init__(
        self, telemetry: Telemetry, context: RequestContext, scope: Scope, began: int
    ) -> None:
        self.routed: Any = {}
        self.status = 0
        self._route: str | None = None
        self._telemetry = telemetry
        self._context = context
        self._scope = scope
        self._began = began
        self._counted = False

    @property
    def route(self) -> str | None:
        """The template of the route; None where there is none at this path."""
        return self._route or self.routed.get("path_template")

    @route.setter
    def route(self, template: str) -> None:
        self._route = template

    def count(self) -> None:
        if not self._counted:
            self._counted = True
            scope: Any = self._scope
            self._telemetry.finish(self._context, scope, self.route, self.status, self._began)

    def gone(self) -> None:
        """The request is over. Without an answer its client has gone."""
        self.status = self.status or _CLIENT_GONE
        self.count()


def _make_context(headers: dict[bytes, bytes]) -> RequestContext:
    given = headers.get(b"x-request-id")
    request_id = given.decode("latin-1") if given is not None else ""
    if not request_id or not _REQUEST_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"
    context = RequestContext(tenant=NO_TENANT, actor=_NOBODY, request_id=request_id)
    accepted = headers.get(b"accept-encoding")
    if accepted is not None:
        context.coding = choose(accepted)
    origin = headers.get(b"origin")
    if origin is not None:
        context.origin = origin.decode("latin-1")
    condition = headers.get(b"if-none-match")
    if condition is not None:
        context.if_none_match = condition.decode("latin-1")
    condition = headers.get(b"if-match")
    if condition is not None:
        context.if_match = condition.decode("latin-1")
    return context


def _read_headers(
    context: RequestContext, headers: dict[bytes, bytes], scope: HTTPScope
) -> ImpactError | None:
    """Tenant and token into the context. An error waits for the route's guard to raise it, so
    that it becomes a problem response like any other."""
    try:
        if len(headers) != len(scope["headers"]):  # type: ignore[arg-type]
            _refuse_repeated([name for name, _ in scope["headers"]])
        tenant = headers.get(b"x-tenant-id")
        if tenant is not None:
            context.tenant = validate_slug(unquote(tenant.decode("latin-1")))
        token = headers.get(b"x-consistency-token")
        if token is not None:
            context.token, context.raised_at = parse_token(token.decode("latin-1"))
    except ImpactError as error:
        return error
    return None


def _refuse_repeated(names: list[bytes]) -> None:
    """Two answers to who is asking are none: which of them counts, each reader would decide."""
    repeated = sorted(name.decode() for name in _SAID_ONCE if names.count(name) > 1)
    if repeated:
        raise InvalidDataError(
            f"sent more than once: {', '.join(repeated)}",
            problems=[Problem("send this header once", parameter=name) for name in repeated],
        )


def context_of(connection: Any) -> RequestContext:
    """The request's context. Raises what was wrong with its headers."""
    state = connection.scope["state"]
    if state["request_error"] is not None:
        raise state["request_error"]
    context: RequestContext = state["context"]
    return context
