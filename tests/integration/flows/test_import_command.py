"""``impact import`` as a shell sees it: output, exit status, and what an interrupt leaves."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from impact.cli.imports import imports

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ROW = "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850,France"
GOOD = f"{HEADER}\n{ROW}\n".encode()
ZIPPED = gzip.compress(b"".join(str(n).encode() for n in range(9999)))


@pytest.fixture
def invoke(
    cli_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Result:
        return CliRunner().invoke(imports, [str(a) for a in arguments], env=cli_environment)

    return run


def test_json_reconciles(invoke: Any, tmp_path: Path, tenant: str) -> None:
    (tmp_path / "f.csv").write_bytes(GOOD)
    arguments = ("online-retail", "f.csv", "--tenant", tenant, "--create-tenant", "--json")
    first = json.loads(invoke(*arguments).output)
    assert first["changed"]
    assert first["read"] == {"rows": 1, "amount": "15.30"} == first["imported"]
    assert json.loads(invoke(*arguments).output)["changed"] is False
    with (tmp_path / "f.csv.rejects.csv").open() as stream:
        assert list(csv.reader(stream)) == [["line", "reason", *HEADER.split(",")]]


def test_a_second_run_says_that_nothing_is_new(invoke: Any, tmp_path: Path, tenant: str) -> None:
    (tmp_path / "f.csv").write_bytes(GOOD)
    arguments = ("online-retail", "f.csv", "--tenant", tenant, "--create-tenant")
    assert "The sales report changed by exactly the imported sum." in invoke(*arguments).output
    assert "Nothing new" in invoke(*arguments).output


@pytest.mark.parametrize("kind", ["online-retail", "shopify"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (HEADER.encode() + b",Handle,Title,Variant Price\n", "line 1: holds a header and no rows"),
        (b"a,b\n1,2\n", "line 1: the header has no column"),
        (GOOD[:40], "line 1: the header has no column"),
        (b"PK\x03\x04rest", "is a ZIP archive"),
        (b"\x00\xff\xfe", "line 1: byte 0xff at column 2 is not UTF-8"),
        (HEADER.encode() + b",Handle,Title,Variant Price\n\xa3", "line 2: byte 0xa3"),
        (b'"a,b\n1,2\n', "line 2: not valid CSV"),
        (ZIPPED[:50], "line 1: the gzip data breaks off"),
        (b"\x1f\x8bnot gzip after all", "line 1: "),
        (ZIPPED[:-8] + b"12345678", "line 1: "),
        (b"x" * (2 << 20), "line 1: the line is longer than 1 MiB"),
    ],
    ids=lambda value: value[-20:] if isinstance(value, str) else "",
)
def test_a_bad_file_is_one_clear_line(
    invoke: Any, tmp_path: Path, shop_name: str, kind: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "f.csv").write_bytes(content)
    result = invoke(kind, "f.csv", "--tenant", shop_name)
    assert result.exit_code == 1
    assert result.output.startswith("Error: f.csv")
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "f.csv.rejects.csv").exists()


@pytest.fixture
def shop_name(invoke: Any, tmp_path: Path, tenant: str) -> str:
    (tmp_path / "good.csv").write_bytes(GOOD)
    invoke("online-retail", "good.csv", "--tenant", tenant, "--create-tenant")
    return tenant


def test_a_directory(invoke: Any, tmp_path: Path) -> None:
    result = invoke("online-retail", tmp_path, "--tenant", "x")
    assert (result.exit_code, result.output) == (
        1, f"Error: {tmp_path}: is a directory, not a file\n",
    )  # fmt: skip


def test_a_rejects_file_that_cannot_be_written(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(GOOD)
    result = invoke("online-retail", "f.csv", "--tenant", "x", "--rejects", "no/such/place.csv")
    assert result.exit_code == 1
    assert "the rejects file cannot be written" in result.output


def test_a_pipe_for_rejects_stays_one(invoke: Any, tmp_path: Path, tenant: str) -> None:
    """A device, such as /dev/null, must not become a file either."""
    (tmp_path / "f.csv").write_bytes(GOOD)
    os.mkfifo(tmp_path / "pipe")
    # Open for both, so that nobody waits for the other end.
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    try:
        arguments = ("--tenant", tenant, "--create-tenant", "--rejects", "pipe")
        assert invoke("online-retail", "f.csv", *arguments).exit_code == 0
        assert (tmp_path / "pipe").is_fifo()
        assert os.read(reader, 1000).decode() == f"line,reason,{HEADER}\n"
    finally:
        os.close(reader)
    assert {each.name for each in tmp_path.iterdir()} == {"f.csv", "pipe"}


def test_a_link_for_rejects_is_followed(invoke: Any, tmp_path: Path, tenant: str) -> None:
    (tmp_path / "f.csv").write_bytes(GOOD)
    (tmp_path / "link").symlink_to("kept.csv")
    arguments = ("--tenant", tenant, "--create-tenant", "--rejects", "link")
    for _ in range(2):
        assert invoke("online-retail", "f.csv", *arguments).exit_code == 0
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "kept.csv").read_text() == f"line,reason,{HEADER}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--tenant", "x", "--tenant-per-country"),
        ("--tenant", "Not A Slug"),
        ("--tenant", "x", "--max-rejects", "101"),
        ("--tenant", "x", "--rejects", "f.csv"),
    ],
)
def test_usage(invoke: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "f.csv").write_bytes(GOOD)
    assert invoke("online-retail", "f.csv", *arguments).exit_code == 2


def test_a_missing_tenant(invoke: Any, tmp_path: Path, tenant: str) -> None:
    (tmp_path / "f.csv").write_bytes(GOOD)
    result = invoke("online-retail", "f.csv", "--tenant", tenant)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: tenant '{tenant}' does not exist; --create-tenant creates it\n"
    )


@pytest.fixture
async def admin(import_urls: Any) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(import_urls.admin)
    yield opened
    await opened.close()


@pytest.mark.parametrize("step", ["COPY", "INSERT INTO order_line"])
async def test_an_interrupt_leaves_nothing(
    cli_environment: dict[str, str],
    admin: asyncpg.Connection,
    tmp_path: Path,
    tenant: str,
    step: str,
) -> None:
    rows = (f"{n},A{n % 99},HEART,6,2010-12-01 08:26:00,2.55,17850,X" for n in range(60_000))
    path = tmp_path / "big.csv"
    path.write_text("\n".join([HEADER, *rows]))
    command = [sys.executable, "-c", "from impact.cli.imports import imports; imports()"]
    process = subprocess.Popen(  # noqa: ASYNC220
        [*command, "online-retail", str(path), "--tenant", tenant, "--create-tenant"],
        env=os.environ | cli_environment,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 120
        while not await admin.fetchval(
            """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND usename = 'impact_app' AND state = 'active' AND query LIKE $1""",
            f"%{step}%",
        ):
            assert time.monotonic() < deadline, "the import never came to this step"
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        # Whatever is left open would be another test's failure.
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (130, b"Interrupted: nothing was imported.\n")
    assert not await admin.fetchval("SELECT count(*) FROM order_line WHERE tenant_id = $1", tenant)
    assert not await admin.fetchval("SELECT count(*) FROM tenant WHERE id = $1", tenant)
    assert os.listdir(tmp_path) == ["big.csv"]  # noqa: PTH208
