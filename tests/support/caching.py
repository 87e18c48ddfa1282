"""Several processes' worth of caches over one database and one Redis, and ways to hold them up."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from impact.context import RequestContext, system_context
from impact.engine.cache.keys import make_key
from impact.engine.cache.kinds import TtlClass, struct_kind
from impact.engine.cache.tiered import Cache
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime, open_runtime
from impact.settings import Settings

TITLE = struct_kind("collection", TtlClass.CONTENT, str | None)
"""A row's title, cached as any domain would."""
_TITLE = Statement(
    "tests.title", "SELECT title FROM collection WHERE tenant_id = :tenant_id AND id = :row::uuid"
)
_SET = Statement(
    "tests.set_title",
    """
    INSERT INTO collection (tenant_id, id, title, handle)
    VALUES (:tenant_id, :row::uuid, :title, :row::uuid::text)
    ON CONFLICT (tenant_id, id) DO UPDATE SET title = excluded.title
    """,
    writes={"collection": ":row"},
)


async def title_of(session: ReadSession, row: object) -> str | None:
    found: str | None = await session.fetch_value(_TITLE, row=row)
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task brings about, at most twenty seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a number that moves, not an event
            await asyncio.sleep(0.005)


async def stored(cache: Cache) -> None:
    """Wait until what has been answered is stored as well."""
    while any(each.answer.done() for each in cache._flights.under_way.values()):  # noqa: ASYNC110 - theirs
        await asyncio.sleep(0.0005)


@dataclass
class Worker:
    """One process's worth. ``loads`` counts what reached the database. A reader waits until what it
    read is stored, unless it is ``hurried``."""

    runtime: Runtime
    tenant: str
    loads: int = 0
    hurried: bool = False
    before_load: Callable[[], Awaitable[None]] | None = None
    after_load: Callable[[], Awaitable[None]] | None = None

    def context(self, token: tuple[int, int] = (0, 0)) -> RequestContext:
        context = system_context(self.tenant, "test")
        context.token, context.raised_at = token
        return context

    async def read(self, row: object, token: tuple[int, int] = (0, 0)) -> str | None:
        async def load(session: ReadSession) -> str | None:
            self.loads += 1
            if self.before_load:
                await self.before_load()
            found = await title_of(session, row)
            if self.after_load:
                await self.after_load()
            return found

        key = make_key(self.tenant, "collection", row, "title")
        found = await self.runtime.cache.get(TITLE, key, self.context(token), load, id=row)
        if not self.hurried:
            await stored(self.runtime.cache)
        return found

    async def write(self, row: object, title: str) -> tuple[int, int]:
        """Set the title; answers the token."""
        context = self.context()
        async with self.runtime.database.write(context) as session:
            await session.execute(_SET, row=row, title=title)
        return context.token, context.raised_at

    async def hear(self) -> None:
        """Wait until all that was raised before has been heard: a beat sent after this call."""
        versions = self.runtime.cache.versions
        good = time.monotonic() + self.runtime.settings.cache_silence
        await until(lambda: versions.good_until > good)

    @property
    def cache(self) -> Any:
        return self.runtime.cache


def apart(url: str | None) -> str:
    """Another database of the same Redis: what is flushed there nobody else misses."""
    assert url is not None
    return url.removesuffix("/0") + "/1"


@contextlib.asynccontextmanager
async def workers(
    settings: Settings, tenant: str, count: int = 4, **changes: Any
) -> AsyncIterator[list[Worker]]:
    """Caches as ``count`` processes have them, under a name in Redis that nobody else uses."""
    name = f"t{secrets.token_hex(6)}"
    changes.setdefault("redis_url", apart(settings.redis_url))
    chosen = msgspec.structs.replace(
        settings, pool_min=1, pool_max=5, **{"cache_service": name, "redis_timeout": 0.5, **changes}
    )
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            runtime = await stack.enter_async_context(open_runtime(chosen))
            made.append(Worker(runtime, tenant))
        yield made


class Gate:
    """Holds up whoever comes until it is opened; tells when somebody has come."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        async with asyncio.timeout(20):
            await self._open.wait()

    def open(self) -> None:
        self._open.set()


@dataclass
class RedisProxy:
    """Stands before Redis: slows what passes, cuts it, refuses it."""

    target: str
    url: str = ""
    delay: float = 0.0
    refuse: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.close()
            return
        parts = urlsplit(self.target)
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._writers |= {writer, up_writer}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    sink.write(data)
            sink.close()

        for pair in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(pump(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@contextlib.asynccontextmanager
async def redis_proxy(url: str) -> AsyncIterator[RedisProxy]:
    proxy = RedisProxy(url)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    proxy.url = parts._replace(netloc=f":{parts.password}@127.0.0.1:{port}").geturl()
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        for task in list(proxy._tasks):
            task.cancel()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)
