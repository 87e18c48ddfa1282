"""Partitions are there before their time comes, and nothing is lost where they are not (P4)."""

import asyncio
import datetime as dt
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner

from impact.cli import main
from impact.engine.changes.chain_verify import verify_tenant
from impact.engine.changes.partitions import AHEAD, Partitions, Period
from impact.engine.db.session import Database
from impact.engine.runtime import Runtime, open_runtime
from impact.errors import ImpactError
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.changes import relay_of
from support.locks import somebody_waits
from support.schema import gaps

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
INSERT = """
    INSERT INTO audit_log (tenant_id, id, occurred_at, table_name, action, position,
                           previous_hash, hash)
    VALUES ($1, $2, $3, 'product', 'update', $2, '', '')
"""


@pytest.fixture
def place(stack: Stack, worker_id: str) -> Iterator[Endpoints]:
    """A database of the test's own: its partitions are what the test makes them."""
    name = f"partitions_{worker_id}"
    endpoints = stack.create_database(name)
    migrations.upgrade(endpoints.owner_url)
    yield endpoints
    stack.drop_database(name)


@pytest.fixture
async def here(place: Endpoints, settings: Settings) -> AsyncIterator[Runtime]:
    moved = msgspec.structs.replace(settings, primary_url=place.primary_url, replica_urls=())
    async with open_runtime(moved) as runtime:
        yield runtime


@pytest.fixture
def database(here: Runtime) -> Database:
    return here.database


