"""JSON that is ready made: bodies that PostgreSQL shaped pass on as bytes."""

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import MediaType, Response

from impact.context import RequestContext
from impact.engine.cache.kinds import Body
from impact.engine.db.readmodel import Page, PageRequest

_WORTH_GZIP = 1024
"""Bytes; below, the headers of a packet weigh more than what is saved."""


def json_body(body: str | bytes, *, status: int = 200) -> Response[Any]:
    """A response of JSON that needs no encoding."""
    content = body.encode() if isinstance(body, str) else body
    return Response(content=content, status_code=status, media_type=MediaType.JSON)


def ready(body: Body, context: RequestContext) -> Response[Any]:
    """A body as it was cached; gzipped for a client that takes it and wherever it pays."""
    if len(body.json) < _WORTH_GZIP:
        return json_body(body.json)
    response = json_body(body.gzip() if context.takes_gzip else body.json)
    if context.takes_gzip:
        response.headers["content-encoding"] = "gzip"
    response.headers["vary"] = "accept-encoding"
    return response


def entity(key: str, body: str, *, fields: str | None = None, status: int = 200) -> Response[Any]:
    """``{"product": {...}}``."""
    return json_body(entity_body(key, body, fields=fields), status=status)


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

    Names with ``*``, ``+`` or a dot ask for relations beside the default fields; those are
    always sent, so such a list selects nothing.
    """
    if not fields:
        return body
    names = [name.strip() for name in fields.split(",") if name.strip()]
    if not names or any(name[0] in "*+-" or "." in name for name in names):
        return body
    keep = {"id", *names}
    decoded = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({k: v for k, v in decoded.items() if k in keep}).decode()
