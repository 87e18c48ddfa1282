"""Secrets that were given stay where they belong: they are planted, and looked for everywhere."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from impact.app import create_app
from support.client import PatientClient
from support.lifespan import started
from support.otlp import Collector, collecting_http
from support.shops import open_shop


class Kept(logging.Handler):
    """Every log record, as text with all that came with it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.__dict__!r} {self.format(record)}")


@contextlib.contextmanager
def keeping_logs() -> Any:
    kept, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    try:
        yield kept
    finally:
        root.removeHandler(kept)
        root.setLevel(level)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    with collecting_http() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_none_is_found_elsewhere(settings, stack, collector):
    chosen = msgspec.structs.replace(settings, slow_query=0.003, cache_service=f"t{uuid4().hex}")
    planted: dict[str, str] = {}
    answers: list[str] = []

    def plant(name: str) -> str:
        planted[name] = f"planted-{name}-{uuid4().hex}"
        return planted[name]

    with keeping_logs() as kept:
        async with started(create_app(chosen)) as app, PatientClient(app) as client:
            runtime = app.state.runtime
            shop = await open_shop(runtime, client)
            planted["owner token"] = shop.admin["authorization"].removeprefix("Bearer ")
            email = f"{uuid4().hex}@staff.test"
            steps: list[tuple[str, str, dict[str, str], Any]] = [
                ("POST", "/admin/users", shop.admin, {"email": email, "password": plant("new")}),
                # Wrong in each way that an error could repeat.
                ("POST", "/admin/users", shop.admin, {"email": "x", "password": plant("bad")}),
                ("POST", "/admin/users", shop.admin, {"email": email, "password": plant("twice")}),
                (
                    "POST",
                    "/auth/user/emailpass",
                    {"x-tenant-id": shop.tenant},
                    {"email": email, "password": plant("wrong")},
                ),
                (
                    "POST",
                    "/auth/user/emailpass",
                    {"x-tenant-id": shop.tenant},
                    {"email": email, "password": [plant("listed")]},
                ),
                (
                    "POST",
                    "/auth/customer/emailpass/register",
                    shop.store,
                    {"email": f"c{email}", "password": plant("customer")},
                ),
                ("GET", "/admin/orders", bearer(plant("bearer")), None),
                (
                    "GET",
                    "/admin/orders",
                    {"authorization": f"Bearer sk_paris_{plant('key')}"},
                    None,
                ),
                ("GET", "/store/products", {"x-publishable-api-key": plant("publishable")}, None),
                ("GET", f"/admin/orders?token={plant('query')}", shop.admin, None),
            ]
            for method, path, headers, body in steps:
                answer = await client.request(method, path, headers=headers, json=body)
                assert answer.status_code < 500, answer.text
                answers.append(answer.text)
            made = await client.post(
                "/admin/api-keys", headers=shop.admin, json={"title": "Key", "type": "publishable"}
            )
            assert made.status_code == 200, made.text
            planted["made key"] = made.json()["api_key"]["token"]
            kept_hash = await stored_hash(runtime, shop, email)
            planted["hash"] = kept_hash
            await runtime.events.flush()
            await relayed(runtime, shop)
            records = await rows(runtime, shop)
            shown = [
                (await client.get("/metrics", headers={"accept": "text/plain"})).text,
                (await client.get("/admin/audit-logs?limit=200", headers=shop.admin)).text,
                (await client.get("/admin/users", headers=shop.admin)).text,
                (await client.get("/admin/api-keys", headers=shop.admin)).text,
            ]
            redis = await in_redis(runtime)
            await asyncio.to_thread(collector.wait_for, lambda c: len(c.spans) > 20)
    # A password that was typed into a query is in the path that an error names: nowhere else.
    query = planted.pop("query")
    assert not any(query in text for text in (records, *shown, redis))
    places = {
        "logs": "\n".join(kept.lines),
        "spans and logs of OTLP": repr(collector._requests),
        "errors": "\n".join(answers[1:5] + answers[6:]),
        "records and statistics": records,
        "pages": "\n".join(shown),
        "Redis": redis,
    }
    # They can be found: what is no secret is.
    for place in ("logs", "spans and logs of OTLP", "records and statistics", "Redis"):
        assert shop.tenant in places[place], place
    found = [
        f"{name} in {place}"
        for name, secret in planted.items()
        for place, text in places.items()
        if secret in text
    ]
    assert not found


async def relayed(runtime: Any, shop: Any) -> None:
    """Wait until the relay, whichever process is it, has moved the shop's records into the log."""
    async with asyncio.timeout(30):
        while True:
            async with runtime.database.write(shop.context()) as session:
                left = await session.driver.fetchval(
                    "SELECT count(*) FROM change_record WHERE tenant_id = $1", shop.tenant
                )
            if not left:
                return
            await asyncio.sleep(0.1)


async def stored_hash(runtime: Any, shop: Any, email: str) -> str:
    async with runtime.database.write(shop.context()) as session:
        found: str = await session.driver.fetchval(
            "SELECT password_hash FROM admin_user WHERE email = $1", email
        )
    assert found.startswith("$argon2id$")
    return found


async def rows(runtime: Any, shop: Any) -> str:
    """The audit log, the change records that are left, and the statements' statistics."""
    texts = []
    async with runtime.database.write(shop.context()) as session:
        for source in ("audit_log", "change_record"):
            found = await session.driver.fetch(f"SELECT {source}::text AS row FROM {source}")
            texts += [each["row"] for each in found]
        assert texts
        found = await session.driver.fetch("SELECT query FROM pg_stat_statements")
        texts += [each["query"] or "" for each in found]
    return "\n".join(texts)


async def in_redis(runtime: Any) -> str:
    """All keys and values under the service's name."""
    remote = runtime.cache.versions.remote
    texts = []
    async for key in remote.client.scan_iter(f"{remote.service}:*", count=1000):
        value = await remote.client.dump(key)
        texts.append(f"{key!r} {value!r}")
        with contextlib.suppress(Exception):
            texts.append(repr(await remote.client.get(key)))
    return "\n".join(texts)
