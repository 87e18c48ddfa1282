"""Bodies of any length: sent part by part, and never a second longer than somebody takes them.

What produces the parts may hold a database connection. It is ended, and gives it back, as soon as
the client has gone, when the client takes nothing for a while, and after so long in all. A body
that could not be finished is cut off: the connection closes before the last chunk (RFC 9112,
section 8), which no client takes for the end.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from impact.engine.http.encodings import Packer
from impact.engine.tasks import end
from impact.errors import ImpactError, UnavailableError
from impact.settings import Settings

logger = logging.getLogger(__name__)

Parts = Callable[[], AsyncGenerator[bytes, None]]
_RETRY_AFTER = 10
_GRACE = 5.0
"""Seconds that a stream goes on once a server that stops takes no more requests. It waits for ten
for what is under way."""


class Streams:
    """The streams of a process. Each may hold a connection, and the pool is there for short
    requests too: so there are only so many at once, and half of them for one shop."""

    def __init__(self, settings: Settings, closing: asyncio.Event) -> None:
        self.stall = settings.export_stall
        self.timeout = settings.export_timeout
        self._most = settings.export_limit
        self._share = max(1, settings.export_limit // 2)
        self._open: Counter[str] = Counter()
        self._closing = closing
        self._grace = settings.drain_delay + _GRACE

    async def over(self) -> None:
        """Returns when whatever is under way has to end, as the server stops."""
        await self._closing.wait()
        await asyncio.sleep(self._grace)

    @contextlib.contextmanager
    def taking(self, tenant: str) -> Iterator[None]:
        """Raises UnavailableError where all are taken, or all that one shop may have."""
        own, all = self._open[tenant], self._open.total()
        if all >= self._most or own >= self._share:
            whose = f"{own} exports of this shop" if own >= self._share else f"{all} exports"
            raise UnavailableError(
                f"{whose} are under way, and this process runs no more at once",
                retry_after=_RETRY_AFTER,
            )
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]


class StreamedResponse(Response[bytes]):
    """A response whose body ``parts`` yields once it is asked for.

    An error before the first part is answered as any other; one after it cuts the body off.
    """

    def __init__(
        self,
        parts: Parts,
        streams: Streams,
        *,
        media_type: str,
        headers: dict[str, str] | None = None,
        coding: str = "",
    ) -> None:
        super().__init__(b"", media_type=media_type, headers=headers)
        self._parts, self._streams, self._coding = parts, streams, coding

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIResponse:
        headers = {"cache-control": "no-store", "vary": "accept-encoding", **self.headers}
        if self._coding:
            headers["content-encoding"] = self._coding
        return _Streamed(
            self._parts,
            self._streams,
            coding=self._coding,
            head=request.scope["state"].get("head", False),
            headers=headers,
            media_type=self.media_type,
        )


class _Streamed(ASGIResponse):
    _should_set_content_length = False

    def __init__(
        self, parts: Parts, streams: Streams, *, coding: str, head: bool, **rest: Any
    ) -> None:
        super().__init__(**rest)
        self._parts, self._streams, self._coding, self._head = parts, streams, coding, head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._head:
            await super().__call__(scope, receive, send)
            return
        with self._streams.taking(scope["state"]["context"].tenant):
            gone = asyncio.create_task(_gone(receive))
            over = asyncio.create_task(self._streams.over())
            work = asyncio.create_task(self._work(send))
            try:
                await asyncio.wait({gone, over, work}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end([gone, over, work])
        if not work.cancelled():
            work.result()

    async def _work(self, send: Send) -> None:
        started = False
        try:
            async with (
                _within(self._streams.timeout, "it took too long"),
                contextlib.aclosing(self._packed()) as parts,
            ):
                async for part in parts:
                    if not started:
                        await self.start_response(send)
                        started = True
                    if part:
                        await self._put(send, part, more=True)
                if not started:
                    await self.start_response(send)
                await self._put(send, b"", more=False)
        except Exception as error:
            if started:
                unexpected = None if isinstance(error, ImpactError) else error
                logger.warning("a response was cut off: %s", error, exc_info=unexpected)
            raise

    async def _put(self, send: Send, part: bytes, *, more: bool) -> None:
        async with _within(self._streams.stall, "the client takes nothing"):
            await send({"type": "http.response.body", "body": part, "more_body": more})

    async def _packed(self) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(self._parts()) as parts:
            if not self._coding:
                async for part in parts:
                    yield part
                return
            packer = Packer(self._coding)
            async for part in parts:
                yield await asyncio.to_thread(packer.add, part)
            yield packer.end()


@contextlib.asynccontextmanager
async def _within(seconds: float, otherwise: str) -> AsyncIterator[None]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise UnavailableError(otherwise) from None
        raise


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
