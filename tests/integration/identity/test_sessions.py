"""Tokens: renewed while the login is young; ended alone, with all of their account, by a new
password or a new key."""

import asyncio
import time
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from impact.app import create_app
from impact.context import Actor, ActorKind, system_context
from impact.engine.cache.keys import whole_tenant
from impact.engine.security.tokens import Tokens
from support.client import PatientClient
from support.lifespan import started
from support.shapes import refused
from support.shops import OWNER_PASSWORD

PASSWORD = "a long password"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def log_in(client, tenant, password=OWNER_PASSWORD, email=None):
    answer = await client.post(
        "/auth/user/emailpass",
        headers={"x-tenant-id": tenant},
        json={"email": email or f"owner@{tenant}.test", "password": password},
    )
    assert answer.status_code == 200, answer.text
    return bearer(answer.json()["token"])


async def register(client, shop):
    answer = await client.post(
        "/auth/customer/emailpass/register",
        headers=shop.store,
        json={"email": f"{uuid4().hex}@example.com", "password": PASSWORD},
    )
    assert answer.status_code == 200, answer.text
    return {**shop.store, **bearer(answer.json()["token"])}


class TestRenewing:
    async def test_anonymous(self, client, shop):
        for headers in ({}, {"x-tenant-id": shop.tenant}, bearer("x.y.z"), shop.store):
            assert (await client.post("/auth/token/refresh", headers=headers)).status_code == 401

    async def test_staff_and_customers(self, client, shop):
        customer = await register(client, shop)
        for old, path in (
            (await log_in(client, shop.tenant), "/admin/users/me"),
            (customer, "/store/customers/me"),
        ):
            answer = await client.post("/auth/token/refresh", headers=old)
            new = bearer(answer.json()["token"])
            assert new["authorization"] != old["authorization"]
            assert (await client.get(path, headers={**shop.store, **new})).status_code == 200

    async def test_a_token_stays_what_it_is(self, client, shop):
        customer = await register(client, shop)
        answer = await client.post("/auth/token/refresh", headers=customer)
        new = bearer(answer.json()["token"])
        assert (await client.get("/admin/products", headers=new)).status_code == 401

    async def test_not_for_ever(self, client, shop, runtime):
        actor = Actor(ActorKind.USER, shop.tenant, shop.owner_id)
        longest = runtime.settings.token_renewal
        for age, status in ((longest - 60, 200), (longest + 60, 401)):
            token = runtime.tokens.issue(actor, made_in=shop.context(), logged_in=time.time() - age)
            answer = await client.post("/auth/token/refresh", headers=bearer(token))
            assert answer.status_code == status
            if status == 200:
                # A renewed one is no younger a login.
                claims = system_context(shop.tenant, "test")
                runtime.tokens.read(answer.json()["token"], ActorKind.USER, claims)
                assert claims.claims.logged_in == pytest.approx(time.time() - age, abs=30)

    async def test_it_is_valid_for_no_shorter_than_the_old_one(self, client, shop, runtime):
        actor = Actor(ActorKind.USER, shop.tenant, shop.owner_id)
        year = 365 * 86_400
        old = bearer(runtime.tokens.issue(actor, ttl=year))
        answer = await client.post("/auth/token/refresh", headers=old)
        context = system_context(shop.tenant, "test")
        runtime.tokens.read(answer.json()["token"], ActorKind.USER, context)
        assert context.claims.expires == pytest.approx(time.time() + year, abs=30)


