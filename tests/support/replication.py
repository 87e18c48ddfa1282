"""Holding back a replica, so that what depends on its lag can be tested without luck."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg

from impact.stack import Endpoints


@contextlib.asynccontextmanager
async def replay_paused(endpoints: Endpoints) -> AsyncIterator[None]:
    """The first replica receives and does not replay, until the block ends."""
    connection = await asyncpg.connect(endpoints.replica_admin_urls[0])
    try:
        await connection.execute("SELECT pg_wal_replay_pause()")
        while await connection.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
            pass
        yield
    finally:
        await connection.execute("SELECT pg_wal_replay_resume()")
        await connection.close()
