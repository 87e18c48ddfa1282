"""What is archived can be trusted: every step may be the last, and nothing changes unseen."""

import asyncio
import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from impact.cli.audit_archive import archive as archive_command
from impact.cli.audit_archive import restore as restore_command
from impact.cli.audit_search import search as search_command
from impact.cli.audit_search import tail as tail_command
from impact.cli.audit_verify import verify as verify_command
from impact.engine.changes import archive_files
from impact.engine.changes.archive import (
    BrokenChainError,
    Candidate,
    alone,
    archive,
    candidates,
    range_of,
)
from impact.engine.changes.archive_check import check
from impact.engine.changes.archive_files import (
    ArchiveError,
    Store,
)
from impact.engine.changes.archive_restore import restore
from impact.engine.changes.chain import ENTRY
from impact.ops import migrations
from impact.stack import Endpoints, Stack
from support.audit import add_entries
from support.schema import gaps

JANUARY = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
STEPS = ("detached", "written", "manifest", "compared", "dropped")
EVERYTHING = f"SELECT {ENTRY} FROM audit_log ORDER BY tenant_id, position"


@pytest.fixture(scope="module")
def template(stack: Stack, worker_id: str) -> Iterator[str]:
    name = f"archive_template_{worker_id}"
    migrations.upgrade(stack.create_database(name).owner_url)
    yield name
    stack.drop_database(name)


@pytest.fixture
def place(stack: Stack, worker_id: str, template: str) -> Iterator[Endpoints]:
    name = f"archive_{worker_id}"
    yield stack.create_database(name, template=template)
    stack.drop_database(name)


@pytest.fixture
async def owner(place: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(place.owner_url, server_settings={"timezone": "UTC"})
    yield connection
    connection.terminate()


@pytest.fixture
async def log(owner: asyncpg.Connection) -> list[dict[str, Any]]:
    """Two shops' entries of January to March; near the ends of months out of order."""
    for month in (1, 2, 3):
        await owner.execute(f"SELECT audit_log_make_partition('month', '2026-0{month}-01')")
    made = []
    for tenant in ("lyon", "paris"):
        moments = [JANUARY + n * 1.7 * DAY for n in range(45)]
        # A long transaction's change, entered late.
        moments[12], moments[8] = moments[8], moments[12]
        made += await add_entries(owner, tenant, [{"occurred_at": moment} for moment in moments])
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "archives"))
    made.prepare()
    return made


async def january(owner: asyncpg.Connection) -> Candidate:
    first, *_ = await candidates(owner, dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
    assert first.name == "audit_log_202601"
    return first


async def everything(owner: asyncpg.Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in await owner.fetch(EVERYTHING)]


async def names(owner: asyncpg.Connection) -> list[str]:
    return [row["name"] for row in await owner.fetch("SELECT name FROM audit_log_partitions()")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("audit_log_202601", ("2026-01-01", "2026-02-01")),
        ("audit_log_202612", ("2026-12-01", "2027-01-01")),
        ("audit_log_20260228", ("2026-02-28", "2026-03-01")),
        ("audit_log_20261124_20261201", ("2026-11-24", "2026-12-01")),
        ("audit_log_default", None),
        ("audit_log_2026", None),
    ],
)
def test_names_say_the_range(name: str, expected: tuple[str, str] | None) -> None:
    found = range_of(name)
    assert (found and tuple(f"{moment:%Y-%m-%d}" for moment in found)) == expected


