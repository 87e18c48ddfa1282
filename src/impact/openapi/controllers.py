"""The routes of the description: a page for people at /schema, the JSON for programs below it."""

import asyncio
import hashlib
from typing import Any, NamedTuple

import msgspec
from litestar import Controller, Litestar, Request, Response, get

from impact.engine.security.permissions import public
from impact.openapi.description import describe
from impact.openapi.page import PAGE_HEADERS, render

_STATE = "description"


class _Site(NamedTuple):
    page: bytes
    description: bytes
    etag: str


class Schema(Controller):
    """Built at the first request for it, in a thread: start-up does not wait for it."""

    path = "/schema"
    tags = ("Operations",)
    include_in_schema = False

    @get(opt=public())
    async def page(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The API as a page of HTML that needs no script and nothing from elsewhere."""
        site = await _site(request.app)
        return _answer(request, site.page, site.etag, "text/html", PAGE_HEADERS)

    @get("/openapi.json", opt=public())
    async def openapi(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        site = await _site(request.app)
        return _answer(request, site.description, site.etag, "application/json", {})


async def _site(app: Litestar) -> _Site:
    found: _Site | None = app.state.get(_STATE)
    if found is None:
        found = await asyncio.to_thread(_build, app)
        app.state[_STATE] = found
    return found


def _build(app: Litestar) -> _Site:
    description = describe(app)
    encoded = msgspec.json.encode(description)
    etag = f'"{hashlib.sha256(encoded).hexdigest()[:16]}"'
    return _Site(render(description).encode(), encoded, etag)


def _answer(
    request: Request[Any, Any, Any],
    body: bytes,
    etag: str,
    media_type: str,
    headers: dict[str, str],
) -> Response[bytes]:
    headers = {**headers, "etag": etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(body, headers=headers, media_type=media_type)
