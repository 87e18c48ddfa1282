"""/metrics: who may read it, what it says, and that a wild client cannot make it grow."""

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from impact.app import create_app
from impact.engine.telemetry.names import METRICS
from impact.engine.telemetry.samples import Sample
from support.lifespan import started

HERE = {"host": "localhost:9000"}
TOKEN = "a-token-of-metrics"


class TestAccess:
    async def test_this_machine_may(self, client):
        for host in ("localhost", "127.0.0.1:9000", "[::1]:9000"):
            assert (await client.get("/metrics", headers={"host": host})).status_code == 200

    async def test_who_comes_through_a_proxy_may_not(self, client):
        for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"):
            response = await client.get("/metrics", headers={**HERE, name: "127.0.0.1"})
            assert response.status_code == 403
        response = await client.get("/metrics", headers={"host": "shop.example"})
        assert response.status_code == 403
        assert "IMPACT_METRICS_TOKEN" in response.json()["message"]

    async def test_another_machine_may_not(self, app):
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as far:
            assert (await far.get("/metrics")).status_code == 403

    async def test_with_a_token_whoever_has_it(self, settings):
        changed = msgspec.structs.replace(settings, metrics_token=TOKEN)
        async with started(create_app(changed)) as app:
            transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as far:
                bearer = {"authorization": f"Bearer {TOKEN}"}
                assert (await far.get("/metrics", headers=bearer)).status_code == 200
                for wrong in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
                    assert (await far.get("/metrics", headers=wrong)).status_code == 401


class TestText:
    async def test_prometheus_can_read_it(self, client, shop):
        await client.get("/store/products", headers=shop.store)
        response = await client.get("/metrics", headers=HERE)
        assert response.headers["content-type"].startswith("text/plain; version=")
        families = {f.name: f for f in text_string_to_metric_families(response.text)}
        known = {metric.prometheus for metric in METRICS.values()}
        assert {name for name in families if name not in known} == set()
        for family in families.values():
            assert family.documentation
        requests = families["http_server_request_duration_seconds"]
        buckets: dict[tuple[str, ...], list[float]] = {}
        for sample in requests.samples:
            if sample.name.endswith("_bucket"):
                labels = {k: v for k, v in sample.labels.items() if k != "le"}
                buckets.setdefault(tuple(labels.values()), []).append(sample.value)
        for counts in buckets.values():
            assert counts == sorted(counts)

    async def test_names_are_escaped(self, runtime, client):
        wild = 'a"b\\c\nd'
        with runtime.telemetry.monitor.timer(wild):
            pass
        response = await client.get("/metrics", headers=HERE)
        families = {f.name: f for f in text_string_to_metric_families(response.text)}
        jobs = families["impact_job_duration_seconds"].samples
        assert wild in {sample.labels["impact_job"] for sample in jobs}


class TestJson:
    async def test_it_has_what_it_says(self, client, shop):
        for _ in range(3):
            await client.get("/store/products", headers=shop.store)
        response = await client.get("/metrics", headers={**HERE, "accept": "application/json"})
        found = response.json()
        query = found["queries"]["catalog.store_product_list"]
        assert {"count", "avgMs", "minMs", "maxMs", "p95Ms", "p99Ms"} <= set(query)
        assert query["minMs"] <= query["p50Ms"] <= query["p95Ms"] <= query["maxMs"]
        assert 0 <= found["cache_hit_rate"] <= 1
        primary = found["pool_stats"]["primary"]
        assert primary["size"] == primary["in_use"] + primary["idle"]
        assert primary["waiting"] == 0
        assert primary["wait"]["count"] > 0
        assert "replica-1" in found["replica_lag"]
        assert found["relay_lag"] >= 0
        assert found["breakers"] == {"redis": "closed", "rate-limit": "closed"}
        # A process that has served hundreds of shops counts further ones together.
        tenants = found["tenants"]
        assert tenants.get(shop.tenant, tenants.get("other"))["count"] >= 3

    async def test_a_parts_own_figure_is_shown(self, client, runtime):
        stop = runtime.telemetry.collectors.register(
            lambda: [Sample("impact.breaker.open", 1.0, ("test",))]
        )
        response = await client.get("/metrics", headers={**HERE, "accept": "application/json"})
        assert response.json()["breakers"]["test"] == "open"
        stop()


class TestBounds:
    async def test_paths_and_methods_that_nobody_routes_are_one(self, client, runtime):
        for number in range(30):
            await client.get(f"/no/such/path/{number}")
            await client.request(f"WILD{number}", "/health")
        runtime.telemetry.monitor.fold()
        names = {series.name for series in runtime.telemetry.monitor.series}
        assert not {name for name in names if "such" in name or "WILD" in name}
        assert "GET unrouted" in names

    async def test_a_tenant_that_does_not_exist_is_none(self, client, runtime):
        for number in range(5):
            await client.get("/store/products", headers={"x-tenant-id": f"nowhere-{number}"})
        runtime.telemetry.monitor.fold()
        names = {series.name for series in runtime.telemetry.monitor.series}
        assert not {name for name in names if "nowhere" in name}


class TestOff:
    async def test_nothing_is_measured(self, settings):
        changed = msgspec.structs.replace(settings, telemetry=False)
        async with started(create_app(changed)) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                await client.get("/health")
            assert app.state.runtime.telemetry.own().series == []


async def test_ready_says_what_is_away(client, runtime, monkeypatch):
    response = await client.get("/health/ready")
    assert response.json()["unready"] == []
    monkeypatch.setattr(type(runtime.cache.versions.remote), "available", False)
    response = await client.get("/health/ready")
    assert response.status_code == 200
    assert "redis" in response.json()["unready"]


@pytest.mark.parametrize("accept", ["text/plain", "*/*", "text/plain, application/json"])
async def test_text_is_what_others_get(client, accept):
    response = await client.get("/metrics", headers={**HERE, "accept": accept})
    assert response.headers["content-type"].startswith("text/plain")
