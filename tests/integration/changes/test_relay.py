"""The relay moves every record once, whoever is killed or away meanwhile."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from impact.engine.changes.relay import LOCK
from impact.engine.changes.relay_moves import AuditDatabase, Which, read
from impact.engine.runtime import Runtime, open_runtime
from impact.errors import ConfigurationError
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.caching import until
from support.changes import relay_of, verified
from support.locks import somebody_waits

_MAKE = """
INSERT INTO collection (tenant_id, id, title, handle)
SELECT $1, gen_random_uuid(), 'made', $2 || n FROM generate_series(1, $3) n
"""


@pytest.fixture
async def owner(quiet: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(quiet.owner_url)
    # What an earlier test has left is not this one's.
    await connection.execute("DELETE FROM change_record")
    yield connection
    await connection.close()


@pytest.fixture
def tenant() -> str:
    return f"relay-{secrets.token_hex(4)}"


async def make(connection: asyncpg.Connection, tenant: str, count: int) -> None:
    await connection.execute(_MAKE, tenant, secrets.token_hex(6), count)


async def logged(connection: asyncpg.Connection, tenant: str) -> list[int]:
    """The ids of the tenant's entries, by their place in the chain."""
    rows = await connection.fetch(
        "SELECT id FROM audit_log WHERE tenant_id = $1 ORDER BY position", tenant
    )
    return [row["id"] for row in rows]


async def waiting(connection: asyncpg.Connection) -> list[int]:
    return [row["id"] for row in await connection.fetch("SELECT id FROM change_record ORDER BY id")]


async def end_relays(admin_url: str) -> int:
    """End the connection that holds the lock, as a crash of its process does."""
    admin = await asyncpg.connect(admin_url)
    try:
        return len(
            await admin.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d"
                " ON d.oid = database WHERE d.datname = current_database() AND granted"
                " AND locktype = 'advisory' AND (classid, objid) = ($1, $2)",
                *LOCK,
            )
        )
    finally:
        await admin.close()


