"""Users: who may see and change them, and what stops a shop from locking itself out."""

import asyncio
from uuid import uuid4

import pytest

URL = "/admin/users"


def new_user(**changes):
    return {"email": f"{uuid4().hex}@staff.test", "password": "a long password", **changes}


async def create(client, headers, **changes):
    response = await client.post(URL, headers=headers, json=new_user(**changes))
    assert response.status_code == 200, response.text
    return response.json()["user"]


async def role_named(client, headers, name):
    response = await client.get("/admin/roles", headers=headers, params={"name": name})
    return response.json()["roles"][0]


async def own_id(client, headers):
    return (await client.get(f"{URL}/me", headers=headers)).json()["user"]["id"]


async def log_in(client, tenant, email, password):
    return await client.post(
        "/auth/user/emailpass",
        headers={"x-tenant-id": tenant},
        json={"email": email, "password": password},
    )


class TestList:
    async def test_anonymous(self, client):
        assert (await client.get(URL)).status_code == 401

    async def test_other_tenant(self, client, shop, other_shop):
        response = await client.get(URL, headers={**shop.admin, "x-tenant-id": other_shop.tenant})
        assert response.status_code == 403
        assert response.json()["code"] == "tenant_mismatch"

    async def test_shows_only_own_tenant(self, client, shop, other_shop):
        await create(client, other_shop.admin)
        body = (await client.get(URL, headers=shop.admin)).json()
        assert [user["email"] for user in body["users"]] == [f"owner@{shop.tenant}.test"]
        assert body["count"] == 1

    async def test_permission(self, client, shop):
        headers = await shop.user("role:read")
        response = await client.get(URL, headers=headers)
        assert response.status_code == 403
        assert "user:read" in response.json()["message"]

    async def test_bad_order(self, client, shop):
        response = await client.get(URL, headers=shop.admin, params={"order": "password_hash"})
        assert response.status_code == 400
        assert response.json()["errors"][0]["parameter"] == "order"

    async def test_filters(self, client, shop):
        ada = await create(client, shop.admin, first_name="Ada", last_name="Lovelace")
        await create(client, shop.admin, first_name="Grace")
        for params in ({"q": "lOVELA"}, {"q": ada["email"][:12]}, {"email": ada["email"].upper()}):
            body = (await client.get(URL, headers=shop.admin, params=params)).json()
            assert [user["id"] for user in body["users"]] == [ada["id"]]
        await client.post(f"{URL}/{ada['id']}", headers=shop.admin, json={"is_active": False})
        body = (await client.get(URL, headers=shop.admin, params={"is_active": False})).json()
        assert [user["id"] for user in body["users"]] == [ada["id"]]
        owner = await role_named(client, shop.admin, "owner")
        body = (await client.get(URL, headers=shop.admin, params={"role_id": owner["id"]})).json()
        assert [user["email"] for user in body["users"]] == [f"owner@{shop.tenant}.test"]

    @pytest.mark.parametrize("order", ["-created_at", "email", "-updated_at"])
    async def test_keyset(self, client, shop, order):
        for _ in range(4):
            await create(client, shop.admin)
        whole = (await client.get(URL, headers=shop.admin, params={"order": order})).json()
        seen, cursor = [], None
        while True:
            params = {"order": order, "limit": 2, **({"cursor": cursor} if cursor else {})}
            body = (await client.get(URL, headers=shop.admin, params=params)).json()
            assert body["count"] == 5
            seen += body["users"]
            cursor = body["next_cursor"]
            if cursor is None:
                break
        assert seen == whole["users"]

    async def test_hides_the_hash(self, client, shop):
        assert "password" not in (await client.get(URL, headers=shop.admin)).text


class TestGet:
    async def test_other_tenants_user(self, client, shop, other_shop):
        response = await client.get(f"{URL}/{other_shop.owner_id}", headers=shop.admin)
        assert response.status_code == 404

    async def test_me(self, client, shop):
        headers = await shop.user("product:read")
        response = await client.get(f"{URL}/me", headers=headers)
        assert response.status_code == 200
        assert len(response.json()["user"]["roles"]) == 1

    async def test_me_from_headquarters(self, client, shop, hq):
        response = await client.get(f"{URL}/me", headers={**hq, "x-tenant-id": shop.tenant})
        assert response.json()["user"]["email"] == "owner@hq.test"


