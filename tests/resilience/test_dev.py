"""``make run`` from a newcomer's side: it starts, it stops, it comes back after a crash."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from impact.stack import Stack
from support.dev import Dev, free_port, impact, processes_of
from support.pages import DOCS
from support.programs import needed

_IMPACT = f"{sys.executable} -m impact"

pytestmark = pytest.mark.xdist_group("dev")


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    """A directory that the servers' own user can enter."""
    directory = Path(tempfile.mkdtemp(prefix="impact-dev-"))
    directory.chmod(0o711)
    yield directory
    for data in directory.iterdir():
        if data.is_dir():
            Stack(data).down()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def data(ground: Path) -> Path:
    """A data directory that was started and stopped once."""
    with Dev(ground / "data", free_port()):
        pass
    return ground / "data"


@pytest.fixture
def port() -> int:
    return free_port()


def product_count(dev: Dev) -> int:
    response = httpx.get(f"{dev.base}/store/products", headers={"x-tenant-id": "paris"})
    count: int = response.json()["count"]
    return count


def wait_until_served(dev: Dev, path: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(dev.base + path, headers={"x-tenant-id": "paris"}).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, dev.output
        time.sleep(0.1)


class TestDev:
    def test_first_start_serves_three_shops(self, ground: Path, port: int) -> None:
        with Dev(ground / "first", port) as dev:
            assert "shown this once" in dev.output
            credentials = dict(
                line.split(maxsplit=1)
                for line in dev.output.splitlines()
                if line.startswith(("  e-mail", "  password"))
            )
            for tenant in ("hq", "paris", "lyon"):
                response = httpx.post(
                    f"{dev.base}/auth/user/emailpass",
                    headers={"x-tenant-id": tenant},
                    json={"email": credentials["e-mail"], "password": credentials["password"]},
                )
                assert response.status_code == 200, response.text
            assert product_count(dev) > 40
            assert len(dev.curls()) == 3
            for line in dev.curls():
                shown = subprocess.run(
                    ["/bin/bash", "-c", line], capture_output=True, text=True, check=True
                )
                assert {"products", "orders", "rows"} & set(json.loads(shown.stdout)), line
            assert (ground / "first" / "signing-keys.json").stat().st_mode & 0o077 == 0
            status = dev.stop(signal.SIGINT)
        assert status == 0
        assert processes_of(ground / "first") == []

    def test_second_start_keeps_the_data_and_shows_no_password(self, data: Path, port: int) -> None:
        with Dev(data, port, "--workers", "2") as dev:
            assert product_count(dev) > 40
            assert "password" not in dev.output
            assert dev.stop(signal.SIGTERM) == 0
        assert processes_of(data) == []

    def test_the_documented_ab_lines_finish_without_a_failed_request(
        self, data: Path, port: int, tmp_path: Path
    ) -> None:
        needed("ab")
        text = (DOCS / "loadtesting.md").read_text()
        block = next(b for b in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "ab -n" in b)
        assert len(re.findall(r"^ab -n", block, re.MULTILINE)) == 3
        smaller = re.sub(r"-n \d+ -c \d+", "-q -n 60 -c 10", block)
        own = smaller.replace(":9000", f":{port}").replace(".venv/bin/impact", _IMPACT)
        with Dev(data, port):
            result = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", own],
                capture_output=True,
                text=True,
                check=True,
                cwd=tmp_path,
                env={**os.environ, "IMPACT_DATA_DIR": str(data)},
            )
        assert result.stdout.count("Complete requests:      60\n") == 3
        assert result.stdout.count("Failed requests:        0\n") == 3
        assert "Non-2xx" not in result.stdout

    def test_a_killed_postgresql_is_started_again(self, data: Path, port: int) -> None:
        with Dev(data, port) as dev:
            Stack(data).primary.kill()
            wait_until_served(dev, "/health/ready")
            wait_until_served(dev, "/store/products")

    def test_a_killed_dev_leaves_nothing_in_the_way(self, data: Path, port: int) -> None:
        with Dev(data, port) as dev:
            dev.process.kill()
            dev.process.wait()
            # Its server and its databases still run.
            assert httpx.get(f"{dev.base}/health/live").status_code == 200
        with Dev(data, port) as dev:
            assert product_count(dev) > 40
        assert processes_of(data) == []

    def test_a_killed_server_ends_everything_and_the_next_start_works(
        self, data: Path, port: int
    ) -> None:
        with Dev(data, port) as dev:
            os.killpg(dev.server_pid(), signal.SIGKILL)
            assert dev.process.wait(60) == 1
            assert "the server ended" in dev.output
        assert processes_of(data) == []
        with Dev(data, port) as dev:
            assert product_count(dev) > 40

    def test_two_at_once_on_one_directory(self, data: Path, port: int) -> None:
        with Dev(data, port):
            second = impact("dev", "--data-dir", str(data), "--port", str(free_port()))
        assert second.returncode == 1
        assert "another 'impact dev' runs" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1


class TestRefusals:
    def test_a_taken_port(self, ground: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            result = impact("dev", "--data-dir", str(ground / "other"), "--port", str(port))
        assert result.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1

    def test_a_data_directory_that_cannot_be(self, ground: Path) -> None:
        (ground / "file").touch()
        result = impact("dev", "--data-dir", str(ground / "file" / "below"))
        assert result.returncode == 1
        assert "cannot write to the data directory" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1

    def test_serving_without_a_database(self, ground: Path) -> None:
        result = impact("serve", "--data-dir", str(ground / "none"), "--port", str(free_port()))
        assert result.returncode == 1
        assert "IMPACT_PRIMARY_URL is not set" in result.stderr

    def test_settings_that_are_wrong_are_all_named(self, ground: Path) -> None:
        result = impact(
            "serve",
            "--data-dir",
            str(ground),
            IMPACT_PRIMARY_URL="mysql://x",
            IMPACT_SIGNING_KEYS="short",
            IMPACT_POOL_MAX="many",
        )
        assert result.returncode == 1
        for name in ("IMPACT_PRIMARY_URL", "IMPACT_SIGNING_KEYS", "IMPACT_POOL_MAX"):
            assert name in result.stderr
