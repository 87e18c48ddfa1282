"""The dashboard's routes: who may look, for how long, and what they share."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.context import Actor, ActorKind
from impact.engine.telemetry.series import Kind
from impact.engine.telemetry.workers import Totals
from impact.ops.alerts.history import History, Point
from impact.ops.dashboard import controllers, stream
from impact.ops.dashboard.charts import charts, described, draw
from impact.ops.dashboard.feed import Feed
from support.client import PatientClient
from support.dev import free_port
from support.lifespan import started

DATA = ("/ops/figures", "/ops/events", "/ops/queries/identity.user_access/plan")


class Viewer:
    """A request for the events, driven by hand: ``receive`` and ``send`` are the test's."""

    def __init__(self, app: Litestar, headers: dict[str, str], method: str = "GET") -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.taking = asyncio.Event()
        self.taking.set()
        self._leave = asyncio.Event()
        self._asked = False
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/ops/events",
            "raw_path": b"/ops/events",
            "root_path": "",
            "query_string": b"",
            "headers": [
                (k.lower().encode(), v.encode())
                for k, v in {"host": "impact.test", **headers}.items()
            ],
            "client": ("127.0.0.1", 1),
            "server": ("impact.test", 80),
            "state": {},
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.taking.wait()
        self.messages.put_nowait(message)

    def leave(self) -> None:
        self._leave.set()

    async def status(self) -> int:
        message = await asyncio.wait_for(self.messages.get(), 20)
        found: int = message["status"]
        return found

    async def events(self) -> AsyncIterator[tuple[str, Any]]:
        """Name and data of each, to the end of the stream."""
        while True:
            message = await asyncio.wait_for(self.messages.get(), 20)
            if message["type"] == "http.response.start":
                continue
            for name, data in re.findall(r"event: (.*)\ndata: (.*)\n\n", message["body"].decode()):
                yield name, msgspec.json.decode(data)
            if not message.get("more_body"):
                return

    async def first(self, wanted: str) -> Any:
        async for name, data in self.events():
            if name == wanted:
                return data
        pytest.fail(f"the stream ended without {wanted}")


@pytest.fixture
async def watch(app: Litestar) -> AsyncIterator[Any]:
    """Opens streams, which end with the test."""
    viewers: list[Viewer] = []

    def follow(headers: dict[str, str], method: str = "GET") -> Viewer:
        viewers.append(Viewer(app, headers, method))
        return viewers[-1]

    yield follow
    for viewer in viewers:
        viewer.taking.set()
        viewer.leave()
    await asyncio.gather(*(viewer.task for viewer in viewers))
    assert app.state.feed.watching == 0


class TestWhoMayLook:
    @pytest.mark.parametrize("path", DATA)
    async def test_staff_of_a_shop_may_not(self, client, shop, path):
        response = await client.get(path, headers=shop.admin)
        assert response.status_code == 403
        assert "headquarters" in response.json()["detail"]

    @pytest.mark.parametrize("path", DATA)
    async def test_nor_by_naming_headquarters(self, client, shop, path):
        response = await client.get(path, headers={**shop.admin, "x-tenant-id": "hq"})
        assert response.status_code == 403

    @pytest.mark.parametrize("path", DATA)
    async def test_nor_somebody_unknown(self, client, path):
        assert (await client.get(path)).status_code == 401

    @pytest.mark.parametrize("path", DATA)
    async def test_nor_a_customer(self, client, runtime, path):
        token = runtime.tokens.issue(Actor(ActorKind.CUSTOMER, "hq", UUID(int=1)))
        response = await client.get(path, headers={"authorization": f"Bearer {token}"})
        assert response.status_code == 401

    @pytest.mark.parametrize("path", DATA)
    async def test_nor_staff_of_headquarters_without_the_permission(
        self, client, headquarters, path
    ):
        response = await client.get(path, headers=await headquarters.user("order:read"))
        assert response.status_code == 403
        assert "ops:read" in response.json()["detail"]

    async def test_nor_in_the_name_of_a_shop(self, client, hq, shop):
        response = await client.get("/ops/figures", headers={**hq, "x-tenant-id": shop.tenant})
        assert response.status_code == 403

    async def test_who_holds_it_may(self, client, headquarters):
        headers = await headquarters.user("ops:read")
        response = await client.get("/ops/figures", headers=headers)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"


