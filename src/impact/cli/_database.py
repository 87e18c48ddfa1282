"""The database of a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.engine.db.session import Database
from impact.settings import load


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    """The database that the settings name. Raises ConfigurationError when they name none."""
    nodes = NodeSet(load())
    try:
        async with Monitor(nodes):
            yield Database(nodes)
    finally:
        await nodes.close()
