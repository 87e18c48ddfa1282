"""Stampedes, outages of Redis, and rights that are revoked: on four processes' worth."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.engine.cache.keys import Key, digest, make_key
from impact.engine.cache.loading import Locks
from impact.engine.cache.remote import RedisAwayError
from impact.engine.db.base import new_id
from impact.errors import NotFoundError, UnavailableError
from impact.settings import Settings
from impact.stack import Endpoints
from support.caching import TITLE, RedisProxy, Worker, apart, redis_proxy, until, workers
from support.lifespan import started
from support.replication import caught_up
from support.shops import Shop

pytestmark = pytest.mark.xdist_group("replica")


@pytest.fixture
async def four(settings: Settings, shop: Shop) -> AsyncIterator[list[Worker]]:
    async with workers(settings, shop.tenant) as made:
        yield made


class TestOneLoad:
    async def test_a_thousand_callers_of_a_cold_key(self, four: list[Worker]) -> None:
        row = new_id()
        await four[0].write(row, "one")
        callers = [four[number % 4].read(row) for number in range(1000)]
        assert set(await asyncio.gather(*callers)) == {"one"}
        assert sum(worker.loads for worker in four) == 1

    async def test_a_caller_who_leaves_does_not_take_the_load_along(
        self, four: list[Worker]
    ) -> None:
        row, worker = new_id(), four[0]
        await worker.write(row, "one")
        reached, release = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            reached.set()
            await release.wait()

        worker.before_load = hold
        first = asyncio.create_task(worker.read(row))
        await reached.wait()
        second = asyncio.create_task(worker.read(row))
        await asyncio.sleep(0)
        first.cancel()
        release.set()
        assert await second == "one"
        assert worker.loads == 1

    async def test_early_refresh_is_its_own_load(
        self, four: list[Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row, worker = new_id(), four[0]
        await worker.write(row, "one")
        await worker.read(row)
        await worker.hear()
        monkeypatch.setattr(worker.cache.validity, "due", lambda left, cost: worker.loads == 1)
        assert await worker.read(row) == "one"
        await until(lambda: worker.loads == 2)

    async def test_an_error_is_not_kept(self, four: list[Worker]) -> None:
        row, worker = new_id(), four[0]

        async def fail() -> None:
            raise NotFoundError("not this time")

        worker.before_load = fail
        with pytest.raises(NotFoundError):
            await worker.read(row)
        worker.before_load = None
        assert await worker.read(row) is None


class TestStaleIfError:
    async def test_an_unchanged_entry_past_its_time_stands_in(
        self, settings: Settings, shop: Shop
    ) -> None:
        async with workers(settings, shop.tenant, 1, catalog_cache_ttl=0.01) as (worker,):
            row = new_id()
            await worker.write(row, "one")
            await worker.read(row)
            await asyncio.sleep(0.05)

            async def fail() -> None:
                raise UnavailableError("gone")

            worker.before_load = fail
            assert await worker.read(row) == "one"
            assert worker.cache.stats.l2["collection"].stale == 1
            await worker.write(row, "two")
            with pytest.raises(UnavailableError):
                await worker.read(row)


@contextlib.asynccontextmanager
async def behind_proxy(settings: Settings) -> AsyncIterator[tuple[Litestar, RedisProxy]]:
    async with redis_proxy(apart(settings.redis_url)) as proxy:
        chosen = msgspec.structs.replace(
            settings, redis_url=proxy.url, cache_service=f"t{new_id()}"
        )
        async with started(create_app(chosen)) as app:
            yield app, proxy


class TestOutages:
    @pytest.mark.parametrize("how", ["stopped", "slow", "empty"])
    async def test_nothing_fails(self, settings: Settings, shop: Shop, how: str) -> None:
        product = await shop.product()
        path = f"/admin/products/{product['id']}"
        async with behind_proxy(settings) as (app, proxy):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
                remote = app.state.runtime.cache.versions.remote
                statuses = {(await client.get(path, headers=shop.admin)).status_code}
                if how == "stopped":
                    proxy.refuse = True
                    proxy.cut()
                elif how == "slow":
                    proxy.delay = 0.5
                else:
                    await remote.client.flushdb()
                for number in range(40):
                    answers = [client.get(path, headers=shop.admin) for _ in range(5)]
                    statuses |= {answer.status_code for answer in await asyncio.gather(*answers)}
                    body = {"title": f"Title {number}"}
                    made = await client.post(path, headers=shop.admin, json=body)
                    token = {"x-consistency-token": made.headers["x-consistency-token"]}
                    read = await client.get(path, headers={**shop.admin, **token})
                    statuses |= {made.status_code, read.status_code}
                    assert read.json()["product"]["title"] == body["title"]
                assert statuses == {200}
                # No request waits any more for what does not answer.
                if how != "empty":
                    assert not remote.available
                proxy.delay, proxy.refuse = 0.0, False
                proxy.cut()
                await until(app.state.runtime.cache.versions.hears)
                await until(lambda: remote.available)

    async def test_without_redis_a_second_bounds_l1(
        self, settings: Settings, endpoints: Endpoints, shop: Shop
    ) -> None:
        async with workers(settings, shop.tenant, 2, redis_url=None) as (one, other):
            row = new_id()
            await one.write(row, "old")
            # Nobody tells a worker without Redis what another wrote: it may read a replica.
            await caught_up(endpoints)
            assert await other.read(row, (1, 0)) == "old"
            loads = other.loads
            assert await other.read(row) == "old"
            key = make_key(other.tenant, "collection", row, "title")
            held = other.cache.local.get(key)
            assert not held.verified
            assert other.loads in {loads, loads + 1}
            token = await one.write(row, "new")
            assert await other.read(row, token) == "new"
            # Its time is up: not served, however quiet it is.
            other.cache.local.get(key).until = 0.0
            assert other.cache.peek(TITLE, key, other.context()) is None


class TestRights:
    async def test_a_revoked_role_is_refused_on_every_worker(
        self, settings: Settings, shop: Shop
    ) -> None:
        name = f"t{new_id()}"
        chosen = msgspec.structs.replace(settings, cache_service=name)
        headers = await shop.user("product:read")
        path = "/admin/products?limit=1"
        async with contextlib.AsyncExitStack() as stack:
            apps = [await stack.enter_async_context(started(create_app(chosen))) for _ in range(4)]
            clients = [
                await stack.enter_async_context(
                    httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a")
                )
                for app in apps
            ]
            for client in clients:
                for _ in range(2):
                    assert (await client.get(path, headers=headers)).status_code == 200
            me = (await clients[0].get("/admin/users/me", headers=headers)).json()["user"]
            role = me["roles"][0]["id"]
            url = f"/admin/users/{me['id']}/roles/{role}"
            assert (await clients[0].delete(url, headers=shop.admin)).status_code == 200
            # One message later; a second is what it may take.
            for app, client in zip(apps, clients, strict=True):
                await Worker(app.state.runtime, shop.tenant).hear()
                assert (await client.get(path, headers=headers)).status_code == 403


class TestTenants:
    async def test_the_same_question_of_two_shops(
        self, client: httpx.AsyncClient, shop: Shop, other_shop: Shop
    ) -> None:
        mine, theirs = await shop.product(), await other_shop.product()
        for path in ("/admin/products", "/store/products", f"/admin/products/{mine['id']}"):
            for _ in range(2):
                for asker, own in ((shop, mine), (other_shop, theirs)):
                    headers = asker.store if path.startswith("/store") else asker.admin
                    answer = await client.get(path, headers=headers)
                    if path.endswith(mine["id"]):
                        assert answer.status_code == (200 if asker is shop else 404)
                    else:
                        assert [p["id"] for p in answer.json()["products"]] == [own["id"]]

    def test_a_digest_tells_questions_apart(self) -> None:
        assert digest("a", {"x": [UUID(int=1)]}) != digest("a", {"x": [UUID(int=2)]})
        assert digest("a", "bc") != digest("ab", "c")


class TestRoutes:
    async def test_figures_and_invalidation(
        self, client: httpx.AsyncClient, shop: Shop, other_shop: Shop
    ) -> None:
        nobody = await shop.user("product:read")
        assert (await client.get("/admin/cache/stats", headers=nobody)).status_code == 403
        await client.get("/admin/products", headers=shop.admin)
        found = (await client.get("/admin/cache/stats", headers=shop.admin)).json()
        assert found["tiers"]["l1"]["rbac"]["hits"] > 0
        assert found["processes"] >= 1
        url = "/admin/cache/invalidate"
        body = {"pattern": f"product:{shop.tenant}:*"}
        answer = await client.post(url, headers=shop.admin, json=body)
        assert answer.json() == {**body, "everywhere": True}
        assert (await client.post(url, headers=other_shop.admin, json=body)).status_code == 403
        wrong = {"pattern": "product"}
        assert (await client.post(url, headers=shop.admin, json=wrong)).status_code == 400

    async def test_a_body_is_kept_in_its_compressed_form(
        self, client: httpx.AsyncClient, shop: Shop
    ) -> None:
        await shop.product(description="long " * 500)
        answers = {}
        for encoding in ("gzip", "identity", "gzip;q=0", "gzip"):
            headers = {**shop.admin, "accept-encoding": encoding}
            answer = await client.get("/admin/products", headers=headers)
            assert "accept-encoding" in answer.headers["vary"]
            answers[encoding] = (answer.headers.get("content-encoding"), answer.json())
        assert [answers[e][0] for e in ("gzip", "identity", "gzip;q=0")] == ["gzip", None, None]
        assert answers["gzip"][1] == answers["identity"][1]


class TestLocks:
    """A lock that is left behind makes everybody wait for a load that nobody does."""

    @pytest.mark.parametrize("late", ["looking", "taking it", "looking again", "storing"])
    async def test_it_goes_back_where_redis_is_late(
        self,
        four: list[Worker],
        endpoints: Endpoints,
        monkeypatch: pytest.MonkeyPatch,
        late: str,
    ) -> None:
        row, worker = new_id(), four[0]
        await worker.write(row, "one")
        # What Redis does not tell in time, a replica has to know.
        await caught_up(endpoints)
        versions, locks = worker.cache.versions, worker.cache._locks
        client, looked = versions.remote.client, 0
        look, take = versions.look, locks.take
        if late in ("taking it", "looking again"):
            # Then the lock is not taken with the first look, as there is an entry.
            await worker.read(row)
            worker.cache.local.clear()
            monkeypatch.setattr(worker.cache.validity, "shared_is_good", lambda *_: False)

        async def look_(tags: Sequence[str], key: Key, holder: str = "") -> object:
            nonlocal looked
            looked += 1
            answer = await look(tags, key, holder)
            assert answer.taken is (True if late in ("looking", "storing") else None)
            if (late, looked) in (("looking", 1), ("looking again", 2)):
                raise RedisAwayError
            return answer

        async def take_(key: Key, holder: str) -> bool:
            assert await take(key, holder)
            if late == "taking it":
                raise RedisAwayError
            return True

        async def store(*arguments: object) -> tuple[bool, int]:
            raise RedisAwayError

        taken: list[str] = []

        def name(key: Key) -> str:
            taken.append(Locks.name(locks, key))
            return taken[-1]

        monkeypatch.setattr(versions, "look", look_)
        monkeypatch.setattr(locks, "take", take_)
        monkeypatch.setattr(locks, "name", name)
        if late == "storing":
            monkeypatch.setattr(versions, "store", store)
        assert await worker.read(row) == "one"
        (name_of_lock,) = set(taken)
        async with asyncio.timeout(5):  # half of what a lock that nobody gives back lasts
            while await client.exists(name_of_lock):  # noqa: ASYNC110 - it is Redis that changes
                await asyncio.sleep(0.01)
