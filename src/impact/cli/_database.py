"""The database of a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.engine.db.session import Database
from impact.engine.runtime import open_versions
from impact.settings import load


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    """The database that the settings name. Raises ConfigurationError when they name none."""
    settings = load()
    nodes = NodeSet(settings)
    try:
        async with Monitor(nodes), open_versions(settings) as versions:
            yield Database(nodes, versions)
    finally:
        await nodes.close()
