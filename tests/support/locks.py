"""Waiting until one transaction waits for another, so that a race can be tested without luck."""

import asyncio

import asyncpg

from impact.stack import Endpoints

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def somebody_waits(endpoints: Endpoints) -> None:
    """Return once a statement in this worker's database waits for a lock."""
    connection = await asyncpg.connect(endpoints.admin_url)
    try:
        async with asyncio.timeout(20):
            while not await connection.fetchval(_WAITING):
                pass
    finally:
        await connection.close()