class TestPage:
    async def test_it_is_open_and_loads_nothing_from_elsewhere(self, client):
        response = await client.get("/ops")
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        links = re.findall(r'(?:src|href)="([^"#]+)"', response.text)
        assert len(links) == 8
        assert not re.search(r"<style|<script>|\sstyle=|\son\w+=", response.text)
        for link in links:
            asset = await client.get(link)
            assert asset.status_code == 200
            assert "immutable" in asset.headers["cache-control"]
        assert "//" not in "".join(links)

    async def test_the_script_makes_no_markup_of_text(self, client):
        page = await client.get("/ops")
        policy = page.headers["content-security-policy"]
        assert "require-trusted-types-for 'script'" in policy
        scripts = await self._scripts(client, page.text)
        script = "".join(scripts.values())
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert sink not in script
        # The one place that parses: the charts, which the server draws and escapes.
        assert script.count("DOMParser") == 1
        # None is waited for that the page did not ask for beforehand.
        imported = set(re.findall(r'from "([^"]+)"', script))
        assert imported == set(scripts) - set(re.findall(r'src="([^"]+)"', page.text))

    async def _scripts(self, client, page: str) -> dict[str, str]:
        links = re.findall(r'(?:src|href)="([^"]+[.]js)"', page)
        return {link: (await client.get(link)).text for link in links}

    async def test_it_is_sent_again_only_when_it_changed(self, client):
        etag = (await client.get("/ops")).headers["etag"]
        again = await client.get("/ops", headers={"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b"")

    @pytest.mark.parametrize("name", ["ops.js", "..%2ffeed.py", "feed.py", "ops.0000.js"])
    async def test_other_files_are_not_served(self, client, name):
        assert (await client.get(f"/ops/assets/{name}")).status_code == 404


class TestFigures:
    async def test_they_are_of_what_happened(self, settings, hq, shop):
        # A process that has served hundreds of shops counts further ones together; this one
        # has not.
        async with started(create_app(settings)) as app, PatientClient(app) as client:
            app.state.runtime.telemetry.monitor.observe(Kind.QUERY, "tests.query", 7.0)
            await client.get("/store/products", headers=shop.store)
            await client.get("/store/products", headers=shop.store)
            found = (await client.get("/ops/figures", headers=hq)).json()
        rows = {row["name"]: row for row in found["queries"]["rows"]}
        assert rows["tests.query"]["p95"] == pytest.approx(7, rel=0.01)
        shops = {row["name"]: row for row in found["tenants"]["rows"]}
        assert shops[shop.tenant]["count"] == 2
        assert {"GET /store/products"} <= {row["name"] for row in found["routes"]["rows"]}
        assert {node["role"] for node in found["nodes"]} == {"primary", "replica"}
        assert sum(node["share"] for node in found["nodes"]) == pytest.approx(1)

    async def test_they_tell_who_was_refused(self, settings, shop, hq):
        chosen = msgspec.structs.replace(
            settings,
            rate_limits=(f"{shop.tenant}:tenant-read=2/3600",),
            cache_service=f"t{secrets.token_hex(4)}",
        )
        async with started(create_app(chosen)) as app, PatientClient(app) as client:
            asked = [await client.get("/store/products", headers=shop.store) for _ in range(5)]
            found = (await client.get("/ops/figures", headers=hq)).json()
            history = History()
            history.add(Totals(), 0.0, 0.0)
            totals = await asyncio.to_thread(app.state.runtime.telemetry.total)
            (point,) = history.add(totals, 10.0, 10.0)
        assert [answer.status_code for answer in asked] == [200, 200, 429, 429, 429]
        rows = {row["name"]: row for row in found["limits"]}
        assert rows["read"]["limited"] == 3
        assert rows["read"]["admitted"] >= 2
        assert 0 < rows["read"]["share"] <= 0.6
        assert point.refused == 0.3

    async def test_they_tell_of_the_relay(self, app, client, hq):
        # It looks at the partitions some time after its start.
        found = (await client.get("/ops/figures", headers=hq)).json()
        for _ in range(10):
            if found["relay"]["prepared"] is not None:
                break
            await app.state.feed.after(app.state.feed.computed)
            found = (await client.get("/ops/figures", headers=hq)).json()
        assert found["relay"]["waiting"] >= 0
        assert found["relay"]["prepared"] > 0


class TestPlan:
    async def test_of_a_statement_that_would_write(self, client, hq):
        response = await client.get("/ops/queries/checkout.take_stock/plan", headers=hq)
        assert response.status_code == 200
        (plan,) = response.json()
        assert "inventory_level" in plan["text"]
        assert "actual time" not in plan["text"]

    async def test_of_one_that_does_not_exist(self, client, hq):
        response = await client.get("/ops/queries/no.such/plan", headers=hq)
        assert response.status_code == 404
        assert "no.such" in response.json()["detail"]


class TestEvents:
    async def test_frames_come_one_after_the_other(self, watch, hq):
        viewer = watch(hq)
        assert await viewer.status() == 200
        seen = []
        async for name, data in viewer.events():
            seen.append((name, data))
            if [name for name, _ in seen].count("figures") == 2:
                break
        assert [name for name, _ in seen][:2] == ["figures", "charts"]
        times = [data["at"] for name, data in seen if name == "figures"]
        assert times[0] < times[1]

    async def test_the_first_frame_is_no_old_one(self, app, watch, hq, monkeypatch):
        feed: Feed = app.state.feed
        kept = await feed.newest()
        old = msgspec.structs.replace(kept, at=kept.at - 3600, figures=b'{"at":1}')
        monkeypatch.setattr(feed, "_frame", old)
        assert (await watch(hq).first("figures"))["at"] > 1

    async def test_all_who_look_share_one_computation(self, app, watch, hq):
        feed: Feed = app.state.feed
        await feed.newest()
        before = feed.computed
        viewers = [watch(hq) for _ in range(6)]
        shown = []
        for viewer in viewers:
            await viewer.status()
            shown += [(await viewer.first("figures"))["at"] for _ in range(2)]
        assert len(shown) == 12
        # Two frames for each of six, and perhaps one that is on its way.
        assert len(set(shown)) <= feed.computed - before + 1 <= 4

    async def test_nothing_is_computed_while_nobody_looks(self, app, watch, hq):
        feed: Feed = app.state.feed
        viewer = watch(hq)
        await viewer.status()
        await viewer.first("figures")
        viewer.leave()
        await viewer.task
        assert feed.watching == 0
        assert not feed._lock.locked()
        assert all("after" not in repr(task.get_coro()) for task in asyncio.all_tasks())

    async def test_a_role_that_is_taken_ends_it(self, client, watch, headquarters, hq):
        headers = await headquarters.user("ops:read")
        viewer = watch(headers)
        assert await viewer.status() == 200
        await viewer.first("figures")
        user = (await client.get("/admin/users/me", headers=headers)).json()["user"]
        roles = (await client.get(f"/admin/users/{user['id']}/roles", headers=hq)).json()["roles"]
        path = f"/admin/users/{user['id']}/roles/{roles[0]['id']}"
        assert (await client.delete(path, headers=hq)).status_code == 200
        ended = await viewer.first("end")
        assert ended["status"] == 403
        assert "ops:read" in ended["detail"]
        await asyncio.wait_for(viewer.task, 30)

    async def test_a_token_that_expires_ends_it(self, runtime, watch, headquarters):
        actor = Actor(ActorKind.USER, "hq", headquarters.owner_id)
        token = runtime.tokens.issue(actor, ttl=4)
        viewer = watch({"authorization": f"Bearer {token}"})
        assert await viewer.status() == 200
        ended = await viewer.first("end")
        assert ended["status"] == 401
        assert "expired" in ended["detail"]

    async def test_there_are_no_more_than_so_many(self, app, watch, hq, monkeypatch):
        viewers = [watch(hq) for _ in range(stream.MOST)]
        assert {await viewer.status() for viewer in viewers} == {200}
        one_more = watch(hq)
        refused = await asyncio.wait_for(one_more.messages.get(), 20)
        assert refused["status"] == 503
        assert (b"retry-after", b"5") in refused["headers"]
        viewers[0].leave()
        await viewers[0].task
        assert await watch(hq).status() == 200

    async def test_who_stalls_is_let_go(self, app, watch, hq, monkeypatch):
        monkeypatch.setattr(stream, "PATIENCE", 0.2)
        viewer = watch(hq)
        assert await viewer.status() == 200
        viewer.taking.clear()
        await asyncio.wait_for(viewer.task, 20)
        assert app.state.feed.watching == 0

    async def test_one_that_stalls_does_not_hold_up_the_end(self, app, watch, hq, monkeypatch):
        closing = asyncio.Event()
        monkeypatch.setattr(app.state, "closing", closing)
        monkeypatch.setattr(stream, "PATIENCE", 3600.0)
        viewer, other = watch(hq), watch(hq)
        assert await viewer.status() == await other.status() == 200
        viewer.taking.clear()
        await other.first("figures")
        closing.set()
        assert (await other.first("end"))["status"] == 503
        await asyncio.wait_for(viewer.task, 20)

    async def test_a_database_that_hangs_does_not_either(self, app, watch, hq, monkeypatch):
        closing, asked = asyncio.Event(), asyncio.Event()

        async def hang(*_: Any) -> None:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(app.state, "closing", closing)
        viewer = watch(hq)
        assert await viewer.status() == 200
        monkeypatch.setattr(controllers, "admit_platform", hang)
        await asyncio.wait_for(asked.wait(), 20)
        await viewer.first("figures")
        closing.set()
        assert (await viewer.first("end"))["status"] == 503

    def test_data_never_ends_its_event(self):
        body = stream.event("figures", msgspec.json.encode({"name": "a\n\nevent: end\rdata: 1"}))
        assert body.count(b"\n\n") == 1
        assert len(body.splitlines()) == 3

    async def test_who_asks_for_the_headers_alone_gets_them(self, watch, hq):
        viewer = watch(hq, "HEAD")
        assert await viewer.status() == 200
        await asyncio.wait_for(viewer.task, 20)

    async def test_it_counts_as_a_request_when_it_begins(self, app, runtime, watch, hq):
        def counted() -> int:
            totals = runtime.telemetry.own()
            return sum(s.life().count for s in totals.series if s.name == "GET /ops/events")

        before = counted()
        viewer = watch(hq)
        await viewer.first("figures")
        assert counted() == before + 1
        viewer.leave()
        await viewer.task
        assert counted() == before + 1


async def test_an_open_stream_does_not_hold_up_the_servers_end(settings, headquarters, hq):
    port = free_port()
    variables = {
        "IMPACT_PRIMARY_URL": settings.primary_url,
        "IMPACT_REPLICA_URLS": ",".join(settings.replica_urls),
        "IMPACT_REDIS_URL": settings.redis_url or "",
        "IMPACT_CACHE_SERVICE": settings.cache_service,
        "IMPACT_SIGNING_KEYS": settings.signing_keys,
        "IMPACT_PORT": str(port),
    }
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "impact", "serve"),
        env={**os.environ, **variables},
        start_new_session=True,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if (await client.get("/health/ready")).status_code == 200:
                            break
                    await asyncio.sleep(0.1)
            async with client.stream("GET", "/ops/events", headers=hq) as response:
                assert response.status_code == 200
                lines = response.aiter_lines()
                assert await anext(lines) == "event: figures"
                server.send_signal(signal.SIGTERM)
                rest = [line async for line in lines]
        # One that is cut off after the ten seconds that running requests get ends without it.
        assert "event: end" in rest
        assert await asyncio.wait_for(server.wait(), 30) == 0
    finally:
        if server.returncode is None:
            os.killpg(server.pid, signal.SIGKILL)
            await server.wait()


class TestCharts:
    def test_names_are_escaped(self):
        chart = charts({})[0]._replace(title="<script>alert('1')</script> & \"more\"")
        drawn = draw(chart, [_point(1.0), _point(6.0)])
        assert "<script" not in drawn
        parsed = ElementTree.fromstring(drawn)  # noqa: S314 - our own
        assert parsed[0].text == f"{chart.title}, last 15 minutes"

    @pytest.mark.parametrize("chart", charts({"pool-use": 0.8}), ids=lambda chart: chart.name)
    @pytest.mark.parametrize("points", [0, 1, 180])
    def test_each_is_svg_with_a_text_of_its_own(self, chart, points):
        drawn = draw(chart, [_point(5.0 * n) for n in range(points)])
        parsed = ElementTree.fromstring(drawn)  # noqa: S314 - our own
        assert parsed.get("role") == "img"
        title, text = parsed[0].text or "", parsed[1].text or ""
        assert title.endswith("last 15 minutes")
        assert ("highest" in text) == (points > 0)

    def test_what_was_not_measured_is_a_gap(self):
        chart = charts({})[1]
        points = [_point(at, p95_ms=None if 50 < at < 100 else 3.0) for at in range(0, 150, 5)]
        assert draw(chart, points).count("<polyline") == 2
        known = [(p.at, p.p95_ms) for p in points if p.p95_ms is not None]
        assert described(chart, known).startswith("Now 3 ms; lowest 3 ms")


def _point(at: float, **fields: Any) -> Point:
    given = {
        "requests": at,
        "errors": 0.0,
        "refused": 0.0,
        "waiting": 0.0,
        "p95_ms": 2.0,
        "hit_rate": 0.5,
        "pool_use": 0.1,
        "lag": 0.25,
    }
    return Point(at=at, **{**given, **fields})
