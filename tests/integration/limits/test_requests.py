"""What requests meet of the limits: who pays, what answers say, and what is refused before work."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from impact.app import create_app
from impact.settings import Settings
from support.caching import Gate
from support.lifespan import started
from support.shops import OWNER_PASSWORD, Shop

DAY = 86_400
LIST = "/store/products"


@contextlib.asynccontextmanager
async def limited(settings: Settings, *limits: str, **changes: Any) -> AsyncIterator[Litestar]:
    """An application with these limits and buckets of its own."""
    name = f"t{secrets.token_hex(6)}"
    chosen = msgspec.structs.replace(
        settings, rate_limits=limits, cache_service=name, redis_timeout=0.5, pool_min=1, **changes
    )
    async with started(create_app(chosen)) as app:
        yield app


def at(app: Litestar, address: str = "192.0.2.1") -> httpx.AsyncClient:
    """A client at this address."""
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://impact.test")


def left(response: httpx.Response) -> dict[str, int]:
    """What is left of each budget, as ``RateLimit`` says."""
    found = re.findall(r'"([a-z-]+)";r=(\d+);t=\d+', response.headers["ratelimit"])
    return {name: int(count) for name, count in found}


async def statuses(client: httpx.AsyncClient, count: int, path: str, **more: Any) -> list[int]:
    return [(await client.get(path, **more)).status_code for _ in range(count)]


class TestAnswers:
    async def test_headers_tell_policies_and_what_is_left(
        self, settings: Settings, shop: Shop
    ) -> None:
        limits = (f"tenant-read=100/{DAY}", f"caller-read=4/{DAY}")
        async with limited(settings, *limits) as app, at(app) as client:
            first = await client.get(LIST, headers=shop.store)
            assert first.headers["ratelimit-policy"] == (
                f'"tenant-read";q=100;w={DAY}, "caller-read";q=4;w={DAY}'
            )
            assert left(first) == {"tenant-read": 99, "caller-read": 3}
            second = await client.get(LIST, headers=shop.store)
            assert left(second) == {"tenant-read": 98, "caller-read": 2}

    async def test_a_refusal_says_which_budget_and_when_to_come_back(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings, f"caller-read=2/{DAY}") as app, at(app) as client:
            assert await statuses(client, 2, LIST, headers=shop.store) == [200, 200]
            refused = await client.get(LIST, headers=shop.store)
            assert refused.status_code == 429
            assert refused.headers["content-type"] == "application/problem+json"
            body = refused.json()
            assert body["type"] == "urn:impact:error:rate_limited"
            assert "'caller-read'" in body["detail"]
            assert 0 < int(refused.headers["retry-after"]) <= DAY / 2
            assert left(refused)["caller-read"] == 0
            # Somebody else is served.
            async with at(app, "192.0.2.2") as other:
                assert await statuses(other, 1, LIST, headers=shop.store) == [200]

    async def test_answers_that_are_not_routed_are_paid_for_too(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings, f"caller-read=400/{DAY}") as app, at(app) as client:
            for number in range(400):
                answer = await client.get(LIST, headers=shop.store)
                assert answer.status_code == 200
                assert left(answer)["caller-read"] == 399 - number
            assert app.state.runtime.shortcuts.taken > 0
            assert await statuses(client, 3, LIST, headers=shop.store) == [429] * 3
            async with at(app, "192.0.2.2") as other:
                answer = await other.get(LIST, headers=shop.store)
                assert left(answer)["caller-read"] == 399

    async def test_reads_writes_and_checkout_have_budgets_of_their_own(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings, f"caller-checkout=1/{DAY}") as app, at(app) as client:
            body = {"email": "a@b.test", "lines": []}
            paths = ("/store/orders", "/store/orders", "/store/carts")
            answers = [await client.post(p, headers=shop.store, json=body) for p in paths]
            assert [answer.status_code for answer in answers[:2]] == [400, 429]
            assert "caller-checkout" in answers[0].headers["ratelimit"]
            assert "caller-write" in answers[2].headers["ratelimit"]
            report = await client.get("/admin/reports/popular-products", headers=shop.admin)
            assert set(left(report)) == {"tenant-report", "caller-report"}

    async def test_staff_pay_for_themselves_wherever_they_are(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with (
            limited(settings, f"caller-read=2/{DAY}") as app,
            at(app) as here,
            at(app, "192.0.2.2") as there,
        ):
            for client in (here, there):
                answers = await statuses(client, 1, "/admin/products", headers=shop.admin)
                assert answers == [200]
            assert await statuses(there, 1, "/admin/products", headers=shop.admin) == [429]
            # Visitors at the same address are others.
            assert await statuses(there, 1, LIST, headers=shop.store) == [200]

    async def test_health_is_never_limited(self, settings: Settings) -> None:
        limits = (f"address-read=1/{DAY}", f"address-refused=1/{DAY}")
        async with limited(settings, *limits) as app, at(app) as client:
            for path in ("/health", "/health/live", "/health/ready"):
                assert await statuses(client, 3, path) == [200] * 3
            assert await statuses(client, 2, "/schema") == [200, 429]
            assert await statuses(client, 1, "/ops") == [429]


class TestStrangers:
    async def test_unknown_paths_and_methods_count(self, settings: Settings) -> None:
        async with limited(settings, f"address-refused=3/{DAY}") as app, at(app) as client:
            assert await statuses(client, 2, "/nothing/here") == [404, 404]
            assert (await client.put("/health")).status_code == 405
            refused = await client.get("/nothing/else")
            assert refused.status_code == 429
            assert refused.json()["code"] == "rate_limited"
            assert int(refused.headers["retry-after"]) > 0
            assert left(refused) == {"address-refused": 0}
            assert (await client.head("/nothing")).content == b""
            async with at(app, "192.0.2.2") as other:
                assert await statuses(other, 1, "/nothing") == [404]

    async def test_whoever_is_not_let_in_spends_nothing_of_the_tenant_they_name(
        self, settings: Settings, shop: Shop
    ) -> None:
        limits = (f"tenant-read=50/{DAY}", f"address-refused=5/{DAY}")
        async with limited(settings, *limits) as app, at(app) as stranger:
            named = {"x-tenant-id": shop.tenant, "authorization": "Bearer a.b.c"}
            answers = await statuses(stranger, 8, "/admin/products", headers=named)
            assert answers == [401] * 5 + [429] * 3
            async with at(app, "192.0.2.2") as owner:
                answer = await owner.get("/admin/products", headers=shop.admin)
                assert left(answer)["tenant-read"] == 49

    async def test_made_up_keys_and_tenants_stop_costing_the_database_anything(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings, f"address-refused=4/{DAY}") as app, at(app) as client:
            nodes = app.state.runtime.database.nodes.nodes
            # Known before: staff and storefront of a shop that behaves.
            assert await statuses(client, 1, "/admin/products", headers=shop.admin) == [200]
            assert await statuses(client, 1, LIST, headers=shop.store) == [200]
            for number in range(4):
                made_up = {"x-publishable-api-key": f"pk_{shop.tenant}_{number}{'x' * 30}"}
                assert await statuses(client, 1, LIST, headers=made_up) == [400]
            assert await statuses(client, 1, "/nothing") == [429]
            before = sum(node.served for node in nodes)
            for number in range(20):
                made_up = {"x-publishable-api-key": f"pk_{shop.tenant}_{number}{'y' * 30}"}
                assert await statuses(client, 1, LIST, headers=made_up) == [429]
                assert await statuses(client, 1, LIST, headers={"x-tenant-id": "no-such"}) == [429]
            assert sum(node.served for node in nodes) == before
            assert await statuses(client, 1, "/admin/products", headers=shop.admin) == [200]
            assert await statuses(client, 1, LIST, headers=shop.store) == [200]

    async def test_a_proxy_is_believed_only_where_it_is_ours(
        self, settings: Settings, shop: Shop
    ) -> None:
        limit = f"caller-read=2/{DAY}"
        forwarded = [{**shop.store, "x-forwarded-for": f"198.51.100.{n}"} for n in range(4)]
        async with limited(settings, limit) as app, at(app) as client:
            answers = [(await client.get(LIST, headers=each)).status_code for each in forwarded]
            assert answers == [200, 200, 429, 429]
        proxies = {"trusted_proxies": ("192.0.2.0/24",)}
        async with limited(settings, limit, **proxies) as app, at(app) as client:
            answers = [(await client.get(LIST, headers=each)).status_code for each in forwarded]
            assert answers == [200] * 4


class TestLogin:
    PATH = "/auth/user/emailpass"

    async def log_in(self, client: httpx.AsyncClient, shop: Shop, password: str) -> int:
        body = {"email": f"owner@{shop.tenant}.test", "password": password}
        headers = {"x-tenant-id": shop.tenant}
        return (await client.post(self.PATH, headers=headers, json=body)).status_code

    async def test_guesses_at_one_account_are_few(self, settings: Settings, shop: Shop) -> None:
        async with limited(settings) as app, at(app) as client:
            answers = [await self.log_in(client, shop, f"guess {n}") for n in range(12)]
            assert answers == [401] * 10 + [429] * 2
            # Also with the right password: a guess must not be told from the rest.
            assert await self.log_in(client, shop, OWNER_PASSWORD) == 429

    async def test_nobody_locks_out_somebody_elsewhere(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings) as app, at(app) as attacker, at(app, "192.0.2.9") as owner:
            for _ in range(12):
                await self.log_in(attacker, shop, "guess")
            assert await self.log_in(owner, shop, OWNER_PASSWORD) == 200

    async def test_many_addresses_do_not_lock_out_a_known_one(
        self, settings: Settings, shop: Shop
    ) -> None:
        limit = f"login-strangers=20/{DAY}"
        async with limited(settings, limit) as app, at(app, "192.0.2.9") as owner:
            assert await self.log_in(owner, shop, OWNER_PASSWORD) == 200
            for number in range(25):
                async with at(app, f"198.51.100.{number}") as attacker:
                    answer = await self.log_in(attacker, shop, "guess")
                    assert answer == (401 if number < 19 else 429)
            assert await self.log_in(owner, shop, OWNER_PASSWORD) == 200

    async def test_success_forgets_the_failures_before(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings) as app, at(app) as client:
            for _ in range(3):
                for _ in range(9):
                    assert await self.log_in(client, shop, "mistyped") == 401
                assert await self.log_in(client, shop, OWNER_PASSWORD) == 200

    async def test_an_address_tries_only_so_many_accounts(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings, f"login-address=5/{DAY}") as app, at(app) as client:
            answers = []
            for number in range(7):
                body = {"email": f"nobody-{number}@example.com", "password": "guess"}
                headers = {"x-tenant-id": shop.tenant}
                answer = await client.post(self.PATH, headers=headers, json=body)
                answers.append(answer.status_code)
            assert answers == [401] * 5 + [429] * 2

    async def test_guesses_at_once_are_counted_too(self, settings: Settings, shop: Shop) -> None:
        async with limited(settings) as app, at(app) as client:
            tries = [self.log_in(client, shop, f"guess {n}") for n in range(40)]
            answers = await asyncio.gather(*tries)
            assert sorted(answers) == [401] * 10 + [429] * 30


class TestOverload:
    async def test_one_more_than_the_most_is_refused_before_any_work(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with limited(settings, requests_max=1) as app, at(app) as client:
            gate = Gate()
            runtime = app.state.runtime
            real = runtime.cache.get

            async def get(*args: Any, **kwargs: Any) -> Any:
                await gate()
                return await real(*args, **kwargs)

            runtime.cache.get = get
            running = asyncio.create_task(client.get(LIST, headers=shop.store))
            await gate.reached.wait()
            shed = await client.get(LIST, headers=shop.store)
            assert shed.status_code == 503
            assert shed.json()["code"] == "overloaded"
            assert int(shed.headers["retry-after"]) >= 1
            assert await statuses(client, 1, "/health/ready") == [200]
            gate.open()
            assert (await running).status_code == 200
            assert await statuses(client, 1, LIST, headers=shop.store) == [200]
