"""Orders: through the API, beside the same statements from pgbench.

pgbench binds what it can compute: the variants are drawn by number, and the order's lines are put
together by PostgreSQL where Impact sends them. Otherwise the transaction is Impact's own: its
statements, its settings, its triggers, and the position of the WAL after it.
"""

import asyncio
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.engine import make_url

import impact.flows.checkout.placement  # noqa: F401 - registers its statements
from impact.context import system_context
from impact.engine.db import tenancy
from impact.engine.db.observer import POSITION
from impact.engine.db.statements import Statement, registry
from impact.errors import ConfigurationError
from impact.loadtest.goods import Shop
from impact.loadtest.ratios import alternate
from impact.loadtest.servers import impact_server
from impact.loadtest.wrk import load
from impact.settings import Settings

_CLIENTS = 25
_BEFORE = 3.0
"""Seconds of orders that fill the tables."""
_LUA = """
local ids = {%s}
math.randomseed(os.time())
wrk.method = "POST"
function request()
  local drawn, lines = {}, {}
  while #lines < 3 do
    local id = ids[math.random(#ids)]
    if not drawn[id] then
      drawn[id] = true
      lines[#lines + 1] = '{"variant_id":"' .. id .. '","quantity":1}'
    end
  end
  return wrk.format(nil, nil, nil,
    '{"email":"buyer@bench.example","lines":[' .. table.concat(lines, ",") .. "]}")
end
"""
_DRAWN = "ARRAY[{}]::uuid[]".format(
    ", ".join(f"md5('{{tenant}}' || 'v' || :n{i})::uuid" for i in range(3))
)
_LINES = (
    "(SELECT json_agg(json_build_object('id', gen_random_uuid(), 'product_id', v.product_id,"
    " 'variant_id', v.id, 'title', 'Product', 'variant_title', v.title, 'variant_sku', v.sku,"
    " 'quantity', 1, 'unit_price', 1000, 'total', 1000, 'rank', 0, 'reserve', true))"
    " FROM product_variant v WHERE v.tenant_id = '{tenant}' AND v.id = ANY(" + _DRAWN + "))"
)
# What stands for each parameter of Impact's statements.
_VALUES = {
    "tenant_id": "'{tenant}'::text",
    "variant_ids": _DRAWN,
    "quantities": "'{1,1,1}'",
    "currency_code": "'eur'::text",
    "customer_id": "NULL::uuid",
    "order_id": "md5(:order || 'order')::uuid",
    "display_id": ":display_id",
    "email": "'buyer@bench.example'::text",
    "cart_id": "NULL::uuid",
    "item_total": "3000::bigint",
    "units": "3",
    "shipping_address": "NULL",
    "billing_address": "NULL",
    "metadata": "NULL",
    "created_at": "now()",
    "lines": _LINES,
    "event_id": "gen_random_uuid()",
    "actor": "'anonymous'::text",
    "key_id": "NULL::uuid",
    "response": "NULL::text",
}


def measure(
    settings: Settings,
    owner_url: str,
    pgbench: Path,
    shop: Shop,
    rounds: int,
    seconds: float,
    told: Callable[[int], None],
) -> tuple[list[float], list[float]]:
    """Orders a second of each round: Impact's and pgbench's.

    The relay is off for both: it would move what the other has left. Some orders are placed and
    the tables analysed before, as those of a shop at work are: a connection keeps the plans that it
    made when they were empty, and those of triggers and foreign keys read whole tables then.
    """
    headers = {"x-tenant-id": shop.tenant, "content-type": "application/json"}
    script = _LUA % ",".join(f'"{each}"' for each in _variants(shop))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(_script(shop))
        file.flush()
        _pgbench(settings, pgbench, Path(file.name), _BEFORE)
        asyncio.run(_analyse(owner_url))
        with impact_server(msgspec.structs.replace(settings, relay="off")) as server:
            url = f"http://127.0.0.1:{server.port}/store/orders"
            return alternate(
                rounds,
                lambda: (
                    load(
                        url, connections=_CLIENTS, seconds=seconds, headers=headers, script=script
                    ).rate
                ),
                lambda: _pgbench(settings, pgbench, Path(file.name), seconds),
                told,
            )


async def _analyse(owner_url: str) -> None:
    owner = await asyncpg.connect(owner_url)
    try:
        await owner.execute("ANALYZE")
    finally:
        await owner.close()


def _variants(shop: Shop) -> list[str]:
    return [
        str(UUID(hashlib.md5(f"{shop.tenant}v{n}".encode(), usedforsecurity=False).hexdigest()))
        for n in range(1, shop.products * 2 + 1)
    ]


def _script(shop: Shop) -> str:
    most = shop.products * 2 // 3
    draws = "\n".join(f"\\set n{i} random({i * most + 1}, {(i + 1) * most})" for i in range(3))
    context = system_context(shop.tenant, "bench")
    context.reason = None
    take, place = (
        _filled(registry[f"checkout.{name}"][0], shop) for name in ("take_stock", "place")
    )
    # Impact sends BEGIN and the settings as one message; prepared, each is one of its own, and
    # only a pipeline lets pgbench wait for them once.
    begin = "\n".join(
        f"{part.strip()};" for part in tenancy.begin(context, read_only=False).split(";")
    )
    return f"""{draws}
\\set order random(1, 9000000000000000000)
\\startpipeline
{begin}
\\endpipeline
{take} \\aset
{place};
END;
{POSITION.sql};
"""


def _filled(statement: Statement, shop: Shop) -> str:
    sql = re.sub(r"/\*.*?\*/", "", statement.sql)
    for place in range(len(statement.parameters), 0, -1):
        value = _VALUES[statement.parameters[place - 1]].replace("{tenant}", shop.tenant)
        sql = sql.replace(f"${place}", value)
    return sql.strip()


def _pgbench(settings: Settings, program: Path, script: Path, seconds: float) -> float:
    url = make_url(settings.primary_url)
    done = subprocess.run(  # noqa: S603 - no shell, our own arguments
        [
            str(program),
            *("-n", "-M", "prepared", "-c", str(_CLIENTS), "-j", "1"),
            *("-T", str(max(1, round(seconds))), "-f", str(script)),
            *("-h", str(url.host), "-p", str(url.port), "-U", str(url.username)),
            str(url.database),
        ],
        env={"PGPASSWORD": url.password or ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    rate = re.search(r"tps = ([\d.]+) \(without", done.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if done.returncode or rate is None or (failed and failed[1] != "0"):
        raise ConfigurationError(f"pgbench failed: {done.stderr[:2000]}{done.stdout}")
    return float(rate[1])
