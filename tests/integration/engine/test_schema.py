"""What the database itself enforces, read from its catalog and tried on a row of every table."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from impact.context import RequestContext, system_context
from impact.engine.runtime import Runtime
from impact.stack import Endpoints
from support.rows import add_row
from support.schema import gaps, tenant_tables
from support.shops import Shop


@pytest.fixture
async def admin(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    """A superuser in a transaction that is rolled back."""
    connection = await asyncpg.connect(endpoints.admin_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
def app_role(endpoints: Endpoints) -> str:
    return str(make_url(endpoints.primary_url).username)


class TestCatalog:
    async def test_no_gap(self, admin: asyncpg.Connection, app_role: str) -> None:
        assert len(await tenant_tables(admin)) > 20
        assert await gaps(admin, app_role) == []

    async def test_the_tables_without_a_tenant_are_known(self, admin: asyncpg.Connection) -> None:
        tables = await admin.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'm', 'v', 'f') AND relname NOT LIKE 'pg_stat_statements%'"
        )
        platform = {row["relname"] for row in tables} - set(await tenant_tables(admin))
        assert platform - {"alembic_version"} == {"tenant"}

    @pytest.mark.parametrize(
        ("change", "gap"),
        [
            ("DROP POLICY tenant_isolation ON product", "product: its policies are []"),
            ("ALTER TABLE product DISABLE ROW LEVEL SECURITY", "product: row-level security"),
            ("CREATE POLICY more ON product USING (true)", "product: its policies are"),
            ("ALTER POLICY tenant_isolation ON product USING (true)", "tenant_isolation says"),
            ("ALTER POLICY tenant_isolation ON product WITH CHECK (true)", "says"),
            ("ALTER POLICY tenant_isolation ON product TO impact_app", "is for"),
            ("ALTER TABLE product OWNER TO impact_app", "product: impact_app owns it"),
            ("CREATE INDEX late ON product (title, tenant_id)", "index late is over"),
            ("DROP INDEX ix_order_line_variant", "order_line: no index covers foreign key"),
            (
                "ALTER TABLE product_image ADD other uuid;"
                " CREATE UNIQUE INDEX u ON product (id);"
                " ALTER TABLE product_image ADD FOREIGN KEY (other) REFERENCES product (id)",
                "does not hold the tenant",
            ),
            ("CREATE TABLE fresh (tenant_id text, id uuid)", "fresh: it has no primary key"),
        ],
    )
    async def test_every_gap_is_seen(
        self, admin: asyncpg.Connection, app_role: str, change: str, gap: str
    ) -> None:
        await admin.execute(change)
        found = await gaps(admin, app_role)
        assert any(gap in each for each in found), found


class TestRole:
    async def test_has_no_way_around(self, admin: asyncpg.Connection, app_role: str) -> None:
        role = await admin.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", app_role)
        assert role is not None
        powers = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
        assert not any(role[power] for power in powers)

    async def test_owns_nothing(self, admin: asyncpg.Connection, app_role: str) -> None:
        owned = await admin.fetch(
            "SELECT classid::regclass, objid FROM pg_shdepend"
            " WHERE refobjid = $1::regrole AND deptype = 'o'"
            " AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))",
            app_role,
        )
        assert owned == []


class TestRows:
    async def see(self, admin: asyncpg.Connection, role: str, tenant: str | None) -> dict[str, int]:
        """How many rows of each table the role sees as the tenant."""
        tables = await tenant_tables(admin)
        await admin.execute(f"SET LOCAL ROLE {role}")
        if tenant is not None:
            await admin.execute(f"SET LOCAL impact.tenant_id = '{tenant}'")
        seen = {table: await admin.fetchval(f'SELECT count(*) FROM "{table}"') for table in tables}
        await admin.execute("RESET ROLE")
        return seen

    async def test_are_seen_by_their_tenant_alone(
        self, admin: asyncpg.Connection, app_role: str
    ) -> None:
        tenant, other = f"walk-{secrets.token_hex(4)}", f"walk-{secrets.token_hex(4)}"
        await admin.execute("SET LOCAL session_replication_role = replica")
        # A partition has its rows by its parent.
        for table in await tenant_tables(admin, partitions=False):
            await add_row(admin, table, tenant)
        own = await self.see(admin, app_role, tenant)
        # Of the partitions the row is in one.
        whole = await tenant_tables(admin, partitions=False)
        assert all(own[table] for table in whole), own
        for stranger in (other, "", "%", f"{tenant} "):
            seen = await self.see(admin, app_role, stranger)
            assert not any(seen.values()), (stranger, seen)

    async def test_without_a_tenant_there_are_none(
        self, endpoints: Endpoints, app_role: str
    ) -> None:
        """On a connection of its own, which has never heard of a tenant."""
        connection = await asyncpg.connect(endpoints.admin_url)
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SET LOCAL session_replication_role = replica")
            for table in await tenant_tables(connection, partitions=False):
                await add_row(connection, table, "walk-none")
            seen = await self.see(connection, app_role, None)
            assert not any(seen.values()), seen
        finally:
            await transaction.rollback()
            await connection.close()

    async def test_none_can_be_written_for_another(
        self, admin: asyncpg.Connection, app_role: str
    ) -> None:
        await admin.execute("SET LOCAL session_replication_role = replica")
        for table in await tenant_tables(admin):
            with pytest.raises(
                asyncpg.InsufficientPrivilegeError, match=r"row-level security|permission denied"
            ):
                await self.add_as(admin, app_role, "walk-a", table, "walk-b")

    async def add_as(
        self, admin: asyncpg.Connection, role: str, tenant: str, table: str, other: str
    ) -> None:
        async with admin.transaction():
            await admin.execute(f"SET LOCAL ROLE {role}")
            await admin.execute(f"SET LOCAL impact.tenant_id = '{tenant}'")
            await add_row(admin, table, other)


class TestSessions:
    async def test_an_unknown_tenant_has_no_rows(self, runtime: Runtime, shop: Shop) -> None:
        for opened in (runtime.database.read, runtime.database.write):
            async with opened(system_context("nowhere", "test")) as session:
                driver = session._driver
                for table in await tenant_tables(driver):
                    assert await driver.fetchval(f'SELECT count(*) FROM "{table}"') == 0, table

    async def test_a_tenant_ends_with_its_transaction(
        self, runtime: Runtime, context: RequestContext
    ) -> None:
        async with runtime.database.write(context) as session:
            driver = session.driver
            assert await driver.fetchval("SELECT count(*) FROM role") > 0
        assert await driver.fetchval("SELECT count(*) FROM role") == 0
        assert not await driver.fetchval("SELECT current_setting('impact.tenant_id', true)")
