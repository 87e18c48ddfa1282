"""Looking up who is asking: fresh within a second, and never refused for a replica's lag."""

from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg

from impact.context import RequestContext
from impact.engine.cache.keys import Key
from impact.engine.cache.kinds import Kind
from impact.engine.db.consistency import FRESH, STRONG
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime
from impact.errors import NotFoundError, OverloadedError, UnavailableError

T = TypeVar("T")


async def look_up(
    runtime: Runtime, context: RequestContext, statement: Statement, **values: Any
) -> asyncpg.Record | None:
    """The one row that says who this is, or None.

    What a replica does not know may have been made a moment ago: the primary is asked before a
    user or a key is refused. Without a primary the replica's word stands; one that is only too
    busy raises OverloadedError.
    """
    async with runtime.database.read(context, FRESH) as session:
        row = await session.fetch_one(statement, **values)
    if row is not None:
        return row
    try:
        async with runtime.database.read(context, STRONG) as session:
            return await session.fetch_one(statement, **values)
    except OverloadedError:
        raise
    except UnavailableError:
        return None


async def look_up_cached(
    runtime: Runtime,
    kind: Kind[T],
    key: Key,
    context: RequestContext,
    statement: Statement,
    make: Callable[[asyncpg.Record], T],
    *,
    row_id: object | None = None,
    **values: Any,
) -> T | None:
    """What ``make`` makes of the one row, from the cache; None where there is no such row. With
    ``row_id`` a change of that row alone ends the entry.

    That there is none is not kept: names and keys that somebody makes up have no end.
    """
    found = runtime.cache.at_hand(kind, key, context)
    if found is not None:
        return found

    async def load(session: ReadSession) -> T:
        row = await session.fetch_one(statement, **values)
        if row is None:
            raise NotFoundError(statement.name)
        return make(row)

    if runtime.limiter.refuses(context) and runtime.cache.peek(kind, key, context) is None:
        # What somebody makes up costs the database nothing any more; who is known passes.
        runtime.limiter.refuse(context)
    try:
        return await runtime.cache.get(kind, key, context, load, id=row_id)
    except NotFoundError:
        own = context.for_tenant(key.tenant)
        try:
            async with runtime.database.read(own, STRONG) as session:
                row = await session.fetch_one(statement, **values)
        except OverloadedError:
            raise
        except UnavailableError:
            return None
        finally:
            context.round_trips += own.round_trips
        return None if row is None else make(row)
