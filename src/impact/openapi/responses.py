"""Which answers beside success an operation may give, and which headers its success may have.

One more answer of all routes of a kind is one more line in ``ANSWERS``; one more header, in
``HEADERS``. The contract tests send requests and compare.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from impact.openapi.operations import Operation

# POST that changes no row.
_LOOKS = frozenset({"/admin/permissions/check", "/auth/user/emailpass", "/auth/customer/emailpass"})

# Without an id in the path, yet the caller, the body or the query names what may not be there.
_NAMES = frozenset(
    {
        ("GET", "/admin/users/me"),
        ("GET", "/store/shipping-options"),
        ("POST", "/admin/api-keys"),
        ("POST", "/admin/permissions/check"),
        ("POST", "/admin/policies"),
        ("POST", "/admin/product-categories"),
        ("POST", "/admin/users"),
    }
)


class Answer(NamedTuple):
    status: int
    when: str
    applies: Callable[[Operation], bool]
    headers: tuple[str, ...] = ()


class Header(NamedTuple):
    name: str
    description: str
    applies: Callable[[Operation], bool]
    required: bool = False


def _writes(operation: Operation) -> bool:
    return operation.method != "GET" and operation.path not in _LOOKS


def _asks_database(operation: Operation) -> bool:
    return operation.audience != "open" or operation.path.startswith("/auth/")


def _identifies(operation: Operation) -> bool:
    return _asks_database(operation) or operation.path == "/metrics"


def _is_file(operation: Operation) -> bool:
    return any(each.endswith("parquet") for each in operation.media_types)


def _may_bring_a_body(operation: Operation) -> bool:
    return operation.method != "GET"


def _names_a_thing(operation: Operation) -> bool:
    return "{" in operation.path or (operation.method, operation.path) in _NAMES


def _is_idempotent(operation: Operation) -> bool:
    return any(each.name == "idempotency-key" for each in operation.contract.parameters)


ANSWERS = (
    Answer(304, "The caller has the newest already.", lambda each: each.has_etag),
    Answer(400, "The request is not what this operation takes.", lambda operation: True),
    Answer(401, "No valid credentials were sent.", _identifies, ("www-authenticate",)),
    Answer(403, "The caller may not do this, or not in this shop.", _identifies),
    Answer(404, "There is no such thing in this shop.", _names_a_thing),
    Answer(406, "The form asked for needs what this server lacks.", _is_file),
    Answer(408, "The body did not arrive in time.", _may_bring_a_body),
    Answer(409, "It exists already, is in use, or was changed by somebody else.", _writes),
    Answer(412, "The thing is not what if-match says.", lambda each: each.takes_if_match),
    Answer(413, "The body is too large.", _may_bring_a_body),
    Answer(414, "Path and query are too long.", lambda operation: True),
    Answer(415, "The body is not JSON.", _may_bring_a_body),
    Answer(422, "The idempotency key was used for another request.", _is_idempotent),
    Answer(429, "A budget of requests is used up.", lambda each: each.is_counted, ("retry-after",)),
    Answer(
        503,
        "A server that is needed is away or busy; try again.",
        lambda operation: _asks_database(operation) or operation.path == "/health/ready",
        ("retry-after",),
    ),
)

HEADERS = (
    Header("x-request-id", "The request's id, as logs and records name it.", lambda _: True, True),
    Header("traceresponse", "The trace, by the W3C's form of traceparent.", lambda _: True),
    Header(
        "x-consistency-token",
        "What was written; sent back with reads, they see it.",
        _writes,
    ),
    Header(
        "etag",
        "The tag of this answer, for if-none-match and if-match.",
        lambda each: each.has_etag,
    ),
    Header("ratelimit", "What is left of each budget (RFC draft).", lambda each: each.is_counted),
    Header("ratelimit-policy", "The budgets.", lambda each: each.is_counted),
    Header("cache-control", "Who may keep the answer, and how long.", lambda _: True, True),
    Header("content-encoding", "How the body is packed: zstd or gzip.", lambda _: True),
    Header("vary", "Which request headers the answer depends on.", lambda o: o.method == "GET"),
)

ANSWER_HEADERS: dict[str, dict[str, Any]] = {
    "www-authenticate": {"description": "How to log in.", "schema": {"type": "string"}},
    "retry-after": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
