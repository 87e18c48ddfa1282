"""The database of a command."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from impact.cli._settings import load_settings
from impact.engine.db.session import Database
from impact.engine.runtime import open_runtime
from impact.errors import ConfigurationError, UnavailableError
from impact.stack import Stack


@asynccontextmanager
async def open_database(data_dir: Path) -> AsyncIterator[Database]:
    """The database that the settings name, or that of the stack in ``data_dir``.

    Raises ConfigurationError where neither names one, StackError for a damaged stack.
    """
    # Nobody reads what a command measures, and a bulk load has slow statements by nature.
    async with open_runtime(load_settings(data_dir, telemetry=False)) as runtime:
        yield runtime.database


def owner_url(data_dir: Path) -> str:
    """IMPACT_OWNER_URL, else the stack's. Raises ConfigurationError where there is neither."""
    url = os.environ.get("IMPACT_OWNER_URL")
    if url:
        return url
    endpoints = Stack(data_dir).endpoints()
    if endpoints is None:
        raise ConfigurationError(f"IMPACT_OWNER_URL is not set and there is no stack in {data_dir}")
    return endpoints.owner_url


@asynccontextmanager
async def as_owner(data_dir: Path, *, read_only: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the schema's owner, whom row-level security does not bind."""
    settings = {"application_name": "impact command", "timezone": "UTC"}
    if read_only:
        settings["default_transaction_read_only"] = "on"
    try:
        connection = await asyncpg.connect(owner_url(data_dir), server_settings=settings)
    except (OSError, asyncpg.PostgresError) as error:
        raise UnavailableError(f"the database of the schema's owner: {error}") from error
    try:
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise UnavailableError(f"the database: {error}") from error
    finally:
        connection.terminate()