class TestRoundTrip:
    @pytest.mark.parametrize("row_group", [7, 20_000])
    async def test_archive_then_restore_gives_equal_rows_and_hashes(
        self,
        owner: asyncpg.Connection,
        log: Any,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
        row_group: int,
    ) -> None:
        monkeypatch.setattr(archive_files, "ROW_GROUP", row_group)
        monkeypatch.setattr("impact.engine.changes.archive._PREFETCH", 5)
        before = await everything(owner)
        done = await archive(owner, store, await january(owner))
        assert await names(owner) == ["audit_log_202602", "audit_log_202603"]
        assert not await owner.fetchval("SELECT to_regclass('audit_log_202601')::text")
        assert done.rows == sum(e["occurred_at"].month == 1 for e in log)
        left = await everything(owner)
        assert left == [entry for entry in before if entry["occurred_at"].month != 1]
        (manifest,) = store.manifests()
        assert check(store, manifest) == []
        assert await restore(owner, store, [manifest]) == done.rows
        assert await everything(owner) == before
        assert await gaps(owner, "impact_app") == []
        assert await restore(owner, store, [manifest]) is None

    async def test_the_manifest_says_what_is_in_it(
        self, owner: asyncpg.Connection, log: list[dict[str, Any]], store: Store
    ) -> None:
        await archive(owner, store, await january(owner))
        (manifest,) = store.manifests()
        ours = [e for e in log if e["occurred_at"].month == 1 and e["tenant_id"] == "paris"]
        held = manifest.tenants["paris"]
        assert (manifest.schema_version, manifest.table) == (1, "audit_log")
        assert (held.rows, held.first_position) == (len(ours), ours[0]["position"])
        assert (held.last_position, held.last_hash) == (13, ours[-1]["hash"].hex())
        assert held.first_previous_hash == bytes(32).hex()
        # The entries 10 to 12 happened in February, the 13th in January.
        assert held.gaps == [(9, 9), (11, 12)]
        runs = [(run.first, run.last) for run in held.runs]
        assert runs == [(1, 8), (10, 10), (13, 13)]

    async def test_constant_memory_means_row_groups(
        self, owner: asyncpg.Connection, log: Any, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archive_files, "ROW_GROUP", 10)
        monkeypatch.setattr("impact.engine.changes.archive._PREFETCH", 5)
        await archive(owner, store, await january(owner))
        (manifest,) = store.manifests()
        with store.parquet(manifest.file) as file:
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        assert sizes[:-1] == [10] * (len(sizes) - 1)
        assert manifest.row_groups == len(sizes) > 1

    async def test_what_came_late_has_an_archive_of_its_own(
        self, owner: asyncpg.Connection, log: Any, store: Store
    ) -> None:
        await archive(owner, store, await january(owner))
        await add_entries(owner, "paris", [{"occurred_at": JANUARY}, {"occurred_at": JANUARY}])
        await owner.execute("SELECT audit_log_make_partition('month', '2026-01-01')")
        before = await everything(owner)
        one = store.manifests()
        with pytest.raises(ArchiveError, match="archive it first"):
            await restore(owner, store, one)
        again = await archive(owner, store, await january(owner))
        assert again.file == "audit_log_202601-2.parquet"
        both = store.manifests()
        assert await restore(owner, store, both) == sum(manifest.rows for manifest in both)
        restored = await everything(owner)
        assert [entry for entry in restored if entry in before] == before
        assert len(restored) == len(log) + 2

    async def test_only_what_is_old_enough(self, owner: asyncpg.Connection, log: Any) -> None:
        end = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
        assert [c.name for c in await candidates(owner, end)] == [
            "audit_log_202601",
            "audit_log_202602",
        ]
        almost = await candidates(owner, end - dt.timedelta(microseconds=1))
        assert [c.name for c in almost] == ["audit_log_202601"]

    async def test_one_at_a_time(self, owner: asyncpg.Connection, place: Endpoints) -> None:
        other = await asyncpg.connect(place.owner_url)
        async with alone(owner):
            with pytest.raises(ArchiveError, match="another"):
                async with alone(other):
                    pass
        async with alone(other):
            pass
        await other.close()


