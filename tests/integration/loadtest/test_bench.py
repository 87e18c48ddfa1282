"""``impact bench`` measures each row on a database of its own, keeps the report and prints it."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from impact.loadtest.ratios import row
from impact.stack import Stack
from support.dev import impact
from support.programs import needed

pytestmark = pytest.mark.xdist_group("bench")


async def test_rows(stack: Stack, tmp_path: Path) -> None:
    needed("wrk")
    endpoints = stack.endpoints()
    assert endpoints is not None
    admin = await asyncpg.connect(endpoints.admin_url)
    kept = tmp_path / "report.json"
    chosen = ("--row", "cached-list", "--row", "uncached-list", "--row", "orders")
    # In one second of a busy machine not one request may have been answered.
    sizes = ("--rounds", "1", "--seconds", "2", "--products", "10100")
    try:
        run = await asyncio.to_thread(
            impact, "bench", "--data-dir", str(stack.data_dir), *chosen, *sizes, "--save", str(kept)
        )
        assert run.returncode in {0, 1}, run.stderr
        left = await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'bench%'")
    finally:
        await admin.close()
    assert left == 0
    assert kept.exists(), run.stderr
    report = json.loads(kept.read_text())
    assert len(report["rows"]) == 3
    for each in report["rows"]:
        assert each["system"] > 0
        assert each["limit"] > 0
        assert each["ratio"] == pytest.approx(each["system"] / each["limit"])
    # The exit status is the verdict.
    assert (run.returncode == 0) == all(e["ratio"] >= e["at_least"] for e in report["rows"])
    shown = await asyncio.to_thread(impact, "bench", "show", str(kept))
    assert shown.stdout == run.stdout
    assert "product list, cache off" in shown.stdout


def test_ended_by_a_signal(stack: Stack, tmp_path: Path) -> None:
    """The server that it measures and its database do not outlive it."""
    needed("wrk")
    arguments = ("--row", "cached-list", "--rounds", "100", "--products", "10100")
    with (tmp_path / "said").open("w+") as said:
        child = subprocess.Popen(
            [
                # As a script starts what it puts into the background: Ctrl-C is ignored.
                *("/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"),
                *(sys.executable, "-m", "impact", "bench", "--data-dir", stack.data_dir),
                *arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        while not (servers := _servers(child.pid)) and child.poll() is None:
            time.sleep(0.05)
        # Twice, as timeout(1) does: to the process, and to its group.
        child.terminate()
        child.terminate()
        child.wait()
        said.seek(0)
        text = said.read()
        assert text.endswith("\nAborted!\n")
        assert text.count("Aborted!") == 1
    assert child.returncode == 130
    assert servers
    deadline = time.monotonic() + 30
    while left := [each for each in servers if _runs(each)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert stack.primary.sql("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'") == ""


def test_what_drops_the_database_hears_no_ctrl_c(stack: Stack) -> None:
    session = stack.primary.sql("\\! cut -d ' ' -f 6 /proc/$PPID/stat")
    assert int(session) != os.getsid(0)


def _runs(pid: int) -> bool:
    """Not one that has ended and that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _servers(parent: int) -> list[int]:
    """The servers to measure that the process has started."""
    found = []
    for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"serve" in Path(f"/proc/{each}/cmdline").read_bytes():
                found.append(int(each))
    return found


def test_no_stack(tmp_path: Path) -> None:
    needed("wrk")
    run = impact("bench", "--data-dir", str(tmp_path))
    assert run.returncode == 2
    assert "impact stack up" in run.stderr


@pytest.mark.parametrize(("more", "met"), [(True, False), (False, True)])
def test_a_verdict(more: bool, met: bool) -> None:
    found = row(
        "w", "c", "ms", [1.0, 3.0, 2.0], [10.0, 10.0, 10.0], at_least=0.3, aim=0.1, more=more
    )
    assert (found.ratio, found.low, found.high) == (0.2, 0.1, 0.3)
    assert found.met is met
    assert found.aimed is more