class TestEnding:
    async def test_other_tenants_and_other_accounts_go_on(self, client, shop, other_shop):
        mine, theirs = await log_in(client, shop.tenant), await log_in(client, other_shop.tenant)
        colleague = await shop.user("product:read")
        assert (await client.delete("/auth/session", headers=mine)).json() == {"success": True}
        assert (await client.get("/admin/products", headers=theirs)).status_code == 200
        assert (await client.get("/admin/products", headers=colleague)).status_code == 200

    async def test_one_login_alone_with_its_renewals(self, client, shop):
        mine, other = [await log_in(client, shop.tenant) for _ in range(2)]
        answer = await client.post("/auth/token/refresh", headers=mine)
        renewed = bearer(answer.json()["token"])
        tokens = (mine, renewed, other)
        for headers in tokens:
            # Until the short way is taken.
            for _ in range(4):
                assert (await client.get("/admin/products", headers=headers)).status_code == 200
        await client.delete("/auth/session", headers=renewed)
        for headers in (mine, renewed):
            refused(await client.get("/admin/products", headers=headers), 401)
            refused(await client.post("/auth/token/refresh", headers=headers), 401)
            refused(await client.delete("/auth/session", headers=headers), 401)
        assert (await client.get("/admin/products", headers=other)).status_code == 200
        assert (await client.post("/auth/token/refresh", headers=other)).status_code == 200

    async def test_all_of_an_account(self, client, shop):
        tokens = [await log_in(client, shop.tenant) for _ in range(2)]
        for headers in tokens:
            for _ in range(4):
                assert (await client.get("/admin/products", headers=headers)).status_code == 200
        await client.delete("/auth/session?everywhere=true", headers=tokens[0])
        for headers in tokens:
            refused(await client.get("/admin/products", headers=headers), 401)
            refused(await client.post("/auth/token/refresh", headers=headers), 401)
        again = await log_in(client, shop.tenant)
        assert (await client.get("/admin/products", headers=again)).status_code == 200

    async def test_at_once(self, client, shop):
        tokens = [await log_in(client, shop.tenant) for _ in range(6)]
        ends = (client.delete("/auth/session", headers=headers) for headers in tokens[1:])
        assert {answer.status_code for answer in await asyncio.gather(*ends)} == {200}
        for headers in tokens[1:]:
            refused(await client.get("/admin/products", headers=headers), 401)
        assert (await client.get("/admin/products", headers=tokens[0])).status_code == 200

    async def test_what_is_remembered_is_bounded_and_nothing_is_let_in_again(
        self, client, shop, endpoints
    ):
        def issue(age: float, ttl: int | None = None) -> dict[str, str]:
            logged_in = time.time() - age
            return bearer(shop.runtime.tokens.issue(actor, ttl=ttl, logged_in=logged_in))

        async def end(headers: dict[str, str]) -> int:
            """How many logins are remembered then."""
            answer = await client.delete("/auth/session", headers=headers)
            assert answer.status_code == 200
            count = "SELECT count(*) FROM admin_user, jsonb_object_keys(logins_ended) WHERE id = $1"
            found: int = await owner.fetchval(count, shop.owner_id)
            return found

        actor = Actor(ActorKind.USER, shop.tenant, shop.owner_id)
        past = shop.runtime.settings.token_renewal + shop.runtime.settings.token_ttl
        # One made on the command line, for longer than a login lasts.
        long, first, last, other = issue(past + 60, past * 3), issue(40), issue(50), issue(60)
        owner = await asyncpg.connect(endpoints.owner_url)
        try:
            await owner.execute(
                'UPDATE admin_user SET logins_ended = \'{"1": 2, "3": 4e9}\' WHERE id = $1',
                shop.owner_id,
            )
            # What has run out makes room.
            assert await end(long) == 2
            assert await end(first) == 3
            await owner.execute(
                """
                UPDATE admin_user SET logins_ended = logins_ended || (
                    SELECT jsonb_object_agg(n, 4e9) FROM generate_series(101, 197) AS n
                ) WHERE id = $1
                """,
                shop.owner_id,
            )
            assert (await client.get("/admin/products", headers=other)).status_code == 200
            # One too many to remember: whatever was issued before is void.
            assert await end(last) == 0
            for headers in (long, first, last, other):
                refused(await client.get("/admin/products", headers=headers), 401)
        finally:
            await owner.close()

    async def test_a_customers(self, client, shop):
        headers = await register(client, shop)
        other = await register(client, shop)
        assert (await client.delete("/auth/session", headers=headers)).status_code == 200
        for path in ("/store/customers/me", "/store/orders", "/store/products"):
            refused(await client.get(path, headers=headers), 401)
            assert (await client.get(path, headers=other)).status_code == 200

    async def test_a_new_password(self, client, shop):
        email = f"{uuid4().hex}@staff.test"
        body = {"email": email, "password": PASSWORD}
        made = await client.post("/admin/users", headers=shop.admin, json=body)
        id = made.json()["user"]["id"]
        old = await log_in(client, shop.tenant, PASSWORD, email)
        assert (await client.get("/admin/users/me", headers=old)).status_code == 200
        changed = await client.post(
            f"/admin/users/{id}", headers=shop.admin, json={"password": "another password"}
        )
        assert changed.status_code == 200
        refused(await client.get("/admin/users/me", headers=old), 401)
        new = await log_in(client, shop.tenant, "another password", email)
        assert (await client.get("/admin/users/me", headers=new)).status_code == 200

    async def test_a_deleted_customer(self, client, shop):
        headers = await register(client, shop)
        me = (await client.get("/store/customers/me", headers=headers)).json()["customer"]
        gone = await client.delete(f"/admin/customers/{me['id']}", headers=shop.admin)
        assert gone.status_code == 200
        refused(await client.get("/store/products", headers=headers), 401)

    async def test_on_every_worker(self, client, shop, settings):
        headers = await log_in(client, shop.tenant)
        app = create_app(settings)
        async with started(app), PatientClient(app) as other:
            for _ in range(4):
                assert (await other.get("/admin/products", headers=headers)).status_code == 200
            await client.delete("/auth/session", headers=headers)
            versions = app.state.runtime.cache.versions
            # One message later; a second is what it may take.
            await versions.raise_now("hq", [whole_tenant("hq")])
            answer = await other.get("/admin/products", headers=headers)
            deadline = time.monotonic() + 1
            while answer.status_code == 200 and time.monotonic() < deadline:
                answer = await other.get("/admin/products", headers=headers)
            assert answer.status_code == 401


