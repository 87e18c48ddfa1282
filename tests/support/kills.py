"""Writers at full load while servers are killed, and the proof that the log tells all of it.

The log is replayed from nothing. Each entry must find the row as the entry before left it, and at
the end the rows must be those of the database: a change without its entry, an entry twice or an
entry without its change would each show.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

import impact.models
from impact import settings as settings_module
from impact.engine.changes.triggers import NOT_RECORDED, SECRET
from impact.engine.runtime import open_runtime
from impact.ops import migrations
from impact.stack import Endpoints, Stack
from support.changes import verified
from support.dev import free_port
from support.shops import Shop, open_shop

_IGNORED = {"updated_at", "reserved_quantity"}
_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
RECORDED = sorted(set(impact.models.metadata.tables) - set(NOT_RECORDED))
_ENTRIES = """
SELECT id, tenant_id, table_name, row_id, action, before::text, after::text
FROM audit_log ORDER BY id
"""
Rows = dict[tuple[str, str, str], dict[str, Any]]


class Process:
    """One of our commands, started again and again, killed with all it started."""

    def __init__(self, log: Path, environment: dict[str, str], *arguments: str) -> None:
        self._log = log
        self._environment = environment
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "impact", *self._arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._process.wait(30)


@dataclass
class Arena:
    """A database, a server and a relay; ``audit`` is the log's own server, if it has one."""

    stack: Stack
    audit: Stack | None
    endpoints: Endpoints
    log: Endpoints
    server: Process
    relay: Process
    base: str
    shop: Shop
    variants: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    """Ids of orders that a client was told of."""

    def kill(self, chance: random.Random) -> None:
        """Kill one of them and start it again."""
        targets = ["server", "relay", "primary", *(["audit"] if self.audit else [])]
        target = chance.choice(targets)
        self.killed[target] += 1
        if target == "server":
            self.server.kill()
            self.server.start()
        elif target == "relay":
            self.relay.kill()
            self.relay.start()
        else:
            stack = self.audit if target == "audit" and self.audit else self.stack
            stack.primary.kill()
            stack.primary.start()
        for process in (self.server, self.relay):
            if not process.running():
                # It gives up where it finds no database at its start.
                process.start()

    async def order(self) -> None:
        """A client that orders, one after the other."""
        async with httpx.AsyncClient(base_url=self.base, timeout=10) as client:
            while True:
                lines = [
                    {"variant_id": variant, "quantity": 1}
                    for variant in random.sample(self.variants, 3)
                ]
                body = {"email": "buyer@example.com", "lines": lines}
                try:
                    answer = await client.post("/store/orders", headers=self.shop.store, json=body)
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    self.done["orders"] += 1
                    self.acknowledged.add(answer.json()["order"]["id"])
                else:
                    await asyncio.sleep(0.05)

    async def operate(self, url: str) -> None:
        """An operator with raw SQL: rows that come, change and go, and a third rolled back."""
        tenant = self.shop.tenant
        while True:
            try:
                connection = await asyncpg.connect(url, timeout=5)
            except _DRIVER_ERRORS:
                await asyncio.sleep(0.1)
                continue
            try:
                await connection.execute(f"SET impact.tenant_id = '{tenant}'")
                while True:
                    transaction = connection.transaction()
                    await transaction.start()
                    await connection.execute(
                        "INSERT INTO collection (tenant_id, id, title, handle)"
                        " SELECT $1, gen_random_uuid(), 'new', $2 || n"
                        " FROM generate_series(1, 3) n",
                        tenant,
                        secrets.token_hex(6),
                    )
                    await connection.execute(
                        "UPDATE product_category SET rank = rank + 1"
                        " WHERE tenant_id = $1 AND rank % 3 = $2",
                        tenant,
                        random.randrange(3),  # noqa: S311
                    )
                    await connection.execute(
                        "DELETE FROM collection WHERE tenant_id = $1 AND id IN (SELECT id FROM"
                        " collection WHERE tenant_id = $1 LIMIT 2 FOR UPDATE SKIP LOCKED)",
                        tenant,
                    )
                    if random.random() < 0.33:  # noqa: S311
                        await transaction.rollback()
                    else:
                        await transaction.commit()
                        self.done["transactions"] += 1
            except _DRIVER_ERRORS:
                await asyncio.sleep(0.02)
            finally:
                connection.terminate()

    async def settled(self) -> None:
        """Wait until nothing waits for the relay."""
        async with asyncio.timeout(120):
            while True:
                for process in (self.server, self.relay):
                    if not process.running():
                        process.start()
                with contextlib.suppress(*_DRIVER_ERRORS):
                    connection = await asyncpg.connect(self.endpoints.owner_url, timeout=5)
                    try:
                        if not await connection.fetchval("SELECT change_record_count(1)"):
                            return
                    finally:
                        connection.terminate()
                await asyncio.sleep(0.2)

    async def lose_an_entry(self) -> None:
        """Take an entry from the middle of the log."""
        log = await asyncpg.connect(self.log.owner_url)
        try:
            await log.execute(
                "DELETE FROM audit_log WHERE id = (SELECT id FROM audit_log ORDER BY id"
                " OFFSET (SELECT count(*) / 2 FROM audit_log) LIMIT 1)"
            )
        finally:
            await log.close()

    async def wrong(self) -> list[str]:
        """What the log does not tell as it was; empty where it does."""
        owner = await asyncpg.connect(self.endpoints.owner_url)
        log = await asyncpg.connect(self.log.owner_url)
        try:
            await owner.execute("SET timezone = 'UTC'")
            entries = await log.fetch(_ENTRIES)
            told, found = replay(entries)
            actual = await rows_of(owner)
            tenants = [row["id"] for row in await owner.fetch("SELECT id FROM tenant")]
        finally:
            await owner.close()
            await log.close()
        found += [f"{key}: not in the log" for key in actual.keys() - told.keys()]
        found += [f"{key}: the log alone has it" for key in told.keys() - actual.keys()]
        found += [
            f"{key}: is {actual[key]}, the log says {told[key]}"
            for key in actual.keys() & told.keys()
            if actual[key] != told[key]
        ]
        there = {id for _, table, id in actual if table == "order"}
        found += [f"order {id} was acknowledged and is gone" for id in self.acknowledged - there]
        for tenant in tenants:
            chain = await verified(self.log, tenant)
            if chain.broken is not None:
                found.append(str(chain.broken))
        self.done["entries"] = len(entries)
        return found


