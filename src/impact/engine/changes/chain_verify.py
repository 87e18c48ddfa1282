"""Following a tenant's chain through the database, whatever its length, in constant memory."""

import datetime as dt
from collections.abc import Callable, Sequence

import asyncpg
import msgspec

from impact.engine.changes.chain import ENTRY, Break, Run, Verifier
from impact.engine.db.tenancy import switch

_PREFETCH = 1000
_HEAD = "SELECT position, hash FROM audit_chain WHERE tenant_id = $1"
_ENTRIES = f"""
SELECT {ENTRY} FROM audit_log
WHERE tenant_id = $1 AND position >= $2 AND position <= $3 ORDER BY position, id
"""
_BETWEEN = """
SELECT min(position) AS first, max(position) AS last FROM audit_log
WHERE tenant_id = $1 AND occurred_at >= $2 AND occurred_at < $3
"""
_LONGEST = 2**62
_EVER = (dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC))


class Verified(msgspec.Struct, frozen=True):
    """What was found: ``entries`` held, then the first break or none.

    ``position`` and ``hash`` are the last entry's that held. An auditor who keeps them can tell
    later that nothing up to there was made anew.
    """

    tenant: str
    entries: int
    position: int
    hash: str | None
    broken: Break | None


async def verify_tenant(
    connection: asyncpg.Connection,
    tenant: str,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    elsewhere: Sequence[Run] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> Verified:
    """Compute the tenant's chain anew, in one snapshot; between two times only the entries that
    lie between the first and the last of them.

    ``elsewhere`` are entries that need not be here. ``progress`` is given the
    fraction done. The connection must be the application's or more.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"{switch(tenant)}; SET LOCAL statement_timeout = 0")
        row = await connection.fetchrow(_HEAD, tenant)
        head = None if row is None else (row["position"], row["hash"])
        first, last = 1, _LONGEST
        if since or until:
            row = await connection.fetchrow(
                _BETWEEN, tenant, since or _EVER[0], until or _EVER[1], timeout=None
            )
            assert row is not None  # noqa: S101 - an aggregate always answers
            if row["first"] is None:
                return Verified(tenant, 0, 0, None, None)
            first, last = row["first"] if since else 1, row["last"] if until else _LONGEST
        verifier = Verifier(tenant, start=first, elsewhere=elsewhere)
        total = min(last, head[0] if head else 0) - first + 1
        broken: Break | None = None
        entries = connection.cursor(_ENTRIES, tenant, first, last, prefetch=_PREFETCH)
        async for entry in entries:
            broken = verifier.check(dict(entry))
            if broken is not None:
                break
            if verifier.entries % _PREFETCH == 0 and total:
                progress(min(verifier.entries / total, 1.0))
        if broken is None and not until:
            broken = verifier.check_head(*(head or (0, bytes(32))))
    hash = verifier.hash.hex() if verifier.hash else None
    return Verified(tenant, verifier.entries, verifier.position, hash, broken)