class TestOneDatabase:
    # 10 to a batch: none, some, exactly one batch, exactly two, and more.
    @pytest.mark.parametrize("count", [0, 3, 10, 20, 57])
    async def test_moves_all_of_it(
        self,
        quiet: Endpoints,
        quiet_settings: Settings,
        owner: asyncpg.Connection,
        tenant: str,
        count: int,
    ) -> None:
        await make(owner, tenant, count)
        ids = await waiting(owner)
        async with open_runtime(quiet_settings) as runtime:
            assert await relay_of(runtime).drain() == count
            assert await waiting(owner) == []
            assert await logged(owner, tenant) == ids
            assert await relay_of(runtime).drain() == 0
        chain = await verified(quiet, tenant)
        assert (chain.entries, chain.broken) == (count, None)

    async def test_tenants_have_chains_of_their_own(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        tenants = [f"{tenant}-{number}" for number in range(4)]
        for _ in range(3):
            for each in tenants:
                await make(owner, each, 7)
        async with open_runtime(quiet_settings) as runtime:
            assert await relay_of(runtime).drain() == 84
        for each in tenants:
            chain = await verified(quiet, each)
            assert (chain.entries, chain.position, chain.broken) == (21, 21, None)

    async def test_two_at_once_move_each_record_once(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        await make(owner, tenant, 95)
        async with open_runtime(quiet_settings) as runtime:
            moved = await asyncio.gather(relay_of(runtime).drain(), relay_of(runtime).drain())
        assert sorted(moved) == [0, 95]
        assert (await verified(quiet, tenant)).entries == 95

    async def test_a_lower_id_that_commits_later_is_not_lost(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        slow = await asyncpg.connect(quiet.owner_url)
        try:
            async with open_runtime(quiet_settings) as runtime:
                relay = relay_of(runtime)
                async with slow.transaction():
                    await make(slow, tenant, 1)
                    await make(owner, tenant, 25)
                    assert await relay.drain() == 25
                assert await relay.drain() == 1
        finally:
            await slow.close()
        ids = await logged(owner, tenant)
        assert ids[-1] == min(ids)
        chain = await verified(quiet, tenant)
        assert (chain.entries, chain.broken) == (26, None)

    async def test_a_move_that_fails_leaves_everything_where_it_was(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        await make(owner, tenant, 5)
        ids = await waiting(owner)
        # An entry that stands where one of these should come.
        await owner.execute(
            "INSERT INTO audit_log (tenant_id, id, occurred_at, table_name, action, position,"
            " previous_hash, hash) SELECT tenant_id, id, occurred_at, 'x', 'x', 0, '', ''"
            " FROM change_record WHERE id = $1",
            ids[3],
        )
        async with open_runtime(quiet_settings) as runtime:
            with pytest.raises(asyncpg.UniqueViolationError):
                await relay_of(runtime).drain()
            assert await waiting(owner) == ids
            await owner.execute("DELETE FROM audit_log WHERE id = $1", ids[3])
            assert await relay_of(runtime).drain() == 5
        assert (await verified(quiet, tenant)).broken is None

    async def test_one_tenants_trouble_is_not_the_others(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        first, second = f"{tenant}-a", f"{tenant}-b"
        await make(owner, first, 25)
        await make(owner, second, 25)
        await owner.execute(
            "INSERT INTO audit_log (tenant_id, id, occurred_at, table_name, action, position,"
            " previous_hash, hash) SELECT tenant_id, id, occurred_at, 'x', 'x', 0, '', ''"
            " FROM change_record WHERE tenant_id = $1 ORDER BY id LIMIT 1",
            first,
        )
        async with open_runtime(quiet_settings) as runtime, relay_of(runtime) as relay:
            await until(lambda: relay.status.moved_total == 25)
            await until(lambda: (relay.status.last_error or "").startswith(f"{first}: "))
            assert len(await logged(owner, second)) == 25
            await owner.execute("DELETE FROM audit_log WHERE tenant_id = $1", first)
            await until(lambda: relay.status.moved_total == 50)
            await until(lambda: relay.status.last_error is None)
        assert (await verified(quiet, first)).entries == 25

    async def test_another_takes_over_from_one_that_died(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        async with open_runtime(quiet_settings) as runtime:
            first, second = relay_of(runtime), relay_of(runtime)
            async with first, second:
                for _ in range(3):
                    await until(lambda: first.status.held_by_me or second.status.held_by_me)
                    assert not (first.status.held_by_me and second.status.held_by_me)
                    await make(owner, tenant, 5)
                    held = first if first.status.held_by_me else second
                    moved = held.status.moved_total
                    await until(lambda held=held, moved=moved: held.status.moved_total >= moved + 5)
                    failures = held.status.failures_total
                    assert await end_relays(quiet.admin_url) == 1
                    await until(
                        lambda held=held, failures=failures: held.status.failures_total > failures
                    )
            assert not first.status.running
        assert len(await logged(owner, tenant)) == 15
        assert (
            await owner.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'impact relay' AND datname = current_database()"
            )
            == 0
        )

    async def test_says_how_it_stands(
        self, quiet: Endpoints, quiet_settings: Settings, owner: asyncpg.Connection, tenant: str
    ) -> None:
        await make(owner, tenant, 30)
        holder = await asyncpg.connect(quiet.owner_url)
        try:
            await holder.fetchval("SELECT pg_advisory_lock($1, $2)", *LOCK)
            async with open_runtime(quiet_settings) as runtime, relay_of(runtime) as relay:
                await until(lambda: relay.status.waiting == 30)
                assert relay.status.running
                assert not relay.status.held_by_me
                assert relay.status.oldest_seconds > 0
                assert await waiting(owner) != []
                await holder.close()
                await until(lambda: relay.status.moved_total == 30)
                assert relay.status.held_by_me
                assert relay.status.last_error is None
        finally:
            await holder.close()


class TestAuditDatabase:
    @contextlib.asynccontextmanager
    async def apart(
        self, stack: Stack, name: str, settings: Settings
    ) -> AsyncIterator[tuple[Runtime, Endpoints, asyncpg.Connection]]:
        endpoints = stack.create_database(name)
        await asyncio.to_thread(migrations.upgrade, endpoints.owner_url)
        connection = await asyncpg.connect(endpoints.owner_url)
        try:
            async with open_runtime(settings) as runtime:
                yield runtime, endpoints, connection
        finally:
            await connection.close()

    async def test_moves_all_of_it(
        self,
        stack: Stack,
        apart_name: str,
        quiet_settings: Settings,
        owner: asyncpg.Connection,
        tenant: str,
    ) -> None:
        await make(owner, tenant, 33)
        ids = await waiting(owner)
        async with self.apart(stack, apart_name, quiet_settings) as (runtime, endpoints, log):
            relay = relay_of(runtime, audit_url=endpoints.primary_url)
            assert await relay.drain() == 33
            assert await waiting(owner) == []
            assert await logged(log, tenant) == ids
            assert await logged(owner, tenant) == []
            chain = await verified(endpoints, tenant)
            assert (chain.entries, chain.broken) == (33, None)
            same = "SELECT table_name, row_id, action, before, after, actor FROM audit_log LIMIT 1"
            assert dict(await log.fetchrow(same))["actor"] == "operator:impact_owner"

    async def test_what_is_delivered_again_is_known(
        self,
        stack: Stack,
        apart_name: str,
        quiet: Endpoints,
        quiet_settings: Settings,
        owner: asyncpg.Connection,
        tenant: str,
    ) -> None:
        """A crash between entering there and deleting here."""
        await make(owner, tenant, 8)
        source = await asyncpg.connect(quiet.primary_url)
        async with self.apart(stack, apart_name, quiet_settings) as (runtime, endpoints, log):
            target = await asyncpg.connect(endpoints.primary_url)
            records = await read(source, tenant, 0, 5, Which.ALL)
            assert await AuditDatabase(source, target)._enter(tenant, records) == 5
            await source.close()
            await target.close()
            assert len(await waiting(owner)) == 8
            relay = relay_of(runtime, audit_url=endpoints.primary_url)
            assert await relay.drain() == 3
            assert await waiting(owner) == []
            assert len(await logged(log, tenant)) == 8
            assert (await verified(endpoints, tenant)).broken is None

    async def test_a_partition_is_made_meanwhile(
        self,
        stack: Stack,
        apart_name: str,
        quiet: Endpoints,
        quiet_settings: Settings,
        owner: asyncpg.Connection,
        tenant: str,
    ) -> None:
        """Neither waits for what the other has."""
        await make(owner, tenant, 5)
        async with (
            self.apart(stack, apart_name, quiet_settings) as (_, endpoints, log),
            contextlib.AsyncExitStack() as opened,
        ):
            source = await asyncpg.connect(quiet.primary_url)
            opened.push_async_callback(source.close)
            target = await asyncpg.connect(endpoints.primary_url)
            opened.push_async_callback(target.close)
            records = await read(source, tenant, 0, 5, Which.ALL)
            async with log.transaction():
                # What audit_log_make_partition takes first and last.
                await log.execute("LOCK TABLE ONLY audit_log IN SHARE ROW EXCLUSIVE MODE")
                entering = asyncio.create_task(
                    AuditDatabase(source, target)._enter(tenant, records)
                )
                await somebody_waits(endpoints)
                await log.execute("LOCK TABLE audit_log_default IN ACCESS EXCLUSIVE MODE")
            assert await entering == 5

    async def test_records_wait_for_one_that_is_away_or_empty(
        self,
        stack: Stack,
        apart_name: str,
        quiet_settings: Settings,
        owner: asyncpg.Connection,
        tenant: str,
    ) -> None:
        url = quiet_settings.primary_url.rpartition("/")[0] + f"/{apart_name}"
        async with open_runtime(quiet_settings) as runtime:
            with pytest.raises(asyncpg.InvalidCatalogNameError):
                await relay_of(runtime, audit_url=url).drain()
            async with relay_of(runtime, audit_url=url) as relay:
                await until(lambda: "does not exist" in (relay.status.last_error or ""))
                await make(owner, tenant, 4)
                # The cache hears of it all the same, once.
                await until(lambda: relay.status.raised_total > 0)
                raised = relay.status.raised_total

                created = stack.create_database(apart_name)
                await until(lambda: "has no audit log" in (relay.status.last_error or ""))
                with pytest.raises(ConfigurationError, match="impact db upgrade"):
                    await relay_of(runtime, audit_url=url)._open(owner, contextlib.AsyncExitStack())
                assert len(await waiting(owner)) == 4

                await asyncio.to_thread(migrations.upgrade, created.owner_url)
                await until(lambda: relay.status.moved_total == 4)
                await until(lambda: relay.status.last_error is None)
                assert relay.status.raised_total == raised
        assert await waiting(owner) == []
        assert (await verified(created, tenant)).entries == 4
