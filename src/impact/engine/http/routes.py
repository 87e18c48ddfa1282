"""Shorthand for route handlers, so that each says only what is its own."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from litestar import Response

from impact.context import RequestContext
from impact.engine.cache.keys import Key, depends, digest, make_key
from impact.engine.cache.kinds import Body, Kind
from impact.engine.cache.kinds import digest as body_digest
from impact.engine.cache.loading import Load
from impact.engine.db.readmodel import PageRequest, ReadModel
from impact.engine.db.session import ReadSession, WriteSession
from impact.engine.http import responses
from impact.engine.http.conditions import is_match, names_version
from impact.engine.runtime import Runtime
from impact.errors import PreconditionFailedError


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
    shared: bool = False,
    **values: Any,
) -> Response[Any]:
    """The page of a read model that a request asks for: one statement on one node.

    ``parent`` is the entity whose children are listed. Raises NotFoundError where it is none.
    ``cached`` keeps the body, unless the request searches by free text, of which there is no
    end; ``shared`` lets a CDN keep it too.
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

    searches = (filters or {}).get("q") is not None
    if cached is None or searches or not cached.ttl.keeps(runtime.settings):
        async with runtime.database.read(context) as session:
            return responses.json_body((await load(session)).json)
    asked = digest(model.name, key, paging, fields, filters, parent and parent[1], values)
    name = make_key(context.tenant, cached.entity, "list", asked)
    return await _from_cache(runtime, cached, name, context, load, None, shared=shared)


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
    shared: bool = False,
    **values: Any,
) -> Response[Any]:
    """One entity of a read model, whose body ``cached`` keeps, and a CDN too where it is
    ``shared``. Raises NotFoundError."""

    async def load(session: ReadSession) -> Body:
        found = await model.one(session, id, filters=filters, **values)
        return Body(responses.entity_body(key, found, fields=fields))

    if cached is None or not cached.ttl.keeps(runtime.settings):
        async with runtime.database.read(context) as session:
            found = await model.one(session, id, filters=filters, **values)
        return responses.entity(key, found, fields=fields)
    asked = digest(model.name, key, fields, filters, values)
    name = make_key(context.tenant, cached.entity, id, asked)
    return await _from_cache(runtime, cached, name, context, load, id, shared=shared)


async def _from_cache(
    runtime: Runtime,
    kind: Kind[Body],
    key: Key,
    context: RequestContext,
    load: Load[Body],
    id: UUID | str | None,
    *,
    shared: bool,
) -> Response[Any]:
    shared_for = runtime.settings.cdn_max_age if shared else None
    if context.if_none_match is not None:
        version = runtime.cache.validity.version(kind, key, context, id)
        etag = names_version(context.if_none_match, version, context.coding) if version else None
        if etag is not None:
            tags = depends(key.tenant, kind.depends, id, kind.also)
            return responses.not_modified(etag, tags, shared_for)
    held = await runtime.cache.entry(kind, key, context, load, id=id)
    return await responses.cached_body(held, context, shared_for)


@contextlib.asynccontextmanager
async def changing(
    model: ReadModel,
    key: str,
    runtime: Runtime,
    context: RequestContext,
    id: UUID | str,
    *,
    filters: Mapping[str, Any] | None = None,
) -> AsyncIterator[WriteSession]:
    """A unit of work that changes one entity, which must be what ``if-match`` says.

    Raises PreconditionFailedError where it is not; NotFoundError where the entity that ``if-match``
    speaks of is not there or does not pass the filters.
    """
    condition, context.if_match = context.if_match, None
    async with runtime.database.write(context) as session:
        if condition is not None:
            await model.lock(session, id)
            body = responses.entity_body(key, await model.one(session, id, filters=filters))
            if not is_match(condition, body_digest(body)):
                raise PreconditionFailedError(
                    f"{model.noun} '{id}' is not what if-match says: read it again, and repeat the"
                    " change with its etag"
                )
        yield session


async def written(
    model: ReadModel, key: str, session: ReadSession, id: UUID | str, *, status: int = 200
) -> Response[Any]:
    """The entity just written, read in the same unit of work."""
    return responses.entity(key, await model.one(session, id), status=status)
