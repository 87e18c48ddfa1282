"""Spans, metrics and logs arrive at a collector; one that misbehaves costs requests nothing."""

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.settings import Settings
from support.client import PatientClient
from support.lifespan import started
from support.otlp import Collector, attributes, collecting_grpc, collecting_http
from support.shops import Shop, open_shop

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = CALLER[:-2] + "00"
TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
PARENT = bytes.fromhex("00f067aa0ba902b7")
_CLOSING_BOUND = 30.0
"""Seconds: half of what a collector of ours hangs, and an exporter would wait."""


@pytest.fixture(params=["http", "grpc"])
def collector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    opened = collecting_http() if request.param == "http" else collecting_grpc()
    with opened as found:
        protocol = "grpc" if request.param == "grpc" else "http/protobuf"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "20")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
        yield found


Opened = tuple[Litestar, httpx.AsyncClient, Shop]


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Opened]:
    async with started(create_app(settings)) as app, PatientClient(app) as client:
        yield app, client, await open_shop(app.state.runtime, client)


async def until(collector: Collector, what: Callable[[Collector], Any]) -> Any:
    return await asyncio.to_thread(collector.wait_for, what)


def of_trace(collector: Collector, trace: bytes = TRACE) -> list[Any]:
    return [span for span in collector.spans if span.trace_id == trace]


def dropped(app: Litestar, reason: str) -> float:
    return sum(
        sample.value
        for sample in app.state.runtime.telemetry.own().samples
        if sample.metric == "impact.telemetry.dropped" and sample.labels == ("traces", reason)
    )


class TestTree:
    async def test_a_checkout_arrives_as_one_tree(self, collector, settings):
        async with serving(settings) as (_, client, shop):
            product = await shop.product()
            body = {
                "email": "a@example.com",
                "lines": [{"variant_id": product["variants"][0]["id"], "quantity": 1}],
            }
            response = await client.post(
                "/store/orders",
                headers={**shop.store, "traceparent": CALLER, "idempotency-key": "once"},
                json=body,
            )
            assert response.status_code == 200, response.text
            spans = await until(collector, of_trace)
        by_id = {span.span_id: span for span in spans}
        (root,) = (span for span in spans if span.parent_span_id == PARENT)
        assert root.name == "POST /store/orders"
        assert root.kind == root.SPAN_KIND_SERVER
        assert attributes(root)["impact.tenant"] == shop.tenant
        assert attributes(root)["http.response.status_code"] == 200

        def path(span: Any) -> list[str]:
            above = by_id.get(span.parent_span_id)
            return [*(path(above) if above is not None else []), span.name]

        paths = {tuple(path(span)) for span in spans}
        work = ("POST /store/orders", "write primary")
        assert (*work, "session.begin") in paths
        assert (*work, "checkout/claim", "checkout.claim_key") in paths
        assert (*work, "checkout/place", "checkout.take_stock") in paths
        assert (*work, "checkout/place", "checkout.place") in paths
        assert (*work, "session.commit") in paths
        statement = next(span for span in spans if span.name == "checkout.take_stock")
        told = attributes(statement)
        assert told["db.system.name"] == "postgresql"
        assert told["impact.node.role"] == "primary"
        assert told["db.response.returned_rows"] == 1
        for span in spans:
            if span is not root:
                above = by_id[span.parent_span_id]
                assert above.start_time_unix_nano <= span.start_time_unix_nano
                assert span.end_time_unix_nano <= above.end_time_unix_nano

    async def test_a_list_tells_its_cache_and_consistency(self, collector, settings):
        async with serving(settings) as (_, client, shop):
            headers = {**shop.store, "traceparent": CALLER}
            for _ in range(2):
                await client.get("/store/products", headers=headers)
            await until(collector, lambda c: len([s for s in of_trace(c) if s.kind == 2]) == 2)
        told = [attributes(span) for span in of_trace(collector)]
        outcomes = [each.get("impact.cache.outcome") for each in told]
        assert "database" in outcomes
        assert "l1" in outcomes
        assert {each.get("impact.consistency") for each in told} & {"causal", "strong"}
        assert collector.resources[0]["service.name"] == "impact"


