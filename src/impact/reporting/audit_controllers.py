"""The audit log's routes."""

import datetime as dt
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from impact.engine.db.base import utc_now
from impact.engine.http import responses
from impact.engine.http.contract import produces
from impact.engine.http.dependencies import (
    MOMENT_SCHEMA,
    Accept,
    Context,
    CursorParameter,
    Engine,
    read_moment,
)
from impact.engine.http.limits import counted_as
from impact.engine.http.streaming import StreamedResponse
from impact.engine.runtime import Runtime
from impact.engine.schemas import END, Output
from impact.engine.security.permissions import requires
from impact.errors import InvalidDataError, Problem
from impact.reporting.audit_export import entries
from impact.reporting.audit_log import AuditEntry, LogFilters, Place, log_session, read_entries
from impact.reporting.exports.export import export
from impact.reporting.exports.formats import FILES, Format, chosen
from impact.reporting.product_history import read_history

_Text = Annotated[str | None, QueryParameter(max_length=255, pattern=r"^[^\x00]+" + END)]
_From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        max_length=40,
        schema_extra=MOMENT_SCHEMA,
        description="ISO 8601 date or time, included; without a zone it is UTC.",
    ),
]
_To = Annotated[
    str | None,
    QueryParameter(
        name="to",
        max_length=40,
        schema_extra=MOMENT_SCHEMA,
        description="ISO 8601 date or time, not included; without a zone it is UTC.",
    ),
]
_Limit = Annotated[int, QueryParameter(ge=1, le=200)]


class AuditLogList(Output):
    """The newest first. It is not counted: that would cost more than the page."""

    audit_logs: list[AuditEntry]
    limit: int
    next_cursor: str | None


class AdminAuditLogs(Controller):
    path = "/audit-logs"
    tags = ("Admin audit log",)
    opt = counted_as("report")

    @get(opt=requires("audit-log:read"))
    async def list_entries(
        self,
        context: Context,
        runtime: Engine,
        actor: _Text = None,
        entity: _Text = None,
        id: _Text = None,
        action: _Text = None,
        request_id: _Text = None,
        start: _From = None,
        end: _To = None,
        limit: _Limit = 50,
        cursor: CursorParameter = None,
    ) -> Response[AuditLogList]:
        """Who did what. ``entity`` is a table's name and ``id`` a row's of it. Entries from
        ``from`` on and before ``to``; times without a zone are UTC."""
        filters = _filters(actor, entity, id, action, request_id, start, end)
        pages = _Pages(runtime, context.tenant, f"audit_log:{_named(filters)}")
        after = pages.place(cursor)
        async with log_session(runtime, context) as session:
            found = await read_entries(
                session,
                filters,
                limit=limit + 1,
                after=after,
                period=runtime.settings.audit_partition,
                now=utc_now(),
            )
        return pages.answer("audit_logs", found, limit)

    @get("/export", opt=requires("audit-log:export") | produces(*FILES))
    async def export_entries(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FromQuery[Format | None] = None,
        actor: _Text = None,
        entity: _Text = None,
        id: _Text = None,
        action: _Text = None,
        request_id: _Text = None,
        start: _From = None,
        end: _To = None,
    ) -> StreamedResponse:
        """All entries that pass the filters, as a stream. The export is itself recorded."""
        filters = _filters(actor, entity, id, action, request_id, start, end)
        return export(
            runtime,
            context,
            "audit-log",
            entries(runtime, context, filters),
            columns=AuditEntry.__struct_fields__,
            format=chosen(format, accept),
            asked={"filters": msgspec.to_builtins(filters)},
        )


class ProductHistory(Output):
    """The newest first."""

    history: list[AuditEntry]
    limit: int
    next_cursor: str | None


class AdminProductHistory(Controller):
    path = "/products"
    tags = ("Admin audit log",)
    opt = counted_as("report")

    @get("/{id:uuid}/history", opt=requires("audit-log:read"))
    async def get_history(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        limit: _Limit = 50,
        cursor: CursorParameter = None,
    ) -> Response[ProductHistory]:
        """What happened to a product and to the variants, prices, options and images that it has
        now. It says who did it, and so needs the permission for the log."""
        pages = _Pages(runtime, context.tenant, f"product_history:{id}")
        after = pages.place(cursor)
        found = await read_history(runtime, context, id, limit=limit + 1, after=after)
        return pages.answer("history", found, limit)


class _Pages:
    """Cursors of one tenant's list, which no other list takes."""

    def __init__(self, runtime: Runtime, tenant: str, list_name: str) -> None:
        self._codec = runtime.cursors
        self._tenant = tenant
        self._list = list_name

    def place(self, cursor: str | None) -> Place | None:
        if cursor is None:
            return None
        moment, id = self._codec.decode(self._tenant, self._list, cursor)
        return dt.datetime.fromisoformat(moment), id

    def answer(self, key: str, found: list[tuple[Place, str]], limit: int) -> Response[Any]:
        next_cursor = "null"
        if len(found) > limit:
            found = found[:limit]
            moment, id = found[-1][0]
            cursor = self._codec.encode(self._tenant, self._list, [moment.isoformat(), id])
            next_cursor = f'"{cursor}"'
        bodies = ",".join(body for _, body in found)
        return responses.json_body(
            f'{{"{key}":[{bodies}],"limit":{limit},"next_cursor":{next_cursor}}}'
        )


def _filters(
    actor: str | None,
    entity: str | None,
    id: str | None,
    action: str | None,
    request_id: str | None,
    first: str | None,
    last: str | None,
) -> LogFilters:
    start, to = read_moment("from", first), read_moment("to", last)
    if start is not None and to is not None and start > to:
        message = "'from' is later than 'to'"
        raise InvalidDataError(message, problems=[Problem(message, parameter="from")])
    return LogFilters(
        actor=actor,
        entity=entity,
        id=id,
        action=action,
        request_id=request_id,
        start=start,
        to=to,
    )


def _named(filters: LogFilters) -> str:
    """The filters as part of a list's name: a cursor goes on with the list it was given for."""
    return msgspec.json.encode(filters).decode()