@pytest.fixture
async def owner(place: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(place.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def app(place: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(place.primary_url)
    await connection.execute("SET impact.tenant_id = 'paris'")
    yield connection
    await connection.close()


class Clock:
    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now


def keeper(database: Database, now: dt.datetime, period: Period, **options: Any) -> Partitions:
    return Partitions(database, period, clock=Clock(now), **options)


async def ranges(partitions: Partitions) -> list[tuple[dt.datetime, dt.datetime]]:
    return [(each.lower, each.upper) for each in await partitions.listed()]


def without_gap(found: list[tuple[dt.datetime, dt.datetime]]) -> bool:
    return all(one[1] == other[0] for one, other in itertools.pairwise(found))


async def default_rows(owner: asyncpg.Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM audit_log_default"))


@pytest.mark.parametrize(
    ("period", "last"), [("day", dt.date(2026, 12, 1)), ("month", dt.date(2027, 7, 1))]
)
async def test_seven_are_made_ahead(database: Database, period: Period, last: dt.date) -> None:
    partitions = keeper(database, NOON, period)
    made = await partitions.ensure()
    assert len(made) == AHEAD + 1
    found = await ranges(partitions)
    assert without_gap(found)
    assert found[0][0] <= NOON < found[0][1]
    assert found[-1][1] == dt.datetime(last.year, last.month, last.day, tzinfo=dt.UTC)
    assert partitions.status.prepared_until == found[-1][1]
    assert await partitions.ensure() == []


async def test_partitions_are_fenced_in_like_every_table(
    database: Database, owner: asyncpg.Connection
) -> None:
    await keeper(database, NOON, "day").ensure()
    assert await gaps(owner, "impact_app") == []
    privileges = await owner.fetch(
        "SELECT DISTINCT has_table_privilege('impact_app', c.oid, p), p FROM pg_class c,"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p"
        " WHERE relispartition AND relkind = 'r' ORDER BY 2"
    )
    assert [(row[1], row[0]) for row in privileges] == [
        ("DELETE", False),
        ("INSERT", True),
        ("SELECT", True),
        ("TRUNCATE", False),
        ("UPDATE", False),
    ]


async def test_the_application_can_make_partitions_of_the_log_and_nothing_else(
    database: Database, app: asyncpg.Connection
) -> None:
    assert await app.fetchval("SELECT audit_log_make_partition('day', '2026-11-23')")
    for period, day in (("year", "2026-01-01"), ("day", "1999-12-31"), ("month", "9999-01-01")):
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await app.fetchval("SELECT audit_log_make_partition($1, $2::text::date)", period, day)
    for statement in (
        "SELECT audit_log_attach('product', '2026-01-01', '2026-01-02')",
        "CREATE TABLE audit_log_209901 (LIKE audit_log)",
        "ALTER TABLE audit_log DETACH PARTITION audit_log_20261123",
        "DROP TABLE audit_log_20261123",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)
    # A look-alike in the caller's own schema is not what the function uses.
    await app.execute("CREATE TEMP TABLE audit_log_default (occurred_at timestamptz)")
    await app.execute("INSERT INTO pg_temp.audit_log_default VALUES ('2026-11-25')")
    assert await app.fetchval("SELECT audit_log_make_partition('day', '2026-11-25')")
    assert await app.fetchval("SELECT count(*) FROM pg_temp.audit_log_default") == 1


@pytest.mark.parametrize(("first", "then"), [("day", "month"), ("month", "day")])
async def test_the_length_of_partitions_may_change(
    database: Database, first: Period, then: Period
) -> None:
    await keeper(database, NOON, first).ensure()
    partitions = keeper(database, NOON + dt.timedelta(days=1), then)
    await partitions.ensure()
    assert without_gap(await ranges(partitions))
    for _ in range(40):
        clock = partitions._clock
        assert isinstance(clock, Clock)
        clock.now += dt.timedelta(days=7)
        await partitions.ensure()
    found = await ranges(partitions)
    assert without_gap(found)
    assert (found[-1][1] - found[-1][0]).days in ((1,) if then == "day" else (28, 30, 31))


async def test_what_came_too_early_is_moved(
    database: Database, owner: asyncpg.Connection, app: asyncpg.Connection
) -> None:
    days = [NOON + dt.timedelta(days=d) for d in (0, 9, 9, 400, -90)]
    for number, day in enumerate(days, 1):
        await app.execute(INSERT, "paris", number, day)
    partitions = keeper(database, NOON, "day")
    assert sum((await partitions.astray()).values()) == len(days)
    before = await owner.fetch("SELECT * FROM audit_log ORDER BY id")
    await partitions.ensure()
    assert (partitions.status.astray, partitions.status.moved) == (0, len(days))
    assert await default_rows(owner) == 0
    assert await owner.fetch("SELECT * FROM audit_log ORDER BY id") == before


async def test_a_table_in_the_way_is_told_and_does_not_stop_the_others(
    database: Database, owner: asyncpg.Connection
) -> None:
    """An archive that was interrupted leaves a detached table of the partition's name."""
    await owner.execute("CREATE TABLE audit_log_20261124 (id int)")
    partitions = keeper(database, NOON, "day")
    with pytest.raises(ImpactError, match='"audit_log_20261124" already exists'):
        await partitions.ensure()
    assert partitions.status.failure is not None
    assert len(await partitions.listed()) == AHEAD


async def test_an_insert_that_waits_for_the_move_finds_the_new_partition(
    place: Endpoints, owner: asyncpg.Connection, app: asyncpg.Connection
) -> None:
    """It had nowhere but the default partition to go when it began to wait."""
    await app.execute(INSERT, "paris", 1, NOON)
    insert = await app.prepare(INSERT)
    await insert.fetch("paris", 2, NOON)
    async with owner.transaction():
        name = await owner.fetchval("SELECT audit_log_make_partition('day', $1)", NOON.date())
        waiting = asyncio.create_task(insert.fetch("paris", 3, NOON))
        await somebody_waits(place)
    await waiting
    assert await owner.fetchval(f'SELECT count(*) FROM "{name}"') == 3
    assert await default_rows(owner) == 0


async def test_a_lock_that_is_taken_is_tried_again(
    database: Database, owner: asyncpg.Connection
) -> None:
    await owner.execute("BEGIN; LOCK TABLE audit_log IN ROW EXCLUSIVE MODE")
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            await owner.execute("ROLLBACK")

    partitions = keeper(database, NOON, "month", sleep=sleep)
    assert len(await partitions.ensure()) == AHEAD + 1
    assert len(pauses) == 2
    assert pauses[0] < pauses[1]


async def test_a_second_process_leaves_it_to_the_first(
    database: Database, owner: asyncpg.Connection
) -> None:
    lock = "SELECT pg_advisory_lock(hashtextextended('impact audit_log partitions', 0))"
    await owner.execute(lock)
    assert await keeper(database, NOON, "day").ensure() == []
    await owner.execute("SELECT pg_advisory_unlock_all()")
    one, other = keeper(database, NOON, "day"), keeper(database, NOON, "day")
    made = await asyncio.gather(one.ensure(), other.ensure())
    assert sorted(made[0] + made[1]) == sorted(set(made[0] + made[1]))
    await one.ensure()
    assert len(await one.listed()) == AHEAD + 1


@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_clock_moved_over_month_ends_under_load(
    database: Database, place: Endpoints, owner: asyncpg.Connection, period: Period
) -> None:
    """Four writers of two tenants insert at the clock's time while partitions are made, the
    clock leaping by up to weeks so that some rows are earlier than their partition."""
    clock = Clock(dt.datetime(2026, 11, 30, 23, 59, 58, tzinfo=dt.UTC))
    partitions = Partitions(database, period, clock=clock)
    await partitions.ensure()
    done = False
    written = [0, 0, 0, 0]

    async def write(writer: int) -> None:
        connection = await asyncpg.connect(place.primary_url)
        tenant = ("paris", "lyon")[writer % 2]
        await connection.execute(f"SET impact.tenant_id = '{tenant}'")
        while not done or written[writer] < 50:
            written[writer] += 1
            offset = dt.timedelta(seconds=written[writer] % 5 - 2, days=writer * 12)
            id = written[writer] * 4 + writer
            await connection.execute(INSERT, tenant, id, clock.now + offset)
        await connection.close()

    async def leap() -> None:
        nonlocal done
        try:
            for days in (1, 1, 30, 1, 9, 20, 28, 1):
                clock.now += dt.timedelta(days=days)
                await partitions.ensure()
        finally:
            done = True

    await asyncio.gather(leap(), *map(write, range(4)))
    await partitions.ensure()
    assert await default_rows(owner) == 0
    assert partitions.status.astray == 0
    assert await owner.fetchval("SELECT count(*) FROM audit_log") == sum(written)


async def test_records_of_a_moving_clock_are_relayed(
    here: Runtime, place: Endpoints, owner: asyncpg.Connection
) -> None:
    """The whole way: changes are recorded and relayed while the clock leaps over midnights and
    month ends, and partitions are made and filled from the default one."""
    clock = Clock(dt.datetime(2026, 11, 30, 23, 59, 58, tzinfo=dt.UTC))
    partitions = Partitions(here.database, "day", clock=clock)
    done = False
    written = [0, 0]

    async def write(writer: int) -> None:
        connection = await asyncpg.connect(place.primary_url)
        tenant = ("paris", "lyon")[writer]
        await connection.execute(f"SET impact.tenant_id = '{tenant}'")
        while not done:
            written[writer] += 1
            moment = clock.now + dt.timedelta(seconds=written[writer] % 5 - 2, days=writer * 9)
            await connection.execute(
                "INSERT INTO change_record (tenant_id, occurred_at, table_name, action)"
                " VALUES ($1, $2, 'product', 'test')",
                tenant,
                moment,
            )
        await connection.close()

    async def relay() -> None:
        while not done:
            await relay_of(here).drain()

    async def leap() -> None:
        nonlocal done
        try:
            for days in (0, 1, 1, 30, 9, 20, 1):
                clock.now += dt.timedelta(days=days)
                await partitions.ensure()
        finally:
            done = True

    await asyncio.gather(leap(), relay(), write(0), write(1))
    await relay_of(here).drain()
    await partitions.ensure()
    assert await default_rows(owner) == 0
    for tenant, count in zip(("paris", "lyon"), written, strict=True):
        verified = await verify_tenant(owner, tenant)
        assert verified.broken is None
        assert verified.entries == count


async def test_the_task_goes_on_after_a_failure(
    database: Database, owner: asyncpg.Connection
) -> None:
    await owner.execute("ALTER FUNCTION audit_log_astray RENAME TO gone")
    pauses: list[float] = []

    class EnoughError(BaseException):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            assert partitions.status.failure is not None
            await owner.execute("ALTER FUNCTION gone RENAME TO audit_log_astray")
        else:
            raise EnoughError

    partitions = keeper(database, NOON.replace(hour=23, minute=30), "day", sleep=sleep)
    with pytest.raises(EnoughError):
        await partitions.keep()
    assert partitions.status.failure is None
    # A failure is tried again soon; then the next look is a second past midnight.
    assert pauses == [30.0, 1801.0]
    assert len(await partitions.listed()) == AHEAD + 1


class TestCommand:
    def run(self, place: Endpoints, *arguments: str) -> Any:
        variables = {
            "IMPACT_PRIMARY_URL": place.primary_url,
            "IMPACT_SIGNING_KEYS": "k:" + "x" * 32,
            "IMPACT_DATA_DIR": os.environ["IMPACT_TEST_STACK"],
            "IMPACT_AUDIT_PARTITION": "day",
        }
        return CliRunner().invoke(main, ["partitions", *arguments], env=variables)

    # Not async: the command runs a loop of its own.
    def test_it_makes_and_lists(self, place: Endpoints) -> None:
        first = self.run(place, "--json")
        assert first.exit_code == 0, first.output
        report = msgspec.json.decode(first.stdout)
        assert len(report["made"]) == len(report["partitions"]) == AHEAD + 1
        assert report["astray"] == {}
        again = self.run(place)
        assert again.exit_code == 0
        assert report["made"][0] in again.stdout
        assert "made now" not in again.stdout
