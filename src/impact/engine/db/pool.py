"""Engines with a bounded pool that keeps ``min`` connections and closes the idle rest."""

import asyncio
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from impact.engine.db.observer import after_execute, before_execute, failed_execute
from impact.errors import ConfigurationError
from impact.settings import Settings

_RETURNED_AT = "impact.returned_at"


def create_engine(url: str, settings: Settings, *, read_only: bool) -> AsyncEngine:
    """An engine whose connections carry Impact's session settings. Connects to nothing yet.

    SQLAlchemy is told AUTOCOMMIT because the sessions send ``BEGIN`` and ``COMMIT`` themselves,
    joined with the tenant's settings in one message (see ``impact.engine.db.session``).
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"{parsed.render_as_string()} is not a PostgreSQL URL")
    server_settings = {
        "application_name": "impact",
        "timezone": "UTC",
        "statement_timeout": str(int(settings.statement_timeout * 1000)),
        "idle_in_transaction_session_timeout": "60000",
        # Compiling a plan to machine code costs more than a short statement takes.
        "jit": "off",
    }
    if read_only:
        server_settings["default_transaction_read_only"] = "on"
    size = settings.pool_size
    engine = create_async_engine(
        parsed.set(drivername="postgresql+asyncpg"),
        isolation_level="AUTOCOMMIT",
        # Neither logs nor errors show what was written: it may be a password's hash.
        hide_parameters=True,
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.pool_wait_timeout,
        pool_use_lifo=True,
        connect_args={
            "timeout": settings.pool_connect_timeout,
            # The server ends a statement first; this bounds a wait for a server that is gone.
            "command_timeout": settings.report_timeout + 5,
            "server_settings": server_settings,
            "prepared_statement_cache_size": 500,
            "statement_cache_size": 500,
        },
    )
    event.listen(engine.sync_engine, "checkin", _note_return)
    event.listen(engine.sync_engine, "before_cursor_execute", before_execute, retval=True)
    event.listen(engine.sync_engine, "after_cursor_execute", after_execute)
    event.listen(engine.sync_engine, "handle_error", failed_execute)
    return engine


def _note_return(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_RETURNED_AT] = time.monotonic()


async def reap_idle(engine: AsyncEngine, *, minimum: int, idle_timeout: float) -> int:
    """Close connections idle for more than ``idle_timeout`` seconds, down to ``minimum``.

    SQLAlchemy's pool never shrinks by itself. Being last in, first out, its oldest idle
    connections are at the far end of its queue, so that is where this looks. Returns how many
    it closed.
    """
    pool = engine.pool
    assert isinstance(pool, AsyncAdaptedQueuePool)  # noqa: S101 - create_engine made it
    idle: Any = pool._pool._queue._queue  # type: ignore[attr-defined]
    deadline = time.monotonic() - idle_timeout
    closed = 0
    while idle and pool.checkedin() + pool.checkedout() > minimum:
        record = idle[0]
        # A broken connection leaves a record without one: it stands in the way of the others.
        broken = record.dbapi_connection is None
        if not broken and record.info.get(_RETURNED_AT, 0) > deadline:
            break
        del idle[0]
        pool._dec_overflow()
        if broken:
            continue
        connection = record.dbapi_connection.driver_connection
        record.dbapi_connection = None
        await asyncio.wait_for(connection.close(), timeout=5)
        closed += 1
    return closed
