"""A server that is told to stop: it says so first, and cuts nobody short."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from impact import settings as settings_module
from impact.settings import Settings
from impact.stack import Endpoints
from support.dev import free_port
from support.shops import Shop
from support.waiting import eventually

DELAY = 5.0
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'collection'::regclass"


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.base = f"http://127.0.0.1:{port}"

    def tell_to_stop(self) -> None:
        """The parent alone, as a supervisor does."""
        os.kill(self.process.pid, signal.SIGTERM)

    async def ready(self) -> int:
        """The status of /health/ready on a new connection; 0 where there is none."""
        try:
            async with httpx.AsyncClient(base_url=self.base, timeout=20) as client:
                return (await client.get("/health/ready")).status_code
        except httpx.TransportError:
            return 0

    async def becomes(self, status: int) -> None:
        async def check() -> bool:
            return await self.ready() == status

        await eventually(check, 60)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 60)


@pytest.fixture
async def server(settings: Settings, tmp_path: Path) -> AsyncIterator[Server]:
    chosen = msgspec.structs.replace(
        settings,
        port=free_port(),
        workers=2,
        drain_delay=DELAY,
        statement_timeout=60.0,
        data_dir=tmp_path,
        log_level="warning",
    )
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [sys.executable, "-m", "impact", "serve", "--data-dir", str(tmp_path)],
        env={**os.environ, **settings_module.environment(chosen)},
        start_new_session=True,
    )
    made = Server(process, chosen.port)
    try:
        await made.becomes(200)
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def test_it_says_so_serves_on_and_ends_what_runs(
    server: Server, shop: Shop, endpoints: Endpoints
) -> None:
    owner = await asyncpg.connect(endpoints.owner_url)
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.base, timeout=90, limits=limits) as client:
        lock = owner.transaction()
        await lock.start()
        await owner.execute("LOCK TABLE collection IN ACCESS EXCLUSIVE MODE")
        body = {"title": "Made while it stops"}
        running = asyncio.create_task(
            client.post("/admin/collections", headers=shop.admin, json=body)
        )

        async def waits() -> bool:
            return bool(await owner.fetchval(WAITING))

        await eventually(waits)
        server.tell_to_stop()
        await server.becomes(503)
        said = await client.get("/health/ready")
        assert said.json()["status"] == "stopping"
        assert said.headers["retry-after"] == "1"
        # Whoever has not heard yet is served, and told to come back by another connection.
        late = await client.get("/admin/customers", headers=shop.admin)
        assert late.status_code == 200
        assert late.headers["connection"] == "close"
        # Then nobody gets in any more, and what runs is still waited for.
        await server.becomes(0)
        assert server.process.poll() is None
        assert not running.done()
        await lock.rollback()
        answer = await running
        assert answer.status_code == 200
        assert answer.json()["collection"]["title"] == body["title"]
    await owner.close()
    assert await server.ended() == 0


async def test_no_request_of_a_busy_server_is_lost(server: Server, shop: Shop) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in shop.store.items())
    request = f"GET /store/products HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode()
    answered = 0

    async def client() -> None:
        """One connection, as a proxy's: used until the server says that it closes it."""
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        closes = False
        while not closes:
            writer.write(request)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert answer.startswith(b"http/1.1 200")
            length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            answered += 1
            closes = b"connection: close" in answer
        assert await reader.read() == b""
        writer.close()

    clients = [asyncio.create_task(client()) for _ in range(8)]
    while answered < 200:  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.01)
    server.tell_to_stop()
    await asyncio.gather(*clients)
    assert await server.ended() == 0