class TestCreate:
    async def test_permission(self, client, shop):
        headers = await shop.user("user:read")
        assert (await client.post(URL, headers=headers, json=new_user())).status_code == 403

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"email": "nobody"}, "/email"),
            ({"password": "short"}, "/password"),
            ({"role_ids": ["no"]}, "/role_ids/0"),
            ({"role_ids": [str(uuid4())]}, "/role_ids/0"),
        ],
    )
    async def test_bad_input(self, client, shop, changes, pointer):
        response = await client.post(URL, headers=shop.admin, json=new_user(**changes))
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer

    async def test_duplicate_email(self, client, shop):
        user = await create(client, shop.admin)
        response = await client.post(
            URL, headers=shop.admin, json=new_user(email=user["email"].upper())
        )
        assert response.status_code == 409
        assert f"email '{user['email'].upper()}' already exists" in response.json()["message"]

    async def test_cannot_grant_what_one_lacks(self, client, shop):
        headers = await shop.user("user:create", "product:read")
        owner = await role_named(client, shop.admin, "owner")
        response = await client.post(URL, headers=headers, json=new_user(role_ids=[owner["id"]]))
        assert response.status_code == 403
        assert "'*:*'" in response.json()["message"]

    async def test_can_log_in_and_work(self, client, shop):
        support = await role_named(client, shop.admin, "support")
        user = await create(client, shop.admin, role_ids=[support["id"], support["id"]])
        assert [role["name"] for role in user["roles"]] == ["support"]
        token = (await log_in(client, shop.tenant, user["email"], "a long password")).json()
        headers = {"authorization": f"Bearer {token['token']}"}
        assert (await client.get("/admin/products", headers=headers)).status_code == 200
        assert (await client.get(URL, headers=headers)).status_code == 403


class TestUpdate:
    async def test_unknown(self, client, shop):
        response = await client.post(f"{URL}/{uuid4()}", headers=shop.admin, json={})
        assert response.status_code == 404

    async def test_other_tenants_user(self, client, shop, other_shop):
        response = await client.post(
            f"{URL}/{other_shop.owner_id}", headers=shop.admin, json={"first_name": "x"}
        )
        assert response.status_code == 404

    @pytest.mark.parametrize("change", [{"password": "taken over now"}, {"email": "a@b.test"}])
    async def test_weaker_user_cannot_take_over_the_owner(self, client, shop, change):
        headers = await shop.user("user:update", "user:read")
        response = await client.post(f"{URL}/{shop.owner_id}", headers=headers, json=change)
        assert response.status_code == 403
        assert "'*:*'" in response.json()["message"]

    async def test_not_oneself(self, client, shop):
        response = await client.post(
            f"{URL}/{shop.owner_id}", headers=shop.admin, json={"is_active": False}
        )
        assert response.status_code == 400
        assert response.json()["code"] == "not_allowed"

    async def test_not_the_last_administrator(self, client, shop, hq):
        response = await client.post(
            f"{URL}/{shop.owner_id}",
            headers={**hq, "x-tenant-id": shop.tenant},
            json={"is_active": False},
        )
        assert response.status_code == 409

    async def test_deactivation_holds_at_once(self, client, shop):
        headers = await shop.user("product:read")
        id = await own_id(client, headers)
        response = await client.post(f"{URL}/{id}", headers=shop.admin, json={"is_active": False})
        assert response.json()["user"]["is_active"] is False
        assert (await client.get("/admin/products", headers=headers)).status_code == 401

    async def test_duplicate_email(self, client, shop):
        one, two = await create(client, shop.admin), await create(client, shop.admin)
        response = await client.post(
            f"{URL}/{one['id']}", headers=shop.admin, json={"email": two["email"]}
        )
        assert response.status_code == 409
        assert two["email"] in response.json()["message"]

    async def test_names_and_password(self, client, shop):
        user = await create(client, shop.admin, first_name="Ada")
        change = {"first_name": None, "last_name": "King", "password": "another password"}
        response = await client.post(f"{URL}/{user['id']}", headers=shop.admin, json=change)
        changed = response.json()["user"]
        assert (changed["first_name"], changed["last_name"]) == (None, "King")
        old = await log_in(client, shop.tenant, user["email"], "a long password")
        new = await log_in(client, shop.tenant, user["email"], "another password")
        assert (old.status_code, new.status_code) == (401, 200)


