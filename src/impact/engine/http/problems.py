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
from litestar.serialization import decode_json

from impact.context import ActorKind, RequestContext
from impact.engine.changes.events import ACCESS
from impact.engine.db.failures import DRIVER_ERRORS, translate
from impact.engine.runtime import Runtime
from impact.errors import (
    ForbiddenError,
    ImpactError,
    InvalidDataError,
    NotFoundError,
    Problem,
    TenantMismatchError,
)

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:impact:error:"


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
    context = request.scope.get("state", {}).get("context")
    details = ProblemDetails(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.message,
        code=error.code,
        message=error.message,
        instance=request.scope.get("raw_path", b"").decode("latin-1") or None,
        request_id=context.request_id if context is not None else None,
        trace_id=context.trace.hex if context is not None and context.trace is not None else None,
        errors=list(error.problems),
    )
    headers = dict(error.headers) if isinstance(error, _HttpError) else {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
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
    known = _known(error)
    if known is None or (known.status >= 500 and known.retry_after is None):
        logger.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
        known = ImpactError("an unexpected error occurred")
    elif known.status >= 500:
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


def _known(error: Exception) -> ImpactError | None:  # noqa: PLR0911 - one return a case
    if isinstance(error, ImpactError):
        return error
    if isinstance(error, DRIVER_ERRORS):
        return translate(error)
    if isinstance(error, ValidationException):
        return _validation(error)
    if isinstance(error, UnicodeDecodeError | RecursionError) and _is_undecodable(error):
        return InvalidDataError("the body is not JSON in UTF-8, or is nested too deeply")
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


def _is_undecodable(error: BaseException) -> bool:
    """Whether reading the body's JSON raised this, rather than a defect elsewhere."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is decode_json.__code__


def _validation(error: ValidationException) -> InvalidDataError:
    """Each problem with its place, as a JSON pointer into the body or a parameter's name."""
    problems = []
    for extra in error.extra or []:
        if not isinstance(extra, dict):
            continue
        key = str(extra.get("key", ""))
        message = str(extra.get("message", ""))
        source = str(getattr(extra.get("source"), "value", extra.get("source", "body")))
        if source == "body" or key == "data":
            pointer, text = _body_pointer(key, message)
            problems.append(Problem(text, pointer=pointer))
        else:
            problems.append(Problem(message, parameter=key))
    places = [
        f"{problem.message} at {problem.pointer or problem.parameter or '/'}"
        for problem in problems
    ]
    return InvalidDataError(
        f"Invalid request: {'; '.join(places)}" if places else f"Invalid request: {error.detail}",
        problems=problems,
    )


def _body_pointer(key: str, message: str) -> tuple[str, str]:
    """msgspec says ``... - at `$.variants[0].title```; RFC 6901 says ``/variants/0/title``."""
    text, _, path = message.partition(" - at `")
    if text == "'data'":
        text = "a JSON body is required"
    path = path.rstrip("`").removeprefix("$")
    if not path and key not in {"", "data"}:
        path = "." + key
    # An entry of a map is ``[...]``: the map's own place is the nearest that is known.
    path = path.partition("[...]")[0]
    pointer = path.replace("[", ".").replace("]", "").replace(".", "/")
    return pointer or "/", text
