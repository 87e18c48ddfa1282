"""Shorthand for route handlers, so that each says only what is its own."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Response

from impact.context import RequestContext
from impact.engine.db.readmodel import PageRequest, ReadModel
from impact.engine.db.session import ReadSession
from impact.engine.http import responses
from impact.engine.runtime import Runtime


async def list_of(
    model: ReadModel,
    key: str,
    runtime: Runtime,
    context: RequestContext,
    paging: PageRequest,
    *,
    fields: str | None = None,
    filters: Mapping[str, Any] | None = None,
    parent: tuple[ReadModel, UUID] | None = None,
    **values: Any,
) -> Response[Any]:
    """The page of a read model that a request asks for: one statement on one node.

    ``parent`` is the entity whose children are listed. Raises NotFoundError where it is none.
    """
    async with runtime.database.read(context) as session:
        if parent is not None:
            await parent[0].one(session, parent[1])
        found = await model.page(
            session,
            paging,
            runtime.cursors,
            count_limit=runtime.settings.count_limit,
            filters=filters,
            **values,
        )
    return responses.page(key, found, paging, fields=fields)


async def one_of(
    model: ReadModel,
    key: str,
    runtime: Runtime,
    context: RequestContext,
    id: UUID | str,
    *,
    fields: str | None = None,
    **values: Any,
) -> Response[Any]:
    """One entity of a read model. Raises NotFoundError."""
    async with runtime.database.read(context) as session:
        body = await model.one(session, id, **values)
    return responses.entity(key, body, fields=fields)


async def written(
    model: ReadModel, key: str, session: ReadSession, id: UUID | str, *, status: int = 200
) -> Response[Any]:
    """The entity just written, read in the same unit of work."""
    return responses.entity(key, await model.one(session, id), status=status)
