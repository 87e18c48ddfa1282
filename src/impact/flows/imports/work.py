"""What every import does around its own work: the transaction's settings, locks and tenants."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

from impact.context import HEADQUARTERS, system_context
from impact.domains.tenants.service import require_open_slug
from impact.engine.cache.invalidation import declare
from impact.engine.db.session import Database, WriteSession
from impact.engine.db.statements import ALL, Statement
from impact.errors import ConflictError, NotFoundError

for _staging in ("import_row", "import_order", "import_product"):
    declare(_staging)

LONGEST_STATEMENT = 3600.0
"""Seconds the client waits for one set-based statement, in place of the pool's own bound."""

# All queries see one snapshot and their own writes: orders that a shop takes meanwhile cannot
# disturb the comparison of the reports before and after. The limits of a request are lifted.
# Sorts of a whole file stay in memory.
_PREPARE = Statement(
    "import.prepare",
    """
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    SET LOCAL statement_timeout = 0;
    SET LOCAL work_mem = '128MB'
    """,
    tenantless=True,
)
_PLAN_ANEW = Statement(
    "import.plan_anew", "SELECT analyze_imported(); DISCARD PLANS", tenantless=True
)
WORTH_PLANNING = 500
"""Rows below which no plan is bad enough to read samples of the tables for a better one."""
_LOCK = Statement(
    "import.lock", "SELECT pg_try_advisory_xact_lock(7203, hashtext(:tenant_id::text))"
)
_FIND_TENANT = Statement(
    "import.find_tenant", "SELECT currency_code FROM tenant WHERE id = :tenant_id"
)
_CREATE_TENANT = Statement(
    "import.create_tenant",
    """
    INSERT INTO tenant (id, name, currency_code)
    VALUES (:tenant_id, :name::text, :currency_code::text)
    """,
    writes={"tenant": ALL},
)


class OpenTenant(NamedTuple):
    created: bool
    currency: str


@asynccontextmanager
async def import_transaction(database: Database, reason: str) -> AsyncIterator[WriteSession]:
    """One transaction for all of an import, begun as headquarters; nothing of it is left when
    the block ends with an error, an interrupt among them."""
    async with database.write(system_context(HEADQUARTERS, reason)) as session:
        await session.execute(_PREPARE)
        yield session


async def run(session: WriteSession, statement: Statement, **values: Any) -> int:
    """Run a set-based statement for the session's tenant; answers how many rows it changed."""
    tag = await session.execute(statement, timeout=LONGEST_STATEMENT, **values)
    last = tag.rsplit(" ", 1)[-1]
    return int(last) if last.isdigit() else 0


async def plan_anew(session: WriteSession, filled: int) -> None:
    """To be called between filling a table with so many rows and filling one that refers to it.

    PostgreSQL keeps one plan for all checks of a foreign key. Where statistics of before say that a
    tenant has a single row, any index that starts with the tenant seems as good as the primary key:
    then each check reads many of the tenant's rows. So what was filled is analyzed. Beside another
    import it is not, as that one holds the lock until its end; then the plans are made at the
    tables' present size, which tells the primary key apart wherever tenants had two rows or more.
    """
    if filled >= WORTH_PLANNING:
        await run(session, _PLAN_ANEW)


async def enter_tenant(session: WriteSession, tenant: str) -> str | None:
    """Go on as ``tenant``, kept from other imports; answers its currency, None if there is no
    such tenant. Raises ConflictError while another import runs for it."""
    await session.switch_tenant(tenant)
    if not await session.fetch_value(_LOCK):
        raise ConflictError(f"another import is running for tenant '{tenant}'; try again after it")
    currency: str | None = await session.fetch_value(_FIND_TENANT)
    return currency


async def open_tenant(
    session: WriteSession, tenant: str, *, create: bool, name: str, currency: str
) -> OpenTenant:
    """Go on as ``tenant``, which is created with ``name`` and ``currency`` if it is missing.

    Raises NotFoundError when it is missing and ``create`` is false, InvalidDataError for a name
    that is reserved.
    """
    found = await enter_tenant(session, tenant)
    if found is not None:
        return OpenTenant(created=False, currency=found)
    if not create:
        raise NotFoundError(f"tenant '{tenant}' does not exist; --create-tenant creates it")
    require_open_slug(tenant)
    await session.execute(_CREATE_TENANT, name=name, currency_code=currency)
    return OpenTenant(created=True, currency=currency)


async def run_all(session: WriteSession, statements: Iterable[Statement]) -> None:
    for statement in statements:
        await run(session, statement)


async def fetch_row(session: WriteSession, statement: Statement, **values: Any) -> asyncpg.Record:
    """The one row of a set-based statement that always answers one, such as an aggregate."""
    row = await session.fetch_one(statement, timeout=LONGEST_STATEMENT, **values)
    assert row is not None  # noqa: S101 - an aggregate always answers
    return row
