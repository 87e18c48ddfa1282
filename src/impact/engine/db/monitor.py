"""The task that keeps every node's role, replay position and lag up to date."""

import asyncio
import contextlib
import functools
import logging
import time
from typing import Self

import asyncpg
from sqlalchemy.engine import make_url

from impact.engine.db.consistency import parse_lsn
from impact.engine.db.nodes import Node, NodeSet
from impact.engine.db.pool import reap_idle
from impact.engine.tasks import end, kept_up

logger = logging.getLogger(__name__)

_PROBE = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END::text,
       -- A WAL file's name begins with the timeline, which every promotion raises.
       CASE WHEN NOT pg_is_in_recovery()
            THEN substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END
"""
_URGENT_INTERVAL = 0.002
_PROBE_TIMEOUT = 2.0
_STOOD_STILL = 0.5
"""Seconds that a time limit fires late where this process did not run: paused, or busy."""


class Monitor:
    """Probes each node on a connection of its own, outside the pools, so that a full pool never
    looks like a dead server. While reads wait for a replica it probes every 2 ms."""

    def __init__(self, nodes: NodeSet) -> None:
        self._nodes = nodes
        self._connections: dict[Node, asyncpg.Connection] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self._probe_once(node) for node in self._nodes.nodes))
        # A second look: the first one of a replica had no position of the primary to compare.
        await asyncio.gather(*(self._probe_once(node) for node in self._nodes.nodes))
        for node in self._nodes.nodes:
            watch = kept_up(functools.partial(self._watch, node), f"watching {node.name}")
            self._tasks.append(asyncio.create_task(watch))
        reap = kept_up(self._reap, "closing idle connections")
        self._tasks.append(asyncio.create_task(reap))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._tasks)
        for node in list(self._connections):
            await self._drop(node)

    async def _watch(self, node: Node) -> None:
        interval = self._nodes.settings.replica_poll_interval
        while True:
            await self._probe_once(node)
            if node.primary or not node.reachable:
                await asyncio.sleep(interval)
            elif self._nodes.urgent.is_set():
                await asyncio.sleep(_URGENT_INTERVAL)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._nodes.urgent.wait(), interval)

    async def _probe_once(self, node: Node) -> None:
        was_reachable, began = node.reachable, time.monotonic()
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                connection = self._connections.get(node)
                if connection is None or connection.is_closed():
                    connection = await self._connect(node)
                row = await connection.fetchrow(_PROBE)
                assert row is not None  # noqa: S101 - a SELECT without FROM
                recovering, position, timeline = row
        except Exception as error:
            # Whatever it is, also a failure of the driver's own: the node was not seen.
            await self._drop(node)
            late = time.monotonic() - began - _PROBE_TIMEOUT
            if isinstance(error, TimeoutError) and late > _STOOD_STILL:
                # The answer may lie there unread: this says nothing of the node. The next probe
                # does.
                return
            node.lost(str(error) or type(error).__name__)
            if was_reachable:
                logger.warning("database node %s (%s) is gone: %r", node.name, node.address, error)
            return
        replay = parse_lsn(position) if position else 0
        if not recovering:
            self._nodes.timeline.note(replay)
        became_primary = not recovering and not node.primary
        if recovering and node.primary:
            # Connections of a demoted primary still answer pings; none may be used to write.
            await node.writer.dispose()
        node.observe(
            primary=not recovering,
            replay=replay,
            timeline=int(timeline, 16) if timeline else 0,
            lag=0.0 if not recovering else self._nodes.timeline.lag(replay),
        )
        if became_primary or not was_reachable:
            role = "replica" if recovering else "primary"
            logger.info("database node %s (%s) serves as %s", node.name, node.address, role)

    async def _connect(self, node: Node) -> asyncpg.Connection:
        url = make_url(node.url)
        connection = await asyncpg.connect(
            host=url.host,
            port=url.port,
            user=url.username,
            password=url.password,
            database=url.database,
            timeout=_PROBE_TIMEOUT,
            server_settings={"application_name": "impact monitor"},
        )
        self._connections[node] = connection
        return connection

    async def _drop(self, node: Node) -> None:
        connection = self._connections.pop(node, None)
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()

    async def _reap(self) -> None:
        settings = self._nodes.settings
        while True:
            await asyncio.sleep(min(settings.pool_idle_timeout, 5.0))
            for node in self._nodes.nodes:
                for engine in (node.reader, node.writer):
                    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
                        await reap_idle(
                            engine,
                            minimum=settings.pool_min,
                            idle_timeout=settings.pool_idle_timeout,
                        )
