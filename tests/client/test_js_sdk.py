"""Medusa's own client, unchanged, on a real server: see the steps in ``main.cjs``."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from impact.settings import Settings
from support.programs import needed
from support.serving import Served, serving
from support.shops import OWNER_PASSWORD, Shop

HERE = Path(__file__).parent
_SECONDS = 120


@pytest.fixture(scope="module")
async def client_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program with its packages, as they are locked, beside it."""
    needed("node", package="nodejs")
    npm = needed("npm")
    directory = tmp_path_factory.mktemp("client")
    for each in (*HERE.glob("*.cjs"), *HERE.glob("package*.json")):
        shutil.copy(each, directory)
    command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    done = await asyncio.to_thread(_run, *command, directory=directory)
    assert done.returncode == 0, done.stdout
    return directory


@pytest.fixture(scope="module")
async def served(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    async with serving(settings, tmp_path_factory.mktemp("served")) as served:
        yield served


def _run(*command: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def _drive(
    program: Path, served: Served, shop: Shop, password: str
) -> subprocess.CompletedProcess[str]:
    return _run(
        *("node", "main.cjs"),
        directory=program,
        SHOP_URL=served.base,
        SHOP_TENANT=shop.tenant,
        SHOP_EMAIL=f"owner@{shop.tenant}.test",
        SHOP_PASSWORD=password,
    )


def test_the_client_is_locked_without_addresses() -> None:
    assert '"resolved"' not in (HERE / "package-lock.json").read_text()


async def test_every_step(client_program: Path, served: Served, shop: Shop) -> None:
    done = await asyncio.to_thread(_drive, client_program, served, shop, OWNER_PASSWORD)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].endswith("steps passed")


async def test_a_step_that_fails_fails_the_program(
    client_program: Path, served: Served, shop: Shop
) -> None:
    """Else the test above could not fail."""
    done = await asyncio.to_thread(_drive, client_program, served, shop, "not the owner's")
    assert done.returncode == 1
    assert "FAILED auth.login as staff" in done.stdout
    assert "Invalid email or password" in done.stdout
