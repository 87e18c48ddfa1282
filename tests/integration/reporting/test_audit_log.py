"""Reading the audit log: only one's own, page by page, and as a file."""

import csv
import datetime as dt
import io
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from impact.engine.runtime import Runtime
from impact.reporting import audit_export
from impact.reporting.audit_export import entries
from impact.reporting.audit_log import LogFilters, page_statement
from impact.stack import Endpoints
from support.audit import NOON, add_entries
from support.shops import Shop

LOGS = "/admin/audit-logs"
EXPORT = "/admin/audit-logs/export"
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
async def owner(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(endpoints.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def replayed(runtime: Runtime, owner: asyncpg.Connection) -> Any:
    """Waits until the replica shows what the owner has written."""

    async def wait() -> None:
        from impact.engine.db.consistency import parse_lsn

        position = parse_lsn(await owner.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
        for node in runtime.database.nodes.replicas():
            assert await node.wait_for_replay(position, 20)

    return wait


@pytest.fixture
async def filled(shop: Shop, owner: asyncpg.Connection, replayed: Any) -> list[dict[str, Any]]:
    """Twenty entries a minute apart, of two actors, entities and actions, the oldest first."""
    entries = [
        {
            "occurred_at": NOON - (20 - number) * MINUTE,
            "actor": f"user:{number % 2}",
            "table_name": ("product", "order")[number % 3 == 0],
            "action": ("insert", "update")[number % 5 == 0],
        }
        for number in range(20)
    ]
    made = await add_entries(owner, shop.tenant, entries)
    await replayed()
    return made


async def listed(client: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> Any:
    response = await client.get(LOGS, headers=headers, params={"to": "2026-11-23T13:00", **query})
    assert response.status_code == 200, response.text
    return response.json()


class TestWho:
    @pytest.mark.parametrize("path", [LOGS, EXPORT])
    async def test_another_tenant_sees_nothing(
        self, client: httpx.AsyncClient, filled: Any, other_shop: Shop, path: str
    ) -> None:
        response = await client.get(
            path, headers=other_shop.admin, params={"to": "2026-11-23T13:00"}
        )
        assert response.status_code == 200
        assert filled[0]["row_id"] not in response.text
        assert '"product"' not in response.text

    @pytest.mark.parametrize("path", [LOGS, EXPORT])
    async def test_anonymous(self, client: httpx.AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 401

    async def test_each_needs_its_permission(self, client: httpx.AsyncClient, shop: Shop) -> None:
        reader, exporter = await shop.user("audit-log:read"), await shop.user("audit-log:export")
        product = (await shop.product())["id"]
        history = f"/admin/products/{product}/history"
        for headers, allowed in ((reader, {LOGS, history}), (exporter, {EXPORT})):
            for path in (LOGS, EXPORT, history):
                status = (await client.get(path, headers=headers)).status_code
                assert status == (200 if path in allowed else 403), path
        other = await shop.user("product:read", "report:read")
        assert (await client.get(history, headers=other)).status_code == 403

    async def test_headquarters_reads_a_shop_s_log(
        self, client: httpx.AsyncClient, shop: Shop, filled: Any, hq: dict[str, str]
    ) -> None:
        found = await listed(client, {**hq, "x-tenant-id": shop.tenant}, limit=5)
        assert [e["id"] for e in found["audit_logs"]] == [e["id"] for e in filled[:-6:-1]]


class TestList:
    async def test_an_entry_says_all(
        self, client: httpx.AsyncClient, shop: Shop, filled: list[dict[str, Any]]
    ) -> None:
        (entry,) = (await listed(client, shop.admin, limit=1))["audit_logs"]
        last = filled[-1]
        assert dt.datetime.fromisoformat(entry.pop("occurred_at")) == last["occurred_at"]
        assert entry == {
            "id": last["id"],
            "entity": last["table_name"],
            "entity_id": last["row_id"],
            "action": last["action"],
            "actor": last["actor"],
            "request_id": last["request_id"],
            "reason": None,
            "before": {"price": 20},
            "after": {"price": 21, "title": "Größe"},
            "position": last["position"],
            "previous_hash": last["previous_hash"].hex(),
            "hash": last["hash"].hex(),
        }

    @pytest.mark.parametrize("limit", [1, 3, 7, 200])
    async def test_pages_neither_repeat_nor_miss_while_the_log_grows(
        self,
        client: httpx.AsyncClient,
        shop: Shop,
        owner: asyncpg.Connection,
        filled: list[dict[str, Any]],
        replayed: Any,
        limit: int,
    ) -> None:
        seen: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            found = await listed(client, shop.admin, limit=limit, **cursor)
            seen += [entry["id"] for entry in found["audit_logs"]]
            if found["next_cursor"] is None:
                break
            cursor = {"cursor": found["next_cursor"]}
            await add_entries(owner, shop.tenant, [{"occurred_at": NOON + MINUTE}])
            await replayed()
        assert seen == [entry["id"] for entry in reversed(filled)]

    async def test_entries_of_one_moment_are_ordered_by_id(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, replayed: Any
    ) -> None:
        made = await add_entries(owner, shop.tenant, [{} for _ in range(9)])
        await replayed()
        seen = []
        cursor: dict[str, str] = {}
        for _ in range(3):
            found = await listed(client, shop.admin, limit=4, **cursor)
            seen += [entry["id"] for entry in found["audit_logs"]]
            cursor = {"cursor": found["next_cursor"]}
        assert seen == [entry["id"] for entry in reversed(made)]

    @pytest.mark.parametrize(
        ("query", "matches"),
        [
            ({"actor": "user:1"}, lambda e: e["actor"] == "user:1"),
            ({"entity": "order"}, lambda e: e["table_name"] == "order"),
            ({"entity": "product", "id": "row-3"}, lambda e: e["row_id"] == "row-3"),
            ({"action": "update"}, lambda e: e["action"] == "update"),
            ({"request_id": "request-7"}, lambda e: e["request_id"] == "request-7"),
            (
                {"from": "2026-11-23T11:45", "to": "2026-11-23T11:50"},
                lambda e: NOON - 15 * MINUTE <= e["occurred_at"] < NOON - 10 * MINUTE,
            ),
            (
                {"actor": "user:0", "entity": "product", "action": "insert"},
                lambda e: (
                    (e["actor"], e["table_name"], e["action"]) == ("user:0", "product", "insert")
                ),
            ),
            ({"actor": "user:9"}, lambda e: False),
        ],
    )
    async def test_filters(
        self,
        client: httpx.AsyncClient,
        shop: Shop,
        filled: list[dict[str, Any]],
        query: dict[str, str],
        matches: Any,
    ) -> None:
        found = await listed(client, shop.admin, **query)
        expected = [entry["id"] for entry in reversed(filled) if matches(entry)]
        assert [entry["id"] for entry in found["audit_logs"]] == expected

    async def test_old_entries_are_found_behind_new_ones(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, replayed: Any
    ) -> None:
        """The page looks at the newest partitions first, and then further back."""
        moments = [NOON - dt.timedelta(days=days) for days in (5000, 900, 400, 70, 40, 3, 0)]
        made = await add_entries(owner, shop.tenant, [{"occurred_at": at} for at in moments])
        await replayed()
        found = await listed(client, shop.admin)
        assert [e["id"] for e in found["audit_logs"]] == [e["id"] for e in reversed(made)]

    async def test_the_future_is_shown_when_asked_for(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, replayed: Any
    ) -> None:
        await add_entries(owner, shop.tenant, [{"occurred_at": NOON.replace(year=2100)}])
        await replayed()
        response = await client.get(LOGS, headers=shop.admin, params={"actor": "user:1"})
        assert response.json()["audit_logs"] == []
        found = await listed(client, shop.admin, actor="user:1", to="2101-01-01")
        assert len(found["audit_logs"]) == 1

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ({"limit": "0"}, "limit"),
            ({"limit": "201"}, "limit"),
            ({"from": "yesterday"}, "from"),
            ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
            ({"to": "9999-12-31T23:59:59-14:00"}, "to"),
            ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
            ({"cursor": "nonsense"}, "cursor"),
            ({"actor": "a\0b"}, "actor"),
            ({"entity": "x" * 256}, "entity"),
        ],
    )
    async def test_a_filter_that_is_wrong_is_named(
        self, client: httpx.AsyncClient, shop: Shop, query: dict[str, str], parameter: str
    ) -> None:
        response = await client.get(LOGS, headers=shop.admin, params=query)
        assert response.status_code == 400, response.text
        assert response.json()["errors"][0]["parameter"] == parameter

    async def test_a_cursor_is_for_its_filters_and_its_shop(
        self, client: httpx.AsyncClient, shop: Shop, other_shop: Shop, filled: Any
    ) -> None:
        cursor = (await listed(client, shop.admin, limit=2))["next_cursor"]
        for headers, query in (
            (shop.admin, {"to": "2026-11-23T13:00", "actor": "user:1"}),
            (other_shop.admin, {"to": "2026-11-23T13:00"}),
        ):
            response = await client.get(LOGS, headers=headers, params={**query, "cursor": cursor})
            assert response.status_code == 400

    async def test_a_page_looks_at_two_partitions(
        self, shop: Shop, runtime: Runtime, owner: asyncpg.Connection
    ) -> None:
        """The older ones are not opened where the newest fill the page."""
        await runtime.partitions.ensure()
        now = dt.datetime.now(dt.UTC)
        for months in range(1, 6):
            day = (now - dt.timedelta(days=31 * months)).date()
            await owner.fetchval("SELECT audit_log_make_partition('month', $1)", day)
        await add_entries(owner, shop.tenant, [{"occurred_at": now} for _ in range(60)])
        statement, values = page_statement(
            LogFilters(actor="user:1"), limit=51, after=None, period="month", now=now
        )
        plan = await owner.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}",
            *statement.bind(shop.tenant, values),
        )
        assert set(_partitions(msgspec.json.decode(plan)[0]["Plan"])) <= {
            f"audit_log_{now:%Y%m}",
            f"audit_log_{now.replace(day=1) - dt.timedelta(days=1):%Y%m}",
        }


def _partitions(plan: dict[str, Any]) -> list[str]:
    own = [plan["Relation Name"]] if plan["Actual Loops"] and "Relation Name" in plan else []
    return own + [name for child in plan.get("Plans", ()) for name in _partitions(child)]


class TestExport:
    async def test_ndjson(
        self,
        client: httpx.AsyncClient,
        shop: Shop,
        filled: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(audit_export, "_PAGE", 3)
        response = await client.get(
            EXPORT, headers=shop.admin, params={"to": "2026-11-23T13:00", "entity": "product"}
        )
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [msgspec.json.decode(line) for line in response.text.splitlines()]
        expected = [e["id"] for e in reversed(filled) if e["table_name"] == "product"]
        assert [line["id"] for line in lines] == expected
        page = await listed(client, shop.admin, entity="product")
        assert lines == page["audit_logs"]

    async def test_csv_hides_formulas(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, replayed: Any
    ) -> None:
        texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'plain, "quoted"\nline']
        await add_entries(
            owner, shop.tenant, [{"reason": text, "row_id": text, "before": None} for text in texts]
        )
        await replayed()
        response = await client.get(
            EXPORT, headers=shop.admin, params={"to": "2026-11-23T13:00", "format": "csv"}
        )
        assert response.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))
        for row, text in zip(reversed(rows), texts, strict=True):
            expected = text if text.startswith("plain") else f"'{text}"
            assert (row["reason"], row["entity_id"]) == (expected, expected)
            assert row["before"] == ""
            assert msgspec.json.decode(row["after"])["title"] == "Größe"

    async def test_another_format_is_refused(self, client: httpx.AsyncClient, shop: Shop) -> None:
        response = await client.get(EXPORT, headers=shop.admin, params={"format": "xml"})
        assert response.status_code == 400

    async def test_a_client_that_waits_holds_nothing(
        self, shop: Shop, runtime: Runtime, filled: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_export, "_PAGE", 5)
        pages = entries(runtime, shop.context(), LogFilters(to=NOON + MINUTE))()
        assert len(await anext(pages)) == 5
        assert sum(node.busy for node in runtime.database.nodes.nodes) == 0
        await pages.aclose()


