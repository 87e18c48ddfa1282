"""Rows of any number through a cursor on the server, in batches that are bounded by bytes.

The cursor belongs to its session's transaction: all rows are of one snapshot, and the node holds
no more of them than a batch. PostgreSQL plans a cursor for its first rows (cursor_tuple_fraction),
so that a large result begins at once wherever an index gives its order.
"""

from collections.abc import AsyncGenerator
from typing import Any

from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement

_CURSOR = "stream"
BATCH_BYTES = 262_144
_FIRST, _MOST = 64, 4096
"""Rows. Powers of two, so that few statements fetch any number."""


def declare(name: str, query: str) -> Statement:
    """The statement that opens the cursor on a query of one text column."""
    return Statement(name, f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {query}")


def _fetch(rows: int) -> Statement:
    sql = f"FETCH FORWARD {rows} FROM {_CURSOR}"
    return Statement("session.fetch_rows", sql, tenantless=True)


_FETCHES = {1 << power: _fetch(1 << power) for power in range(_MOST.bit_length())}


async def batches(
    session: ReadSession, cursor: Statement, *, most: int = BATCH_BYTES, **values: Any
) -> AsyncGenerator[list[str], None]:
    """The texts of all rows, about ``most`` bytes at once; the first batch is a small one.

    How many rows are fetched follows from how long those before were, and at most doubles.
    """
    await session.fetch(cursor, **values)
    rows = _FIRST
    while True:
        found = [row[0] for row in await session.fetch(_FETCHES[rows])]
        if found:
            yield found
        if len(found) < rows:
            return
        fitting = max(1, most * len(found) // max(1, sum(map(len, found))))
        rows = min(1 << (fitting.bit_length() - 1), rows * 2, _MOST)
