"""A connection of one's own, outside of the pools."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
from sqlalchemy.engine import make_url

_SETTINGS = {
    "timezone": "UTC",
    "statement_timeout": "60000",
    "idle_in_transaction_session_timeout": "60000",
    "jit": "off",
    # A client that vanished without a word gives its locks back within seconds.
    "tcp_keepalives_idle": "3",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
_CLOSE_PATIENCE = 1.0


@contextlib.asynccontextmanager
async def connect(
    url: str, name: str, *, timeout: float, command_timeout: float | None = 65.0
) -> AsyncIterator[asyncpg.Connection]:
    """Connect within ``timeout`` seconds; ``name`` is what pg_stat_activity shows.

    However the block ends, the connection is closed, and a statement under way with it.
    """
    parsed = make_url(url)
    connection = await asyncpg.connect(
        host=parsed.host,
        port=parsed.port,
        user=parsed.username,
        password=parsed.password,
        database=parsed.database,
        timeout=timeout,
        command_timeout=command_timeout,
        server_settings={**_SETTINGS, "application_name": name},
    )
    try:
        yield connection
    except BaseException:
        connection.terminate()
        raise
    else:
        await connection.close(timeout=_CLOSE_PATIENCE)