class TestDelete:
    async def test_weaker_user(self, client, shop):
        headers = await shop.user("user:delete")
        response = await client.delete(f"{URL}/{shop.owner_id}", headers=headers)
        assert response.status_code == 403

    async def test_not_oneself(self, client, shop):
        response = await client.delete(f"{URL}/{shop.owner_id}", headers=shop.admin)
        assert response.status_code == 400

    async def test_not_the_last_administrator(self, client, shop, hq):
        url = f"{URL}/{shop.owner_id}"
        headers = {**hq, "x-tenant-id": shop.tenant}
        assert (await client.delete(url, headers=headers)).status_code == 409
        await shop.user("role:update", "user:update")
        assert (await client.delete(url, headers=headers)).status_code == 200

    async def test_two_administrators_cannot_delete_each_other(self, client, shop):
        other = await shop.user("*:*")
        other_id = await own_id(client, other)
        responses = await asyncio.gather(
            client.delete(f"{URL}/{other_id}", headers=shop.admin),
            client.delete(f"{URL}/{shop.owner_id}", headers=other),
        )
        assert sorted(response.status_code for response in responses) in ([200, 409], [200, 401])

    async def test_deletes(self, client, shop):
        headers = await shop.user("product:read")
        id = await own_id(client, headers)
        response = await client.delete(f"{URL}/{id}", headers=shop.admin)
        assert response.json() == {"id": id, "object": "user", "deleted": True}
        assert (await client.get("/admin/products", headers=headers)).status_code == 401
        assert (await client.get(f"{URL}/{id}", headers=shop.admin)).status_code == 404


class TestRolesOfUser:
    async def test_unknown_user(self, client, shop):
        url = f"{URL}/{uuid4()}/roles"
        role = await role_named(client, shop.admin, "support")
        assert (await client.get(url, headers=shop.admin)).status_code == 404
        response = await client.post(url, headers=shop.admin, json={"role_id": role["id"]})
        assert response.status_code == 404

    async def test_other_tenants_role(self, client, shop, other_shop):
        role = await role_named(client, other_shop.admin, "support")
        response = await client.post(
            f"{URL}/{shop.owner_id}/roles", headers=shop.admin, json={"role_id": role["id"]}
        )
        assert response.status_code == 404

    async def test_cannot_give_oneself_more(self, client, shop):
        headers = await shop.user("user:update", "user:read")
        role = await role_named(client, shop.admin, "manager")
        response = await client.post(
            f"{URL}/{await own_id(client, headers)}/roles",
            headers=headers,
            json={"role_id": role["id"]},
        )
        assert response.status_code == 403

    async def test_cannot_take_what_one_lacks(self, client, shop):
        headers = await shop.user("user:update", "user:read")
        owner = await role_named(client, shop.admin, "owner")
        response = await client.delete(
            f"{URL}/{shop.owner_id}/roles/{owner['id']}", headers=headers
        )
        assert response.status_code == 403

    async def test_not_from_the_last_administrator(self, client, shop):
        owner = await role_named(client, shop.admin, "owner")
        response = await client.delete(
            f"{URL}/{shop.owner_id}/roles/{owner['id']}", headers=shop.admin
        )
        assert response.status_code == 409

    async def test_gives_and_takes_at_once(self, client, shop):
        headers = await shop.user("order:read")
        url = f"{URL}/{await own_id(client, headers)}/roles"
        analyst = await role_named(client, shop.admin, "analyst")
        assert (await client.get("/admin/products", headers=headers)).status_code == 403
        grant = {"role_id": analyst["id"]}
        response = await client.post(url, headers=shop.admin, json=grant)
        assert "analyst" in [role["name"] for role in response.json()["user"]["roles"]]
        assert (await client.post(url, headers=shop.admin, json=grant)).status_code == 409
        assert (await client.get("/admin/products", headers=headers)).status_code == 200
        body = (await client.get(url, headers=shop.admin, params={"limit": 1})).json()
        assert (body["count"], body["roles"][0]["id"]) == (2, analyst["id"])
        assert body["roles"][0]["permissions"] == ["order:read", "product:read", "report:read"]
        last = (
            await client.get(
                url, headers=shop.admin, params={"limit": 1, "cursor": body["next_cursor"]}
            )
        ).json()
        assert (len(last["roles"]), last["next_cursor"]) == (1, None)
        response = await client.delete(f"{url}/{analyst['id']}", headers=shop.admin)
        assert response.json()["deleted"] is True
        assert (await client.get("/admin/products", headers=headers)).status_code == 403
        response = await client.delete(f"{url}/{analyst['id']}", headers=shop.admin)
        assert response.status_code == 404


