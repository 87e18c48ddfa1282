"""JSON that is ready made: bodies that PostgreSQL shaped pass on as bytes."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from litestar import MediaType, Response

from impact.context import RequestContext
from impact.engine.cache.kinds import Body, digest
from impact.engine.cache.local import Held
from impact.engine.db.readmodel import Page, PageRequest
from impact.engine.http.conditions import make_etag, names_content
from impact.engine.http.encodings import WORTH_PACKING, packed

_PRIVATE = {
    "cache-control": "private, no-cache",
    "vary": "authorization, origin, x-tenant-id, x-publishable-api-key, accept-encoding",
}
_SHARED_VARY = "origin, x-tenant-id, x-publishable-api-key, x-consistency-token, accept-encoding"
"""Neither the shop's name nor its key is in the path. A caller who wrote is not answered with what
others were told before."""


def json_body(body: str | bytes, *, status: int = 200) -> Response[Any]:
    """A response of JSON that needs no encoding."""
    content = body.encode() if isinstance(body, str) else body
    return Response(content=content, status_code=status, media_type=MediaType.JSON)


async def cached_body(held: Held, context: RequestContext, shared_for: int | None) -> Response[Any]:
    """A body as it was cached, packed as the client takes it; 304 where the client has it.

    ``shared_for`` is for how many seconds a CDN may answer with it without asking; None where it
    is for its caller alone.
    """
    body: Body = held.value
    coding = context.coding if len(body.json) >= WORTH_PACKING else ""
    headers = _keeping([tag for tag, _ in held.marks], shared_for)
    headers["etag"] = make_etag(held.version, body.digest, coding)
    context.from_cache = True
    condition = context.if_none_match
    if condition is not None and names_content(condition, body.digest, coding):
        return Response(content=b"", status_code=304, headers=headers)
    response = json_body(await packed(body, coding) if coding else body.json)
    if coding:
        headers["content-encoding"] = coding
    response.headers.update(headers)
    return response


def not_modified(etag: str, tags: Sequence[str], shared_for: int | None) -> Response[Any]:
    """The client has the newest already."""
    headers = {**_keeping(tags, shared_for), "etag": etag}
    return Response(content=b"", status_code=304, headers=headers)


def _keeping(tags: Sequence[str], shared_for: int | None) -> dict[str, str]:
    """Who may keep the answer, and for how long."""
    if shared_for is None:
        return dict(_PRIVATE)
    fresh = f"max-age=0, s-maxage={shared_for}, must-revalidate" if shared_for else "no-cache"
    return {
        "cache-control": f"public, {fresh}",
        "vary": _SHARED_VARY,
        "surrogate-key": " ".join(tags),
        "cache-tag": ",".join(tags),
    }


def entity(key: str, body: str, *, fields: str | None = None, status: int = 200) -> Response[Any]:
    """``{"product": {...}}``, with the tag that ``if-match`` may name."""
    content = entity_body(key, body, fields=fields)
    response = json_body(content, status=status)
    response.headers["etag"] = make_etag("", digest(content))
    return response


def entity_body(key: str, body: str, *, fields: str | None = None) -> bytes:
    return f'{{"{key}":{select_fields(body, fields)}}}'.encode()


def page(
    key: str, found: Page, request: PageRequest, *, fields: str | None = None
) -> Response[Any]:
    """The page of a list."""
    return json_body(page_body(key, found, request, fields=fields))


def page_body(key: str, found: Page, request: PageRequest, *, fields: str | None = None) -> bytes:
    """``{"products": [...], "count", "offset", "limit", "next_cursor"}``."""
    items: Iterable[str] = found.items
    if fields:
        items = (select_fields(item, fields) for item in items)
    cursor = "null" if found.next_cursor is None else f'"{found.next_cursor}"'
    return (
        f'{{"{key}":[{",".join(items)}],"count":{found.count},"offset":{request.offset},'
        f'"limit":{request.limit},"next_cursor":{cursor}}}'
    ).encode()


def deleted(object_name: str, id: object, *, parent: str | None = None) -> Response[Any]:
    """What Medusa answers to a DELETE; ``parent`` is the JSON of what the thing was part of."""
    answer: dict[str, Any] = {"id": str(id), "object": object_name, "deleted": True}
    if parent is not None:
        answer["parent"] = msgspec.Raw(parent.encode())
    return json_body(msgspec.json.encode(answer))


def select_fields(body: str, fields: str | None) -> str:
    """Keep the fields named, as Medusa's ``fields`` does, and always ``id``.

    Names with ``*``, ``+`` or a dot ask for more than the default fields; all is always sent, so
    such a list selects nothing. A space before a name is a ``+`` that was not encoded.
    """
    if not fields:
        return body
    names = [name for name in fields.split(",") if name.strip()]
    if not names or any(name[0] in " *+-" or "." in name for name in names):
        return body
    keep = {"id", *(name.strip() for name in names)}
    decoded = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({k: v for k, v in decoded.items() if k in keep}).decode()