class TestProductHistory:
    async def test_another_tenant_s_product_has_none(
        self, client: httpx.AsyncClient, shop: Shop, other_shop: Shop
    ) -> None:
        product = await shop.product()
        path = f"/admin/products/{product['id']}/history"
        assert (await client.get(path, headers=other_shop.admin)).status_code == 404
        assert (await client.get(path)).status_code == 401

    async def test_what_belongs_to_the_product_is_in_it(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, replayed: Any
    ) -> None:
        product, stranger = await shop.product(), await shop.product()
        variant = product["variants"][0]
        things = [
            ("product", product["id"]),
            ("product_variant", variant["id"]),
            ("product_option", product["options"][0]["id"]),
            ("product_image", product["images"][0]["id"]),
            ("product", stranger["id"]),
            ("order", product["id"]),
            ("product", product["id"]),
        ]
        made = await add_entries(
            owner,
            shop.tenant,
            [
                {"table_name": table, "row_id": id, "occurred_at": NOON + number * MINUTE}
                for number, (table, id) in enumerate(things)
            ],
        )
        await replayed()
        path = f"/admin/products/{product['id']}/history"
        seen: list[int] = []
        cursor: dict[str, str] = {}
        ours = {entry["id"] for entry in made}
        while True:
            response = await client.get(path, headers=shop.admin, params={"limit": 2, **cursor})
            answer = response.json()
            seen += [entry["id"] for entry in answer["history"] if entry["id"] in ours]
            if answer["next_cursor"] is None:
                break
            cursor = {"cursor": answer["next_cursor"]}
        assert seen == [made[number]["id"] for number in (6, 3, 2, 1, 0)]

    async def test_a_deleted_product_keeps_its_history(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, replayed: Any
    ) -> None:
        product = await shop.product()
        path = f"/admin/products/{product['id']}"
        assert (await client.delete(path, headers=shop.admin)).status_code == 200
        await add_entries(owner, shop.tenant, [{"row_id": product["id"], "action": "delete"}])
        await replayed()
        response = await client.get(f"{path}/history", headers=shop.admin)
        assert response.status_code == 200
        assert response.json()["history"]