class TestSampling:
    async def test_the_callers_decision_holds_but_failures_are_kept(
        self, collector, settings, monkeypatch
    ):
        async with serving(settings) as (app, client, shop):
            await client.get("/store/products", headers={**shop.store, "traceparent": UNSAMPLED})

            def broken(*_: Any) -> None:
                raise RuntimeError("a defect")

            monkeypatch.setattr(app.state.runtime.cache, "entry", broken)
            failing = UNSAMPLED.replace("4bf9", "aaaa")
            response = await client.get(
                "/store/collections", headers={**shop.store, "traceparent": failing}
            )
            assert response.status_code == 500
            trace = bytes.fromhex(failing.split("-")[1])
            assert response.json()["trace_id"] == trace.hex()
            kept = await until(collector, lambda c: of_trace(c, trace))
            assert of_trace(collector) == []
        root = next(span for span in kept if span.kind == span.SPAN_KIND_SERVER)
        assert root.status.code == root.status.STATUS_CODE_ERROR
        assert attributes(root)["impact.kept"] == "failed"

    async def test_slow_ones_are_kept(self, collector, settings):
        slow = msgspec.structs.replace(settings, slow_request=1e-9)
        async with serving(slow) as (_, client, shop):
            await client.get("/store/products", headers={**shop.store, "traceparent": UNSAMPLED})
            spans = await until(collector, of_trace)
        root = next(span for span in spans if span.kind == span.SPAN_KIND_SERVER)
        assert attributes(root)["impact.kept"] == "slow"


def repeated(spans: list[Any]) -> list[Any]:
    """Spans of requests that say how they were answered again."""
    return [
        span
        for span in spans
        if span.kind == span.SPAN_KIND_SERVER and "impact.cache.outcome" in attributes(span)
    ]


class TestRepeated:
    """Answers that L1 gives again: one span tells all of it."""

    async def ask(self, app, client, headers) -> httpx.Response:
        """Until one is given again."""
        shortcuts = app.state.runtime.shortcuts
        before = shortcuts.taken
        async with asyncio.timeout(20):  # on a busy machine Redis's beat may be late
            while True:
                answer = await client.get("/store/products", headers=headers)
                if shortcuts.taken > before:
                    return answer

    async def test_the_caller_sees_it(self, collector, settings):
        async with serving(settings) as (app, client, shop):
            answer = await self.ask(app, client, {**shop.store, "traceparent": CALLER})
            (span,) = await until(collector, lambda c: repeated(of_trace(c)))
        assert answer.headers["traceresponse"].split("-")[1] == TRACE.hex()
        assert span.name == "GET /store/products"
        assert span.parent_span_id == PARENT
        assert attributes(span)["impact.cache.outcome"] == "l1"
        assert attributes(span)["http.response.status_code"] == 200
        assert not [s for s in of_trace(collector) if s.parent_span_id == span.span_id]

    async def test_a_slow_one_is_kept(self, collector, settings, monkeypatch):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        slow = msgspec.structs.replace(settings, slow_request=1e-9)
        async with serving(slow) as (app, client, shop):
            answer = await self.ask(app, client, shop.store)
            spans = await until(collector, lambda c: repeated(c.spans))
        assert "traceresponse" not in answer.headers
        assert attributes(spans[0])["impact.kept"] == "slow"
        assert attributes(spans[0])["impact.tenant"] == shop.tenant


