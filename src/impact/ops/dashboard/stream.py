"""Server-sent events: a frame each tick for as long as the one who looks may, and no longer."""

import asyncio
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

_LAST = 1.0
"""Seconds for the last event, which the server's end does not wait for longer."""
_FIRST = asyncio.FIRST_COMPLETED

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
        gone = asyncio.create_task(_gone(receive))
        closed = asyncio.create_task(self._closing.wait())
        refused = asyncio.create_task(self._refused())

        async def put(body: bytes, *, more: bool, patience: float) -> bool:
            """Whether it was taken."""
            sending = asyncio.create_task(
                _sent(send, {"type": "http.response.body", "body": body, "more_body": more})
            )
            over = {gone} if not more else {gone, closed}
            await asyncio.wait({sending, *over}, timeout=patience, return_when=_FIRST)
            if not sending.done():
                await end([sending])
                return False
            sending.result()
            return True

        number, drawn, last = 0, -1.0, b""
        coming: asyncio.Task[Frame] | None = None
        try:
            while not self._head:
                next_one = self._feed.after(number) if number else self._feed.newest()
                coming = asyncio.create_task(next_one)
                await asyncio.wait({coming, gone, closed, refused}, return_when=_FIRST)
                if gone.done():
                    break
                if refused.done():
                    last = event("end", refused.result())
                    break
                if closed.done():
                    last = event("end", _said(503, "the server is stopping"))
                    break
                frame = coming.result()
                body = event("figures", frame.figures)
                if frame.drawn != drawn:
                    body += event("charts", frame.charts)
                number, drawn = frame.number, frame.drawn
                if not await put(body, more=True, patience=PATIENCE) and not closed.done():
                    break
            await put(last, more=False, patience=_LAST)
        finally:
            await end([task for task in (gone, closed, refused, coming) if task is not None])

    async def _refused(self) -> bytes:
        """Returns when this one may look no longer: why."""
        while True:
            await asyncio.sleep(RECHECK)
            refusal = await self._refusal()
            if refusal is not None:
                return refusal

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


async def _sent(send: Send, message: Any) -> None:
    await send(message)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
