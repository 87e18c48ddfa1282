"""The database of a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from impact.cli._settings import load_settings
from impact.engine.db.session import Database
from impact.engine.runtime import open_runtime


@asynccontextmanager
async def open_database(data_dir: Path) -> AsyncIterator[Database]:
    """The database that the settings name, or that of the stack in ``data_dir``.

    Raises ConfigurationError where neither names one, StackError for a damaged stack.
    """
    async with open_runtime(load_settings(data_dir)) as runtime:
        yield runtime.database
