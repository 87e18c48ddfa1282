"""``impact loadtest`` against a server that runs: what it reports, and that its verdict is true."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from impact.loadtest.scenarios import shops
from impact.loadtest.scenarios.client import CannotRunError
from impact.loadtest.scenarios.report import Report
from impact.loadtest.scenarios.run import SCENARIOS, Plan, run
from impact.loadtest.scenarios.targets import TARGETS
from impact.settings import Settings, environment
from support.dev import free_port, impact
from support.serving import Served, serving
from support.shops import Shop

QUICK = {"IMPACT_DRAIN_DELAY": "0"}
"""No balancer has to notice that the server ends."""

pytestmark = pytest.mark.xdist_group("loadtest")


@pytest.fixture(scope="module")
async def served(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    async with serving(settings, tmp_path_factory.mktemp("loadtest"), **QUICK) as found:
        yield found


def bearer(shop: Shop) -> str:
    return shop.admin["authorization"].removeprefix("Bearer ")


def plan(base: str, shop: Shop, *scenarios: str, **changes: Any) -> Plan:
    """A small run on the shop."""
    sizes = {"visits": 20, "concurrency": 4, "warm_up": 0, **changes}
    return Plan(
        url=base,
        scenarios=scenarios,
        targets=TARGETS["development"],
        token_of=lambda tenant: bearer(shop),
        tenant=shop.tenant,
        **sizes,
    )


def silent(step: str, fraction: float | None) -> None:
    """Nobody looks."""


async def command(base: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(impact, "loadtest", "--url", base, *arguments, **env)


@contextlib.asynccontextmanager
async def through(base: str, before: Callable[[bytes], Awaitable[None]]) -> AsyncIterator[str]:
    """A proxy that does ``before`` with what a client sent, and then passes it on."""
    port = int(base.rpartition(":")[2])
    tasks: set[asyncio.Task[None]] = set()

    async def copy(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if requests:
                    await before(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            copy(reader, up_writer, requests=True), copy(up_reader, writer, requests=False)
        )
        for each in (writer, up_writer):
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)


async def left_of(shop: Shop) -> tuple[int, set[str]]:
    """The products a run left in the shop, and the states of its orders."""
    assert shop.client is not None
    products = await shop.client.get("/admin/products?tag=loadtest", headers=shop.admin)
    orders = await shop.client.get("/admin/orders?limit=100", headers=shop.admin)
    return products.json()["count"], {order["status"] for order in orders.json()["orders"]}


class TestCommand:
    async def test_all_scenarios(
        self, served: Served, settings: Settings, shop: Shop, other_shop: Shop, tmp_path: Path
    ) -> None:
        page = tmp_path / "report.html"
        result = await command(
            served.base,
            *("--tenant", shop.tenant, "--noisy-tenant", other_shop.tenant),
            *("-n", "60", "-c", "4", "--json", "--html", str(page)),
            **environment(settings),
        )
        assert result.returncode in {0, 1}, result.stderr
        report = msgspec.json.decode(result.stdout, type=Report)
        assert [each.name for each in report.scenarios] == list(SCENARIOS)
        assert (result.returncode == 0) == all(each.met for each in report.scenarios)
        for each in report.scenarios:
            assert each.failed == 0, each.failures
            assert each.left == 0
            assert each.loop == ("open" if each.name == "shop-day" else "closed")
            assert each.requests == sum(kind.requests for kind in each.kinds) >= 60
            assert each.requests == sum(piece.requests for piece in each.over_time)
            by_name = {each.name: each for each in report.scenarios}
        # One that is over in a moment may have been looked at by nobody.
        assert sum(each.server.samples for each in report.scenarios) > 0
        assert by_name["products"].requests == by_name["orders"].requests == 60
        assert {kind.kind: kind.requests for kind in by_name["permissions"].kinds} == {
            "check, cold": 3,
            "check, warm": 57,
            "list, with a permission": 12,
            "list, without": 12,
        }
        day = {kind.kind for kind in by_name["shop-day"].kinds}
        assert {"listing", "noisy: listing", "noisy: product", "noisy: order"} <= day
        for each in (shop, other_shop):
            assert await left_of(each) in [(0, {"canceled"}), (0, set())]
        assert "Mixed shop day" in page.read_text()

    async def test_a_second_run_is_as_good_as_the_first(self, served: Served, shop: Shop) -> None:
        arguments = ("orders", "--tenant", shop.tenant, "-n", "20", "-c", "4")
        for _ in range(2):
            result = await command(
                served.base, *arguments, "--token", f"{shop.tenant}={bearer(shop)}"
            )
            assert result.returncode in {0, 1}, result.stderr
            assert "Order creation: 20 requests" in result.stdout
            assert await left_of(shop) == (0, {"canceled"})

    async def test_what_failed_is_said(
        self, settings: Settings, shop: Shop, tmp_path: Path
    ) -> None:
        limits = f"{shop.tenant}:caller-read=10/60"
        async with serving(settings, tmp_path, IMPACT_RATE_LIMITS=limits, **QUICK) as served:
            result = await command(
                served.base,
                *("products", "--tenant", shop.tenant, "-n", "30", "-c", "2", "--warm-up", "0"),
                *("--token", f"{shop.tenant}={bearer(shop)}"),
            )
        assert result.returncode == 1, result.stderr
        assert "20 x listing: 429 " in result.stdout
        assert "NOT ALL TARGETS ARE MET" in result.stdout


class TestInterrupted:
    async def test_what_is_left_is_said_and_the_rest_removed(
        self, served: Served, shop: Shop
    ) -> None:
        """The second Ctrl-C comes while the first is cleaned up after."""
        child: asyncio.subprocess.Process | None = None
        placed = 0
        removing = False

        async def interrupt(request: bytes) -> None:
            nonlocal placed, removing
            placed += b"POST /store/orders" in request
            if child is not None and (placed == 30 or (b"DELETE" in request and not removing)):
                removing |= b"DELETE" in request
                placed += 1
                child.send_signal(signal.SIGINT)

        async with through(served.base, interrupt) as base:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "impact", "loadtest", "orders", "--url", base),
                *("--tenant", shop.tenant, "--token", f"{shop.tenant}={bearer(shop)}"),
                *("-n", "100000", "-c", "4", "--warm-up", "0"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            said, errors = await child.communicate()
        assert removing
        assert child.returncode == 130, errors
        assert said == b""
        text = errors.decode()
        found = re.fullmatch(
            r"Interrupted: (\d+) cancelled orders remain(?:, and up to (\d+) pending ones whose"
            r" answer had not come)?; the goods and users of the run are removed.\n",
            text,
        )
        assert found, text
        products, _ = await left_of(shop)
        assert products == 0
        assert shop.client is not None
        orders = await shop.client.get("/admin/orders?limit=100", headers=shop.admin)
        states = Counter(order["status"] for order in orders.json()["orders"])
        assert states["canceled"] == int(found[1])
        assert states["pending"] <= int(found[2] or 0)

    async def test_cleaning_ends_where_the_server_hangs(
        self, served: Served, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shops, "_PATIENCE", 0.2)

        ended = asyncio.Event()
        stalled: list[bytes] = []

        async def stall(request: bytes) -> None:
            if b"/cancel" in request or b"DELETE" in request:
                stalled.append(request)
                await ended.wait()
                raise ConnectionResetError

        async with through(served.base, stall) as base:
            report = await run(plan(base, shop, "orders"), silent)
            ended.set()
        assert report.scenarios[0].left == 20 + 40
        # As many as are sent at once, of the orders and of the goods.
        assert len(stalled) <= 16


class TestCannotRun:
    async def test_no_server(self) -> None:
        result = await command(f"http://127.0.0.1:{free_port()}", "products")
        assert result.returncode == 2
        assert "make run" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1

    async def test_a_token_that_is_refused(self, served: Served, shop: Shop) -> None:
        result = await command(
            served.base, "products", "--tenant", shop.tenant, "--token", f"{shop.tenant}=x"
        )
        assert result.returncode == 2
        assert "--data-dir" in result.stderr

    async def test_no_such_shop(self, served: Served, settings: Settings) -> None:
        result = await command(
            served.base, "products", "--tenant", "nowhere", **environment(settings)
        )
        assert result.returncode == 2
        assert "the shop 'nowhere' does not exist" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--url", "localhost"], "no http:// or https:// address"),
            (["--token", "paris"], "TENANT=TOKEN"),
            (["--noisy-tenant", "paris"], "another shop"),
            (["everything"], "'everything' is not one of"),
            (["shop-day", "--tenant", "lyon"], "another shop"),
            (["products", "--token", "lyon=x"], "'lyon' takes no part"),
            (["orders", "--tenant", "oslo", "--token", "paris=x"], "'paris' takes no part"),
        ],
    )
    def test_a_wrong_option(self, arguments: list[str], said: str) -> None:
        result = impact("loadtest", *arguments)
        assert result.returncode == 2
        assert said in result.stderr

    async def test_the_noisy_shop_is_the_shop_days_alone(self) -> None:
        base = f"http://127.0.0.1:{free_port()}"
        result = await command(base, "products", "--tenant", "lyon", "--token", "lyon=x")
        assert "no server answers" in result.stderr

    @pytest.mark.parametrize("scenario", list(SCENARIOS))
    async def test_another_server(self, scenario: str, shop: Shop, other_shop: Shop) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(CannotRunError, match="another one"):
                await run(plan(base, shop, scenario), silent)

    async def test_metrics_that_are_kept_secret(
        self, settings: Settings, shop: Shop, tmp_path: Path
    ) -> None:
        secret = "s" * 40
        async with serving(settings, tmp_path, IMPACT_METRICS_TOKEN=secret, **QUICK) as served:
            with pytest.raises(CannotRunError, match="IMPACT_METRICS_TOKEN"):
                await run(plan(served.base, shop, "products"), silent)
            report = await run(plan(served.base, shop, "products", metrics_token=secret), silent)
        assert report.scenarios[0].failed == 0


class TestVerdict:
    async def test_a_slow_server_does_not_pass(self, served: Served, shop: Shop) -> None:
        async def slow(request: bytes) -> None:
            await asyncio.sleep(0.25)

        async with through(served.base, slow) as base:
            report = await run(plan(base, shop, "products"), silent)
        (found,) = report.scenarios
        checks = {check.name: check for check in found.checks}
        listing = checks["listing, p95"]
        assert not listing.met
        assert listing.measured is not None
        assert listing.measured >= 250
        assert found.failed == 0
        assert not report.met

    async def test_a_server_that_goes_away_does_not_pass(self, served: Served, shop: Shop) -> None:
        seen = 0

        async def break_off(request: bytes) -> None:
            nonlocal seen
            seen += b"/store/products" in request
            if seen > 5:
                raise ConnectionResetError

        async with through(served.base, break_off) as base:
            report = await run(plan(base, shop, "products"), silent)
        assert report.scenarios[0].failed == 15
        assert not report.met

    async def test_what_warms_up_is_not_measured(self, served: Served, shop: Shop) -> None:
        seen = 0

        async def fail_at_first(request: bytes) -> None:
            nonlocal seen
            seen += b"/store/products" in request
            if seen == 3:
                raise ConnectionResetError

        async with through(served.base, fail_at_first) as base:
            report = await run(plan(base, shop, "products", warm_up=5), silent)
        (found,) = report.scenarios
        assert (found.requests, found.failed) == (20, 0)
        assert found.load.warm_up == 5
        assert seen >= 25

    async def test_the_hit_rate_is_of_the_run_alone(self, served: Served, shop: Shop) -> None:
        assert shop.client is not None
        await shop.product()
        async with httpx.AsyncClient(base_url=served.base) as client:
            for n in range(1, 40):  # each list is another one, and no look-up a hit
                await client.get(f"/store/products?limit={n}", headers=shop.store)
        report = await run(plan(served.base, shop, "products", visits=100), silent)
        server = report.scenarios[0].server
        assert server.hit_rate is not None
        assert server.hit_rate > 0.85
        assert 100 <= server.lookups <= 500


class TestOpenLoop:
    async def test_who_came_while_the_server_stalled_is_not_left_out(
        self, served: Served, shop: Shop
    ) -> None:
        """One request is sent into the stall; half of all are due while it lasts."""
        stall, rate, visits = 1.0, 50.0, 100
        seen = 0

        async def stalled(request: bytes) -> None:
            nonlocal seen
            seen += b"/store/products" in request
            if seen == 25:
                seen += 1
                await asyncio.sleep(stall)

        async with through(served.base, stalled) as base:
            report = await run(
                plan(base, shop, "products", visits=visits, rate=rate, concurrency=1), silent
            )
        (found,) = report.scenarios
        (listing,) = found.kinds
        assert found.loop == "open"
        assert listing.requests == visits
        assert listing.max >= stall * 1000
        # Of a hundred requests more than ten were due in the first half of the stall.
        assert listing.p90 >= stall * 500
        # Measured from the sending, one of a hundred saw it.
        assert listing.uncorrected_p95 < listing.p90
        assert listing.uncorrected_p99 < stall * 1000 <= listing.uncorrected_curve[-1][1]

    async def test_arrivals_keep_their_rate(self, served: Served, shop: Shop) -> None:
        report = await run(
            plan(served.base, shop, "products", visits=None, rate=40.0, duration=1.0), silent
        )
        found = report.scenarios[0]
        # On a busy machine the last ones may be too late.
        assert found.requests + found.failed == 40

    async def test_it_ends_at_its_duration_however_far_behind(
        self, served: Served, shop: Shop
    ) -> None:
        report = await run(
            plan(served.base, shop, "products", visits=None, rate=50_000.0, duration=1.0), silent
        )
        found = report.scenarios[0]
        assert not found.met
        unsent = found.failures["visit: due, but not sent before the end"]
        assert unsent == found.failed > 0
        assert unsent + found.requests == 50_000
        # Latency is counted from when a visit was due: those that were sent late show it.
        (listing,) = found.kinds
        assert listing.uncorrected_p50 < listing.p50

    async def test_a_duration_ends_a_closed_loop(self, served: Served, shop: Shop) -> None:
        report = await run(plan(served.base, shop, "products", visits=None, duration=0.3), silent)
        found = report.scenarios[0]
        assert found.client.seconds >= 0.3
        assert json.loads(msgspec.json.encode(report))["scenarios"][0]["load"]["visits"] is None
