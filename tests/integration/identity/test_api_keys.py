"""API keys: shown once, limited by their role, gone when revoked."""

from uuid import uuid4

import pytest

URL = "/admin/api-keys"


async def role_id(client, headers, name):
    response = await client.get("/admin/roles", headers=headers, params={"name": name})
    return response.json()["roles"][0]["id"]


async def create(client, headers, **changes):
    body = {"title": "key", "type": "publishable", **changes}
    response = await client.post(URL, headers=headers, json=body)
    assert response.status_code == 200, response.text
    return response.json()["api_key"]


class TestCreate:
    async def test_anonymous(self, client):
        assert (await client.post(URL, json={})).status_code == 401

    async def test_permission(self, client, shop):
        headers = await shop.user("api-key:read")
        body = {"title": "key", "type": "publishable"}
        assert (await client.post(URL, headers=headers, json=body)).status_code == 403

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"type": "secret", "title": ""}, "/title"),
            ({"type": "private", "title": "x"}, "/type"),
            ({"type": "secret", "title": "x"}, "/role_id"),
            ({"type": "publishable", "title": "x", "role_id": str(uuid4())}, "/role_id"),
        ],
    )
    async def test_bad_input(self, client, shop, body, pointer):
        response = await client.post(URL, headers=shop.admin, json=body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer

    async def test_role_of_another_tenant(self, client, shop, other_shop):
        foreign = await role_id(client, other_shop.admin, "support")
        body = {"title": "x", "type": "secret", "role_id": foreign}
        assert (await client.post(URL, headers=shop.admin, json=body)).status_code == 404

    async def test_cannot_grant_what_one_lacks(self, client, shop):
        headers = await shop.user("api-key:create", "product:read")
        body = {
            "title": "x",
            "type": "secret",
            "role_id": await role_id(client, shop.admin, "analyst"),
        }
        response = await client.post(URL, headers=headers, json=body)
        assert response.status_code == 403
        assert "'order:read'" in response.json()["message"]

    async def test_secret_key_works_within_its_role(self, client, shop, other_shop):
        key = await create(
            client,
            shop.admin,
            type="secret",
            role_id=await role_id(client, shop.admin, "analyst"),
        )
        headers = {"authorization": f"Bearer {key['token']}"}
        assert (await client.get("/admin/products", headers=headers)).status_code == 200
        assert (await client.get("/admin/users", headers=headers)).status_code == 403
        assert (await client.get("/admin/users/me", headers=headers)).status_code == 404
        elsewhere = {**headers, "x-tenant-id": other_shop.tenant}
        assert (await client.get("/admin/products", headers=elsewhere)).status_code == 403
        shown = (await client.get(f"{URL}/{key['id']}", headers=shop.admin)).json()["api_key"]
        assert "token" not in shown
        assert key["token"].startswith(shown["redacted"].rstrip("*"))
        assert key["token"] not in (await client.get(URL, headers=shop.admin)).text

    async def test_role_of_a_key_stays(self, client, shop):
        role = await role_id(client, shop.admin, "analyst")
        await create(client, shop.admin, type="secret", role_id=role)
        response = await client.delete(f"/admin/roles/{role}", headers=shop.admin)
        assert response.status_code == 409


class TestList:
    async def test_filters_and_cursor(self, client, shop, other_shop):
        await create(client, other_shop.admin, title="foreign")
        analyst = await role_id(client, shop.admin, "analyst")
        secret = await create(client, shop.admin, title="Nightly", type="secret", role_id=analyst)
        for params in ({"type": "secret"}, {"q": "night"}, {"role_id": analyst}):
            body = (await client.get(URL, headers=shop.admin, params=params)).json()
            assert [key["id"] for key in body["api_keys"]] == [secret["id"]]
        params = {"order": "title", "limit": 1}
        first = (await client.get(URL, headers=shop.admin, params=params)).json()
        params["cursor"] = first["next_cursor"]
        second = (await client.get(URL, headers=shop.admin, params=params)).json()
        titles = [body["api_keys"][0]["title"] for body in (first, second)]
        assert titles == ["Nightly", "Storefront"]


class TestRevoke:
    async def test_unknown(self, client, shop, other_shop):
        foreign = await create(client, other_shop.admin)
        for id in (uuid4(), foreign["id"]):
            response = await client.post(f"{URL}/{id}/revoke", headers=shop.admin)
            assert response.status_code == 404

    async def test_holds_at_once(self, client, shop):
        key = await create(client, shop.admin)
        headers = {"x-publishable-api-key": key["token"]}
        assert (await client.get("/store/products", headers=headers)).status_code == 200
        url = f"{URL}/{key['id']}"
        refused = await client.delete(url, headers=shop.admin)
        assert (refused.status_code, refused.json()["code"]) == (400, "not_allowed")
        response = await client.post(f"{url}/revoke", headers=shop.admin)
        revoked_at = response.json()["api_key"]["revoked_at"]
        assert revoked_at is not None
        again = await client.post(f"{url}/revoke", headers=shop.admin)
        assert again.json()["api_key"]["revoked_at"] == revoked_at
        assert (await client.get("/store/products", headers=headers)).status_code == 400
        listed = await client.get(URL, headers=shop.admin, params={"revoked": True})
        assert [found["id"] for found in listed.json()["api_keys"]] == [key["id"]]
        response = await client.delete(url, headers=shop.admin)
        assert response.json() == {"id": key["id"], "object": "api_key", "deleted": True}
