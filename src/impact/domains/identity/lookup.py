"""Looking up who is asking: fresh within a second, and never refused for a replica's lag."""

from typing import Any

import asyncpg

from impact.context import RequestContext
from impact.engine.db.consistency import STRONG, Consistency, Level
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime
from impact.errors import UnavailableError

FRESH = Consistency(Level.CAUSAL, max_lag=1.0)
"""How old the rights that a request is judged by may be: a change is in force within a second,
also where a replica lags."""


async def look_up(
    runtime: Runtime, context: RequestContext, statement: Statement, **values: Any
) -> asyncpg.Record | None:
    """The one row that says who this is, or None.

    What a replica does not know may have been made a moment ago: the primary is asked before a
    user or a key is refused. Without a primary the replica's word stands.
    """
    async with runtime.database.read(context, FRESH) as session:
        row = await session.fetch_one(statement, **values)
    if row is not None:
        return row
    try:
        async with runtime.database.read(context, STRONG) as session:
            return await session.fetch_one(statement, **values)
    except UnavailableError:
        return None