class TestSpanningTenants:
    async def test_shops_cannot_span(self, client, shop):
        user = await create(client, shop.admin)
        role = await role_named(client, shop.admin, "support")
        response = await client.post(
            f"{URL}/{user['id']}/roles",
            headers=shop.admin,
            json={"role_id": role["id"], "spans_tenants": True},
        )
        assert response.status_code == 403

    async def test_only_spanning_roles_reach_other_shops(self, client, shop, hq):
        role = await role_named(client, hq, "support")
        user = await create(client, hq, role_ids=[role["id"]])
        token = (await log_in(client, "hq", user["email"], "a long password")).json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        there = {**headers, "x-tenant-id": shop.tenant}
        assert (await client.get("/admin/products", headers=headers)).status_code == 200
        assert (await client.get("/admin/products", headers=there)).status_code == 403
        url = f"{URL}/{user['id']}/roles"
        assert (await client.delete(f"{url}/{role['id']}", headers=hq)).status_code == 200
        grant = {"role_id": role["id"], "spans_tenants": True}
        assert (await client.post(url, headers=hq, json=grant)).status_code == 200
        assert (await client.get("/admin/products", headers=there)).status_code == 200
        assert (await client.get(URL, headers=there)).status_code == 403

    async def test_local_administrator_of_headquarters_gains_nothing_elsewhere(self, client, hq):
        """Who holds everything at headquarters alone cannot reach the shops by any detour."""
        owner = await role_named(client, hq, "owner")
        local = await create(client, hq, role_ids=[owner["id"]])
        token = (await log_in(client, "hq", local["email"], "a long password")).json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        helper = (
            await client.post(
                "/admin/roles", headers=hq, json={"name": uuid4().hex, "permissions": []}
            )
        ).json()["role"]
        url = f"{URL}/{local['id']}/roles"
        grant = {"role_id": helper["id"], "spans_tenants": True}
        assert (await client.post(url, headers=headers, json=grant)).status_code == 403
        assert (await client.post(url, headers=hq, json=grant)).status_code == 200
        response = await client.post(
            f"/admin/roles/{helper['id']}", headers=headers, json={"permissions": ["order:read"]}
        )
        assert response.status_code == 403
        assert "across tenants" in response.json()["message"]
        response = await client.post(
            "/admin/policies",
            headers=headers,
            json={"role_id": helper["id"], "permission": "order:read"},
        )
        assert response.status_code == 403
        colleague = await create(client, headers, role_ids=[owner["id"]])
        assert [role["spans_tenants"] for role in colleague["roles"]] == [False]
        hq_owner = await own_id(client, hq)
        response = await client.delete(f"{URL}/{hq_owner}/roles/{owner['id']}", headers=headers)
        assert response.status_code == 403
        response = await client.post(
            f"{URL}/{hq_owner}", headers=headers, json={"password": "taken over now"}
        )
        assert response.status_code == 403

    async def test_headquarters_keeps_a_spanning_administrator(self, client, hq):
        owner = await role_named(client, hq, "owner")
        response = await client.delete(
            f"{URL}/{await own_id(client, hq)}/roles/{owner['id']}", headers=hq
        )
        assert response.status_code == 409
