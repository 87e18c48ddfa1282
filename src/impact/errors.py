"""The error tree. Each error knows its stable code, HTTP status and title; none knows a framework.

The HTTP layer turns them into RFC 9457 problem details (``impact.engine.http.problems``), so a
service raises what went wrong and never thinks of a response.
"""

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with the input, and where: a JSON pointer into the body, or a parameter."""

    message: str
    pointer: str | None = None
    parameter: str | None = None


class ImpactError(Exception):
    """Base of everything Impact raises on purpose."""

    code: str = "unexpected_state"
    status: int = 500
    title: str = "Unexpected state"

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        retry_after: int | None = None,
        code: str | None = None,
    ) -> None:
        """``retry_after`` is in seconds; ``code`` refines the class's own for one caller."""
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class InvalidDataError(ImpactError):
    code = "invalid_data"
    status = 400
    title = "Invalid request"


class UnauthorizedError(ImpactError):
    code = "unauthorized"
    status = 401
    title = "Unauthorized"


class ForbiddenError(ImpactError):
    code = "forbidden"
    status = 403
    title = "Forbidden"


class TenantMismatchError(ForbiddenError):
    code = "tenant_mismatch"
    title = "Tenant mismatch"


class NotFoundError(ImpactError):
    code = "not_found"
    status = 404
    title = "Not found"


class NotAllowedError(ImpactError):
    """The request is well formed, but the state of the shop forbids it (Medusa: not_allowed)."""

    code = "not_allowed"
    status = 400
    title = "Not allowed"


class InsufficientInventoryError(NotAllowedError):
    code = "insufficient_inventory"
    title = "Insufficient inventory"


class NotAcceptableError(ImpactError):
    """This server cannot give the answer in the form that was asked for."""

    code = "not_acceptable"
    status = 406
    title = "Not acceptable"


class RequestTimeoutError(ImpactError):
    """The client did not send what it began to send."""

    code = "request_timeout"
    status = 408
    title = "The request took too long to arrive"


class ConflictError(ImpactError):
    code = "conflict"
    status = 409
    title = "Conflict"


class PreconditionFailedError(ImpactError):
    """The entity is not, or no longer, what ``if-match`` says."""

    code = "precondition_failed"
    status = 412
    title = "Changed meanwhile"


class BodyTooLargeError(ImpactError):
    code = "body_too_large"
    status = 413
    title = "The body is too large"


class AddressTooLongError(ImpactError):
    code = "address_too_long"
    status = 414
    title = "The address is too long"


class MediaTypeError(ImpactError):
    code = "unsupported_media_type"
    status = 415
    title = "Unsupported media type"


class IdempotencyMismatchError(ImpactError):
    code = "idempotency_mismatch"
    status = 422
    title = "Idempotency key reused with another body"


class RateLimitedError(ImpactError):
    """A budget of requests is used up until ``retry_after`` seconds from now."""

    code = "rate_limited"
    status = 429
    title = "Too many requests"


class UnavailableError(ImpactError):
    """A dependency is away; the same request may succeed after ``retry_after`` seconds."""

    code = "unavailable"
    status = 503
    title = "Temporarily unavailable"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, retry_after=retry_after)


class NodeLostError(UnavailableError):
    """A database node vanished before anything was changed: a read may run again elsewhere."""

    code = "node_lost"


class OverloadedError(UnavailableError):
    """There is more to do than can be done in time, so this is not even begun."""

    code = "overloaded"
    title = "Overloaded"


class QueryTimeoutError(UnavailableError):
    code = "query_timeout"
    title = "The database took too long"


class ConfigurationError(ImpactError):
    """Impact cannot start with what it was given; the message names the remedy."""

    code = "configuration"
