"""Roles, policies and checks: nobody grants what they do not hold."""

from uuid import uuid4

import pytest

URL = "/admin/roles"


async def create(client, headers, *permissions, **changes):
    body = {"name": uuid4().hex, "permissions": list(permissions), **changes}
    response = await client.post(URL, headers=headers, json=body)
    assert response.status_code == 200, response.text
    return response.json()["role"]


class TestList:
    async def test_anonymous(self, client):
        assert (await client.get(URL)).status_code == 401

    async def test_own_tenant(self, client, shop, other_shop):
        await create(client, other_shop.admin, "product:read")
        body = (await client.get(URL, headers=shop.admin, params={"order": "name"})).json()
        names = [role["name"] for role in body["roles"]]
        assert names == ["analyst", "manager", "owner", "support"]
        assert body["roles"][2]["permissions"] == ["*:*"]

    async def test_permission(self, client, shop):
        headers = await shop.user("user:read")
        assert (await client.get(URL, headers=headers)).status_code == 403

    async def test_search_and_cursor(self, client, shop):
        params = {"q": "A", "order": "-name", "limit": 1}
        first = (await client.get(URL, headers=shop.admin, params=params)).json()
        assert [role["name"] for role in first["roles"]] == ["manager"]
        params["cursor"] = first["next_cursor"]
        second = (await client.get(URL, headers=shop.admin, params=params)).json()
        assert [role["name"] for role in second["roles"]] == ["analyst"]
        assert second["next_cursor"] is None


