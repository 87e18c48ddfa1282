"""Tenants: headquarters keeps the register, a shop knows itself alone."""

from uuid import uuid4

import pytest

URL = "/admin/tenants"


def new_tenant(**changes):
    return {"id": f"new-{uuid4().hex[:10]}", "name": "New", **changes}


class TestList:
    async def test_anonymous(self, client):
        assert (await client.get(URL)).status_code == 401

    async def test_shop_sees_itself(self, client, shop, other_shop):
        body = (await client.get(URL, headers=shop.admin)).json()
        assert [tenant["id"] for tenant in body["tenants"]] == [shop.tenant]
        assert body["count"] == 1

    async def test_permission(self, client, shop):
        headers = await shop.user("user:read")
        assert (await client.get(URL, headers=headers)).status_code == 403

    async def test_headquarters_sees_all(self, client, hq, shop, other_shop):
        params = {"id": [shop.tenant, other_shop.tenant], "order": "id", "limit": 1}
        first = (await client.get(URL, headers=hq, params=params)).json()
        params["cursor"] = first["next_cursor"]
        second = (await client.get(URL, headers=hq, params=params)).json()
        seen = [body["tenants"][0]["id"] for body in (first, second)]
        assert seen == sorted([shop.tenant, other_shop.tenant])
        assert (first["count"], second["next_cursor"]) == (2, None)
        params = {"q": shop.tenant.upper(), "status": "active", "order": "-name"}
        body = (await client.get(URL, headers=hq, params=params)).json()
        assert [tenant["id"] for tenant in body["tenants"]] == [shop.tenant]


class TestGet:
    async def test_other_tenant(self, client, shop, other_shop):
        response = await client.get(f"{URL}/{other_shop.tenant}", headers=shop.admin)
        assert response.status_code == 404

    async def test_gets(self, client, shop, hq):
        for headers in (shop.admin, hq, {**hq, "x-tenant-id": shop.tenant}):
            tenant = (await client.get(f"{URL}/{shop.tenant}", headers=headers)).json()["tenant"]
            assert (tenant["id"], tenant["status"]) == (shop.tenant, "active")


class TestCreate:
    async def test_not_by_a_shop(self, client, shop):
        response = await client.post(URL, headers=shop.admin, json=new_tenant())
        assert response.status_code == 403

    async def test_permission(self, client, hq):
        assert (await client.post(URL, json=new_tenant())).status_code == 401

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"id": "Paris"}, "/id"),
            ({"id": "9lives"}, "/id"),
            ({"id": "none"}, "/id"),
            ({"id": "admin"}, "/id"),
            ({"name": ""}, "/name"),
            ({"currency_code": "EURO"}, "/currency_code"),
            ({"settings": {"x": "y" * 17_000}}, "/settings"),
            ({"owner": {"email": "a@b.test", "password": "x"}}, "/owner/password"),
        ],
    )
    async def test_bad_input(self, client, hq, changes, pointer):
        response = await client.post(URL, headers=hq, json=new_tenant(**changes))
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer

    async def test_duplicate(self, client, hq, shop):
        owner = {"email": "second@owner.test", "password": "a long password"}
        body = new_tenant(id=shop.tenant, owner=owner)
        response = await client.post(URL, headers=hq, json=body)
        assert response.status_code == 409
        assert f"'{shop.tenant}'" in response.json()["message"]
        users = await client.get("/admin/users", headers=shop.admin)
        assert users.json()["count"] == 1

    async def test_opens_a_shop(self, client, hq):
        owner = {"email": "first@owner.test", "password": "a long password"}
        body = new_tenant(currency_code="usd", settings={"theme": "dark"}, owner=owner)
        answer = (await client.post(URL, headers=hq, json=body)).json()
        tenant = answer["tenant"]
        assert (tenant["currency_code"], tenant["settings"]) == ("usd", {"theme": "dark"})
        store = {"x-publishable-api-key": answer["publishable_api_key"]}
        assert (await client.get("/store/products", headers=store)).status_code == 200
        token = (
            await client.post(
                "/auth/user/emailpass", headers={"x-tenant-id": body["id"]}, json=owner
            )
        ).json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        roles = (await client.get("/admin/roles", headers=headers)).json()
        assert roles["count"] == 4
        me = (await client.get("/admin/users/me", headers=headers)).json()["user"]
        assert [(role["name"], role["spans_tenants"]) for role in me["roles"]] == [("owner", False)]

    async def test_without_an_owner(self, client, hq):
        body = new_tenant()
        answer = (await client.post(URL, headers=hq, json=body)).json()
        assert answer["publishable_api_key"] is None
        there = {**hq, "x-tenant-id": body["id"]}
        assert (await client.get("/admin/users", headers=there)).json()["count"] == 0


class TestUpdate:
    async def test_other_tenant(self, client, shop, other_shop):
        response = await client.post(
            f"{URL}/{other_shop.tenant}", headers=shop.admin, json={"name": "Taken"}
        )
        assert response.status_code == 404

    @pytest.mark.parametrize("change", [{"status": "suspended"}, {"currency_code": "usd"}])
    async def test_for_headquarters_alone(self, client, shop, change):
        response = await client.post(f"{URL}/{shop.tenant}", headers=shop.admin, json=change)
        assert response.status_code == 403

    async def test_bad_status(self, client, shop, hq):
        response = await client.post(f"{URL}/{shop.tenant}", headers=hq, json={"status": "closed"})
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/status"

    async def test_unknown(self, client, hq):
        response = await client.post(f"{URL}/nowhere", headers=hq, json={"name": "x"})
        assert response.status_code == 404

    async def test_headquarters_stays(self, client, hq):
        response = await client.post(f"{URL}/hq", headers=hq, json={"status": "suspended"})
        assert response.status_code == 409

    async def test_own_name_and_settings(self, client, shop):
        change = {"name": "Chez nous", "settings": {"a": 1}}
        response = await client.post(f"{URL}/{shop.tenant}", headers=shop.admin, json=change)
        tenant = response.json()["tenant"]
        assert {key: tenant[key] for key in change} == change

    async def test_suspension_holds_at_once(self, client, shop, hq):
        url = f"{URL}/{shop.tenant}"
        await client.post(url, headers=hq, json={"status": "suspended"})
        assert (await client.get("/admin/products", headers=shop.admin)).status_code == 403
        assert (await client.get("/store/products", headers=shop.store)).status_code == 403
        await client.post(url, headers=hq, json={"status": "active"})
        assert (await client.get("/admin/products", headers=shop.admin)).status_code == 200
