"""What one process holds open: made once by the composition root, handed to every handler."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from impact.engine.cache.remote import Remote
from impact.engine.cache.tiered import Cache
from impact.engine.cache.versions import Versions
from impact.engine.changes.events import Events
from impact.engine.changes.partitions import Partitions
from impact.engine.changes.relay_status import RelayStatus
from impact.engine.db.cursor import CursorCodec
from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.engine.db.plans import plan_of
from impact.engine.db.roles import refuse_unsafe_role
from impact.engine.db.session import Database
from impact.engine.http.shortcuts import Shortcuts
from impact.engine.http.streaming import Streams
from impact.engine.limits.bodies import Bodies
from impact.engine.limits.door import Door
from impact.engine.limits.limiter import Limiter
from impact.engine.limits.login import LoginLimits
from impact.engine.measures import collect
from impact.engine.security.passwords import Passwords
from impact.engine.security.tokens import Tokens
from impact.engine.telemetry.samples import Sample
from impact.engine.telemetry.telemetry import Telemetry
from impact.settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    database: Database
    tokens: Tokens
    passwords: Passwords
    cursors: CursorCodec
    cache: Cache
    shortcuts: Shortcuts
    telemetry: Telemetry
    relay: RelayStatus
    audit: Database
    """Where the audit log is: ``database``, or one of its own."""
    events: Events
    partitions: Partitions
    streams: Streams
    door: Door
    bodies: Bodies
    limiter: Limiter
    logins: LoginLimits
    closing: asyncio.Event
    """Set when the server begins to stop."""


@contextlib.asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open the pools, the monitor and the cache; close them when the block ends.

    Raises ConfigurationError where the database's role could read past row-level security.
    """
    nodes = NodeSet(settings)
    passwords = Passwords(settings)
    try:
        async with (
            Telemetry(settings) as telemetry,
            Monitor(nodes),
            open_versions(settings) as versions,
        ):
            database = Database(nodes, versions, telemetry)
            await refuse_unsafe_role(nodes)
            async with (
                versions,
                Cache(settings, database, versions) as cache,
                telemetry.slow.running(plan_of),
                Events(settings, database) as events,
                _open_audit(settings, database) as audit,
                Limiter(settings, versions.remote) as limiter,
            ):
                door, relay = Door(), RelayStatus()
                closing = asyncio.Event()
                partitions = Partitions(audit, settings.audit_partition)
                shortcuts = Shortcuts(cache, telemetry)
                collect(telemetry, nodes, cache, shortcuts, relay, events, partitions)
                telemetry.collectors.register(limiter.samples)
                telemetry.collectors.register(
                    lambda: [Sample("impact.requests.waiting", door.waiting)]
                )
                yield Runtime(
                    settings=settings,
                    database=database,
                    tokens=Tokens(settings),
                    passwords=passwords,
                    cursors=CursorCodec(*(key.encode() for key in settings.keys.values())),
                    cache=cache,
                    shortcuts=shortcuts,
                    telemetry=telemetry,
                    relay=relay,
                    events=events,
                    audit=audit,
                    partitions=partitions,
                    streams=Streams(settings, closing),
                    door=door,
                    bodies=Bodies(settings.requests_max),
                    limiter=limiter,
                    logins=LoginLimits(limiter, versions.remote),
                    closing=closing,
                )
    finally:
        passwords.close()
        await nodes.close()


@contextlib.asynccontextmanager
async def _open_audit(settings: Settings, database: Database) -> AsyncIterator[Database]:
    if settings.audit_url is None:
        yield database
        return
    own = msgspec.structs.replace(settings, primary_url=settings.audit_url, replica_urls=())
    nodes = NodeSet(own)
    try:
        async with Monitor(nodes):
            yield Database(nodes, database.versions, database.telemetry)
    finally:
        await nodes.close()


@contextlib.asynccontextmanager
async def open_versions(settings: Settings) -> AsyncIterator[Versions]:
    """Raises what the settings' Redis should hear. It hears itself once it is entered too."""
    remote = Remote(settings) if settings.redis_url else None
    try:
        yield Versions(settings, remote)
    finally:
        if remote is not None:
            await remote.close()
