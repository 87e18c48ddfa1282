"""The sums behind the reports are what a recount of the orders gives, whatever happens."""

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner
from litestar import Litestar

from impact.cli import main
from impact.engine.db.base import new_id
from impact.engine.db.consistency import CAUSAL, STRONG, Consistency, eventual
from impact.engine.runtime import Runtime
from impact.ops import migrations
from impact.reporting.popular_products import popular_products
from impact.reporting.rollups import BATCH, Difference, differences, rebuild
from impact.reporting.sales import SalesReport, sales
from impact.stack import Endpoints, Stack
from support.locks import somebody_waits
from support.replication import caught_up, replay_paused
from support.shops import Shop

_FOLD = f"SELECT sales_fold({BATCH})"
_ADD_LINE = """
INSERT INTO order_line (tenant_id, id, order_id, kind, product_id, title, quantity, unit_price,
                        total)
VALUES ($1, $2, $3, $4, $5, 'x', $6::int, 100, $6::int * 100)
"""
_ADD_ORDER = """
INSERT INTO "order" (tenant_id, id, kind, status, currency_code, item_total, charge_total, total,
                     units, created_at)
VALUES ($1, $2, $3, $4, $5, $6::bigint, $7::bigint, $6::bigint + $7::bigint, $8, $9)
"""


