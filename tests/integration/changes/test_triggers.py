"""Every business table records every change, whoever makes it and however."""

import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import Table

import impact.models
from impact.context import HEADQUARTERS, RequestContext, system_context
from impact.domains.catalog.models import Collection
from impact.engine.changes.triggers import NOT_RECORDED, SECRET, capture
from impact.engine.runtime import Runtime
from impact.stack import Endpoints
from support.changes import changes
from support.rows import add_row
from support.shops import Shop

RECORDED = sorted(set(impact.models.metadata.tables) - set(NOT_RECORDED))
COUNTERS = {"inventory_level": ["reserved_quantity"]}
_TRIGGERS = """
SELECT array_agg(tgname::text ORDER BY tgname) AS names, array_agg(DISTINCT tgenabled) AS enabled,
       bool_and(p.prosecdef OR t.tgname = 'capture_truncate') AS definer
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE tgrelid = format('public.%I', $1::text)::regclass AND tgname LIKE 'capture%'
"""
_SOURCE = "SELECT prosrc FROM pg_proc WHERE proname = 'capture_' || $1::text"


@pytest.fixture
async def admin(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    """A superuser in a transaction that is rolled back, and whom foreign keys do not hold."""
    connection = await asyncpg.connect(endpoints.admin_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SET LOCAL session_replication_role = replica")
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
async def owner(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(endpoints.owner_url)
    yield connection
    await connection.close()


def table_of(name: str) -> Table:
    return impact.models.metadata.tables[name]


def secret_columns(name: str) -> list[str]:
    return [column.name for column in table_of(name).columns if column.info == SECRET]


def key_of(name: str, row: dict[str, Any]) -> str:
    tenant = "id" if name == "tenant" else "tenant_id"
    keys = [column.name for column in table_of(name).primary_key if column.name != tenant]
    return ":".join(row[key] for key in keys or ["id"])


async def row_of(connection: asyncpg.Connection, name: str, tenant: str) -> dict[str, Any]:
    """The tenant's row as JSON, without what is NULL and with its secrets masked."""
    column = "id" if name == "tenant" else "tenant_id"
    text = await connection.fetchval(
        f'SELECT to_jsonb(t) FROM "{name}" t WHERE {column} = $1', tenant
    )
    found: dict[str, Any] = json.loads(text)
    return {
        column: "***" if column in secret_columns(name) else value
        for column, value in found.items()
        if value is not None
    }


async def add(admin: asyncpg.Connection, name: str, tenant: str) -> None:
    if name == "tenant":
        await admin.execute("INSERT INTO tenant (id, name) VALUES ($1, 'a')", tenant)
    else:
        await add_row(admin, name, tenant)


@pytest.mark.parametrize("name", RECORDED)
class TestEveryTable:
    async def test_has_its_triggers(self, owner: asyncpg.Connection, name: str) -> None:
        state = await owner.fetchrow(_TRIGGERS, name)
        events = ("delete", "insert", "truncate", "update")
        assert state["names"] == [f"capture_{event}" for event in events]
        assert state["enabled"] == [b"A"]
        assert state["definer"]

    async def test_records_all_its_columns_and_masks_its_secrets(
        self, owner: asyncpg.Connection, name: str
    ) -> None:
        """A migration that changed columns has run ``capture`` again."""
        before = await owner.fetchval(_SOURCE, name)
        async with owner.transaction():
            line = capture(name, secrets=secret_columns(name), counters=COUNTERS.get(name, ()))
            await owner.execute(line)
            assert await owner.fetchval(_SOURCE, name) == before

    async def test_records_each_change_once(self, admin: asyncpg.Connection, name: str) -> None:
        tenant = f"record-{secrets.token_hex(4)}"
        await add(admin, name, tenant)
        row = await row_of(admin, name, tenant)
        columns = {column.name for column in table_of(name).columns}
        changed = "created_at" if "created_at" in columns else None
        column = "id" if name == "tenant" else "tenant_id"
        if changed:
            await admin.execute(
                f"UPDATE \"{name}\" SET created_at = created_at - interval '1 day',"
                f" updated_at = now() WHERE {column} = $1",
                tenant,
            )
            now = await row_of(admin, name, tenant)
        await admin.execute(f'DELETE FROM "{name}" WHERE {column} = $1', tenant)

        found = await changes(admin, tenant)
        assert [each["action"] for each in found] == [
            "insert",
            *["update"] * bool(changed),
            "delete",
        ]
        assert {(each["table_name"], each["row_id"]) for each in found} == {
            (name, key_of(name, row))
        }
        assert {each["actor"] for each in found} == {"operator:postgres"}
        assert (found[0]["before"], found[0]["after"]) == (None, row)
        if changed:
            assert found[1]["before"] == {"created_at": row["created_at"]}
            assert found[1]["after"] == {"created_at": now["created_at"]}
            row = now
        assert (found[-1]["before"], found[-1]["after"]) == (row, None)

    async def test_refuses_truncate(self, endpoints: Endpoints, name: str) -> None:
        connection = await asyncpg.connect(endpoints.admin_url)
        try:
            with pytest.raises(asyncpg.FeatureNotSupportedError, match="no change records"):
                await connection.execute(f'TRUNCATE "{name}" CASCADE')
        finally:
            await connection.close()


async def test_secrets_are_masked_and_their_change_is_not(admin: asyncpg.Connection) -> None:
    tenant = f"mask-{secrets.token_hex(4)}"
    for name in ("admin_user", "customer", "api_key"):
        await add(admin, name, tenant)
    await admin.execute(
        "UPDATE admin_user SET password_hash = 'geheim', email = 'b' WHERE tenant_id = $1", tenant
    )
    await admin.execute("UPDATE customer SET password_hash = 'geheim' WHERE tenant_id = $1", tenant)
    await admin.execute("UPDATE api_key SET token_hash = 'geheim' WHERE tenant_id = $1", tenant)
    found = await changes(admin, tenant)
    assert "geheim" not in str(found)
    updates = [(each["before"], each["after"]) for each in found if each["action"] == "update"]
    assert updates == [
        ({"email": "eur", "password_hash": "***"}, {"email": "b", "password_hash": "***"}),
        ({"password_hash": None}, {"password_hash": "***"}),
        ({"token_hash": "***"}, {"token_hash": "***"}),
    ]


class TestWhatChanged:
    @pytest.fixture
    async def tenant(self, admin: asyncpg.Connection) -> str:
        tenant = f"diff-{secrets.token_hex(4)}"
        await add(admin, "product_category", tenant)
        await add(admin, "inventory_level", tenant)
        return tenant

    async def updated(
        self, admin: asyncpg.Connection, tenant: str, statement: str
    ) -> list[tuple[Any, Any]]:
        known = len(await changes(admin, tenant))
        await admin.execute(statement.format(f"tenant_id = '{tenant}'"))
        return [(each["before"], each["after"]) for each in (await changes(admin, tenant))[known:]]

    @pytest.mark.parametrize(
        ("statement", "before", "after"),
        [
            ("rank = 7", {"rank": 0}, {"rank": 7}),
            ("is_active = false", {"is_active": True}, {"is_active": False}),
            (
                """name = E'\\'"\\n\\\\ \\u00e9'""",
                {"name": "eur"},
                {"name": "'\"\n\\ é"},
            ),
            (
                """metadata = '{"a": {"b": null}}'""",
                {"metadata": None},
                {"metadata": {"a": {"b": None}}},
            ),
        ],
    )
    async def test_only_changed_columns(
        self, admin: asyncpg.Connection, tenant: str, statement: str, before: Any, after: Any
    ) -> None:
        known = len(await changes(admin, tenant))
        await admin.execute(
            f"UPDATE product_category SET {statement}, updated_at = now() WHERE tenant_id = $1",
            tenant,
        )
        found = (await changes(admin, tenant))[known:]
        assert [(each["before"], each["after"]) for each in found] == [(before, after)]

    async def test_nothing_changed(self, admin: asyncpg.Connection, tenant: str) -> None:
        for change in ("name = name", "updated_at = now() + interval '1 day'"):
            statement = f"UPDATE product_category SET {change} WHERE {{}}"
            assert await self.updated(admin, tenant, statement) == []

    async def test_reserved_stock_is_told_by_reservations(
        self, admin: asyncpg.Connection, tenant: str
    ) -> None:
        statement = "UPDATE inventory_level SET reserved_quantity = 3 WHERE {}"
        assert await self.updated(admin, tenant, statement) == []
        statement = (
            "UPDATE inventory_level SET stocked_quantity = 9, reserved_quantity = 4 WHERE {}"
        )
        assert await self.updated(admin, tenant, statement) == [
            ({"stocked_quantity": 0}, {"stocked_quantity": 9})
        ]

    async def test_another_key_is_another_row(self, admin: asyncpg.Connection, tenant: str) -> None:
        old = await row_of(admin, "product_category", tenant)
        await self.updated(
            admin, tenant, "UPDATE product_category SET id = gen_random_uuid() WHERE {}"
        )
        new = await row_of(admin, "product_category", tenant)
        found = (await changes(admin, tenant))[-2:]
        assert {(each["action"], each["row_id"]) for each in found} == {
            ("delete", old["id"]),
            ("insert", new["id"]),
        }

    async def test_many_rows_after_few(self, admin: asyncpg.Connection, tenant: str) -> None:
        """A plan made for one row is not a nested loop for many."""
        for count in (1, 3000):
            await admin.execute(
                "INSERT INTO product_category (tenant_id, id, name, handle)"
                " SELECT $1, gen_random_uuid(), 'n', $2 || n FROM generate_series(1, $3) n",
                tenant,
                secrets.token_hex(3),
                count,
            )
            found = await self.updated(
                admin, tenant, "UPDATE product_category SET rank = rank + 1 WHERE {}"
            )
            assert len(found) == await admin.fetchval(
                "SELECT count(*) FROM product_category WHERE tenant_id = $1", tenant
            )


class TestWho:
    async def test_a_unit_of_work_says_who_and_why(
        self, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        context = system_context(shop.tenant, "it's \\ late")
        async with runtime.database.write(context) as session:
            session.add(Collection(title="A", handle=secrets.token_hex(4)))
        found = (await changes(owner, shop.tenant))[-1]
        assert (found["table_name"], found["action"]) == ("collection", "insert")
        who = (found["actor"], found["request_id"], found["reason"])
        assert who == ("system", context.request_id, "it's \\ late")

    async def test_a_request_says_who(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        headers = {**shop.admin, "x-request-id": "a-request"}
        made = await client.post("/admin/collections", headers=headers, json={"title": "B"})
        assert made.status_code == 200
        found = (await changes(owner, shop.tenant))[-1]
        assert found["row_id"] == made.json()["collection"]["id"]
        assert found["actor"] == f"user:{shop.owner_id}"
        assert found["request_id"] == made.headers["x-request-id"] == "a-request"

    @pytest.mark.parametrize("who", ["admin_url", "owner_url", "primary_url"])
    async def test_raw_sql_is_an_operators(
        self, endpoints: Endpoints, shop: Shop, owner: asyncpg.Connection, who: str
    ) -> None:
        connection = await asyncpg.connect(getattr(endpoints, who))
        try:
            await connection.execute(f"SET impact.tenant_id = '{shop.tenant}'")
            if who != "primary_url":
                await connection.execute("RESET impact.tenant_id")
            await connection.execute(
                "UPDATE role SET description = $1 WHERE tenant_id = $2", who, shop.tenant
            )
            role = await connection.fetchval("SELECT session_user")
        finally:
            await connection.close()
        found = [
            each
            for each in await changes(owner, shop.tenant)
            if each["table_name"] == "role" and each["action"] == "update"
        ]
        assert len(found) > 1
        assert {(each["actor"], each["request_id"]) for each in found} == {
            (f"operator:{role}", None)
        }
        assert {each["after"]["description"] for each in found} == {who}

    async def test_the_register_is_recorded_for_the_shop_it_names(
        self, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        """Headquarters opened the shop; the record is the shop's."""
        found = [
            each for each in await changes(owner, shop.tenant) if each["table_name"] == "tenant"
        ]
        assert [(each["row_id"], each["action"]) for each in found] == [(shop.tenant, "insert")]
        assert not [
            each for each in await changes(owner, HEADQUARTERS) if each["row_id"] == shop.tenant
        ]


class TestTransactions:
    async def test_a_rollback_leaves_none(
        self, runtime: Runtime, context: RequestContext, owner: asyncpg.Connection
    ) -> None:
        before = await changes(owner, context.tenant)
        with contextlib.suppress(ZeroDivisionError):
            async with runtime.database.write(context) as session:
                session.add(Collection(title="A", handle=secrets.token_hex(4)))
                await session.flush()
                raise ZeroDivisionError
        assert await changes(owner, context.tenant) == before

    async def test_cascades_are_recorded(
        self, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        product = await shop.product()
        async with runtime.database.write(shop.context()) as session:
            await session.driver.execute("DELETE FROM product WHERE tenant_id = $1", shop.tenant)
            session.touched.table("product", shop.tenant)
        gone = {
            (each["table_name"], each["row_id"])
            for each in await changes(owner, shop.tenant)
            if each["action"] == "delete"
        }
        variant = product["variants"][0]
        assert {("product", product["id"]), ("product_variant", variant["id"])} <= gone
        assert {"variant_price", "inventory_level", "product_image", "product_option"} <= {
            table for table, _ in gone
        }

    async def test_an_upsert_is_what_it_did(
        self, endpoints: Endpoints, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        for title in ("a", "b"):
            await owner.execute(
                "INSERT INTO collection (tenant_id, id, title, handle) VALUES ($1,"
                " '00000000-0000-7000-8000-000000000001', $2, 'h'), ($1, gen_random_uuid(), $2, $2)"
                " ON CONFLICT (tenant_id, id) DO UPDATE SET title = excluded.title",
                shop.tenant,
                title,
            )
        found = [
            (each["action"], each["after"]["title"])
            for each in await changes(owner, shop.tenant)
            if each["table_name"] == "collection"
        ]
        assert sorted(found) == [("insert", "a"), ("insert", "a"), ("insert", "b"), ("update", "b")]


class TestIsolation:
    async def test_another_tenant_sees_none(
        self, endpoints: Endpoints, shop: Shop, other_shop: Shop, owner: asyncpg.Connection
    ) -> None:
        assert await changes(owner, shop.tenant)
        connection = await asyncpg.connect(endpoints.primary_url)
        try:
            await connection.execute(f"SET impact.tenant_id = '{other_shop.tenant}'")
            for table in ("change_record", "audit_log", "audit_chain"):
                seen = await connection.fetch(f"SELECT DISTINCT tenant_id FROM {table}")
                assert {row["tenant_id"] for row in seen} <= {other_shop.tenant}
        finally:
            await connection.close()

    async def test_the_application_cannot_rewrite_a_record(
        self, endpoints: Endpoints, shop: Shop
    ) -> None:
        connection = await asyncpg.connect(endpoints.primary_url)
        try:
            await connection.execute(f"SET impact.tenant_id = '{shop.tenant}'")
            for statement in (
                "UPDATE change_record SET actor = 'x'",
                "UPDATE audit_log SET actor = 'x'",
                "DELETE FROM audit_log",
                "TRUNCATE change_record",
                "SELECT impact_capture('role', '{}', '{}')",
                "ALTER TABLE role DISABLE TRIGGER ALL",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()
