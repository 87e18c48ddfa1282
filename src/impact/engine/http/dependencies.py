"""What handlers may ask for by name: ``context``, ``runtime`` and ``paging``."""

import datetime as dt
from typing import Annotated, TypeVar

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, QueryParameter
from msgspec import Meta

from impact.context import RequestContext
from impact.engine.db.readmodel import PageRequest
from impact.engine.http.middleware import context_of
from impact.engine.runtime import Runtime
from impact.engine.schemas import END
from impact.errors import InvalidDataError, Problem

Context = NamedDependency[RequestContext]
Engine = NamedDependency[Runtime]
Paging = NamedDependency[PageRequest]

Accept = Annotated[str, HeaderParameter(name="accept", max_length=1000)]
_Item = TypeVar("_Item")
Many = Annotated[list[_Item] | None, QueryParameter(max_items=200)]
"""A parameter that may be repeated: ``?id=...&id=...``, or ``id[]`` as Medusa's clients do."""
Word = Annotated[str, Meta(max_length=255)]
Text = Annotated[str | None, QueryParameter(max_length=255)]
Search = Annotated[
    str | None, QueryParameter(max_length=200, description="Text to be found anywhere in it.")
]
Fields = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[A-Za-z0-9_.*+, -]{0,1000}" + END,
        description="Fields to be shown, separated by commas; 'id' always is. With '*', '+', '-' or"
        " a dot in it, which ask for relations, all are.",
        examples=[Example(value="id,created_at")],
    ),
]
CurrencyParameter = Annotated[
    str | None,
    QueryParameter(
        pattern="^[a-z]{3}" + END,
        description="ISO 4217, in lower case; the shop's own without it.",
        examples=[Example(value="eur")],
    ),
]
CursorParameter = Annotated[
    str | None,
    QueryParameter(
        pattern="^[A-Za-z0-9_-]{16,512}" + END, description="The next_cursor of the page before."
    ),
]
MOMENT_SCHEMA = {"anyOf": [{"format": "date-time"}, {"format": "date"}]}
MomentParameter = Annotated[
    str | None,
    QueryParameter(
        max_length=40,
        description="ISO 8601 date or time; without a zone it is UTC.",
        examples=[Example(value="2026-11-23T12:00:00Z")],
        schema_extra=MOMENT_SCHEMA,
    ),
]


# Each asks for the one before it, which it does not need: dependencies that know nothing of each
# other are resolved at the same time, in a group of tasks. That takes five times as long as all of
# these together.


def provide_runtime(request: Request) -> Runtime:  # type: ignore[type-arg]
    runtime: Runtime = request.app.state.runtime
    return runtime


def provide_context(request: Request, runtime: Engine) -> RequestContext:  # type: ignore[type-arg]
    return context_of(request)


def provide_paging(
    context: Context,
    limit: Annotated[int, QueryParameter(ge=1, le=200, description="Items on a page.")] = 50,
    offset: Annotated[
        int,
        QueryParameter(
            ge=0, le=1_000_000, description="Items before the page; a cursor is cheaper at depth."
        ),
    ] = 0,
    order: Annotated[
        str | None,
        QueryParameter(max_length=64),
    ] = None,
    cursor: CursorParameter = None,
) -> PageRequest:
    if cursor is not None and offset:
        message = "a cursor says where the page begins: send no offset beside it"
        raise InvalidDataError(message, problems=[Problem(message, parameter="offset")])
    return PageRequest(limit=limit, offset=offset, order=order, cursor=cursor)


DEPENDENCIES = {
    "runtime": Provide(provide_runtime, sync_to_thread=False),
    "context": Provide(provide_context, sync_to_thread=False),
    "paging": Provide(provide_paging, sync_to_thread=False),
}


def read_moment(parameter: str, text: str | None) -> dt.datetime | None:
    """The time in UTC that a parameter names. Raises InvalidDataError."""
    if text is None:
        return None
    try:
        # A plus sign that was not encoded arrives as a space.
        text = text.upper()
        moment = dt.datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        message = f"'{parameter}' is no ISO 8601 date or time, such as 2026-11-23T12:00:00Z"
        raise InvalidDataError(message, problems=[Problem(message, parameter=parameter)]) from None