@pytest.fixture
async def owner(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(endpoints.owner_url)
    yield connection
    await connection.close()


async def wrong(runtime: Runtime, shop: Shop, how: Consistency = STRONG) -> list[Difference]:
    async with runtime.database.read(shop.context(), how) as session:
        return await differences(session)


async def report(
    runtime: Runtime, shop: Shop, how: Consistency = STRONG, **asked: Any
) -> SalesReport:
    asked = {"interval": "day", "start": None, "end": None, **asked}
    async with runtime.database.read(shop.context(), how) as session:
        return await sales.load(session, **asked)


async def popular(runtime: Runtime, shop: Shop, limit: int = 10) -> list[tuple[str, int, int, int]]:
    async with runtime.database.read(shop.context(), STRONG) as session:
        rows = await popular_products.load(session, limit=limit)
    return [(str(row.product_id), row.order_count, row.units, row.revenue) for row in rows]


async def put_order(owner: asyncpg.Connection, shop: Shop, **fields: Any) -> UUID:
    values = {
        "id": new_id(),
        "kind": "sale",
        "status": "pending",
        "currency_code": "eur",
        "item_total": 1000,
        "charge_total": 0,
        "units": 1,
        "created_at": dt.datetime(2024, 2, 29, 23, 59, tzinfo=dt.UTC),
        **fields,
    }
    await owner.execute(_ADD_ORDER, shop.tenant, *values.values())
    return values["id"]


async def put_line(
    owner: asyncpg.Connection,
    shop: Shop,
    order: UUID,
    product: str,
    quantity: int = 1,
    kind: str = "product",
) -> UUID:
    id = new_id()
    await owner.execute(_ADD_LINE, shop.tenant, id, order, kind, product, quantity)
    return id


class TestSales:
    async def test_every_kind_of_order(self, runtime, shop, owner):
        await put_order(owner, shop, item_total=1000, charge_total=250, units=2)
        await put_order(owner, shop, kind="return", item_total=-400, charge_total=-50, units=-1)
        await put_order(owner, shop, kind="adjustment", item_total=0, charge_total=-30, units=0)
        await put_order(owner, shop, status="canceled")
        await put_order(owner, shop, currency_code="usd")
        await put_order(owner, shop, created_at=dt.datetime(2024, 3, 1, tzinfo=dt.UTC))
        found = await report(runtime, shop)
        shown = [msgspec.to_builtins(row) for row in found.rows]
        first = {"orders": 1, "units": 1, "gross": 1000, "returns": 400, "charges": 170, "net": 770}
        plain = {"orders": 1, "units": 1, "gross": 1000, "returns": 0, "charges": 0, "net": 1000}
        assert shown == [
            {"period": "2024-02-29", "currency_code": "eur", **first},
            {"period": "2024-02-29", "currency_code": "usd", **plain},
            {"period": "2024-03-01", "currency_code": "eur", **plain},
        ]
        assert [(total.currency_code, total.net) for total in found.totals] == [
            ("eur", 1770),
            ("usd", 1000),
        ]

    async def test_folding_changes_no_answer(self, runtime, shop, owner):
        await put_order(owner, shop)
        await put_order(owner, shop, created_at=dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
        for rows, asked in (
            (2, {}),
            (2, {"interval": "month"}),
            (1, {"start": dt.date(2024, 3, 1)}),
            (1, {"end": dt.date(2024, 12, 31)}),
            (1, {"start": dt.date(2024, 2, 29), "end": dt.date(2024, 2, 29)}),
        ):
            before = await report(runtime, shop, **asked)
            await owner.execute(_FOLD)
            after = await report(runtime, shop, **asked)
            assert (after.rows, after.totals) == (before.rows, before.totals)
            assert len(after.rows) == rows
            await put_order(owner, shop)

    async def test_a_day_without_orders_has_no_row(self, runtime, shop, owner):
        order = await put_order(owner, shop)
        await owner.execute(_FOLD)
        await owner.execute("UPDATE \"order\" SET status = 'canceled' WHERE id = $1", order)
        found = await report(runtime, shop)
        assert (found.rows, found.totals) == ([], [])
        await owner.execute(_FOLD)
        assert (await report(runtime, shop)).rows == []

    async def test_an_order_that_moves(self, runtime, shop, owner):
        order = await put_order(owner, shop)
        for change in (
            "created_at = '2023-01-01T00:00Z'",
            "currency_code = 'usd'",
            "kind = 'return', item_total = -500, total = -500, units = -1",
            "charge_total = 100, total = -400",
            "kind = 'sale', status = 'canceled'",
            "status = 'completed'",
        ):
            await owner.execute(f'UPDATE "order" SET {change} WHERE id = $1', order)
            assert await wrong(runtime, shop) == []
        assert (await report(runtime, shop)).rows[0].period == dt.date(2023, 1, 1)
        await owner.execute('DELETE FROM "order" WHERE id = $1', order)
        assert (await report(runtime, shop)).rows == []

    async def test_a_change_of_nothing_leaves_no_delta(self, shop, owner):
        order = await put_order(owner, shop)
        await owner.execute(_FOLD)
        await owner.execute("UPDATE \"order\" SET email = 'a@b.example' WHERE id = $1", order)
        waiting = "SELECT count(*) FROM sales_day_delta WHERE tenant_id = $1"
        assert await owner.fetchval(waiting, shop.tenant) == 0


class TestPopularProducts:
    async def test_an_order_counts_once(self, runtime, shop, owner):
        product = (await shop.product())["id"]
        order = await put_order(owner, shop)
        first = await put_line(owner, shop, order, product, 2)
        second = await put_line(owner, shop, order, product, 3)
        await put_line(owner, shop, order, product, 7, "charge")
        assert await popular(runtime, shop) == [(product, 1, 5, 500)]
        await owner.execute(_FOLD)
        await owner.execute("DELETE FROM order_line WHERE id = $1", first)
        assert await popular(runtime, shop) == [(product, 1, 3, 300)]
        await owner.execute("DELETE FROM order_line WHERE id = $1", second)
        assert await popular(runtime, shop) == []
        assert await wrong(runtime, shop) == []

    async def test_the_best_are_the_same_folded_or_not(self, runtime, shop, owner):
        products = [(await shop.product())["id"] for _ in range(6)]
        for number, product in enumerate(products):
            for _ in range(number + 1):
                await put_line(owner, shop, await put_order(owner, shop), product)
        await owner.execute(_FOLD)
        # The last becomes the first, and the first falls to the end, while not folded.
        for _ in range(9):
            await put_line(owner, shop, await put_order(owner, shop), products[0])
        await owner.execute(
            'DELETE FROM "order" o USING order_line l WHERE l.order_id = o.id'
            " AND l.tenant_id = $1 AND o.tenant_id = $1 AND l.product_id = $2",
            shop.tenant,
            products[5],
        )
        for limit in (1, 3, 10):
            waiting = await popular(runtime, shop, limit)
            assert [row[0] for row in waiting] == [products[n] for n in (0, 4, 3, 2, 1)][:limit]
        await owner.execute(_FOLD)
        assert await popular(runtime, shop) == waiting

    @pytest.mark.parametrize("folded", [True, False])
    async def test_what_happens_to_an_order(self, runtime, shop, owner, folded):
        a, b = [(await shop.product())["id"] for _ in range(2)]
        order = await put_order(owner, shop)
        line = await put_line(owner, shop, order, a)
        other = await put_order(owner, shop)
        await put_line(owner, shop, other, a)
        await put_line(owner, shop, other, b)
        for change in (
            f"UPDATE \"order\" SET status = 'canceled' WHERE id = '{order}'",
            f"UPDATE \"order\" SET status = 'pending' WHERE id = '{order}'",
            f"UPDATE \"order\" SET currency_code = 'usd' WHERE id = '{order}'",
            f"UPDATE order_line SET quantity = 9, total = 900 WHERE id = '{line}'",
            f"UPDATE order_line SET product_id = '{b}' WHERE id = '{line}'",
            f"UPDATE order_line SET order_id = '{other}' WHERE id = '{line}'",
            f"UPDATE order_line SET fulfilled_quantity = 1 WHERE id = '{line}'",
            f"UPDATE order_line SET kind = 'charge' WHERE id = '{line}'",
            f"DELETE FROM product_variant WHERE product_id = '{a}'",
            f"DELETE FROM product WHERE id = '{a}'",
            f"DELETE FROM \"order\" WHERE id = '{other}'",
        ):
            if folded:
                await owner.execute(_FOLD)
            await owner.execute(change)
            assert await wrong(runtime, shop) == [], change
        assert await popular(runtime, shop) == []

    async def test_a_cancellation_beside_a_new_line(self, runtime, endpoints, shop, owner):
        """The one waits for the other, whichever comes first, and sees what it did."""
        product = (await shop.product())["id"]
        second = await asyncpg.connect(endpoints.owner_url)
        try:
            for cancel_first in (True, False):
                order = await put_order(owner, shop)
                await put_line(owner, shop, order, product)
                cancel = f"UPDATE \"order\" SET status = 'canceled' WHERE id = '{order}'"

                def add(c: asyncpg.Connection, order: UUID = order) -> Awaitable[Any]:
                    return put_line(c, shop, order, product)

                async with owner.transaction():
                    await (owner.execute(cancel) if cancel_first else add(owner))
                    later = asyncio.ensure_future(
                        add(second) if cancel_first else second.execute(cancel)
                    )
                    await somebody_waits(endpoints)
                await later
                assert await wrong(runtime, shop) == []
                assert await popular(runtime, shop) == []
        finally:
            await second.close()

    async def test_two_lines_of_a_product_at_once(self, runtime, endpoints, shop, owner):
        product = (await shop.product())["id"]
        order = await put_order(owner, shop)
        second = await asyncpg.connect(endpoints.owner_url)
        try:
            async with owner.transaction():
                await put_line(owner, shop, order, product)
                later = asyncio.ensure_future(put_line(second, shop, order, product))
                await somebody_waits(endpoints)
            await later
        finally:
            await second.close()
        assert await popular(runtime, shop) == [(product, 1, 2, 200)]


class TestPlans:
    async def test_nothing_known_of_the_tables(self, endpoints: Endpoints, shop: Shop) -> None:
        connection = await asyncpg.connect(endpoints.admin_url)
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(
                """DELETE FROM pg_statistic WHERE starelid IN ('"order"'::regclass,
                   'order_line'::regclass)"""
            )
            orders = [new_id() for _ in range(2000)]
            await connection.execute(
                """INSERT INTO "order" (tenant_id, id, currency_code, item_total, charge_total,
                                        total, units)
                   SELECT $1, id, 'eur', 100, 0, 100, 1 FROM unnest($2::uuid[]) AS id""",
                shop.tenant,
                orders,
            )
            product = (await shop.product())["id"]
            await connection.execute(
                """INSERT INTO order_line (tenant_id, id, order_id, kind, product_id, title,
                                           quantity, unit_price, total)
                   SELECT $1, gen_random_uuid(), id, 'product', $3, 'x', 1, 100, 100
                   FROM unnest($2::uuid[]) AS id""",
                shop.tenant,
                orders,
                product,
            )
            scans = await connection.fetch(
                """SELECT relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
                   WHERE i.indrelid = '"order"'::regclass
                     AND pg_stat_get_xact_numscans(c.oid) > 0"""
            )
            # Each other index would have read all orders of the shop for each.
            assert [scan["relname"] for scan in scans] == ["pk_order"]
        finally:
            await transaction.rollback()
            await connection.close()


class TestConcurrency:
    async def test_exact_at_every_moment(self, runtime, endpoints, client, shop, other_shop):
        """Orders, cancellations, lines and deletions of two shops, folding and making anew at
        once: every look in between finds the sums to be what it counts itself."""
        chance = random.Random(7)  # noqa: S311 - a repeatable course
        products = [await shop.product(stock=10_000) for _ in range(4)]
        variants = [product["variants"][0]["id"] for product in products]
        ids = [product["id"] for product in products]
        theirs = await other_shop.variant(stock=10_000)
        placed: list[str] = []
        done = asyncio.Event()

        async def order() -> None:
            answer = await shop.order(*chance.sample(variants, 2), quantity=chance.randint(1, 3))
            placed.append(answer.json()["order"]["id"])

        async def cancel() -> None:
            if placed:
                path = f"/admin/orders/{placed.pop()}/cancel"
                assert (await client.post(path, headers=shop.admin)).status_code == 200

        async def by_hand(connection: asyncpg.Connection) -> None:
            made = await put_order(connection, shop, kind=chance.choice(["sale", "return"]))
            await put_line(connection, shop, made, chance.choice(ids), chance.randint(1, 5))
            for change in chance.sample(
                (
                    "UPDATE \"order\" SET status = 'canceled' WHERE id = $1",
                    "UPDATE order_line SET quantity = 3, total = 300 WHERE order_id = $1",
                    "UPDATE \"order\" SET created_at = created_at - interval '40 days'"
                    " WHERE id = $1",
                    'DELETE FROM "order" WHERE id = $1',
                ),
                2,
            ):
                await connection.execute(change, made)

        async def writer(steps: int) -> None:
            connection = await asyncpg.connect(endpoints.owner_url)
            try:
                for _ in range(steps):
                    await chance.choice((order, cancel, order, lambda: by_hand(connection)))()
                    await other_shop.order(theirs)
            finally:
                await connection.close()

        async def keeper() -> None:
            connection = await asyncpg.connect(endpoints.owner_url)
            try:
                while not done.is_set():
                    await connection.execute("SELECT sales_fold($1)", chance.choice((1, 3, BATCH)))
                    await connection.execute("SELECT sales_rebuild($1)", shop.tenant)
            finally:
                await connection.close()

        async def looker() -> int:
            looks = 0
            while not done.is_set():
                assert await wrong(runtime, shop) == []
                looks += 1
            return looks

        keeping, looking = asyncio.create_task(keeper()), asyncio.create_task(looker())
        try:
            await asyncio.gather(*(writer(12) for _ in range(4)))
        finally:
            done.set()
            looks = (await asyncio.gather(keeping, looking))[1]
        assert looks > 3
        for each in (shop, other_shop):
            assert await wrong(runtime, each) == []
        found = await report(runtime, other_shop)
        assert sum(total.orders for total in found.totals) == 48

    async def test_orders_do_not_wait_for_folding(self, endpoints, shop, owner):
        await put_order(owner, shop)
        folding = await asyncpg.connect(endpoints.owner_url)
        try:
            async with folding.transaction():
                await folding.execute(_FOLD)
                # Of the same shop, day and currency.
                await owner.execute("SET lock_timeout = '1s'")
                await put_order(owner, shop)
        finally:
            await folding.close()

    async def test_a_server_killed_while_it_folds(self, runtime, endpoints, shop, owner):
        for _ in range(3):
            await put_order(owner, shop)
        folding = await asyncpg.connect(endpoints.owner_url)
        await folding.execute("BEGIN")
        await folding.execute(_FOLD)
        await owner.execute("SELECT pg_terminate_backend($1)", folding.get_server_pid())
        folding.terminate()
        assert await wrong(runtime, shop) == []
        assert (await report(runtime, shop)).totals[0].orders == 3

    async def test_the_server_folds_by_itself(self, app: Litestar, shop: Shop, owner):
        await put_order(owner, shop)
        waiting = "SELECT count(*) FROM sales_day_delta WHERE tenant_id = $1"
        async with asyncio.timeout(30):
            while await owner.fetchval(waiting, shop.tenant):
                pass


class TestReplica:
    async def test_behind_it_is_exact_of_its_own_moment(self, runtime, endpoints, shop, owner):
        await put_order(owner, shop)
        await caught_up(endpoints)
        lenient = eventual(3600)
        async with replay_paused(endpoints):
            await put_order(owner, shop)
            await owner.execute(_FOLD)
            found = await report(runtime, shop, lenient)
            assert found.totals[0].orders == 1
            assert await wrong(runtime, shop, lenient) == []
            assert found.as_of < dt.datetime.now(dt.UTC)
            # Who has written it is answered by a node that has it.
            assert (await report(runtime, shop, STRONG)).totals[0].orders == 2
        await caught_up(endpoints)
        assert (await report(runtime, shop, CAUSAL)).totals[0].orders == 2


class TestTenants:
    async def test_another_shops_sums_are_not_seen(self, runtime, shop, other_shop, owner):
        await put_order(owner, shop)
        product = (await shop.product())["id"]
        await put_line(owner, shop, await put_order(owner, shop), product)
        for _ in range(2):
            assert (await report(runtime, other_shop)).rows == []
            assert await popular(runtime, other_shop) == []
            await owner.execute(_FOLD)

    async def test_the_application_cannot_write_them(self, endpoints, shop):
        connection = await asyncpg.connect(endpoints.primary_url)
        try:
            await connection.execute(f"SET impact.tenant_id = '{shop.tenant}'")
            for table in ("sales_day", "sales_day_delta", "product_sales", "product_sales_delta"):
                for write in (f"DELETE FROM {table}", f"UPDATE {table} SET units = 0"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(write)
        finally:
            await connection.close()


class TestCommand:
    @pytest.fixture
    def run(self, endpoints: Endpoints, runtime: Runtime, monkeypatch) -> Callable[..., Any]:
        monkeypatch.setenv("IMPACT_PRIMARY_URL", endpoints.primary_url)
        monkeypatch.setenv("IMPACT_SIGNING_KEYS", "test:" + "k" * 32)

        async def invoke(*arguments: str) -> Any:
            return await asyncio.to_thread(CliRunner().invoke, main, ["reports", *arguments])

        return invoke

    async def test_verify_and_rebuild(self, runtime, shop, owner, run):
        product = (await shop.product())["id"]
        await put_line(owner, shop, await put_order(owner, shop), product)
        await owner.execute(_FOLD)
        right = await run("verify", "--tenant", shop.tenant)
        assert (right.exit_code, right.stdout) == (0, f"{shop.tenant}: right\n")
        await owner.execute("UPDATE sales_day SET gross = 1 WHERE tenant_id = $1", shop.tenant)
        await owner.execute("DELETE FROM product_sales WHERE tenant_id = $1", shop.tenant)
        broken = await run("verify", "--tenant", shop.tenant)
        assert broken.exit_code == 1
        assert "2024-02-29 eur: kept" in broken.stdout
        found = msgspec.json.decode((await run("verify", "--json", "--tenant", shop.tenant)).stdout)
        assert [each["kind"] for each in found[shop.tenant]] == ["day", "product"]
        assert found[shop.tenant][0]["kept"]["gross"] == 1
        assert found[shop.tenant][1]["kept"] == {}
        made = await run("rebuild", "--tenant", shop.tenant, "--json")
        assert msgspec.json.decode(made.stdout) == {"rebuilt": [shop.tenant]}
        assert (await run("verify", "--tenant", shop.tenant)).exit_code == 0

    async def test_a_shop_that_is_none(self, run):
        answer = await run("verify", "--tenant", "nobody")
        assert answer.exit_code == 1
        assert answer.stderr == "Error: tenant 'nobody' does not exist\n"

    async def test_making_anew_ends_what_is_cached(self, runtime, shop, owner):
        context = shop.context()
        asked = {"interval": "day", "start": None, "end": None}
        await put_order(owner, shop)
        assert (await sales(runtime.cache, context, **asked)).totals[0].orders == 1
        async with runtime.database.write(context) as session:
            await rebuild(session)
        assert context.token > 0
        await put_order(owner, shop)
        assert (await sales(runtime.cache, context, **asked)).totals[0].orders >= 1


class TestMigration:
    @pytest.fixture
    def place(self, stack: Stack, worker_id: str):
        name = f"backfill_{worker_id}"
        yield stack.create_database(name)
        stack.drop_database(name)

    # Not async: Alembic's environment runs a loop of its own.
    def test_orders_of_before_are_counted(self, place: Endpoints) -> None:
        migrations.upgrade(place.owner_url, "0004")
        asyncio.run(self.fill(place))
        migrations.upgrade(place.owner_url)
        assert asyncio.run(self.sums(place)) == [("lyon", 1, 1000), ("paris", 2, 2000)]
        migrations.downgrade(place.owner_url, "0004")
        migrations.upgrade(place.owner_url)
        assert asyncio.run(self.sums(place)) == [("lyon", 1, 1000), ("paris", 2, 2000)]

    async def fill(self, place: Endpoints) -> None:
        owner = await asyncpg.connect(place.owner_url)
        for tenant, orders in (("lyon", 1), ("paris", 2)):
            await owner.execute(
                "INSERT INTO tenant (id, name, currency_code) VALUES ($1, $1, 'eur')", tenant
            )
            for _ in range(orders):
                moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
                await owner.execute(
                    _ADD_ORDER, tenant, new_id(), "sale", "pending", "eur", 1000, 0, 1, moment
                )
        await owner.close()

    async def sums(self, place: Endpoints) -> list[tuple[Any, ...]]:
        owner = await asyncpg.connect(place.owner_url)
        rows = await owner.fetch("SELECT tenant_id, orders, gross FROM sales_day ORDER BY 1")
        await owner.close()
        return [tuple(row) for row in rows]
