"""Alerts on their way: from a slow statement to the log and to a webhook that is away at first."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from impact.app import create_app
from impact.context import system_context
from impact.engine.db.statements import Statement
from impact.ops.alerts.state import Alert
from impact.ops.alerts.watch import Watch
from impact.ops.alerts.webhook import Webhook
from impact.settings import Settings
from support.dev import impact
from support.lifespan import started
from support.shops import Shop

SECRET = "a secret of the test's own"
_SLEEP = Statement(
    "tests.sleep", "SELECT pg_sleep(:seconds::float8) WHERE :tenant_id::text IS NOT NULL"
)


class Receiver:
    """Somebody's webhook. It refuses the first ``refusals`` of what it is sent."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.tries = 0
        self.taken: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.tries += 1
                body = self.rfile.read(int(self.headers["content-length"]))
                content = (
                    f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode()
                    + body
                )
                proof = hmac.digest(SECRET.encode(), content, hashlib.sha256)
                genuine = f"v1,{base64.b64encode(proof).decode()}"
                accepted = receiver.tries > receiver.refusals
                if accepted:
                    assert hmac.compare_digest(self.headers["webhook-signature"], genuine)
                    assert abs(int(self.headers["webhook-timestamp"]) - time.time()) < 60
                    receiver.taken.append({"id": self.headers["webhook-id"], **json.loads(body)})
                self.send_response(204 if accepted else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def alert(**changes: Any) -> Alert:
    fields = {
        "rule": "pool-use",
        "severity": "critical",
        "summary": "A pool is used up",
        "advice": "",
        "labels": {"pool": "primary"},
        "value": 0.9,
        "shown": "90.0%",
        "threshold": "> 80.0%",
        "since": 1.0,
    }
    return Alert(**{**fields, **changes})


class TestWebhook:
    async def test_is_tried_again_with_the_same_id(self, receiver: Receiver) -> None:
        receiver.refusals = 2
        async with Webhook(receiver.url, SECRET, first_pause=0.01) as webhook:
            webhook.put(alert())
            webhook.put(alert(resolved=2.0))
        assert receiver.tries == 4
        assert [each["type"] for each in receiver.taken] == ["alert.firing", "alert.resolved"]
        assert receiver.taken[0]["data"]["labels"] == {"pool": "primary"}
        assert receiver.taken[0]["id"] != receiver.taken[1]["id"]

    async def test_one_that_is_gone_holds_up_nobody(
        self, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.refusals = 1000
        async with Webhook(receiver.url, SECRET, first_pause=60) as webhook:
            for _ in range(300):
                webhook.put(alert())
        assert "does not keep up" in caplog.text
        assert "were not sent" in caplog.text
        assert receiver.taken == []

    def test_command(self, receiver: Receiver) -> None:
        environment = {"IMPACT_ALERT_WEBHOOK": receiver.url, "IMPACT_ALERT_SECRET": SECRET}
        assert impact("alerts", "test", **environment).returncode == 0
        assert receiver.taken[0]["data"]["rule"] == "test"
        receiver.refusals = 1000
        done = impact("alerts", "test", **environment)
        assert done.returncode == 1
        assert "did not take it: Service Unavailable" in done.stderr


class TestWatch:
    @pytest.mark.parametrize(("seconds", "fires"), [(0.6, True), (0.0, False)])
    async def test_a_slow_statement_is_told_of(
        self,
        settings: Settings,
        shop: Shop,
        receiver: Receiver,
        caplog: pytest.LogCaptureFixture,
        seconds: float,
        fires: bool,
    ) -> None:
        chosen = msgspec.structs.replace(
            settings,
            slow_query=0.25,
            slow_query_alert=0.5,
            alert_webhook=receiver.url,
            alert_secret=SECRET,
            cache_service=f"t{secrets.token_hex(4)}",
        )
        # Others of the application's own may be slow on a busy machine.
        mine = {"db.query.summary": "tests.sleep"}
        async with started(create_app(chosen)) as app:
            watch: Watch = app.state.watch
            await watch.look()
            context = system_context(shop.tenant, "test")
            async with app.state.runtime.database.read(context) as session:
                await session.fetch(_SLEEP, seconds=seconds)
            with caplog.at_level(logging.WARNING):
                await watch.look()
            standing = [each for each in watch.seen().standing if each.labels == mine]
            assert [each.rule for each in standing] == ["slow-query"] * fires
            told = [record for record in caplog.records if "tests.sleep" in record.getMessage()]
            assert any("alert slow-query fires" in each.getMessage() for each in told) is fires
        taken = [each for each in receiver.taken if each["data"]["labels"] == mine]
        assert len(taken) == int(fires)

    @pytest.mark.parametrize(("milliseconds", "count"), [(501.0, 1), (499.0, 0)])
    async def test_half_a_second_is_the_limit(
        self, settings: Settings, shop: Shop, milliseconds: float, count: int
    ) -> None:
        async with started(create_app(settings)) as app:
            runtime = app.state.runtime
            node = runtime.database.nodes.nodes[0]
            context = system_context(shop.tenant, "test")
            await app.state.watch.look()
            runtime.telemetry.slow.note(
                context, node, "tests.slow", milliseconds, 1, None, None, None
            )
            await app.state.watch.look()
            mine = {"db.query.summary": "tests.slow"}
            standing = [each for each in app.state.watch.seen().standing if each.labels == mine]
            assert [each.rule for each in standing] == ["slow-query"] * count

    async def test_one_process_watches_and_all_know(
        self, settings: Settings, tmp_path: Any
    ) -> None:
        chosen = msgspec.structs.replace(settings, run_dir=tmp_path)
        async with started(create_app(chosen)) as one, started(create_app(chosen)) as other:
            watches: list[Watch] = [one.state.watch, other.state.watch]
            async with asyncio.timeout(20):
                while not any(watch._held for watch in watches):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert sum(watch._held is not None for watch in watches) == 1
            watcher = next(watch for watch in watches if watch._held)
            await watcher.look()
            await watcher.look()
            points = [len(watch.seen().points) for watch in watches]
            assert points[0] == points[1] > 0

    async def test_a_webhook_needs_a_secret(self) -> None:
        done = impact(
            "serve",
            IMPACT_ALERT_WEBHOOK="http://127.0.0.1:1/",
            IMPACT_PRIMARY_URL="postgresql://a:b@127.0.0.1:1/c",
            IMPACT_SIGNING_KEYS="k:" + "s" * 40,
        )
        assert done.returncode != 0
        assert "IMPACT_ALERT_WEBHOOK needs IMPACT_ALERT_SECRET" in done.stderr
