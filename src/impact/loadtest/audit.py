"""What recording changes costs on this machine: ``impact bench audit``.

Rounds with the triggers on and off alternate on one database made for it, so that what else the
machine does falls on both. Clients are bare sockets: they should not be what is measured.
"""

import asyncio
import contextlib
import json
import random
import secrets
import statistics
import time
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import msgspec

from impact.context import HEADQUARTERS, system_context
from impact.domains.tenants.schemas import CreateTenant, OwnerInput
from impact.engine.changes.relay import Relay
from impact.engine.changes.relay_status import RelayStatus
from impact.engine.runtime import Runtime, open_runtime
from impact.errors import ImpactError
from impact.flows.shops import open_shop
from impact.loadtest.goods import switch_recording
from impact.loadtest.servers import impact_server
from impact.settings import Settings

_TENANT = "bench"
_PRODUCTS = 10_000
_LINES = 3
# Products of one variant, one price and stock for all rounds.
_SEED = """
INSERT INTO product (tenant_id, id, title, handle, status, description)
    SELECT $1, gen_random_uuid(), 'Product ' || n, 'p' || n, 'published', repeat('words ', 30)
    FROM generate_series(1, $2::int) n;
INSERT INTO product_variant (tenant_id, id, product_id, title, sku, options)
    SELECT tenant_id, gen_random_uuid(), id, 'One', handle, '{}' FROM product;
INSERT INTO variant_price (tenant_id, id, variant_id, currency_code, amount)
    SELECT tenant_id, gen_random_uuid(), id, 'eur', 1000 FROM product_variant;
INSERT INTO inventory_level (tenant_id, id, variant_id, stocked_quantity)
    SELECT tenant_id, gen_random_uuid(), id, 1000000000 FROM product_variant
"""
_UPDATES = {
    "prices": ("variant_price", "UPDATE variant_price SET amount = amount + 1, updated_at = now()"),
    "titles": ("product", "UPDATE product SET title = title || '.', updated_at = now()"),
}


class Ratio(msgspec.Struct):
    """Medians; ``ratio`` is the cost with triggers on over that with them off."""

    on: float
    off: float
    ratio: float


class Costs(msgspec.Struct):
    orders: Ratio
    """Orders of three lines a second, through the API."""
    updates: dict[str, Ratio]
    """Milliseconds for 10,000 rows in one statement, committed."""
    relay: float
    """Records a second from ``change_record`` into the log."""
    records: int
    clients: int
    rounds: int


async def measure(
    settings: Settings,
    owner_url: str,
    *,
    clients: int,
    rounds: int,
    seconds: float,
    progress: Callable[[str, float | None], None],
) -> Costs:
    """Measure on an empty, migrated database, whose triggers are switched off and on again."""
    owner = await asyncpg.connect(owner_url)
    try:
        # It updates all rows at once, which no request does.
        patient = msgspec.structs.replace(settings, statement_timeout=60.0)
        async with open_runtime(patient) as runtime:
            progress("making a shop", None)
            key, variants = await _seed(runtime, owner)
            updates = await _updates(runtime, owner, rounds, progress)
            progress("relay", None)
            records, moved = await _relay(runtime)
        orders = await _orders(settings, owner, key, variants, clients, rounds, seconds, progress)
    finally:
        await owner.close()
    return Costs(
        orders=orders,
        updates=updates,
        relay=round(moved),
        records=records,
        clients=clients,
        rounds=rounds,
    )


async def _seed(runtime: Runtime, owner: asyncpg.Connection) -> tuple[str, list[str]]:
    """A shop; its storefront's key and its variants."""
    boss = OwnerInput(email="owner@bench.example", password=secrets.token_urlsafe(16))
    made = await open_shop(
        runtime,
        system_context(HEADQUARTERS, "bench"),
        CreateTenant(id=_TENANT, name="Bench", currency_code="eur", owner=boss),
    )
    for statement in _SEED.split(";"):
        parameters = [_TENANT, _PRODUCTS] if "$2" in statement else []
        await owner.execute(statement, *parameters)
    await owner.execute("ANALYZE")
    rows = await owner.fetch("SELECT id FROM product_variant")
    assert made.publishable_api_key is not None  # noqa: S101 - it has an owner
    return made.publishable_api_key, [str(row["id"]) for row in rows]