class TestKeys:
    async def test_rotation(self, settings):
        actor = Actor(ActorKind.USER, "paris", uuid4())
        old, new = "old:" + "o" * 32, "new:" + "n" * 32

        def tokens(*keys: str) -> Tokens:
            return Tokens(msgspec.structs.replace(settings, signing_keys=",".join(keys)))

        given = tokens(old).issue(actor)
        context = system_context("paris", "test")
        assert tokens(new, old).read(given, ActorKind.USER, context) == actor
        assert tokens(new, old).issue(actor).split(".")[0] == tokens(new).issue(actor).split(".")[0]
        with pytest.raises(Exception, match="not valid"):
            tokens(new).read(given, ActorKind.USER, context)


class TestLogin:
    @pytest.mark.parametrize("kind", ["user", "customer"])
    async def test_whoever_it_is_the_work_and_the_answer_are_the_same(
        self, client, shop, runtime, kind, monkeypatch
    ):
        inactive = f"{uuid4().hex}@staff.test"
        made = await client.post(
            "/admin/users", headers=shop.admin, json={"email": inactive, "password": PASSWORD}
        )
        id = made.json()["user"]["id"]
        await client.post(f"/admin/users/{id}", headers=shop.admin, json={"is_active": False})
        checked = []
        real = runtime.passwords._hasher.verify

        class Counting:
            def verify(self, stored, password):
                checked.append(stored[:9])
                return real(stored, password)

        monkeypatch.setattr(runtime.passwords, "_hasher", Counting())
        answers = set()
        for email, password in (
            (f"owner@{shop.tenant}.test", "wrong"),
            ("nobody@example.com", "wrong"),
            (inactive, PASSWORD),
        ):
            answer = await client.post(
                f"/auth/{kind}/emailpass",
                headers=shop.store if kind == "customer" else {"x-tenant-id": shop.tenant},
                json={"email": email, "password": password},
            )
            answers.add((answer.status_code, answer.json()["message"]))
        assert answers == {(401, "Invalid email or password")}
        assert checked == ["$argon2id"] * 3
