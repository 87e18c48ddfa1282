"""Who is let in, and into which shop: tokens, keys and the tenant's header."""

import base64
import time
from uuid import uuid4

import jwt
import msgspec
import pytest

from impact.context import Actor, ActorKind
from impact.engine.security.tokens import Tokens, make_api_key
from impact.settings import Settings

ADMIN, STORE = "/admin/products", "/store/products"
OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 32


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def signed(settings: Settings, **changes: object) -> str:
    """A token with the service's own key and the claims of an unknown user, changed."""
    kid, secret = settings.signing_keys.split(",")[0].split(":", 1)
    now = int(time.time())
    claims = {
        **{"iss": "impact", "aud": "admin", "sub": str(uuid4()), "tenant": "hq"},
        **{"iat": now, "exp": now + 60},
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, secret, algorithm="HS256", headers={"kid": kid})


@pytest.fixture
async def secret_key(client, shop):
    """A secret key's id and token; its role may read products."""
    roles = await client.get("/admin/roles", headers=shop.admin, params={"name": "analyst"})
    body = {"title": "k", "type": "secret", "role_id": roles.json()["roles"][0]["id"]}
    made = await client.post("/admin/api-keys", headers=shop.admin, json=body)
    return made.json()["api_key"]


class TestUserTokens:
    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Bearer a.b.c",
            "Basic",
            "Basic ?",
            b"Basic \xe9\xe9",
            b"Bearer \xe9\xe9",
            "Basic " + base64.b64encode(b"\xff\xfe").decode(),
            "Digest username=x",
            "Bearer sk_",
            "Bearer sk_paris",
            "Bearer sk_PARIS_x",
            "Bearer pk_paris_x",
        ],
    )
    async def test_what_is_none(self, client, authorization):
        response = await client.get(ADMIN, headers={"authorization": authorization})
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")

    @pytest.mark.parametrize(
        "changes",
        [
            {"exp": 1},
            {"exp": None},
            {"iat": 99_999_999_999},
            {"aud": "store"},
            {"aud": None},
            {"iss": "somebody"},
            {"sub": "1"},
            {"sub": None},
            {"tenant": None},
            {"tenant": "HQ"},
            {"tenant": 7},
        ],
        ids=str,
    )
    async def test_claims_that_do_not_hold(self, client, settings, changes):
        response = await client.get(ADMIN, headers=bearer(signed(settings, **changes)))
        assert response.status_code == 401

    async def test_a_token_that_has_expired_says_so(self, client, shop, runtime):
        actor = Actor(ActorKind.USER, shop.tenant, shop.owner_id)
        response = await client.get(ADMIN, headers=bearer(runtime.tokens.issue(actor, ttl=-1)))
        assert response.status_code == 401
        assert "expired" in response.json()["message"]

    async def test_a_user_who_is_gone(self, client, settings):
        assert (await client.get(ADMIN, headers=bearer(signed(settings)))).status_code == 401

    async def test_another_key_of_the_same_name(self, client, settings, shop):
        kid = settings.signing_keys.split(":")[0]
        forger = Tokens(msgspec.structs.replace(settings, signing_keys=f"{kid}:" + "f" * 32))
        token = forger.issue(Actor(ActorKind.USER, shop.tenant, shop.owner_id))
        assert (await client.get(ADMIN, headers=bearer(token))).status_code == 401

    # HS512 asks for longer keys than the service's own are.
    @pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
    @pytest.mark.parametrize("algorithm", ["none", "HS512"])
    async def test_the_algorithm_is_not_the_tokens_choice(self, client, shop, settings, algorithm):
        kid, secret = settings.signing_keys.split(":", 1)
        claims = jwt.decode(
            shop.admin["authorization"].removeprefix("Bearer "),
            options={"verify_signature": False},
        )
        key = None if algorithm == "none" else secret
        token = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})
        assert (await client.get(ADMIN, headers=bearer(token))).status_code == 401

    async def test_a_customers_token_opens_no_admin_route(self, client, shop, runtime):
        token = runtime.tokens.issue(Actor(ActorKind.CUSTOMER, shop.tenant, shop.owner_id))
        assert (await client.get(ADMIN, headers=bearer(token))).status_code == 401

    async def test_staffs_token_opens_no_customers_route(self, client, shop):
        response = await client.get("/store/orders", headers={**shop.store, **shop.admin})
        assert response.status_code == 401


class TestRotation:
    def tokens(self, settings: Settings, keys: str) -> Tokens:
        return Tokens(msgspec.structs.replace(settings, signing_keys=keys))

    async def test_old_tokens_live_until_their_key_goes(self, settings, shop):
        actor = Actor(ActorKind.USER, shop.tenant, shop.owner_id)
        before = self.tokens(settings, OLD).issue(actor)
        both = self.tokens(settings, f"{NEW},{OLD}")
        assert both.read(before, ActorKind.USER, shop.context()) == actor
        after = both.issue(actor)
        assert jwt.get_unverified_header(after)["kid"] == "new"
        last = self.tokens(settings, NEW)
        assert last.read(after, ActorKind.USER, shop.context()) == actor
        with pytest.raises(Exception, match="not valid"):
            last.read(before, ActorKind.USER, shop.context())


