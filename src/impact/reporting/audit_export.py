"""The audit log as a file: newline-delimited JSON or CSV, of any length in constant memory.

It is read in pages, each in a session of its own on a replica: entries are never changed, so
pages by position in time are as consistent as one long cursor would be. And a client that reads
slowly, or leaves, holds neither a connection nor a snapshot, which on a replica would hold up the
replay of what the primary does to the partitions.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Literal

import msgspec

from impact.context import RequestContext
from impact.engine.db.base import utc_now
from impact.engine.runtime import Runtime
from impact.reporting.audit_log import AuditEntry, LogFilters, Place, log_session, read_entries

Format = Literal["ndjson", "csv"]
MEDIA_TYPES: dict[Format, str] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
_PAGE = 1000
_COLUMNS = AuditEntry.__struct_fields__
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def export(
    runtime: Runtime, context: RequestContext, filters: LogFilters, format: Format
) -> AsyncIterator[bytes]:
    """The entries that pass the filters, the newest first, up to now.

    That it began and how it ended is recorded: who leaves early has what was sent until then.
    """
    now = utc_now()
    asked = {"format": format, "filters": msgspec.to_builtins(filters)}
    runtime.events.record(context, "audit_log", "export-started", after=asked)
    sent, complete = 0, False
    try:
        if format == "csv":
            yield _csv([{name: name for name in _COLUMNS}])
        after: Place | None = None
        while not complete:
            timeout = runtime.settings.report_timeout
            async with log_session(runtime, context, timeout=timeout) as session:
                found = await read_entries(
                    session,
                    filters,
                    limit=_PAGE,
                    after=after,
                    period=runtime.settings.audit_partition,
                    now=now,
                )
            bodies = [body for _, body in found]
            sent += len(bodies)
            if bodies:
                after = found[-1][0]
                if format == "csv":
                    yield _csv([msgspec.json.decode(body) for body in bodies])
                else:
                    # PostgreSQL's JSON has no line breaks between its parts.
                    yield "".join(f"{body}\n" for body in bodies).encode()
            complete = len(bodies) < _PAGE
    finally:
        ended = {**asked, "entries": sent, "complete": complete}
        runtime.events.record(context, "audit_log", "export-ended", after=ended)


def _csv(entries: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([_cell(entry[name]) for name in _COLUMNS] for entry in entries)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A spreadsheet takes what begins like a formula for one; a leading apostrophe prevents it
    (OWASP, CSV injection)."""
    if isinstance(value, dict):
        value = msgspec.json.encode(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