def replay(entries: list[asyncpg.Record]) -> tuple[Rows, list[str]]:
    """The rows that the entries make, and what in them does not fit."""
    rows: Rows = {}
    wrong = []
    ids = Counter(entry["id"] for entry in entries)
    wrong += [f"entry {id} is there {count} times" for id, count in ids.items() if count > 1]
    for entry in entries:
        key = (entry["tenant_id"], entry["table_name"], entry["row_id"])
        before = json.loads(entry["before"] or "null")
        after = json.loads(entry["after"] or "null")
        row = rows.get(key)
        if entry["action"] == "insert":
            if row is not None:
                wrong.append(f"entry {entry['id']} inserts {key} again")
            rows[key] = _plain(after)
        elif row is None:
            wrong.append(f"entry {entry['id']} changes {key}, which is not there")
        elif entry["action"] == "delete":
            if _plain(before) != row:
                wrong.append(f"entry {entry['id']} deletes {before}, there was {row}")
            del rows[key]
        else:
            was = {name: row.get(name) for name in before}
            if was != before:
                wrong.append(f"entry {entry['id']} changes {before}, there was {was}")
            rows[key] = _plain({**row, **after})
    return rows, wrong


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in row.items() if value is not None and name not in _IGNORED
    }


async def rows_of(owner: asyncpg.Connection) -> Rows:
    """All rows of all recorded tables, as their records would have them."""
    rows: Rows = {}
    for name in RECORDED:
        table = impact.models.metadata.tables[name]
        tenant = "id" if name == "tenant" else "tenant_id"
        keys = [column.name for column in table.primary_key if column.name != tenant] or ["id"]
        masked = {column.name for column in table.columns if column.info == SECRET}
        for (text,) in await owner.fetch(f'SELECT to_jsonb(t)::text FROM "{name}" t'):
            row = json.loads(text)
            for column in masked & {name for name, value in row.items() if value is not None}:
                row[column] = "***"
            rows[row[tenant], name, ":".join(row[key] for key in keys)] = _plain(row)
    return rows


@contextlib.asynccontextmanager
async def arena(directory: Path, *, audit: bool) -> AsyncIterator[Arena]:
    """Servers of their own, with a shop that has goods."""
    stack = Stack(directory / "stack", replicas=0, durable=False)
    audit_stack = Stack(directory / "audit", replicas=0, durable=False) if audit else None
    port = free_port()
    processes: list[Process] = []
    try:
        endpoints = await asyncio.to_thread(stack.up)
        await asyncio.to_thread(migrations.upgrade, endpoints.owner_url)
        log = endpoints
        if audit_stack is not None:
            log = await asyncio.to_thread(audit_stack.up)
            await asyncio.to_thread(migrations.upgrade, log.owner_url)
        environment = {
            "IMPACT_PRIMARY_URL": endpoints.primary_url,
            "IMPACT_REPLICA_URLS": "",
            "IMPACT_OWNER_URL": "",
            "IMPACT_REDIS_URL": endpoints.redis_url or "",
            "IMPACT_SIGNING_KEYS": f"test:{secrets.token_urlsafe(32)}",
            "IMPACT_DATA_DIR": str(directory / "data"),
            "IMPACT_PASSWORD_MEMORY_KIB": "8",
            "IMPACT_PASSWORD_TIME_COST": "1",
            "IMPACT_RELAY_INTERVAL": "0.1",
            "IMPACT_AUDIT_URL": log.primary_url if audit else "",
        }
        server = Process(
            directory / "server.log", environment, "serve", "--port", str(port), "--workers", "1"
        )
        relay = Process(directory / "relay.log", environment, "relay")
        processes += [server, relay]
        async with open_runtime(settings_module.load(environment)) as runtime:
            shop = await open_shop(runtime, None)
            server.start()
            relay.start()
            base = f"http://127.0.0.1:{port}"
            made = Arena(stack, audit_stack, endpoints, log, server, relay, base, shop)
            async with httpx.AsyncClient(base_url=base, timeout=30) as client:
                await _until_ready(client)
                shop.client = client
                for number in range(8):
                    made.variants.append(await shop.variant(stock=1_000_000, title=f"P {number}"))
                    body = {"name": f"Category {number}", "rank": number}
                    await client.post("/admin/product-categories", headers=shop.admin, json=body)
        yield made
    finally:
        for process in processes:
            process.kill()
        for each in (stack, audit_stack):
            if each is not None:
                await asyncio.to_thread(each.down)


async def _until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get("/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