class TestCreate:
    @pytest.mark.parametrize("permission", ["product", "Product:read", "*:*:*", "product:re*d"])
    async def test_bad_permission(self, client, shop, permission):
        body = {"name": "clerk", "permissions": ["product:read", permission]}
        response = await client.post(URL, headers=shop.admin, json=body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/permissions/1"

    @pytest.mark.parametrize("wanted", ["product:update", "product:*", "*:read", "*:*"])
    async def test_cannot_grant_what_one_lacks(self, client, shop, wanted):
        headers = await shop.user("role:create", "product:read")
        body = {"name": "clerk", "permissions": ["product:read", wanted]}
        response = await client.post(URL, headers=headers, json=body)
        assert response.status_code == 403
        assert f"'{wanted}'" in response.json()["message"]

    async def test_grants_below_a_wildcard(self, client, shop):
        headers = await shop.user("role:*", "product:*", "*:read")
        role = await create(
            client, headers, "product:*", "product:delete", "order:read", "product:*"
        )
        assert role["permissions"] == ["order:read", "product:*", "product:delete"]

    async def test_duplicate_name(self, client, shop):
        response = await client.post(URL, headers=shop.admin, json={"name": "owner"})
        assert response.status_code == 409
        assert "name 'owner'" in response.json()["message"]


class TestUpdate:
    async def test_unknown(self, client, shop, other_shop):
        foreign = await create(client, other_shop.admin)
        for id in (uuid4(), foreign["id"]):
            response = await client.post(f"{URL}/{id}", headers=shop.admin, json={"name": "x"})
            assert response.status_code == 404

    async def test_cannot_widen_or_weaken_what_one_lacks(self, client, shop):
        headers = await shop.user("role:update", "product:read")
        strong = await create(client, shop.admin, "product:read", "order:update")
        weak = await create(client, shop.admin, "product:read")
        for role, permissions in ((strong, ["product:read"]), (weak, ["order:update"])):
            response = await client.post(
                f"{URL}/{role['id']}", headers=headers, json={"permissions": permissions}
            )
            assert response.status_code == 403
            assert "'order:update'" in response.json()["message"]

    async def test_not_the_last_administrators_role(self, client, shop):
        body = (await client.get(URL, headers=shop.admin, params={"name": "owner"})).json()
        url = f"{URL}/{body['roles'][0]['id']}"
        response = await client.post(
            url, headers=shop.admin, json={"permissions": ["product:read"]}
        )
        assert response.status_code == 409
        response = await client.post(
            url, headers=shop.admin, json={"permissions": ["role:update", "user:*"]}
        )
        assert response.status_code == 200

    async def test_holds_at_once(self, client, shop):
        headers = await shop.user("product:read")
        me = (await client.get("/admin/users/me", headers=headers)).json()["user"]
        url = f"{URL}/{me['roles'][0]['id']}"
        changes = {"name": "reader", "description": "reads", "permissions": ["order:read"]}
        role = (await client.post(url, headers=shop.admin, json=changes)).json()["role"]
        assert {key: role[key] for key in changes} == changes
        assert (await client.get("/admin/products", headers=headers)).status_code == 403

    async def test_leaves_what_is_not_named(self, client, shop):
        role = await create(client, shop.admin, "product:read", description="d")
        response = await client.post(
            f"{URL}/{role['id']}", headers=shop.admin, json={"name": uuid4().hex}
        )
        assert response.json()["role"]["permissions"] == ["product:read"]
        assert response.json()["role"]["description"] == "d"


class TestDelete:
    async def test_what_one_lacks(self, client, shop):
        headers = await shop.user("role:delete")
        role = await create(client, shop.admin, "product:read")
        assert (await client.delete(f"{URL}/{role['id']}", headers=headers)).status_code == 403

    async def test_not_the_last_administrators_role(self, client, shop):
        body = (await client.get(URL, headers=shop.admin, params={"name": "owner"})).json()
        response = await client.delete(f"{URL}/{body['roles'][0]['id']}", headers=shop.admin)
        assert response.status_code == 409

    async def test_deletes(self, client, shop):
        role = await create(client, shop.admin, "product:read")
        url = f"{URL}/{role['id']}"
        response = await client.delete(url, headers=shop.admin)
        assert response.json() == {"id": role["id"], "object": "role", "deleted": True}
        assert (await client.get(url, headers=shop.admin)).status_code == 404


class TestPolicies:
    async def test_unknown(self, client, shop):
        url = f"/admin/policies/{uuid4()}"
        assert (await client.get(url, headers=shop.admin)).status_code == 404
        assert (await client.delete(url, headers=shop.admin)).status_code == 404
        response = await client.post(
            "/admin/policies",
            headers=shop.admin,
            json={"role_id": str(uuid4()), "permission": "product:read"},
        )
        assert response.status_code == 404

    async def test_what_one_lacks(self, client, shop):
        headers = await shop.user("policy:*", "product:read")
        role = await create(client, shop.admin)
        body = {"role_id": role["id"], "permission": "product:update"}
        response = await client.post("/admin/policies", headers=headers, json=body)
        assert response.status_code == 403
        policy = (await client.post("/admin/policies", headers=shop.admin, json=body)).json()
        url = f"/admin/policies/{policy['policy']['id']}"
        assert (await client.delete(url, headers=headers)).status_code == 403

    async def test_not_the_last_administrators(self, client, shop):
        params = {"permission": "*:*"}
        body = (await client.get("/admin/policies", headers=shop.admin, params=params)).json()
        url = f"/admin/policies/{body['policies'][0]['id']}"
        assert (await client.delete(url, headers=shop.admin)).status_code == 409

    async def test_adds_lists_and_removes(self, client, shop):
        role = await create(client, shop.admin, "product:read", "order:read")
        body = {"role_id": role["id"], "permission": "customer:read"}
        response = await client.post("/admin/policies", headers=shop.admin, json=body)
        policy = response.json()["policy"]
        again = await client.post("/admin/policies", headers=shop.admin, json=body)
        assert again.status_code == 409
        params = {"role_id": role["id"], "order": "permission", "limit": 2}
        first = (await client.get("/admin/policies", headers=shop.admin, params=params)).json()
        assert [p["permission"] for p in first["policies"]] == ["customer:read", "order:read"]
        params["cursor"] = first["next_cursor"]
        rest = (await client.get("/admin/policies", headers=shop.admin, params=params)).json()
        assert [p["permission"] for p in rest["policies"]] == ["product:read"]
        url = f"/admin/policies/{policy['id']}"
        assert (await client.get(url, headers=shop.admin)).json()["policy"] == policy
        assert (await client.delete(url, headers=shop.admin)).json()["deleted"] is True
        role = (await client.get(f"{URL}/{role['id']}", headers=shop.admin)).json()["role"]
        assert role["permissions"] == ["order:read", "product:read"]


class TestCheck:
    URL = "/admin/permissions/check"

    async def test_anonymous(self, client):
        response = await client.post(self.URL, json={"permissions": ["product:read"]})
        assert response.status_code == 401

    @pytest.mark.parametrize(
        ("permissions", "pointer"),
        [([], "/permissions"), (["x"], "/permissions/0"), (["a:b"] * 1001, "/permissions")],
    )
    async def test_bad_input(self, client, shop, permissions, pointer):
        response = await client.post(
            self.URL, headers=shop.admin, json={"permissions": permissions}
        )
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer

    async def test_own(self, client, shop):
        headers = await shop.user("product:*", "order:read")
        asked = ["product:delete", "order:read", "order:update", "product:*", "*:read"]
        response = await client.post(self.URL, headers=headers, json={"permissions": asked})
        assert response.json() == {
            "results": dict(zip(asked, [True, True, False, True, False], strict=True))
        }

    async def test_another_users(self, client, shop, other_shop):
        headers = await shop.user("product:read")
        me = (await client.get("/admin/users/me", headers=headers)).json()["user"]
        body = {"permissions": ["product:read", "order:read"], "user_id": str(shop.owner_id)}
        assert (await client.post(self.URL, headers=headers, json=body)).status_code == 403
        body["user_id"] = me["id"]
        expected = {"results": {"product:read": True, "order:read": False}}
        for caller in (headers, shop.admin):
            assert (await client.post(self.URL, headers=caller, json=body)).json() == expected
        body["user_id"] = str(other_shop.owner_id)
        assert (await client.post(self.URL, headers=shop.admin, json=body)).status_code == 404

    async def test_inactive_user_may_nothing(self, client, shop):
        headers = await shop.user("product:read")
        me = (await client.get("/admin/users/me", headers=headers)).json()["user"]
        url = f"/admin/users/{me['id']}"
        await client.post(url, headers=shop.admin, json={"is_active": False})
        body = {"permissions": ["product:read"], "user_id": me["id"]}
        response = await client.post(self.URL, headers=shop.admin, json=body)
        assert response.json() == {"results": {"product:read": False}}
