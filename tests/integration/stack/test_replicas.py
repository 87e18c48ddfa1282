"""Streaming, read-only nodes that can always be made again."""

import time

import asyncpg
import pytest

pytestmark = pytest.mark.xdist_group("stack")


def replayed(stack, replica) -> None:
    """Return once `replica` has replayed what the primary has written until now."""
    position = stack.primary.sql("SELECT pg_current_wal_lsn()")
    while replica.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") != "t":
        time.sleep(0.01)


async def test_replica_replays_and_rejects_writes(running):
    endpoints = running.create_database("streamed")
    owner = await asyncpg.connect(endpoints.owner_url)
    await owner.execute("CREATE TABLE item (id int); GRANT SELECT ON item TO impact_app")
    await owner.execute("INSERT INTO item VALUES (1), (2)")
    await owner.close()
    replayed(running, running.replicas[0])
    reader = await asyncpg.connect(endpoints.replica_urls[0])
    assert await reader.fetchval("SELECT count(*) FROM item") == 2
    await reader.close()
    admin = await asyncpg.connect(endpoints.replica_admin_urls[0])
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await admin.execute("INSERT INTO item VALUES (3)")
    await admin.close()
    running.drop_database("streamed")


def test_replicas_are_added_and_removed(make_stack):
    assert make_stack(replicas=0).up().replica_urls == ()
    two = make_stack(replicas=2)
    assert len(two.up().replica_urls) == 2
    two.primary.sql("CREATE TABLE item AS SELECT 1 AS id")
    for replica in two.replicas:
        replayed(two, replica)
        assert replica.sql("SELECT id FROM item") == "1"
    one = make_stack(replicas=1)
    assert len(one.up().replica_urls) == 1
    assert [s.name for s in one.status() if s.kind == "replica"] == ["replica-1"]
    assert not two.replicas[1].is_running()
    assert one.primary.sql("SELECT slot_name FROM pg_replication_slots") == "replica_1"


def test_replica_without_its_log_is_made_anew(make_stack):
    said = []
    stack = make_stack(replicas=1, log=said.append)
    stack.up()
    stack.replicas[0].stop()
    # A slot that keeps nothing loses its log at the next checkpoint.
    stack.primary.sql("ALTER SYSTEM SET max_slot_wal_keep_size = 0")
    stack.primary.reload()
    while stack.primary.sql("SELECT wal_status FROM pg_replication_slots") != "lost":
        stack.primary.sql("CREATE TABLE filler AS SELECT generate_series(1, 1000) AS n")
        stack.primary.sql("DROP TABLE filler; SELECT pg_switch_wal()")
        stack.primary.sql("CHECKPOINT")
    stack.primary.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    stack.primary.reload()
    said.clear()
    stack.up()
    assert any("no longer keeps the log" in line for line in said)
    assert stack.replicas[0].sql("SELECT pg_is_in_recovery()") == "t"


def test_damaged_replica_is_made_anew(make_stack):
    said = []
    stack = make_stack(replicas=1, log=said.append)
    stack.up()
    stack.replicas[0].stop()
    (stack.replicas[0].directory / "global" / "pg_control").write_bytes(b"")
    stack.up()
    assert any("making replica-1" in line for line in said)
    assert stack.replicas[0].sql("SELECT pg_is_in_recovery()") == "t"


def test_promoted_replica_keeps_its_writes_aside(make_stack):
    stack = make_stack(replicas=1)
    stack.up()
    stack.replicas[0].sql("SELECT pg_promote()")
    assert "takes writes" in stack.replicas[0].describe()
    stack.up()
    assert "replica, streaming" in stack.replicas[0].describe()
    kept = list(stack.data_dir.glob("replica-1-promoted-*"))
    assert [(k / "PG_VERSION").exists() for k in kept] == [True]
