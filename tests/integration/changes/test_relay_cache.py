"""The relay tells the cache of changes that nobody announced: within its interval, and of no
others."""

import secrets
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from impact.settings import Settings
from impact.stack import Endpoints
from support.caching import Worker, apart, redis_proxy, until, workers
from support.changes import relay_of

_RENAME = "UPDATE collection SET title = $3 WHERE tenant_id = $1 AND id = $2"


@pytest.fixture
async def operator(quiet: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(quiet.admin_url)
    await connection.execute("DELETE FROM change_record")
    yield connection
    await connection.close()


@pytest.fixture
def tenant() -> str:
    return f"told-{secrets.token_hex(4)}"


async def titles(several: list[Worker], row: object) -> set[str | None]:
    return {await worker.read(row) for worker in several}


async def test_what_an_operator_changes_is_seen_on_every_worker(
    quiet_settings: Settings, operator: asyncpg.Connection, tenant: str
) -> None:
    row = uuid4()
    async with workers(quiet_settings, tenant) as several:
        await several[0].write(row, "old")
        for worker in several:
            await worker.hear()
        assert await titles(several, row) == {"old"}
        await operator.execute(_RENAME, tenant, row, "new")
        # Nobody has told them: without the relay they would go on with it.
        assert await titles(several, row) == {"old"}
        async with relay_of(several[1].runtime) as relay:
            await until(lambda: relay.status.moved_total == 2)
        for worker in several:
            await worker.hear()
        assert await titles(several, row) == {"new"}


async def test_it_is_told_also_where_looking_for_all_records_takes_long(
    quiet_settings: Settings,
    operator: asyncpg.Connection,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("impact.engine.changes.relay._SHARE", 1e-9)  # once, and then never again
    row, later = uuid4(), uuid4()
    async with workers(quiet_settings, tenant, 2) as several:
        await several[0].write(row, "old")
        async with relay_of(several[1].runtime) as relay:
            await until(lambda: relay.status.moved_total == 1)
            await several[0].write(later, "announced")
            for number, title in enumerate(("new", "newer", "newest"), 2):
                for worker in several:
                    await worker.hear()
                assert title not in await titles(several, row)
                await operator.execute(_RENAME, tenant, row, title)
                await until(lambda number=number: relay.status.moved_total == number)
                for worker in several:
                    await worker.hear()
                assert await titles(several, row) == {title}
            # What the cache knows of waits for the look.
            assert await operator.fetchval("SELECT change_record_count(10)") == 1
        assert await relay_of(several[0].runtime).drain() == 1


async def test_what_was_announced_is_not_raised_again(
    quiet_settings: Settings, operator: asyncpg.Connection, tenant: str
) -> None:
    row = uuid4()
    async with workers(quiet_settings, tenant, 2) as several:
        await several[0].write(row, "new")
        await several[0].hear()
        await several[0].read(row)
        loads = several[0].loads
        relay = relay_of(several[0].runtime)
        assert await relay.drain() == 1
        assert relay.status.raised_total == 0
        assert await several[0].read(row) == "new"
        assert several[0].loads == loads


async def test_a_writer_that_died_while_redis_was_away(
    quiet_settings: Settings, operator: asyncpg.Connection, tenant: str
) -> None:
    """Its announcement failed, it committed, and it never comes back to tell."""
    row = uuid4()
    name = f"t{secrets.token_hex(6)}"
    url = apart(quiet_settings.redis_url)
    async with workers(quiet_settings, tenant, 2, cache_service=name) as several:
        async with (
            redis_proxy(url) as proxy,
            workers(quiet_settings, tenant, 1, cache_service=name, redis_url=proxy.url) as [writer],
        ):
            await writer.write(row, "old")
            for worker in several:
                await worker.hear()
            assert await titles(several, row) == {"old"}
            proxy.refuse = True
            proxy.cut()
            assert (await writer.write(row, "new"))[1] == 0
            # What it owes dies with it.
        assert await titles(several, row) == {"old"}
        relay = relay_of(several[0].runtime)
        assert await relay.drain() == 2
        assert relay.status.raised_total > 0
        for worker in several:
            await worker.hear()
        assert await titles(several, row) == {"new"}
    # What was owed is no change, and no entry.
    actions = await operator.fetch(
        "SELECT action FROM audit_log WHERE tenant_id = $1 ORDER BY position", tenant
    )
    assert [each["action"] for each in actions] == ["insert", "update"]
    assert await operator.fetchval("SELECT change_record_count(1)") == 0


async def test_while_redis_is_away_only_what_it_must_hear_waits(
    quiet_settings: Settings, operator: asyncpg.Connection, tenant: str
) -> None:
    row = uuid4()
    name = f"t{secrets.token_hex(6)}"
    url = apart(quiet_settings.redis_url)
    async with workers(quiet_settings, tenant, 1, cache_service=name) as [writer]:
        async with (
            redis_proxy(url) as proxy,
            workers(quiet_settings, tenant, 1, cache_service=name, redis_url=proxy.url) as [other],
        ):
            proxy.refuse = True
            proxy.cut()
            async with relay_of(other.runtime) as relay:
                await writer.write(row, "old")
                await writer.read(row)
                await operator.execute(_RENAME, tenant, row, "new")
                await writer.write(uuid4(), "another")
                await until(lambda: relay.status.moved_total == 2)
                await until(lambda: relay.status.last_error == "Redis is away")
                waiting = await operator.fetch("SELECT action, announced FROM change_record")
                assert [tuple(each) for each in waiting] == [("update", False)]
                proxy.refuse = False
                await until(lambda: relay.status.moved_total == 3)
                await until(lambda: relay.status.last_error is None)
        await writer.hear()
        assert await writer.read(row) == "new"


async def test_events_touch_nothing(
    quiet_settings: Settings, operator: asyncpg.Connection, tenant: str
) -> None:
    await operator.execute(
        "INSERT INTO change_record (tenant_id, table_name, action) VALUES ($1, 'auth', 'login')",
        tenant,
    )
    async with workers(quiet_settings, tenant, 1) as [worker]:
        relay = relay_of(worker.runtime)
        assert await relay.drain() == 1
        assert relay.status.raised_total == 0
