"""Shorthand for route handlers, so that each says only what is its own."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Response

from impact.context import RequestContext
from impact.engine.cache.keys import digest, make_key
from impact.engine.cache.kinds import Body, Kind
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
    cached: Kind[Body] | None = None,
    **values: Any,
) -> Response[Any]:
    """The page of a read model that a request asks for: one statement on one node.

    ``parent`` is the entity whose children are listed. Raises NotFoundError where it is none.
    ``cached`` keeps the body, unless the request searches by free text, of which there is no
    end.
    """

    async def load(session: ReadSession) -> Body:
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
        return Body(responses.page_body(key, found, paging, fields=fields))

    if cached is None or (filters or {}).get("q") is not None:
        async with runtime.database.read(context) as session:
            return responses.json_body((await load(session)).json)
    asked = digest(model.name, key, paging, fields, filters, parent and parent[1], values)
    name = make_key(context.tenant, cached.entity, "list", asked)
    body = await runtime.cache.get(cached, name, context, load)
    return responses.ready(body, context)


async def one_of(
    model: ReadModel,
    key: str,
    runtime: Runtime,
    context: RequestContext,
    id: UUID | str,
    *,
    fields: str | None = None,
    filters: Mapping[str, Any] | None = None,
    cached: Kind[Body] | None = None,
    **values: Any,
) -> Response[Any]:
    """One entity of a read model, whose body ``cached`` keeps. Raises NotFoundError."""

    async def load(session: ReadSession) -> Body:
        found = await model.one(session, id, filters=filters, **values)
        return Body(responses.entity_body(key, found, fields=fields))

    if cached is None:
        async with runtime.database.read(context) as session:
            return responses.json_body((await load(session)).json)
    asked = digest(model.name, key, fields, filters, values)
    name = make_key(context.tenant, cached.entity, id, asked)
    body = await runtime.cache.get(cached, name, context, load, id=id)
    return responses.ready(body, context)


async def written(
    model: ReadModel, key: str, session: ReadSession, id: UUID | str, *, status: int = 200
) -> Response[Any]:
    """The entity just written, read in the same unit of work."""
    return responses.entity(key, await model.one(session, id), status=status)
