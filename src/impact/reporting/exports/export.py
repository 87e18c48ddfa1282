"""An export: rows in batches, as a file of either format, recorded in the audit log."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from impact.context import RequestContext
from impact.engine.cache.invalidation import declare
from impact.engine.db.readmodel import ReadModel
from impact.engine.db.streaming import batches
from impact.engine.http.streaming import StreamedResponse
from impact.engine.runtime import Runtime
from impact.reporting.exports.formats import MEDIA_TYPES, Format, encoder

EXPORT = "export"
"""What stands for a table's name in the records of exports; the row's id is the resource."""

declare(EXPORT)

Batches = Callable[[], AsyncGenerator[list[str], None]]


def export(
    runtime: Runtime,
    context: RequestContext,
    resource: str,
    rows: Batches,
    *,
    columns: Sequence[str],
    format: Format,
    asked: Mapping[str, Any],
) -> StreamedResponse:
    """The file of what ``rows`` yields: batches of JSON objects with the members ``columns``.

    That it began and how it ended is recorded, with what was ``asked`` for: whoever leaves early
    has what was sent until then.
    """

    async def parts() -> AsyncGenerator[bytes, None]:
        shape = encoder(format, columns)
        about = {"format": format, **asked}
        sent, complete = 0, False
        async with contextlib.aclosing(rows()) as found:
            # Nothing is recorded of what could not even begin.
            first: list[str] = await anext(found, [])
            runtime.events.record(context, EXPORT, "started", row_id=resource, after=about)
            try:
                yield shape.head() + await asyncio.to_thread(shape.rows, first)
                sent += len(first)
                async for batch in found:
                    yield await asyncio.to_thread(shape.rows, batch)
                    sent += len(batch)
                complete = True
            finally:
                ended = {**about, "rows": sent, "complete": complete}
                runtime.events.record(context, EXPORT, "ended", row_id=resource, after=ended)

    return StreamedResponse(
        parts,
        runtime.streams,
        media_type=MEDIA_TYPES[format],
        headers={
            "content-disposition": f'attachment; filename="{resource}.{format}"',
            "vary": "accept, accept-encoding",
        },
        coding=context.coding,
    )


def rows_of(
    model: ReadModel,
    runtime: Runtime,
    context: RequestContext,
    order: str | None,
    filters: Mapping[str, Any],
) -> Batches:
    """All entities of a read model that pass the filters, from one snapshot of a replica.

    Raises InvalidDataError for an unknown order.
    """
    cursor, values = model.cursor(order, filters)

    async def rows() -> AsyncGenerator[list[str], None]:
        # What the request notes of itself is told once its answer begins, and this goes on.
        own = context.for_tenant(context.tenant)
        own.trace = None
        timeout = runtime.settings.report_timeout
        async with (
            runtime.database.read(own, timeout=timeout) as session,
            contextlib.aclosing(batches(session, cursor, **values)) as found,
        ):
            async for batch in found:
                yield batch

    return rows