async def _updates(
    runtime: Runtime,
    owner: asyncpg.Connection,
    rounds: int,
    progress: Callable[[str, float | None], None],
) -> dict[str, Ratio]:
    taken: dict[str, dict[bool, list[float]]] = {}
    for number in range(rounds * 2):
        on = number % 4 in (0, 3)
        await switch_recording(owner, on=on)
        for name, (table, statement) in _UPDATES.items():
            progress(f"update of {name}", number / rounds / 2)
            # Dead rows of the last round are not this one's.
            await owner.execute(f"VACUUM {table}")
            began = time.perf_counter()
            async with runtime.database.write(system_context(_TENANT, "bench")) as session:
                await session.driver.execute(statement)
                session.touched.table(table, _TENANT)
            spent = (time.perf_counter() - began) * 1000
            taken.setdefault(name, {True: [], False: []})[on].append(spent)
    await switch_recording(owner, on=True)
    return {name: _ratio(each[True], each[False]) for name, each in taken.items()}


async def _relay(runtime: Runtime) -> tuple[int, float]:
    """How many records waited, and how many a second were moved."""
    database = runtime.database
    relay = Relay(runtime.settings, database.nodes, database.versions, RelayStatus())
    began = time.perf_counter()
    records = await relay.drain()
    return records, records / (time.perf_counter() - began)


async def _orders(
    settings: Settings,
    owner: asyncpg.Connection,
    key: str,
    variants: list[str],
    clients: int,
    rounds: int,
    seconds: float,
    progress: Callable[[str, float | None], None],
) -> Ratio:
    rates: dict[bool, list[float]] = {True: [], False: []}
    with impact_server(settings) as server:
        settings = msgspec.structs.replace(settings, port=server.port)
        await _order_for(settings, key, variants, clients, 2.0)
        for number in range(rounds * 2):
            # On, off, off, on: what grows with time falls on both.
            on = number % 4 in (0, 3)
            progress("orders", number / rounds / 2)
            await switch_recording(owner, on=on)
            rates[on].append(await _order_for(settings, key, variants, clients, seconds))
        await switch_recording(owner, on=True)
    return _ratio(rates[True], rates[False], inverse=True)


def _ratio(on: list[float], off: list[float], *, inverse: bool = False) -> Ratio:
    with_them, without = statistics.median(on), statistics.median(off)
    ratio = without / with_them if inverse else with_them / without
    return Ratio(round(with_them, 1), round(without, 1), round(ratio, 3))


async def _order_for(
    settings: Settings, key: str, variants: list[str], clients: int, seconds: float
) -> float:
    """Orders a second of so many clients, each of which waits for its answer."""
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    done = await asyncio.gather(*(_client(settings, key, variants, until) for _ in range(clients)))
    return sum(done) / (time.perf_counter() - began)


async def _client(settings: Settings, key: str, variants: list[str], until: float) -> int:
    reader, writer = await asyncio.open_connection(settings.host, settings.port)
    done = 0
    try:
        while time.perf_counter() < until:
            chosen = random.sample(variants, _LINES)
            body = json.dumps(
                {
                    "email": "buyer@bench.example",
                    "lines": [{"variant_id": variant, "quantity": 1} for variant in chosen],
                }
            ).encode()
            head = (
                f"POST /store/orders HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
                f"x-publishable-api-key: {key}\r\nidempotency-key: {uuid4()}\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            text = await reader.readexactly(length)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ImpactError(f"an order was refused: {text.decode()}")
            done += 1
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return done
