"""What an export of very many rows costs the server: ``impact bench export``.

The rows are order lines. The server is a process of its own with one worker, whose resident memory
the kernel knows, the highest included; the client reads as fast as it can.
"""

import asyncio
import contextlib
import http.client
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import msgspec

from impact.context import system_context
from impact.engine.runtime import open_runtime
from impact.errors import ImpactError
from impact.loadtest.goods import stocked_shop, switch_recording
from impact.loadtest.servers import Server, impact_server
from impact.settings import Settings

_TENANT = "bench"
_LINES = 4
"""Of an order."""
_FIRST_BYTES = 21
_PIECE = 1 << 16
_CATCH_UP = 600
_CASES = (("ndjson", ""), ("csv", ""), ("csv", "gzip"), ("csv", "zstd"))
_ORDERS = """
INSERT INTO "order" (tenant_id, id, email, currency_code, item_total, total, units, created_at)
SELECT $1, md5('order' || n)::uuid, 'buyer' || n || '@mail.example', 'eur', 4000, 4000, 4,
       now() - n * interval '1 minute'
FROM generate_series(1, $2::int) AS n
"""
_ORDER_LINES = """
INSERT INTO order_line (tenant_id, id, order_id, title, variant_title, sku, quantity, unit_price,
                        total, rank)
SELECT $1, gen_random_uuid(), o.id, 'Linen shirt, navy', 'M', 'LS-' || r, 1, 1000, 1000, r
FROM "order" o, generate_series(1, $2::int) AS r WHERE o.tenant_id = $1
"""


class Export(msgspec.Struct):
    """``first_ms`` is the median of the times to the first byte, ``slowest_first_ms`` the longest.
    ``memory_before`` is the worker's resident memory when the export began, ``memory_peak`` the
    highest until it ended, both in bytes."""

    rows: int
    bytes: int
    seconds: float
    first_ms: float
    slowest_first_ms: float
    memory_before: int
    memory_peak: int

    @property
    def raised(self) -> int:
        return self.memory_peak - self.memory_before


async def measure(
    settings: Settings,
    owner_url: str,
    *,
    rows: int,
    progress: Callable[[str, float | None], None],
) -> dict[str, Export]:
    """Exports of ``rows`` order lines by format, from an empty, migrated database."""
    progress("filling the database", None)
    token = await _fill(settings, owner_url, rows)
    found: dict[str, Export] = {}
    # Those that are left after their first byte may still be ending when the next one begins.
    many = msgspec.structs.replace(settings, export_limit=_FIRST_BYTES)
    with impact_server(many) as server:
        client = _Client(server, token, rows)
        for format, coding in _CASES:
            name = f"{format}, {coding}" if coding else format
            progress(name, None)
            found[name] = await asyncio.to_thread(client.export, format, coding)
    return found


async def _fill(settings: Settings, owner_url: str, rows: int) -> str:
    """A shop with that many order lines; its owner's token."""
    owner = await asyncpg.connect(owner_url)
    try:
        async with open_runtime(settings) as runtime:
            shop = await stocked_shop(runtime, owner, _TENANT, 0)
            await switch_recording(owner, on=False)
            await owner.execute(_ORDERS, _TENANT, rows // _LINES)
            await owner.execute(_ORDER_LINES, _TENANT, _LINES)
            await switch_recording(owner, on=True)
            await owner.execute("VACUUM ANALYZE")
            # A commit whose position says from where on a replica has it all.
            context = system_context(_TENANT, "bench")
            async with runtime.database.write(context):
                pass
            for node in runtime.database.nodes.replicas():
                if not await node.wait_for_replay(context.token, _CATCH_UP):
                    raise ImpactError(f"{node.name} does not catch up")
    finally:
        await owner.close()
    return shop.token


class _Client:
    def __init__(self, server: Server, token: str, rows: int) -> None:
        self._port = server.port
        self._headers = {"authorization": f"Bearer {token}"}
        self._worker = Path(f"/proc/{server.worker}")
        self._rows = rows // _LINES * _LINES

    def export(self, format: str, coding: str) -> Export:
        # What is loaded or compiled at the first of a kind is no cost of the length.
        firsts = [self._stream(format, coding, whole=False)[0] for _ in range(_FIRST_BYTES)][1:]
        # The kernel's note of the highest begins anew (proc(5), clear_refs).
        (self._worker / "clear_refs").write_text("5")
        before = self._memory("VmRSS")
        began = time.perf_counter()
        _, lines, size = self._stream(format, coding, whole=True)
        took = time.perf_counter() - began
        if not coding and lines != self._rows + (format == "csv"):
            raise ImpactError(f"{lines} lines came, not {self._rows}")
        return Export(
            rows=self._rows,
            bytes=size,
            seconds=took,
            first_ms=statistics.median(firsts) * 1000,
            slowest_first_ms=max(firsts) * 1000,
            memory_before=before,
            memory_peak=self._memory("VmHWM"),
        )

    def _stream(self, format: str, coding: str, *, whole: bool) -> tuple[float, int, int]:
        """Seconds to the first byte of the body, then how many lines and bytes there were."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            began = time.perf_counter()
            path = f"/admin/exports/order-lines?format={format}"
            headers = {**self._headers, "accept-encoding": coding or "identity"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise ImpactError(f"{path} answers {response.status}")
            piece = response.read1(_PIECE)
            first = time.perf_counter() - began
            lines = size = 0
            while whole and piece:
                lines += piece.count(b"\n")
                size += len(piece)
                piece = response.read1(_PIECE)
        return first, lines, size

    def _memory(self, name: str) -> int:
        """Bytes, as the kernel counts them for the worker."""
        _, _, rest = (self._worker / "status").read_text().partition(f"{name}:")
        return int(rest.split()[0]) * 1024
