"""The rows of the speed table: each measured beside the best that could be done for the same."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec

import impact.domains.catalog.read  # noqa: F401 - registers its statements
from impact.engine.db.statements import registry
from impact.loadtest import cache, orders, telemetry
from impact.loadtest.goods import Shop
from impact.loadtest.limits import Bare, Query
from impact.loadtest.ratios import Row, alternate, row
from impact.loadtest.servers import Server, impact_server, limit_server
from impact.loadtest.wrk import load
from impact.settings import Settings

Told = Callable[[str, float | None], None]
_CONNECTIONS = 16
_LIST = "/admin/products?limit=50"
_TURNS = 4
"""Of each side in a round of the telemetry row."""
_OF_THE_SERVER = {
    *("server", "date", "transfer-encoding", "connection"),
    *("x-request-id", "ratelimit", "ratelimit-policy"),
}
"""And of the one request: the limit need not make these."""


class Bench(msgspec.Struct):
    """What the rows share. ``few`` has fifty products, ``many`` the pages' thousands."""

    settings: Settings
    owner_url: str
    pgbench: Path
    few: Shop
    many: Shop
    rounds: int
    seconds: float
    told: Told

    def step(self, name: str) -> Callable[[int], None]:
        return lambda number: self.told(name, number / self.rounds)


def cached_list(bench: Bench) -> Row:
    """Token, permission, tenant, rate limit and telemetry are on, on one side."""

    def bare(found: list[tuple[str, str]], body: bytes) -> tuple[str, Bare]:
        kept = [(k.lower(), v) for k, v in found if k.lower() not in _OF_THE_SERVER]
        return "bare", Bare(kept, body.decode())

    ours, theirs = _beside(bench, bench.settings, bare, "cached list")
    return row(
        "product list, cached, with token, permission, tenant, rate limit and telemetry on",
        "the same bytes from a bare ASGI app on the same server",
        "requests/s",
        ours,
        theirs,
        at_least=0.35,
        aim=0.7,
        distance="what is left is Python: context, three entries checked, two budgets charged, a"
        " note in the journal and the headers",
    )


def uncached_list(bench: Bench) -> Row:
    """The same page from a server whose catalog is not cached."""
    settings = msgspec.structs.replace(bench.settings, catalog_cache_ttl=0.0)
    ours, theirs = _beside(
        bench, settings, lambda _, body: ("query", _whole_page(bench)), "uncached list"
    )
    return row(
        "product list, cache off",
        "bare ASGI app, one asyncpg statement that builds the JSON",
        "requests/s",
        ours,
        theirs,
        at_least=0.4,
        aim=0.7,
        distance="two round trips more, to begin and to end the transaction that row-level security"
        " reads",
    )


