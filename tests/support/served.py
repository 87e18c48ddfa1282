"""``impact serve`` as a process of its own, on a database of its own."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from impact import settings as settings_module
from impact.engine.runtime import Runtime, open_runtime
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Stack
from support.dev import free_port

_START_SECONDS = 120
_STOP_SECONDS = 30


# All of it comes from one address and one caller; the tests of the limits are elsewhere.
_BUDGETS = tuple(
    f"{name}=100000000/60"
    for name in ("address-refused", "login-address", "login-account", "login-strangers")
)


@dataclass
class Served:
    """``runtime`` is this process's own, on the same servers; ``pid`` is the server's."""

    base: str
    port: int
    pid: int
    runtime: Runtime

    def workers(self) -> list[int]:
        """The processes that answer."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children]


@contextlib.asynccontextmanager
async def serving(
    stack: Stack, settings: Settings, name: str, **changes: Any
) -> AsyncIterator[Served]:
    """A server of one worker with a new database, until the block ends."""
    endpoints = stack.create_database(name)
    port = free_port()
    own = msgspec.structs.replace(
        settings,
        primary_url=endpoints.primary_url,
        replica_urls=tuple(endpoints.replica_urls),
        cache_service=name.replace("_", "-"),
        port=port,
        rate_limits=_BUDGETS,
        **changes,
    )
    try:
        await asyncio.to_thread(migrations.upgrade, endpoints.owner_url)
        with _started(own) as process:
            await _answers(port, process)
            async with open_runtime(own) as runtime:
                yield Served(f"http://127.0.0.1:{port}", port, process.pid, runtime)
    finally:
        await asyncio.to_thread(stack.drop_database, name)


@contextlib.contextmanager
def _started(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "impact", "serve"],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **settings_module.environment(settings)},
        )
        try:
            yield process
        finally:
            _stop(process)


async def _answers(port: int, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient() as client:
        while True:
            assert process.poll() is None
            with contextlib.suppress(httpx.HTTPError):
                response = await client.get(f"http://127.0.0.1:{port}/health/ready")
                if response.status_code == 200:
                    return
            await asyncio.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