class TestKeys:
    async def test_a_publishable_key_opens_no_admin_route(self, client, shop):
        token = shop.store["x-publishable-api-key"]
        assert (await client.get(ADMIN, headers=shop.store)).status_code == 401
        assert (await client.get(ADMIN, headers=bearer(token))).status_code == 401

    async def test_a_secret_key_opens_no_shop(self, client, secret_key):
        headers = {"x-publishable-api-key": secret_key["token"]}
        response = await client.get(STORE, headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "not_allowed")

    async def test_bearer_and_basic(self, client, secret_key):
        basic = base64.b64encode(f"{secret_key['token']}:".encode()).decode()
        for authorization in (f"Bearer {secret_key['token']}", f"Basic {basic}", f"basic {basic}"):
            headers = {"authorization": authorization}
            assert (await client.get(ADMIN, headers=headers)).status_code == 200
            assert (await client.post(ADMIN, headers=headers, json={})).status_code == 403

    async def test_a_key_that_was_revoked(self, client, shop, secret_key):
        path = f"/admin/api-keys/{secret_key['id']}/revoke"
        await client.post(path, headers=shop.admin)
        assert (await client.get(ADMIN, headers=bearer(secret_key["token"]))).status_code == 401

    async def test_a_key_that_was_never_made(self, client, shop):
        for kind, header in (("publishable", "x-publishable-api-key"), ("secret", "")):
            token = make_api_key(kind, shop.tenant).token
            headers = {header: token} if header else bearer(token)
            response = await client.get(STORE if header else ADMIN, headers=headers)
            assert response.status_code == (400 if header else 401)


class TestTenantHeader:
    async def test_disagrees_with_a_token(self, client, shop, other_shop):
        headers = {**shop.admin, "x-tenant-id": other_shop.tenant}
        response = await client.get(ADMIN, headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "tenant_mismatch")

    async def test_disagrees_with_a_key(self, client, shop, other_shop, secret_key):
        elsewhere = {"x-tenant-id": other_shop.tenant}
        for path, headers in ((STORE, shop.store), (ADMIN, bearer(secret_key["token"]))):
            response = await client.get(path, headers={**headers, **elsewhere})
            assert (response.status_code, response.json()["code"]) == (403, "tenant_mismatch")

    async def test_agrees(self, client, shop, secret_key):
        same = {"x-tenant-id": shop.tenant}
        for path, headers in (
            (ADMIN, shop.admin),
            (ADMIN, bearer(secret_key["token"])),
            (STORE, shop.store),
            (STORE, {}),
        ):
            assert (await client.get(path, headers={**headers, **same})).status_code == 200

    async def test_headquarters_may_name_any_shop(self, client, shop, hq):
        product = await shop.product()
        headers = {**hq, "x-tenant-id": shop.tenant}
        found = (await client.get(ADMIN, headers=headers)).json()["products"]
        assert [each["id"] for each in found] == [product["id"]]

    @pytest.mark.parametrize(
        "slug", ["", "Paris", "9", "-a", "a b", "a_b", "x" * 64, "a';--", "a%0A", "%E9", "a%00"]
    )
    async def test_malformed(self, client, shop, slug):
        for path, headers in ((STORE, {}), (ADMIN, shop.admin)):
            response = await client.get(path, headers={**headers, "x-tenant-id": slug})
            assert (response.status_code, response.json()["code"]) == (400, "invalid_data")

    async def test_unknown(self, client, hq):
        for path, headers in ((STORE, {}), (ADMIN, hq)):
            response = await client.get(path, headers={**headers, "x-tenant-id": "nowhere"})
            assert (response.status_code, response.json()["code"]) == (400, "unknown_tenant")

    async def test_none_names_nobody(self, client):
        response = await client.get(STORE, headers={"x-tenant-id": "none"})
        assert (response.status_code, response.json()["code"]) == (400, "not_allowed")

    async def test_suspended(self, client, shop, hq, secret_key):
        path = f"/admin/tenants/{shop.tenant}"
        await client.post(path, headers=hq, json={"status": "suspended"})
        login = {"email": "a@b.test", "password": "x"}
        for response in (
            await client.get(ADMIN, headers=shop.admin),
            await client.get(ADMIN, headers=bearer(secret_key["token"])),
            await client.get(ADMIN, headers={**hq, "x-tenant-id": shop.tenant}),
            await client.get(STORE, headers=shop.store),
            await client.get(STORE, headers={"x-tenant-id": shop.tenant}),
            await client.post(
                "/auth/user/emailpass", headers={"x-tenant-id": shop.tenant}, json=login
            ),
        ):
            assert (response.status_code, response.json()["code"]) == (403, "tenant_inactive")
