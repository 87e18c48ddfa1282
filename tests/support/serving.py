"""``impact serve`` as a process of its own, on the database of the test worker."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from impact.settings import Settings, environment
from support.dev import free_port

_START_SECONDS = 120
_STOP_SECONDS = 30


class Served:
    """A running server; ``pid`` is its main process, whose children serve."""

    def __init__(self, base: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.base = base
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    def worker_pids(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]


def _start(settings: Settings, directory: Path, variables: dict[str, str]) -> Served:
    port = free_port()
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "impact", "serve"),
                *("--data-dir", str(directory), "--port", str(port)),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment(settings), **variables},
        )
    return Served(f"http://127.0.0.1:{port}", process, log)


@contextlib.asynccontextmanager
async def serving(settings: Settings, directory: Path, **variables: str) -> AsyncIterator[Served]:
    """A server with these settings, but for what ``variables`` of the environment say else.

    It waits without holding up the event loop, on which the test's own application lives.
    """
    served = _start(settings, directory, variables)
    try:
        await _until_ready(served)
        yield served
    finally:
        served.process.terminate()
        await asyncio.to_thread(served.process.wait, _STOP_SECONDS)


async def _until_ready(served: Served) -> None:
    deadline = time.monotonic() + _START_SECONDS
    async with httpx.AsyncClient(base_url=served.base) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/health/ready")).status_code == 200:
                    return
            assert served.process.poll() is None, served.output
            assert time.monotonic() < deadline, served.output
            await asyncio.sleep(0.05)
