"""Conditional requests: 304 for whoever has the newest, 412 for whoever changes what is newer."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from impact.app import create_app
from impact.engine.cache.keys import whole_tenant
from impact.settings import Settings
from support.client import PatientClient
from support.lifespan import started
from support.shapes import refused
from support.shops import Shop, open_shop
from support.wire import Wire, wire_to

Wired = tuple[Wire, httpx.AsyncClient, Shop]
PLAIN = {"accept-encoding": "identity"}


async def etag_of(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> str:
    answer = await client.get(path, headers={**headers, **PLAIN})
    assert answer.status_code == 200, answer.text
    tag: str = answer.headers["etag"]
    return tag


async def ask(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], etag: str
) -> httpx.Response:
    return await client.get(path, headers={**headers, **PLAIN, "if-none-match": etag})


class TestReads:
    async def test_other_tenants_tag_tells_nothing(self, client, shop, other_shop):
        await shop.product()
        etag = await etag_of(client, "/store/products", shop.store)
        answer = await ask(client, "/store/products", other_shop.store, etag)
        assert (answer.status_code, answer.json()["products"]) == (200, [])

    @pytest.mark.parametrize("audience", ["admin", "store"])
    async def test_until_something_changes(self, client, shop, audience):
        product = await shop.product()
        headers = getattr(shop, audience)
        for path in (f"/{audience}/products", f"/{audience}/products/{product['id']}"):
            etag = await etag_of(client, path, headers)
            # By the long way and by the short one.
            for _ in range(3):
                again = await ask(client, path, headers, etag)
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == etag
                assert "content-type" not in again.headers
                await client.get(path, headers={**headers, **PLAIN})
            url = f"/admin/products/{product['id']}"
            changed = await client.post(url, headers=shop.admin, json={"title": f"New {path}"})
            assert changed.status_code == 200
            after = await ask(client, path, headers, etag)
            assert after.status_code == 200
            assert after.headers["etag"] != etag
            assert f"New {path}" in after.text

    async def test_a_change_that_changes_nothing_shown(self, client, shop):
        product = await shop.product()
        path = f"/store/collections/{await collection(client, shop)}"
        etag = await etag_of(client, path, shop.store)
        await client.delete(f"/admin/products/{product['id']}", headers=shop.admin)
        assert (await ask(client, path, shop.store, etag)).status_code == 304

    async def test_what_is_not_cached(self, client, shop):
        order = (await shop.order(await shop.variant())).json()["order"]
        path = f"/admin/orders/{order['id']}"
        etag = await etag_of(client, path, shop.admin)
        assert (await ask(client, path, shop.admin, etag)).status_code == 304
        await client.post(f"{path}/complete", headers=shop.admin)
        assert (await ask(client, path, shop.admin, etag)).status_code == 200

    async def test_a_tag_for_each_coding(self, client, shop):
        await shop.product(description="long " * 500)
        path = "/store/products"
        tags = {}
        for coding in ("identity", "gzip", "zstd"):
            headers = {**shop.store, "accept-encoding": coding}
            tags[coding] = (await client.get(path, headers=headers)).headers["etag"]
        assert len(set(tags.values())) == 3
        for taken in tags:
            for named, etag in tags.items():
                headers = {**shop.store, "accept-encoding": taken, "if-none-match": etag}
                status = (await client.get(path, headers=headers)).status_code
                # Unpacked is what everybody takes.
                assert status == (304 if named in {taken, "identity"} else 200), (taken, named)

    async def test_head_has_the_tag(self, client, shop):
        await shop.product()
        etag = await etag_of(client, "/store/products", shop.store)
        answer = await client.head("/store/products", headers={**shop.store, **PLAIN})
        assert answer.headers["etag"] == etag

    async def test_refusals_come_first(self, client, shop):
        etag = await etag_of(client, "/admin/products", shop.admin)
        assert (await ask(client, "/admin/products", {}, etag)).status_code == 401
        nobody = await shop.user("order:read")
        assert (await ask(client, "/admin/products", nobody, etag)).status_code == 403


async def collection(client: httpx.AsyncClient, shop: Shop) -> str:
    body = {"title": "Winter"}
    answer = await client.post("/admin/collections", headers=shop.admin, json=body)
    found: str = answer.json()["collection"]["id"]
    return found


class TestStatements:
    @pytest.fixture
    async def wired(
        self, settings: Settings
    ) -> AsyncIterator[tuple[Wire, httpx.AsyncClient, Shop]]:
        async with wire_to(settings.primary_url) as wire:
            own = msgspec.structs.replace(settings, primary_url=wire.url, replica_urls=())
            app = create_app(own)
            async with started(app), PatientClient(app) as client:
                shop = await open_shop(app.state.runtime, client)
                yield wire, client, shop

    async def test_a_hit_costs_none_though_the_entry_is_gone(self, wired):
        wire, client, shop = wired
        product = await shop.product()
        runtime = shop.runtime
        for path in ("/store/products", f"/store/products/{product['id']}"):
            etag = await etag_of(client, path, shop.store)
            await client.get("/store/collections", headers=shop.store)
            # L1 lost all, Redis the bodies: what is left are the versions, and the shop's rights.
            remote = runtime.cache.versions.remote
            async for key in remote.client.scan_iter(f"*{{{shop.tenant}}}:product:*"):
                await remote.client.delete(key)
            runtime.cache.local.clear()
            await client.get("/store/collections", headers=shop.store)
            before = wire.round_trips
            assert (await ask(client, path, shop.store, etag)).status_code == 304
            assert wire.round_trips == before
            # The whole shop was told to forget: what the tag vouched for is void.
            await runtime.cache.versions.raise_now(shop.tenant, [whole_tenant(shop.tenant)])
            assert (await ask(client, path, shop.store, etag)).status_code in {200, 304}
            assert wire.round_trips > before


class TestChanges:
    async def test_other_tenant(self, client, shop, other_shop):
        product = await shop.product()
        headers = {**other_shop.admin, "if-match": "*"}
        url = f"/admin/products/{product['id']}"
        refused(await client.post(url, headers=headers, json={"title": "Mine"}), 404)

    async def test_what_was_seen(self, client, shop):
        product = await shop.product()
        url = f"/admin/products/{product['id']}"
        etag = await etag_of(client, url, shop.admin)
        headers = {**shop.admin, "if-match": etag}
        first = await client.post(url, headers=headers, json={"title": "First"})
        assert first.status_code == 200
        message = refused(await client.post(url, headers=headers, json={"title": "Second"}), 412)
        assert "read it again" in message
        assert (await client.get(url, headers=shop.admin)).json()["product"]["title"] == "First"
        # The answer to a change carries the tag for the next one.
        headers["if-match"] = first.headers["etag"]
        assert (await client.delete(url, headers=headers)).status_code == 200
        refused(await client.delete(url, headers=headers), 404)

    async def test_a_packed_answers_tag(self, client, shop):
        product = await shop.product(description="long " * 500)
        url = f"/admin/products/{product['id']}"
        seen = await client.get(url, headers={**shop.admin, "accept-encoding": "gzip"})
        assert seen.headers["content-encoding"] == "gzip"
        headers = {**shop.admin, "if-match": seen.headers["etag"]}
        assert (await client.post(url, headers=headers, json={"title": "N"})).status_code == 200

    async def test_of_two_at_once_one_wins(self, client, shop):
        product = await shop.product()
        url = f"/admin/products/{product['id']}"
        headers = {**shop.admin, "if-match": await etag_of(client, url, shop.admin)}
        answers = await asyncio.gather(
            *(client.post(url, headers=headers, json={"title": f"No {n}"}) for n in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7

    async def test_each_kind(self, client, shop, runtime):
        order = (await shop.order(await shop.variant())).json()["order"]
        made = await client.post(
            "/admin/customers", headers=shop.admin, json={"email": "a@example.com"}
        )
        role = await client.post(
            "/admin/roles", headers=shop.admin, json={"name": "Clerk", "permissions": []}
        )
        cart = await client.post("/store/carts", headers=shop.store, json={})
        for path, headers, body in (
            (f"/admin/orders/{order['id']}", shop.admin, {"metadata": {"a": 1}}),
            (f"/admin/customers/{made.json()['customer']['id']}", shop.admin, {"first_name": "A"}),
            (f"/admin/roles/{role.json()['role']['id']}", shop.admin, {"name": "Clerks"}),
            (f"/admin/collections/{await collection(client, shop)}", shop.admin, {"title": "W"}),
            (f"/store/carts/{cart.json()['cart']['id']}", shop.store, {"email": "b@example.com"}),
        ):
            stale = {**headers, "if-match": '"0123"'}
            refused(await client.post(path, headers=stale, json=body), 412)
            fresh = {**headers, "if-match": await etag_of(client, path, headers)}
            assert (await client.post(path, headers=fresh, json=body)).status_code == 200, path

    async def test_a_route_that_takes_none_says_so(self, client, shop):
        headers = {**shop.admin, "if-match": "*"}
        answer = await client.post("/admin/collections", headers=headers, json={"title": "A"})
        refused(answer, 400, place="if-match")
        found = (await client.get("/admin/collections", headers=shop.admin)).json()
        assert found["count"] == 0
        body = {"permissions": ["product:read"]}
        answer = await client.post("/admin/permissions/check", headers=headers, json=body)
        refused(answer, 400, place="if-match")

    async def test_reads_take_none(self, client, shop):
        await shop.product()
        for _ in range(3):  # the third time the short way, without the header
            await client.get("/store/products", headers=shop.store)
        headers = {**shop.store, "if-match": '"zzz"'}
        answer = await client.get("/store/products", headers=headers)
        refused(answer, 400, place="if-match")

    async def test_only_reads_take_the_other(self, client, shop):
        product = await shop.product(title="First")
        path = f"/admin/products/{product['id']}"
        headers = {**shop.admin, "if-none-match": "*"}
        answer = await client.post(path, headers=headers, json={"title": "Second"})
        refused(answer, 400, place="if-none-match")
        found = await client.get(path, headers=shop.admin)
        assert found.json()["product"]["title"] == "First"


class TestWhoMayKeepIt:
    async def test_store_catalog(self, client, shop):
        product = await shop.product()
        path = f"/store/products/{product['id']}"
        headers = (await client.get(path, headers=shop.store)).headers
        assert headers["cache-control"] == "public, no-cache"
        for name in ("x-tenant-id", "x-publishable-api-key", "accept-encoding"):
            assert name in headers["vary"]
        keys = headers["surrogate-key"].split()
        assert f"{shop.tenant}:product:{product['id']}" in keys
        assert headers["cache-tag"].split(",") == keys

    async def test_a_cdn_that_purges(self, settings: Settings):
        app = create_app(msgspec.structs.replace(settings, cdn_max_age=60))
        async with started(app), PatientClient(app) as client:
            shop = await open_shop(app.state.runtime, client)
            answer = await client.get("/store/products", headers=shop.store)
            assert "public, max-age=0, s-maxage=60" in answer.headers["cache-control"]
            answer = await client.get("/admin/products", headers=shop.admin)
            assert answer.headers["cache-control"] == "private, no-cache"

    @pytest.mark.parametrize(
        "path", ["/admin/orders", "/admin/customers", "/admin/users/me", "/nowhere"]
    )
    async def test_nobody(self, client, shop, path):
        answer = await client.get(path, headers=shop.admin)
        assert answer.headers["cache-control"] == "no-store"
        assert "surrogate-key" not in answer.headers
