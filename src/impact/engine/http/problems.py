"""From exceptions to RFC 9457 problem details."""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from impact.context import ActorKind, RequestContext
from impact.engine.changes.events import ACCESS
from impact.engine.db.failures import DRIVER_ERRORS, translate
from impact.engine.http.contract import contract_of
from impact.engine.http.parameters import invalid
from impact.engine.http.requests import all_problems
from impact.engine.runtime import Runtime
from impact.errors import (
    ForbiddenError,
    ImpactError,
    InvalidDataError,
    NotFoundError,
    OverloadedError,
    Problem,
    TenantMismatchError,
)

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:impact:error:"
_MOST_INSTANCE = 500


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """RFC 9457, with ``code`` and ``message`` as Medusa's clients read them."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    instance: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    errors: list[Problem] = msgspec.field(default_factory=list)


def problem_response(error: ImpactError, request: Request[Any, Any, Any]) -> Response[Any]:
    """The response that an error becomes."""
    scope: Any = request.scope
    context = scope.get("state", {}).get("context")
    details = ProblemDetails(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.message,
        code=error.code,
        message=error.message,
        instance=scope.get("raw_path", b"").decode("latin-1")[:_MOST_INSTANCE] or None,
        request_id=context.request_id if context is not None else None,
        trace_id=context.trace.hex if context is not None and context.trace is not None else None,
        errors=list(error.problems),
    )
    headers = dict(error.headers) if isinstance(error, _HttpError) else {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 408:
        headers["connection"] = "close"
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="impact"'
    return Response(
        content=msgspec.json.encode(details),
        status_code=error.status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Every exception of every route ends here; none leaves with a stack trace."""
    known = _known(error, request)
    if known is None or (known.status >= 500 and known.retry_after is None):
        logger.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
        known = ImpactError("an unexpected error occurred")
    elif known.status >= 500 and not isinstance(known, OverloadedError):
        # Not of those sent away: there are many at once, and they are counted.
        logger.warning("%s %s: %s", request.method, request.scope["path"], known.message)
    elif isinstance(known, ForbiddenError):
        _record_denial(request, known)
    return problem_response(known, request)


def _record_denial(request: Request[Any, Any, Any], error: ForbiddenError) -> None:
    """A denial goes to the log of the shop acted upon, or the caller's own where it is not theirs
    to act upon. Of those who did not say who they are nothing is recorded: anybody could then
    fill a shop's log."""
    context: RequestContext = request.scope["state"]["context"]
    if context.actor.kind is ActorKind.ANONYMOUS:
        return
    runtime: Runtime = request.app.state.runtime
    runtime.events.record(
        context,
        ACCESS,
        "denied",
        after={
            "method": request.method,
            "path": request.scope.get("raw_path", b"").decode("latin-1")[:500],
            "code": error.code,
            "message": error.message[:500],
        },
        tenant=context.actor.tenant if isinstance(error, TenantMismatchError) else None,
    )


class _HttpError(ImpactError):
    """An error the framework found, under its own status."""

    def __init__(
        self,
        message: str,
        status: int,
        code: str,
        title: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.title = status, code, title
        self.headers = headers or {}


def _known(error: Exception, request: Request[Any, Any, Any]) -> ImpactError | None:  # noqa: PLR0911 - one return a case
    if isinstance(error, ImpactError):
        return error
    if isinstance(error, DRIVER_ERRORS):
        return translate(error)
    if isinstance(error, ValidationException):
        # The body was read and found good before the parameters were looked at.
        problems = all_problems(request, contract_of(request.route_handler), None)
        return invalid(problems) if problems else InvalidDataError(error.detail)
    if isinstance(error, MethodNotAllowedException):
        message = "this path does not take this method"
        return _HttpError(message, 405, "not_allowed", "Not allowed", _allowed(error))
    if isinstance(error, NotFoundException):
        return NotFoundError("there is nothing at this path")
    if isinstance(error, HTTPException) and error.status_code < 500:
        code = "invalid_data" if isinstance(error, ClientException) else "http_error"
        return _HttpError(error.detail, error.status_code, code, "Invalid request")
    return None


def _allowed(error: MethodNotAllowedException) -> dict[str, str]:
    """The ``allow`` header, with HEAD wherever there is a GET."""
    methods = set((error.headers or {}).get("allow", "").split(", "))
    if "GET" in methods:
        methods.add("HEAD")
    return {"allow": ", ".join(sorted(methods))}
