"""Events reach the log once each, whatever fails between (P4), and cost a request nothing."""

import asyncio
import os
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from impact.context import Actor, ActorKind, RequestContext
from impact.engine.changes.events import Events
from impact.engine.changes.events_spool import Batch, Event, Spool
from impact.engine.db.base import new_id, utc_now
from impact.engine.runtime import Runtime
from impact.errors import ImpactError
from impact.settings import Settings, environment
from impact.stack import Endpoints
from support.shops import OWNER_PASSWORD, Shop
from support.waiting import until

_STORED = """
    SELECT id, table_name, row_id, action, after::text AS after, actor, request_id
    FROM (SELECT tenant_id, id, table_name, row_id, action, after, actor, request_id
            FROM change_record
          UNION ALL
          SELECT tenant_id, id, table_name, row_id, action, after, actor, request_id
            FROM audit_log) AS everything
    WHERE tenant_id = $1 AND action NOT IN ('insert', 'update', 'delete', 'untold') ORDER BY id
"""


@pytest.fixture
async def owner(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(endpoints.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
def spooled(settings: Settings, tmp_path: Path) -> Settings:
    return msgspec.structs.replace(settings, spool_dir=tmp_path / "spool")


@pytest.fixture
def events(spooled: Settings, runtime: Runtime) -> Events:
    """A writer of the test's own, whose task does not run."""
    return Events(spooled, runtime.database)


async def stored(owner: asyncpg.Connection, tenant: str) -> list[dict[str, Any]]:
    """The tenant's events, whether the relay has moved them or not."""
    rows = [dict(row) for row in await owner.fetch(_STORED, tenant)]
    for row in rows:
        row["after"] = None if row["after"] is None else msgspec.json.decode(row["after"])
    return rows


def note(events: Events, context: RequestContext, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        events.record(context, "login", "test", row_id=number)


def files(settings: Settings) -> list[Path]:
    return sorted(settings.spool.glob("*.events"))


async def refuse(owner: asyncpg.Connection) -> None:
    """The database takes no events for now."""
    await owner.execute("ALTER TABLE event_receipt RENAME TO event_receipt_gone")


async def accept(owner: asyncpg.Connection) -> None:
    await owner.execute("ALTER TABLE event_receipt_gone RENAME TO event_receipt")


class TestWhatIsRecorded:
    async def log_in(self, client: httpx.AsyncClient, shop: Shop, email: str, password: str) -> int:
        response = await client.post(
            "/auth/user/emailpass",
            headers={"x-tenant-id": shop.tenant},
            json={"email": email, "password": password},
        )
        return response.status_code

    async def test_logins(
        self, client: httpx.AsyncClient, shop: Shop, runtime: Runtime, owner: asyncpg.Connection
    ) -> None:
        email = f"owner@{shop.tenant}.test"
        assert await self.log_in(client, shop, email, OWNER_PASSWORD) == 200
        assert await self.log_in(client, shop, email, "wrong-secret") == 401
        for each in ("Jane.Doe@example.com", "jane.doe@example.com", "john@example.com"):
            assert await self.log_in(client, shop, each, "wrong-secret") == 401
        await runtime.events.flush()
        succeeded, failed, *unknown = await stored(owner, shop.tenant)
        me = str(shop.owner_id)
        assert (succeeded["table_name"], succeeded["action"]) == ("login", "succeeded")
        assert (succeeded["row_id"], succeeded["actor"]) == (me, f"user:{me}")
        assert (failed["action"], failed["row_id"], failed["actor"]) == ("failed", me, "anonymous")
        assert failed["after"] == {"kind": "user"}
        assert [each["row_id"] for each in unknown] == [None] * 3
        assert [each["after"]["email"] for each in unknown] == [
            "J***@example.com",
            "j***@example.com",
            "j***@example.com",
        ]
        digests = [each["after"]["email_digest"] for each in unknown]
        assert digests[0] == digests[1] != digests[2]
        everything = msgspec.json.encode([succeeded, failed, *unknown]).decode().lower()
        for secret in ("wrong-secret", OWNER_PASSWORD, "jane.doe", "john"):
            assert secret not in everything

    async def test_denials(
        self, client: httpx.AsyncClient, shop: Shop, runtime: Runtime, owner: asyncpg.Connection
    ) -> None:
        nobody = await shop.user("product:read")
        response = await client.get("/admin/orders?q=secret", headers=nobody)
        assert response.status_code == 403
        assert (await client.get("/admin/orders")).status_code == 401
        await runtime.events.flush()
        (denied,) = await stored(owner, shop.tenant)
        assert (denied["table_name"], denied["action"]) == ("access", "denied")
        assert denied["actor"].startswith("user:")
        assert denied["request_id"] == response.headers["x-request-id"]
        assert denied["after"] == {
            "method": "GET",
            "path": "/admin/orders",
            "code": "forbidden",
            "message": "this needs the permission 'order:read'",
        }

    async def test_an_intruder_is_recorded_at_home(
        self,
        client: httpx.AsyncClient,
        shop: Shop,
        other_shop: Shop,
        runtime: Runtime,
        owner: asyncpg.Connection,
    ) -> None:
        headers = {**other_shop.admin, "x-tenant-id": shop.tenant}
        assert (await client.get("/admin/orders", headers=headers)).status_code == 403
        forged = {"authorization": f"Bearer sk_{shop.tenant}_made-up", "x-tenant-id": "lyon"}
        assert (await client.get("/admin/orders", headers=forged)).status_code == 403
        await runtime.events.flush()
        assert await stored(owner, shop.tenant) == []
        (denied,) = await stored(owner, other_shop.tenant)
        assert denied["after"]["code"] == "tenant_mismatch"

    async def test_exports(
        self, client: httpx.AsyncClient, shop: Shop, runtime: Runtime, owner: asyncpg.Connection
    ) -> None:
        query = {"entity": "product", "from": "2026-01-01", "to": "2026-02-01"}
        path = "/admin/audit-logs/export"
        assert (await client.get(path, headers=shop.admin, params=query)).status_code == 200
        await runtime.events.flush()
        began, ended = await stored(owner, shop.tenant)
        assert (began["table_name"], began["row_id"]) == ("export", "audit-log")
        assert (began["action"], ended["action"]) == ("started", "ended")
        assert began["after"]["filters"]["entity"] == "product"
        assert (ended["after"]["rows"], ended["after"]["complete"]) == (0, True)


class TestBuffer:
    async def test_a_batch_of_several_shops(
        self, events: Events, shop: Shop, other_shop: Shop, owner: asyncpg.Connection
    ) -> None:
        shops = (shop, other_shop)
        for number in range(6):
            note(events, shops[number % 2].context(), 1, number)
        await events.flush()
        for place, each in enumerate(shops):
            found = await stored(owner, each.tenant)
            assert [row["row_id"] for row in found] == [str(n) for n in range(place, 6, 2)]

    async def test_a_full_batch_does_not_wait_for_its_time(
        self, spooled: Settings, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        slow = msgspec.structs.replace(spooled, event_batch=10, event_delay=60.0)
        async with Events(slow, runtime.database) as events:
            note(events, shop.context(), 10)
            await until(lambda: events.status.stored == 10)
            note(events, shop.context(), 3)
        # What is left is stored at the end.
        assert len(await stored(owner, shop.tenant)) == 13
        assert files(slow) == []

    async def test_a_receipt_does_not_stay(
        self, spooled: Settings, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        async with Events(spooled, runtime.database) as events:
            note(events, shop.context(), 1)
            await events.flush()
        receipts = "SELECT count(*) FROM event_receipt WHERE tenant_id = $1"
        assert await owner.fetchval(receipts, shop.tenant) == 0

    async def test_more_than_the_database_takes_goes_to_disk(
        self, spooled: Settings, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        small = msgspec.structs.replace(spooled, event_buffer=100)
        events = Events(small, runtime.database)
        note(events, shop.context(), 60)
        assert events._spilling is not None
        await events._spilling
        assert len(files(small)) == 2
        note(events, shop.context(), 10, 60)
        await events.flush()
        assert await events.replay() == 50
        found = await stored(owner, shop.tenant)
        assert sorted(int(row["row_id"]) for row in found) == list(range(70))
        assert events.status.dropped == 0

    async def test_memory_is_bounded(self, spooled: Settings, runtime: Runtime, shop: Shop) -> None:
        """Recording never waits, so what fits neither memory nor disk is counted as lost."""
        small = msgspec.structs.replace(spooled, event_buffer=100)
        small.spool.write_text("a file where the directory should be")
        events = Events(small, runtime.database)
        note(events, shop.context(), 150)
        assert len(events._buffer) == 100
        assert events.status.dropped == 50
        assert events._spilling is not None
        events._spilling.cancel()

    async def test_nothing_is_written_of_nothing(
        self, spooled: Settings, runtime: Runtime, shop: Shop
    ) -> None:
        """What the task was about to take, somebody else has flushed meanwhile."""
        quick = msgspec.structs.replace(spooled, event_delay=0.2)
        async with Events(quick, runtime.database) as events:
            note(events, shop.context(), 1)
            await asyncio.sleep(0)
            await events.flush()
            note(events, shop.context(), 1)
            await until(lambda: events.status.stored == 2)
        assert events.status.failure is None
        assert not spooled.spool.exists()


class TestOutage:
    async def test_events_wait_on_disk_and_are_stored_once(
        self, events: Events, spooled: Settings, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        await refuse(owner)
        try:
            note(events, shop.context(), 3)
            await events.flush()
            # Known to be away: it is not asked again for each batch.
            note(events, shop.context(), 2, 3)
            await events.flush()
            assert len(files(spooled)) == 2
            assert events.status.failure is not None
            assert events.status.spilled == 5
            with pytest.raises(ImpactError):
                await events.replay()
            assert len(files(spooled)) == 2
        finally:
            await accept(owner)
        assert await events.replay() == 5
        assert files(spooled) == []
        assert [row["row_id"] for row in await stored(owner, shop.tenant)] == list("01234")

    async def test_the_task_notices_that_the_database_is_back(
        self, spooled: Settings, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        await refuse(owner)
        quick = msgspec.structs.replace(spooled, event_delay=0.01)
        try:
            async with Events(quick, runtime.database) as events:
                note(events, shop.context(), 3)
                await until(lambda: events.status.spilled == 3)
                await accept(owner)
                await until(lambda: events.status.replayed == 3)
        except BaseException:
            await accept(owner)
            raise
        assert len(await stored(owner, shop.tenant)) == 3

    async def test_a_commit_whose_answer_was_lost(
        self, events: Events, spooled: Settings, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        """Stored, and not known to be: it is spilled, and found to be there."""
        event = Event(shop.tenant, utc_now(), "login", "test", row_id="1")
        batch = Batch(new_id(), [event, event])
        assert await events._store(batch) == 2
        await events._spill(batch)
        assert await events.replay() == 0
        assert files(spooled) == []
        assert len(await stored(owner, shop.tenant)) == 2

    async def test_a_crash_between_storing_and_removing_the_file(
        self, events: Events, spooled: Settings, runtime: Runtime, shop: Shop, owner: Any
    ) -> None:
        Spool(spooled.spool).write(
            Batch(new_id(), [Event(shop.tenant, utc_now(), "login", "test", row_id="1")])
        )
        (path,) = files(spooled)
        content = path.read_bytes()
        assert await events.replay() == 1
        path.write_bytes(content)
        assert await Events(spooled, runtime.database).replay() == 0
        assert files(spooled) == []
        assert len(await stored(owner, shop.tenant)) == 1

    async def test_one_process_empties_the_spool(
        self, events: Events, spooled: Settings, shop: Shop
    ) -> None:
        spool = Spool(spooled.spool)
        spool.write(Batch(new_id(), [Event(shop.tenant, utc_now(), "login", "test")]))
        with spool.emptying() as mine:
            assert mine
            assert await events.replay() == 0
        assert await events.replay() == 1

    async def test_what_cannot_be_stored_holds_nothing_up(
        self, events: Events, spooled: Settings, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        spool = Spool(spooled.spool)
        spool.write(Batch(new_id(), [Event(shop.tenant, utc_now(), "login", "te\0st")]))
        spool.write(Batch(new_id(), [Event(shop.tenant, utc_now(), "login", "test")]))
        spool.write(Batch(new_id(), []))
        (spooled.spool / "0.events").write_bytes(b'{"id":')
        assert await events.replay() == 1
        assert files(spooled) == []
        assert len(list(spooled.spool.glob("*.refused"))) == 2
        assert len(await stored(owner, shop.tenant)) == 1


async def test_the_next_start_stores_what_a_killed_process_left(
    spooled: Settings, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
) -> None:
    """It is killed when its events have reached the disk, half of them stored already."""
    program = f"""
        import asyncio, sys
        from impact import settings
        from impact.context import system_context
        from impact.engine.runtime import open_runtime

        async def main():
            async with open_runtime(settings.load()) as runtime:
                context = system_context({shop.tenant!r}, "test")
                for number in range(40):
                    if number == 20:
                        await runtime.events.flush()
                        print("stored", flush=True)
                        sys.stdin.readline()
                    runtime.events.record(context, "login", "test", row_id=number)
                while runtime.events.status.spilled < 20:
                    await asyncio.sleep(0.01)
                print("spilled", flush=True)
                await asyncio.sleep(600)

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment(spooled)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"stored\n"
        await refuse(owner)
        process.stdin.write(b"go on\n")
        assert await process.stdout.readline() == b"spilled\n"
    finally:
        process.kill()
        await process.wait()
        process.stdin.close()
        await accept(owner)
    async with Events(spooled, runtime.database) as events:
        await until(lambda: events.status.replayed == 20)
    found = await stored(owner, shop.tenant)
    assert sorted(int(row["row_id"]) for row in found) == list(range(40))


def test_recording_is_no_coroutine() -> None:
    """A request cannot wait for what does not wait."""
    assert not asyncio.iscoroutinefunction(Events.record)


async def test_who_acts_is_the_context_s_actor(
    events: Events, shop: Shop, owner: asyncpg.Connection
) -> None:
    context = shop.context()
    context.actor = Actor(ActorKind.USER, shop.tenant, shop.owner_id)
    events.record(context, "report", "read", row_id="sales", after={"rows": 3})
    await events.flush()
    (row,) = await stored(owner, shop.tenant)
    assert (row["actor"], row["action"]) == (f"user:{shop.owner_id}", "read")
