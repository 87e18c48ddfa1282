"""The audit log's rows for an export.

They are read in pages, each in a session of its own on a replica: entries are never changed, so
pages by position in time are as consistent as one long cursor would be. And a client that reads
slowly holds no snapshot, which on a replica would hold up the replay of what the primary does to
the partitions.
"""

from collections.abc import AsyncGenerator

from impact.context import RequestContext
from impact.engine.db.base import utc_now
from impact.engine.runtime import Runtime
from impact.reporting.audit_log import LogFilters, Place, log_session, read_entries
from impact.reporting.exports.export import Batches

_PAGE = 1000


def entries(runtime: Runtime, context: RequestContext, filters: LogFilters) -> Batches:
    """The entries that pass the filters, the newest first, up to now."""

    async def rows() -> AsyncGenerator[list[str], None]:
        now = utc_now()
        after: Place | None = None
        while True:
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
            if found:
                yield [body for _, body in found]
            if len(found) < _PAGE:
                return
            after = found[-1][0]

    return rows
