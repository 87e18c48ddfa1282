"""What was done to a chain behind the relay's back is found and named."""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from impact.engine.changes.chain import ENTRY, GENESIS, Fault, Run, Verifier, link
from impact.engine.changes.chain_verify import verify_tenant
from impact.engine.runtime import open_runtime
from impact.settings import Settings
from impact.stack import Endpoints
from support.changes import relay_of, verified

DOCS = Path(__file__).parents[3] / "docs" / "audit-logging.md"
COUNT = 40


@pytest.fixture
async def admin(quiet: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(quiet.admin_url)
    await connection.execute("DELETE FROM change_record")
    yield connection
    await connection.close()


@pytest.fixture
async def tenant(quiet_settings: Settings, admin: asyncpg.Connection) -> str:
    """A tenant with forty entries, among them awkward texts."""
    tenant = f"chain-{secrets.token_hex(4)}"
    await admin.execute("INSERT INTO tenant (id, name) VALUES ($1, 'a')", tenant)
    await admin.execute(
        "INSERT INTO product_category (tenant_id, id, name, handle, metadata) SELECT $1,"
        " gen_random_uuid(), $2, 'h' || n, $3 FROM generate_series(1, $4) n",
        tenant,
        "'\"\n,\\N é €\u2028",
        json.dumps({"b": 1.50, "a": [None, "\\N"]}),
        COUNT - 1,
    )
    async with open_runtime(quiet_settings) as runtime:
        assert await relay_of(runtime).drain() == COUNT
    return tenant


async def entry(admin: asyncpg.Connection, tenant: str, position: int) -> dict[str, object]:
    row = await admin.fetchrow(
        f"SELECT {ENTRY} FROM audit_log WHERE tenant_id = $1 AND position = $2", tenant, position
    )
    return dict(row)


async def test_an_untouched_chain_holds(quiet: Endpoints, tenant: str) -> None:
    found = await verified(quiet, tenant)
    assert (found.entries, found.position, found.broken) == (COUNT, COUNT, None)


@pytest.mark.parametrize(
    ("change", "fault", "position"),
    [
        ("UPDATE audit_log SET actor = 'x' WHERE {} AND position = 7", Fault.EDITED, 7),
        ("UPDATE audit_log SET reason = '' WHERE {} AND position = 7", Fault.EDITED, 7),
        (
            "UPDATE audit_log SET after = after || '{\"b\": 2}' WHERE {} AND position = 7",
            Fault.EDITED,
            7,
        ),
        (
            "UPDATE audit_log SET occurred_at = occurred_at + interval '1 microsecond'"
            " WHERE {} AND position = 7",
            Fault.EDITED,
            7,
        ),
        ("UPDATE audit_log SET hash = sha256('x') WHERE {} AND position = 7", Fault.EDITED, 7),
        ("DELETE FROM audit_log WHERE {} AND position = 7", Fault.MISSING, 8),
        ("DELETE FROM audit_log WHERE {} AND position = 1", Fault.MISSING, 2),
        ("DELETE FROM audit_log WHERE {} AND position < 7", Fault.MISSING, 7),
        ("DELETE FROM audit_log WHERE {} AND position > 38", Fault.HEAD, COUNT),
        ("DELETE FROM audit_log WHERE {}", Fault.HEAD, COUNT),
        (
            "UPDATE audit_log SET position = 15 - position WHERE {} AND position IN (7, 8)",
            Fault.LINK,
            7,
        ),
        ("UPDATE audit_log SET position = 6 WHERE {} AND position = 7", Fault.ORDER, 6),
        (
            "INSERT INTO audit_log SELECT tenant_id, id + 1000000000, occurred_at, hash,"
            " table_name, row_id, action, before, after, actor, request_id, reason, 41, hash"
            " FROM audit_log WHERE {} AND position = 40",
            Fault.EDITED,
            41,
        ),
        ("UPDATE audit_chain SET hash = sha256('x') WHERE {}", Fault.HEAD, COUNT),
        ("UPDATE audit_chain SET position = 39 WHERE {}", Fault.HEAD, 39),
        ("DELETE FROM audit_chain WHERE {}", Fault.HEAD, 0),
    ],
)
async def test_what_a_superuser_did_is_named(
    quiet: Endpoints,
    admin: asyncpg.Connection,
    tenant: str,
    change: str,
    fault: Fault,
    position: int,
) -> None:
    tag = await admin.execute(change.replace("{}", f"tenant_id = '{tenant}'", 1))
    assert not tag.endswith(" 0")
    broken = (await verified(quiet, tenant)).broken
    assert broken is not None
    assert (broken.tenant, broken.fault, broken.position) == (tenant, fault, position)


async def test_an_entry_with_a_hash_of_its_own_breaks_the_next(
    quiet: Endpoints, admin: asyncpg.Connection, tenant: str
) -> None:
    forged = {**await entry(admin, tenant, 7), "actor": "somebody else"}
    await admin.execute(
        "UPDATE audit_log SET actor = $3, hash = $4 WHERE tenant_id = $1 AND position = $2",
        tenant,
        7,
        forged["actor"],
        link(forged["previous_hash"], forged),  # type: ignore[arg-type]
    )
    broken = (await verified(quiet, tenant)).broken
    assert broken is not None
    assert (broken.fault, broken.position) == (Fault.LINK, 8)


async def test_archived_entries_may_be_missing_and_no_others(
    quiet: Endpoints, admin: asyncpg.Connection, tenant: str
) -> None:
    rows = await admin.fetch(
        "SELECT position, previous_hash, hash FROM audit_log WHERE tenant_id = $1", tenant
    )
    before = {row["position"]: row["previous_hash"].hex() for row in rows}
    hashes = {row["position"]: row["hash"].hex() for row in rows}
    await admin.execute(
        "DELETE FROM audit_log WHERE tenant_id = $1 AND (position < 11 OR position IN (13, 14))",
        tenant,
    )
    for elsewhere, fault in (
        ([(1, 10), (13, 14)], None),
        ([(13, 14), (1, 10)], None),
        ([(1, 12), (13, 20)], None),
        ([(1, 10)], Fault.MISSING),
        ([(1, 9), (13, 14)], Fault.MISSING),
        ([(2, 10), (13, 14)], Fault.MISSING),
        ([(1, 10), (14, 14)], Fault.MISSING),
    ):
        connection = await asyncpg.connect(quiet.primary_url)
        try:
            runs = [Run(one, other, before[one], hashes[other]) for one, other in elsewhere]
            found = await verify_tenant(connection, tenant, elsewhere=runs)
            # The chain does not go on from what somebody else's archive ends with, nor into it.
            strange = [Run(run.first, run.last, run.previous_hash, "00") for run in runs]
            behind = await verify_tenant(connection, tenant, elsewhere=strange)
            strange = [Run(run.first, run.last, "00", run.hash) for run in runs]
            ahead = await verify_tenant(connection, tenant, elsewhere=strange)
        finally:
            await connection.close()
        assert (found.broken and found.broken.fault) == fault, elsewhere
        if fault is None:
            assert ahead.broken is not None
            assert ahead.broken.fault == Fault.LINK
        if elsewhere == [(1, 10), (13, 14)] and fault is None:
            assert behind.broken is not None
            assert (behind.broken.fault, behind.broken.position) == (Fault.LINK, 11)


async def test_a_part_is_verified_alone(
    quiet: Endpoints, admin: asyncpg.Connection, tenant: str
) -> None:
    first, last = await entry(admin, tenant, 11), await entry(admin, tenant, 21)
    await admin.execute("DELETE FROM audit_log WHERE tenant_id = $1 AND position = 5", tenant)
    connection = await asyncpg.connect(quiet.primary_url)
    try:
        found = await verify_tenant(
            connection,
            tenant,
            since=first["occurred_at"],  # type: ignore[arg-type]
            until=last["occurred_at"],  # type: ignore[arg-type]
        )
    finally:
        await connection.close()
    assert (found.entries, found.position, found.broken) == (10, 20, None)


def test_positions_elsewhere_do_not_hide_a_second_claim() -> None:
    row = dict.fromkeys(
        (
            "id",
            "occurred_at",
            "table_name",
            "row_id",
            "action",
            "before",
            "after",
            "actor",
            "request_id",
            "reason",
        )
    )
    verifier = Verifier("a", elsewhere=[Run(1, 5, GENESIS.hex(), b"x".hex())])
    for position, fault in ((6, None), (6, Fault.ORDER)):
        made = {**row, "tenant_id": "a", "position": position, "previous_hash": b"x"}
        broken = verifier.check({**made, "hash": link(b"x", made)})
        assert (broken and broken.fault) == fault


class TestCommand:
    def run(self, settings: Settings, tmp_path: Path, *arguments: str) -> tuple[int, str]:
        environment = {
            **os.environ,
            "IMPACT_PRIMARY_URL": settings.primary_url,
            "IMPACT_SIGNING_KEYS": settings.signing_keys,
            "IMPACT_DATA_DIR": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-m", "impact", "audit", "verify", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        return done.returncode, done.stdout + done.stderr

    async def test_a_chain_that_holds(
        self, quiet_settings: Settings, tmp_path: Path, tenant: str
    ) -> None:
        status, said = self.run(quiet_settings, tmp_path, "--tenant", tenant)
        assert status == 0, said
        assert f"{tenant}: {COUNT} entries hold" in said

    async def test_a_chain_that_does_not(
        self, quiet_settings: Settings, tmp_path: Path, admin: asyncpg.Connection, tenant: str
    ) -> None:
        await admin.execute("UPDATE audit_log SET actor = 'x' WHERE tenant_id = $1", tenant)
        status, said = self.run(quiet_settings, tmp_path, "--json")
        assert status == 1
        found = {each["tenant"]: each["broken"] for each in json.loads(said)}
        assert found[tenant]["fault"] == "edited"
        assert found[tenant]["position"] == 1

    async def test_a_database_that_is_away(self, quiet_settings: Settings, tmp_path: Path) -> None:
        environment = quiet_settings.primary_url.rpartition("/")[0] + "/nowhere"
        away = msgspec.structs.replace(quiet_settings, primary_url=environment)
        status, said = self.run(away, tmp_path)
        assert status == 1
        assert "does not exist" in said
        assert "Traceback" not in said


class TestAuditor:
    """The page's own SQL and program, without ours."""

    async def run(self, admin: asyncpg.Connection, tenant: str, tmp_path: Path) -> str:
        page = DOCS.read_text()
        query = re.search(r"```sql\n(SELECT json_build_array.*?)```", page, re.DOTALL)
        program = re.search(r"```python\n(import hashlib.*?)```", page, re.DOTALL)
        assert query
        assert program
        rows = await admin.fetch(query[1].replace("paris", tenant))
        (tmp_path / "paris.jsonl").write_text("".join(f"{row[0]}\n" for row in rows))
        return await asyncio.to_thread(self.compute, program[1], tmp_path)

    def compute(self, program: str, place: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    async def test_agrees(
        self, quiet: Endpoints, admin: asyncpg.Connection, tenant: str, tmp_path: Path
    ) -> None:
        found = await verified(quiet, tenant)
        said = await self.run(admin, tenant, tmp_path)
        assert said == f"{COUNT} entries hold, the last hash is {found.hash}\n"

    async def test_finds_an_edit(
        self, admin: asyncpg.Connection, tenant: str, tmp_path: Path
    ) -> None:
        await admin.execute(
            "UPDATE audit_log SET actor = 'x' WHERE tenant_id = $1 AND position = 7", tenant
        )
        assert "broken at position 7" in await self.run(admin, tenant, tmp_path)