def _beside(
    bench: Bench,
    settings: Settings,
    limit_of: Callable[[list[tuple[str, str]], bytes], tuple[str, Bare | Query]],
    step: str,
) -> tuple[list[float], list[float]]:
    """Requests a second of a list, and of what ``limit_of`` makes of its headers and body."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(impact_server(settings))
        headers = {"authorization": f"Bearer {bench.few.token}"}
        for _ in range(3):
            found, body = _get(server, _LIST, headers)
        limit = stack.enter_context(_limit(*limit_of(found, body)))
        _, same = _get(limit, "/", {})
        assert same == body  # noqa: S101 - a comparison of other bytes would say nothing
        return alternate(
            bench.rounds,
            lambda: _rate(bench, server, _LIST, headers),
            lambda: _rate(bench, limit, "/", {}),
            bench.step(step),
        )


def pages(bench: Bench) -> Row:
    """By the cursor of the page before."""
    settings = msgspec.structs.replace(bench.settings, catalog_cache_ttl=0.0)
    with impact_server(settings) as server:
        headers = {"authorization": f"Bearer {bench.many.token}"}
        size = bench.many.products // 10_100
        first = f"/admin/products?limit={size}"
        _, body = _get(server, f"{first}&offset={size * 9_998}", headers)
        cursor = msgspec.json.decode(body)["next_cursor"]
        far = f"{first}&cursor={cursor}"
        ours, theirs = alternate(
            bench.rounds,
            lambda: 1 / _rate(bench, server, far, headers),
            lambda: 1 / _rate(bench, server, first, headers),
            bench.step("page 10,000"),
        )
    return row(
        "page 10,000 against page 1",
        f"page 1 of {bench.many.products:,} products, cache off",
        "ms",
        [each * 1000 for each in ours],
        [each * 1000 for each in theirs],
        at_least=1.2,
        aim=1.05,
        more=False,
    )


def telemetry_cost(bench: Bench) -> Row:
    bench.told("telemetry", None)
    # The difference is small beside what else moves the machine for seconds at a time, which only
    # ever adds: the server's processor time, and of each side's turns in a round the best.
    cost = telemetry.measure(
        bench.settings,
        bench.few.tenant,
        rounds=_TURNS * bench.rounds,
        seconds=bench.seconds / _TURNS,
        lists=["cached"],
    )["cached"]
    return row(
        "telemetry on against off, cached list",
        "the same server with telemetry off",
        "requests a CPU second",
        [1e6 / min(turns) for turns in _rounds(cost.cpus_on)],
        [1e6 / min(turns) for turns in _rounds(cost.cpus_off)],
        at_least=0.85,
        aim=0.95,
        distance="a note in the journal, which is added up later, and one trace in twenty,"
        " where the whole request takes so little",
    )


def _rounds(turns: Sequence[float]) -> Iterator[Sequence[float]]:
    return (turns[first : first + _TURNS] for first in range(0, len(turns), _TURNS))


def order_of_three(bench: Bench) -> Row:
    ours, theirs = orders.measure(
        bench.settings,
        bench.owner_url,
        bench.pgbench,
        bench.few,
        bench.rounds,
        bench.seconds,
        bench.step("orders"),
    )
    return row(
        "order of three lines, 25 clients",
        "pgbench -M prepared with the same statements",
        "orders/s",
        ours,
        theirs,
        at_least=0.3,
        aim=0.5,
        distance="one Python process serves while PostgreSQL has the other core",
    )


def in_process(bench: Bench) -> list[Row]:
    """A permission check and a hit of L1, in microseconds."""
    checks, hits = [], []
    for number in range(bench.rounds):
        bench.step("permission checks")(number)
        costs = asyncio.run(cache.measure(bench.settings))
        checks.append(costs.permission_check)
        hits.append(costs.l1_hit)
    return [
        row(
            "warm permission check",
            "-",
            "us",
            checks,
            [],
            at_least=5.0,
            aim=1.0,
            more=False,
            distance="a hit of L1, and its key, which to keep beside the token would save",
        ),
        row(
            "L1 hit",
            "-",
            "us",
            hits,
            [],
            at_least=3.0,
            aim=1.0,
            more=False,
            distance="a coroutine's call around a look-up and its versions",
        ),
    ]


ROWS: dict[str, Callable[[Bench], Row | list[Row]]] = {
    "cached-list": cached_list,
    "uncached-list": uncached_list,
    "in-process": in_process,
    "pages": pages,
    "telemetry": telemetry_cost,
    # The last: what it leaves to be relayed would tell the others' caches of changes.
    "orders": order_of_three,
}


def measure(bench: Bench, chosen: tuple[str, ...]) -> list[Row]:
    """The rows of those names, in the table's order."""
    rows: list[Row] = []
    for name, each in ROWS.items():
        if name in chosen:
            found = each(bench)
            rows += found if isinstance(found, list) else [found]
    return rows


def _rate(bench: Bench, server: Server, path: str, headers: dict[str, str]) -> float:
    url = f"http://127.0.0.1:{server.port}{path}"
    return load(url, connections=_CONNECTIONS, seconds=bench.seconds, headers=headers).rate


def _get(server: Server, path: str, headers: dict[str, str]) -> tuple[list[tuple[str, str]], bytes]:
    request = Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    with urlopen(request, timeout=10) as response:  # noqa: S310 - our own server
        return response.getheaders(), response.read()


@contextlib.contextmanager
def _limit(app: str, content: Bare | Query) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="impact-bench-") as folder:
        file = Path(folder) / "limit.json"
        file.write_bytes(msgspec.json.encode(content))
        with limit_server(app, {"LIMIT_FILE": str(file)}) as server:
            yield server


def _whole_page(bench: Bench) -> Query:
    """The page that Impact answers with, as one statement's one value."""
    plainest = registry["catalog.product_list"][0]
    sql = f"""
        SELECT '{{"products":[' || string_agg(body, ',' ORDER BY sort_key DESC, id DESC)
            || '],"count":' || max(total) || ',"offset":0,"limit":50,"next_cursor":null}}'
        FROM ({plainest.sql}) AS page
    """
    values = {"limit": 51, "offset": 0, "count_limit": bench.settings.count_limit}
    url = (bench.settings.replica_urls or (bench.settings.primary_url,))[0]
    return Query(url, bench.few.tenant, sql, plainest.bind(bench.few.tenant, values))