class TestInterrupted:
    async def run_killed(
        self, place: Endpoints, directory: Path, step: str, how: str = "archive"
    ) -> None:
        """Archive January in a process that is killed when the step is done."""
        program = f"""
            import asyncio, datetime, os, signal, asyncpg
            from impact.engine.changes.archive import alone, archive, candidates
            from impact.engine.changes.archive_files import Store

            def step(name):
                if name == {step!r}:
                    os.kill(os.getpid(), signal.SIGKILL)

            async def main():
                owner = await asyncpg.connect({place.owner_url!r})
                async with alone(owner):
                    before = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)
                    store = Store({str(directory)!r})
                    store.prepare()
                    for each in await candidates(owner, before):
                        await archive(owner, store, each, step=step)

            asyncio.run(main())
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(program)
        )
        assert await process.wait() == -signal.SIGKILL

    @pytest.mark.parametrize("step", STEPS)
    async def test_the_next_run_ends_what_was_begun(
        self,
        owner: asyncpg.Connection,
        place: Endpoints,
        log: list[dict[str, Any]],
        store: Store,
        tmp_path: Path,
        step: str,
    ) -> None:
        before = await everything(owner)
        await self.run_killed(place, tmp_path / "archives", step)
        async with asyncio.timeout(30):
            while await owner.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ):
                pass
        async with alone(owner):
            for each in await candidates(owner, dt.datetime(2026, 2, 1, tzinfo=dt.UTC)):
                await archive(owner, store, each)
        assert await names(owner) == ["audit_log_202602", "audit_log_202603"]
        (manifest,) = store.manifests()
        assert manifest.file == "audit_log_202601.parquet"
        assert check(store, manifest) == []
        await restore(owner, store, [manifest])
        assert await everything(owner) == before

    async def test_a_file_without_its_manifest_is_written_anew(
        self, owner: asyncpg.Connection, log: Any, store: Store, tmp_path: Path
    ) -> None:
        (tmp_path / "archives" / "audit_log_202601.parquet").write_bytes(b"half of a file")
        await archive(owner, store, await january(owner))
        (manifest,) = store.manifests()
        assert check(store, manifest) == []

    async def test_a_restore_that_was_cut_short_begins_anew(
        self, owner: asyncpg.Connection, log: Any, store: Store
    ) -> None:
        await archive(owner, store, await january(owner))
        await owner.execute("CREATE TABLE audit_restore (LIKE audit_log)")
        await owner.execute("INSERT INTO audit_restore SELECT * FROM audit_log")
        rows = await restore(owner, store, store.manifests())
        assert rows == sum(entry["occurred_at"].month == 1 for entry in log)

    async def test_a_lock_that_is_taken_is_tried_again(
        self, owner: asyncpg.Connection, place: Endpoints, log: Any, store: Store
    ) -> None:
        reader = await asyncpg.connect(place.owner_url)
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetchval("SELECT count(*) FROM audit_log")
        await owner.execute("SET lock_timeout = '50ms'")
        part = await january(owner)
        task = asyncio.create_task(archive(owner, store, part))
        while not await reader.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_log'::regclass"
        ):
            pass
        await transaction.rollback()
        assert (await task).rows
        await reader.close()


class TestTampering:
    async def test_an_edited_row_stops_the_archive_and_is_named(
        self, owner: asyncpg.Connection, log: Any, store: Store
    ) -> None:
        await owner.execute(
            "UPDATE audit_log SET after = '{\"price\": 1}' WHERE tenant_id = 'paris'"
            " AND position = 5"
        )
        before = await everything(owner)
        with pytest.raises(BrokenChainError, match="tenant paris at position 5"):
            await archive(owner, store, await january(owner))
        assert await everything(owner) == before
        assert store.manifests() == []

    async def test_every_flipped_byte_is_found(
        self,
        owner: asyncpg.Connection,
        log: Any,
        store: Store,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(archive_files, "ROW_GROUP", 10)
        monkeypatch.setattr("impact.engine.changes.archive._PREFETCH", 5)
        await archive(owner, store, await january(owner))
        (manifest,) = store.manifests()
        path = tmp_path / "archives" / manifest.file
        content = path.read_bytes()
        with pq.ParquetFile(path) as file:
            columns = file.metadata.row_group(1).column(8)
            inside = (columns.dictionary_page_offset or columns.data_page_offset) + 30
        for place in (*range(0, len(content), max(1, len(content) // 150)), inside):
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            path.write_bytes(flipped)
            found = check(store, manifest)
            assert found, place
            assert found[0].file == manifest.file
        with pytest.raises(ArchiveError, match=manifest.file):
            await restore(owner, store, [manifest])
        # The last one was within the second row group, and is found there.
        assert {finding.row_group for finding in found} == {None, 1}

    async def test_a_file_made_anew_with_another_content(
        self, owner: asyncpg.Connection, log: Any, store: Store, tmp_path: Path
    ) -> None:
        """Whoever can write files can write a manifest that fits. The chain still tells."""
        await archive(owner, store, await january(owner))
        (manifest,) = store.manifests()
        path = tmp_path / "archives" / manifest.file
        table = pq.read_table(path)
        rows = table.to_pylist()
        forged = next(r for r in rows if (r["tenant_id"], r["position"]) == ("paris", 4))
        forged["actor"] = "user:somebody-else"
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
        manifest.sha256, manifest.bytes = store.digest(manifest.file)
        store.write_manifest(manifest)
        (finding,) = check(store, store.manifests()[0])
        assert (finding.row_group, finding.tenant, finding.position) == (0, "paris", 4)
        assert "edited" in finding.problem

    async def test_a_manifest_that_was_changed(
        self, owner: asyncpg.Connection, log: Any, store: Store, tmp_path: Path
    ) -> None:
        await archive(owner, store, await january(owner))
        path = tmp_path / "archives" / "audit_log_202601.json"
        path.write_text(path.read_text().replace('"rows": 1', '"rows": 2', 1))
        with pytest.raises(ArchiveError, match=r"audit_log_202601\.json was changed"):
            store.manifests()
        path.write_text("{")
        with pytest.raises(ArchiveError, match=r"audit_log_202601\.json is damaged"):
            store.manifests()

    async def test_a_row_added_to_a_detached_partition_is_not_dropped(
        self, owner: asyncpg.Connection, log: Any, store: Store
    ) -> None:
        def step(name: str) -> None:
            if name == "manifest":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await archive(owner, store, await january(owner), step=step)
        await owner.execute(
            "INSERT INTO audit_log_202601 SELECT tenant_id, id + 1000, occurred_at, hash,"
            " table_name, row_id, action, before, after, actor, request_id, reason, position,"
            " previous_hash FROM audit_log_202601 WHERE tenant_id = 'paris' AND position = 1"
        )
        with pytest.raises(ArchiveError):
            await archive(owner, store, await january(owner))
        assert await owner.fetchval("SELECT to_regclass('audit_log_202601')::text")


class TestCommands:
    """Not async: each command runs a loop of its own."""

    @pytest.fixture
    def filled(self, place: Endpoints) -> list[dict[str, Any]]:
        async def fill() -> list[dict[str, Any]]:
            owner = await asyncpg.connect(place.owner_url)
            for month in ("2026-01-01", "2026-02-01"):
                await owner.execute(f"SELECT audit_log_make_partition('month', '{month}')")
            made = []
            for tenant in ("lyon", "paris"):
                made += await add_entries(
                    owner,
                    tenant,
                    [
                        {
                            "occurred_at": JANUARY + n * dt.timedelta(days=2),
                            "actor": f"user:{n % 3}",
                        }
                        for n in range(20)
                    ],
                )
            await owner.close()
            return made

        return asyncio.run(fill())

    def run(self, place: Endpoints, command: Any, *arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(
            command,
            arguments,
            env={
                "IMPACT_OWNER_URL": place.owner_url,
                "IMPACT_PRIMARY_URL": place.primary_url,
                "IMPACT_SIGNING_KEYS": "k:" + "x" * 32,
                "IMPACT_DATA_DIR": os.environ["IMPACT_TEST_STACK"],
            },
            catch_exceptions=False,
        )
        assert result.exit_code == code, result.output
        return result

    def test_archive_search_restore(
        self, place: Endpoints, filled: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        to = str(tmp_path / "a")
        dry = self.run(place, archive_command, "--older-than", "1h", "--to", to, "--dry-run")
        assert "audit_log_202601" in dry.stdout
        assert not Path(to).exists()
        done = self.run(place, archive_command, "--older-than", "1h", "--to", to, "--json")
        archived = msgspec.json.decode(done.stdout)["archived"]
        assert [each["partition"] for each in archived] == ["audit_log_202601", "audit_log_202602"]
        assert sum(each["rows"] for each in archived) == len(filled)
        again = self.run(place, archive_command, "--older-than", "1h", "--to", to)
        assert "Nothing is that old." in again.stdout

        def found(*arguments: str, code: int = 0) -> list[int]:
            result = self.run(place, search_command, "--json", *arguments, code=code)
            return [msgspec.json.decode(line)["id"] for line in result.stdout.splitlines()]

        newest = sorted(filled, key=lambda e: (e["occurred_at"], e["id"]), reverse=True)
        assert found(code=1) == []
        assert found("--archives", to) == [e["id"] for e in newest]
        assert found("--archives", to, "--limit", "7") == [e["id"] for e in newest[:7]]
        assert found("--archives", to, "--tenant", "paris", "--actor", "user:1") == [
            e["id"] for e in newest if (e["tenant_id"], e["actor"]) == ("paris", "user:1")
        ]
        assert found(
            "--archives",
            to,
            "--from",
            "2026-01-20",
            "--to",
            "2026-02-03",
            "--id",
            "row-5",
            "--table",
            "product",
            "--action",
            "update",
        ) == [e["id"] for e in newest if e["row_id"] == "row-5"]
        # The chain goes on from the archives into the log.
        verified = self.run(place, verify_command, "--archives", to, "--tenant", "paris")
        assert "0 entries hold, to position 20" in verified.stdout
        alone = self.run(place, verify_command, "--tenant", "paris", code=1)
        assert "the entries 1 to 20 are missing" in alone.stdout
        restored = self.run(place, restore_command, "--month", "2026-01", "--from", to)
        assert "audit_log_202601" in restored.stdout
        # In the log and in the archive now, and shown once.
        assert found("--archives", to) == [e["id"] for e in newest]
        assert found() == [e["id"] for e in newest if e["occurred_at"].month == 1]
        again = self.run(place, restore_command, "audit_log_202601", "--from", to)
        assert "in the log already" in again.stdout
        missing = self.run(place, restore_command, "audit_log_209901", "--from", to, code=1)
        assert "no archive of audit_log_209901" in missing.output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--older-than", "soon", "--to", "x"), "no age such as 90d"),
            (("--older-than", "1d", "--to", "ftp://x"), "archives go to a directory or to s3://"),
            (("--older-than", "1d", "--to", "/proc/none"), "/proc/none"),
        ],
    )
    def test_errors_say_what_to_do(
        self, place: Endpoints, arguments: tuple[str, ...], message: str
    ) -> None:
        env = {"IMPACT_OWNER_URL": place.owner_url}
        result = CliRunner().invoke(archive_command, arguments, env=env)
        assert result.exit_code in {1, 2}
        assert message in result.output

    def test_tail(self, place: Endpoints, filled: list[dict[str, Any]]) -> None:
        result = self.run(place, tail_command, "-n", "3", "--json", "--tenant", "paris")
        shown = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
        assert [each["position"] for each in shown] == [18, 19, 20]

    def test_tail_follows(self, place: Endpoints, filled: list[dict[str, Any]]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "impact", "audit", "tail", "-f", "-n", "1", "--json"],
            env={**os.environ, "IMPACT_OWNER_URL": place.owner_url},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline()

            async def add() -> None:
                owner = await asyncpg.connect(place.owner_url)
                await add_entries(owner, "lyon", [{"actor": "user:new"}])
                await owner.close()

            asyncio.run(add())
            assert msgspec.json.decode(process.stdout.readline())["actor"] == "user:new"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            process.stdout.close()


class TestS3:
    @pytest.fixture
    def bucket(self, tmp_path: Path) -> Iterator[str]:
        """A bucket on a server that speaks S3."""
        server = shutil.which("moto_server", path=str(Path(sys.executable).parent))
        assert server
        process = subprocess.Popen(
            [sys.executable, "-u", server, "-p", "0"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        try:
            port = ""
            while not port:
                line = process.stderr.readline()
                assert line, "the S3 server ended"
                port = line.rpartition("http://127.0.0.1:")[2].strip() if "http://" in line else ""
            options = f"endpoint_override=127.0.0.1:{port}&scheme=http&allow_bucket_creation=true"
            from pyarrow import fs

            os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            filesystem, _ = fs.FileSystem.from_uri(f"s3://archives/?{options}")
            filesystem.create_dir("archives")
            yield f"s3://archives/log?{options}"
        finally:
            process.kill()
            process.wait()
            process.stderr.close()

    async def test_the_same_on_s3(self, owner: asyncpg.Connection, log: Any, bucket: str) -> None:
        before = await everything(owner)
        store = Store(bucket)
        done = await archive(owner, store, await january(owner))
        (manifest,) = store.manifests()
        assert check(store, manifest) == []
        assert await restore(owner, store, [manifest]) == done.rows
        assert await everything(owner) == before

    def test_a_server_that_is_not_there(self) -> None:
        store = Store("s3://none/log?endpoint_override=127.0.0.1:1&scheme=http")
        with pytest.raises(ArchiveError, match="s3://none"):
            store.manifests()
