"""Server-sent events: a frame each tick for as long as the one who looks may, and no longer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from impact.engine.tasks import end
from impact.errors import ForbiddenError, ImpactError, NotAllowedError, UnauthorizedError
from impact.ops.dashboard.feed import Feed, Frame

MOST = 20
"""Streams of one worker process."""
RECHECK = 1.0
"""Seconds after which it is asked again whether this one still may look."""
PATIENCE = 10.0
"""Seconds for a client to take an event; one that stalls is let go."""

Admit = Callable[[], Awaitable[None]]
_REFUSALS = (UnauthorizedError, ForbiddenError, NotAllowedError)


def event(name: str, data: bytes) -> bytes:
    """JSON holds no line break, so that it is one line of data."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


class EventStream(Response[bytes]):
    """``admit`` raises what a request with the same token would be answered now. ``closing`` is set
    when the server begins to stop."""

    def __init__(self, feed: Feed, admit: Admit, closing: asyncio.Event, *, head: bool) -> None:
        super().__init__(b"")
        self._parts = feed, admit, closing, head

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIResponse:
        return _Events(*self._parts)


class _Events(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, feed: Feed, admit: Admit, closing: asyncio.Event, head: bool) -> None:
        # A proxy that collects the answer would show old figures, late.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        self._feed, self._admit, self._closing, self._head = feed, admit, closing, head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._feed.watching += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.watching -= 1

    async def send_body(self, send: Send, receive: Receive) -> None:
        async def put(body: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(PATIENCE):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        gone = asyncio.create_task(_gone(receive))
        closed = asyncio.create_task(self._closing.wait())
        last = b""
        try:
            # Who stalls, or went away meanwhile, is no error of ours.
            with contextlib.suppress(TimeoutError):
                if not self._head:
                    last = await self._tell(put, gone, closed)
                await put(last, more=False)
        finally:
            await end([gone, closed])

    async def _tell(
        self,
        put: Callable[[bytes], Awaitable[None]],
        gone: asyncio.Task[None],
        closed: asyncio.Task[bool],
    ) -> bytes:
        """Frame after frame; the last event, which says why there are no more."""
        number, drawn = 0, -1.0
        coming: asyncio.Task[Frame] | None = None
        try:
            while True:
                refusal = await self._refusal()
                if refusal is not None:
                    return event("end", refusal)
                coming = coming or asyncio.create_task(self._feed.after(number))
                await asyncio.wait(
                    {coming, gone, closed}, timeout=RECHECK, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done():
                    return b""
                if closed.done():
                    return event("end", _said(503, "the server is stopping"))
                if coming.done():
                    frame, coming = coming.result(), None
                    body = event("figures", frame.figures)
                    if frame.drawn != drawn:
                        body += event("charts", frame.charts)
                    number, drawn = frame.number, frame.drawn
                    await put(body)
        finally:
            if coming is not None:
                await end([coming])

    async def _refusal(self) -> bytes | None:
        try:
            await self._admit()
        except _REFUSALS as error:
            return _said(error.status, error.message)
        except ImpactError:
            # The database is away: that is when these figures are looked at.
            return None
        return None


def _said(status: int, detail: str) -> bytes:
    return msgspec.json.encode({"status": status, "detail": detail})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
