"""What Impact is compared with waits for no more than it has to."""

import asyncio
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest
from sqlalchemy.engine import make_url

from impact.engine.runtime import Runtime
from impact.loadtest import limits, orders
from impact.loadtest.goods import stocked_shop
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.shops import Shop
from support.wire import Wire, wire_to


async def test_a_statement_is_one_round_trip(
    settings: Settings, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "limit.json"
    async with wire_to(settings.primary_url) as wire:
        monkeypatch.setattr(limits, "_POOL", 1)
        asked = limits.Query(wire.url, shop.tenant, "SELECT $1::text", ["the body"])
        file.write_bytes(msgspec.json.encode(asked))
        monkeypatch.setenv("LIMIT_FILE", str(file))
        app = limits.query()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://limit") as client:
            for _ in range(3):
                before = wire.round_trips
                assert (await client.get("/")).text == "the body"
        assert wire.round_trips - before == 1
        await app({"type": "lifespan"}, _shutdown, _unheard)


async def test_pgbench_waits_as_often_as_impact(
    stack: Stack, endpoints: Endpoints, runtime: Runtime, tmp_path: Path
) -> None:
    """BEGIN with the settings, the stock, the order, COMMIT, the WAL position."""
    owner = await asyncpg.connect(endpoints.owner_url)
    try:
        shop = await stocked_shop(runtime, owner, "bench-limits", 3)
    finally:
        await owner.close()
    script = tmp_path / "order.sql"
    script.write_text(orders._script(shop))
    async with wire_to(endpoints.primary_url) as wire:
        once = await _spent(wire, stack, script, 1)
        often = await _spent(wire, stack, script, 11)
    assert often - once == 10 * 5


async def _shutdown() -> dict[str, str]:
    return {"type": "lifespan.shutdown"}


async def _unheard(_message: object) -> None:
    """Nobody listens."""


async def _spent(wire: Wire, stack: Stack, script: Path, transactions: int) -> int:
    """Round trips of so many transactions; the first one's prepare the statements."""
    url, before = make_url(wire.url), wire.round_trips
    child = await asyncio.create_subprocess_exec(
        *(str(stack.programs / "pgbench"), "-n", "-M", "prepared", "-t", str(transactions)),
        *("-f", str(script), "-h", str(url.host), "-p", str(url.port), "-U", str(url.username)),
        str(url.database),
        env={"PGPASSWORD": url.password or ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    assert f"transactions actually processed: {transactions}/" in said.decode()
    return wire.round_trips - before
