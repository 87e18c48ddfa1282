"""Holding back a replica, so that what depends on its lag can be tested without luck."""

import asyncio
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


async def caught_up(endpoints: Endpoints) -> None:
    """Wait until the first replica has replayed all that the primary holds now."""
    primary = await asyncpg.connect(endpoints.primary_url)
    replica = await asyncpg.connect(endpoints.replica_admin_urls[0])
    try:
        position = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
        async with asyncio.timeout(20):
            behind = True
            while behind:
                behind = await replica.fetchval(
                    "SELECT pg_last_wal_replay_lsn() < $1::text::pg_lsn FROM pg_sleep(0.005)",
                    position,
                )
    finally:
        await primary.close()
        await replica.close()
