"""What handlers may ask for by name: ``context``, ``runtime`` and ``paging``."""

from typing import Annotated

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from impact.context import RequestContext
from impact.engine.db.readmodel import PageRequest
from impact.engine.http.middleware import context_of
from impact.engine.runtime import Runtime
from impact.engine.schemas import END

Context = NamedDependency[RequestContext]
Engine = NamedDependency[Runtime]
Paging = NamedDependency[PageRequest]

Search = Annotated[str | None, QueryParameter(max_length=200)]
Fields = Annotated[str | None, QueryParameter(max_length=1000)]
CurrencyParameter = Annotated[str | None, QueryParameter(pattern="^[a-z]{3}" + END)]


def provide_context(request: Request) -> RequestContext:  # type: ignore[type-arg]
    return context_of(request)


def provide_runtime(request: Request) -> Runtime:  # type: ignore[type-arg]
    runtime: Runtime = request.app.state.runtime
    return runtime


def provide_paging(
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    offset: Annotated[int, QueryParameter(ge=0, le=1_000_000)] = 0,
    order: Annotated[str | None, QueryParameter(max_length=64)] = None,
    cursor: Annotated[str | None, QueryParameter(max_length=512)] = None,
) -> PageRequest:
    return PageRequest(limit=limit, offset=offset, order=order, cursor=cursor)


DEPENDENCIES = {
    "context": Provide(provide_context, sync_to_thread=False),
    "runtime": Provide(provide_runtime, sync_to_thread=False),
    "paging": Provide(provide_paging, sync_to_thread=False),
}