class TestContext:
    async def test_it_comes_in_and_goes_out(self, collector, settings):
        async with serving(settings) as (app, client, shop):
            seen = {}
            telemetry = app.state.runtime.telemetry
            finish = telemetry.finish

            def look(context: Any, *rest: Any) -> None:
                seen.update(context.trace.outgoing())
                finish(context, *rest)

            telemetry.finish = look
            response = await client.get(
                "/store/products",
                headers={
                    **shop.store,
                    "traceparent": CALLER,
                    "tracestate": "vendor=1",
                    "baggage": "cart=7",
                },
            )
        ours = response.headers["traceresponse"].split("-")
        assert ours[1] == TRACE.hex()
        assert ours[2] != PARENT.hex()
        assert seen == {
            "traceparent": response.headers["traceresponse"],
            "tracestate": "vendor=1",
            "baggage": "cart=7",
        }

    @pytest.mark.parametrize(
        "wrong",
        ["", "00-0-0-01", CALLER.upper(), f"ff{CALLER[2:]}", f"{CALLER}-x", "00-" + "0" * 32],
    )
    async def test_a_wrong_one_begins_a_trace_of_our_own(self, collector, settings, wrong):
        async with serving(settings) as (_, client, _):
            response = await client.get("/health/live", headers={"traceparent": wrong})
        assert response.headers["traceresponse"].split("-")[1] != TRACE.hex()


async def test_metrics_and_logs_arrive_with_the_trace(collector, settings):
    async with serving(settings) as (_, client, shop):
        path = f"/store/products/{uuid.uuid4()}"
        response = await client.get(path, headers={**shop.store, "traceparent": CALLER})
        assert response.status_code == 404
        logging.getLogger("impact.test").warning("outside")
        found = await until(collector, lambda c: "http.server.request.duration" in c.metrics)
        assert found
        assert await until(collector, lambda c: [x for x in c.logs if x.body.string_value])
    points = collector.metrics["http.server.request.duration"].histogram.data_points
    told = [attributes(point) for point in points]
    assert {
        "http.request.method": "GET",
        "http.route": "/store/products/{id}",
        "http.response.status_code": "404",
    } in told
    assert "db.client.connection.count" in collector.metrics


async def test_a_log_line_of_a_request_names_its_trace(collector, settings, monkeypatch):
    async with serving(settings) as (app, client, shop):

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(app.state.runtime.cache, "entry", broken)
        await client.get("/store/collections", headers={**shop.store, "traceparent": CALLER})
        logs = await until(collector, lambda c: [x for x in c.logs if x.trace_id == TRACE])
    assert attributes(logs[0])["exception.type"] == "RuntimeError"
    assert attributes(logs[0])["impact.tenant"] == shop.tenant


class TestTrouble:
    @pytest.mark.parametrize("mode", ["refuse", "hang"])
    async def test_it_costs_requests_nothing_and_is_counted(
        self, collector, settings, monkeypatch, mode
    ):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "40")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
        async with contextlib.AsyncExitStack() as stack:
            app, client, shop = await stack.enter_async_context(serving(settings))
            collector.mode = mode
            headers = {**shop.store, "traceparent": CALLER}
            for _ in range(60):
                response = await client.get("/store/products", headers=headers)
                assert response.status_code == 200
            assert await asyncio.to_thread(collector.asked.wait, 10)
            if mode == "hang":
                # The thread that sends is stuck, and the queue has no room for the rest.
                assert dropped(app, "queue") > 0
                text = await client.get("/metrics", headers={"host": "localhost"})
                assert 'impact_telemetry_dropped_total{impact_reason="queue"' in text.text
            began = time.monotonic()
        assert time.monotonic() - began < _CLOSING_BOUND
        assert dropped(app, "collector" if mode == "refuse" else "queue") > 0

    @pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
    async def test_nobody_is_there(self, settings, monkeypatch, protocol):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        async with contextlib.AsyncExitStack() as stack:
            _, client, shop = await stack.enter_async_context(serving(settings))
            for _ in range(5):
                headers = {**shop.store, "traceparent": CALLER}
                response = await client.get("/store/products", headers=headers)
                assert response.status_code == 200
            began = time.monotonic()
        assert time.monotonic() - began < _CLOSING_BOUND
