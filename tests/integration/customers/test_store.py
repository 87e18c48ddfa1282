"""Customers in the storefront: registering, and reaching their own rows alone."""

import asyncio
from uuid import uuid4

import pytest

ME = "/store/customers/me"
REGISTER = "/auth/customer/emailpass/register"


async def register(client, shop, **changes):
    """The headers of a new customer, and the e-mail."""
    body = {"email": f"{uuid4().hex}@mail.test", "password": "a long password", **changes}
    response = await client.post(REGISTER, headers=shop.store, json=body)
    assert response.status_code == 200, response.text
    token = response.json()["token"]
    return {**shop.store, "authorization": f"Bearer {token}"}, body["email"]


class TestRegister:
    async def test_without_a_shop(self, client):
        body = {"email": "a@b.test", "password": "a long password"}
        assert (await client.post(REGISTER, json=body)).status_code == 400

    @pytest.mark.parametrize(
        ("changes", "pointer"), [({"email": "x"}, "/email"), ({"password": "short"}, "/password")]
    )
    async def test_bad_input(self, client, shop, changes, pointer):
        body = {"email": "a@b.test", "password": "a long password", **changes}
        response = await client.post(REGISTER, headers=shop.store, json=body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer

    async def test_duplicate_email(self, client, shop, other_shop):
        _, email = await register(client, shop)
        body = {"email": email.upper(), "password": "a long password"}
        response = await client.post(REGISTER, headers=shop.store, json=body)
        assert response.status_code == 409
        assert email.upper() in response.json()["message"]
        await register(client, other_shop, email=email)

    async def test_racing_registrations(self, client, shop):
        body = {"email": "race@mail.test", "password": "a long password"}
        responses = await asyncio.gather(
            *(client.post(REGISTER, headers=shop.store, json=body) for _ in range(4))
        )
        assert sorted(r.status_code for r in responses) == [200, 409, 409, 409]

    async def test_does_not_take_over_a_guest(self, client, shop):
        """Nobody has proved that the e-mail is theirs: the guest's record stays apart."""
        body = {"email": "guest@mail.test", "first_name": "Known"}
        guest = (await client.post("/admin/customers", headers=shop.admin, json=body)).json()
        headers, _ = await register(client, shop, email="guest@mail.test")
        me = (await client.get(ME, headers=headers)).json()["customer"]
        assert me["id"] != guest["customer"]["id"]
        assert me["first_name"] is None

    async def test_logs_in_afterwards(self, client, shop):
        _, email = await register(client, shop)
        response = await client.post(
            "/auth/customer/emailpass",
            headers=shop.store,
            json={"email": email, "password": "a long password"},
        )
        headers = {**shop.store, "authorization": f"Bearer {response.json()['token']}"}
        assert (await client.get(ME, headers=headers)).json()["customer"]["email"] == email

    async def test_second_step(self, client, shop):
        headers, email = await register(client, shop)
        url = "/store/customers"
        other = {"email": "other@mail.test", "first_name": "Ada"}
        response = await client.post(url, headers=headers, json=other)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/email"
        body = {"email": email, "first_name": "Ada", "last_name": "King", "phone": "1"}
        customer = (await client.post(url, headers=headers, json=body)).json()["customer"]
        assert {key: customer[key] for key in body} == body
        assert customer["has_account"] is True
        assert (await client.post(url, headers=shop.store, json=body)).status_code == 401


class TestMe:
    async def test_anonymous(self, client, shop):
        assert (await client.get(ME, headers=shop.store)).status_code == 401

    async def test_token_of_another_shop(self, client, shop, other_shop):
        headers, _ = await register(client, other_shop)
        response = await client.get(ME, headers={**headers, **shop.store})
        assert response.status_code == 403
        assert response.json()["code"] == "tenant_mismatch"

    async def test_token_of_staff(self, client, shop):
        assert (await client.get(ME, headers={**shop.store, **shop.admin})).status_code == 401

    async def test_customers_token_opens_no_admin_route(self, client, shop):
        headers, _ = await register(client, shop)
        response = await client.get("/admin/customers", headers=headers)
        assert response.status_code == 401

    async def test_email_cannot_be_changed(self, client, shop):
        headers, _ = await register(client, shop)
        response = await client.post(ME, headers=headers, json={"email": "new@mail.test"})
        assert response.status_code == 400

    async def test_updates(self, client, shop):
        headers, email = await register(client, shop, first_name="Ada", last_name="Byron")
        change = {"last_name": "King", "metadata": {"size": "m"}}
        customer = (await client.post(ME, headers=headers, json=change)).json()["customer"]
        assert (customer["first_name"], customer["last_name"]) == ("Ada", "King")
        assert (customer["email"], customer["metadata"]) == (email, {"size": "m"})
        assert (await client.get(ME, headers=headers)).json()["customer"] == customer

    async def test_deleted_customer(self, client, shop):
        headers, _ = await register(client, shop)
        id = (await client.get(ME, headers=headers)).json()["customer"]["id"]
        await client.delete(f"/admin/customers/{id}", headers=shop.admin)
        for method, url in (
            ("GET", ME),
            ("POST", ME),
            ("POST", "/store/customers"),
            ("GET", f"{ME}/addresses"),
            ("POST", f"{ME}/addresses"),
            ("DELETE", f"{ME}/addresses/{uuid4()}"),
        ):
            body = {} if method == "POST" else None
            response = await client.request(method, url, headers=headers, json=body)
            assert response.status_code == 401, (method, url)


class TestAddresses:
    URL = f"{ME}/addresses"

    async def test_anonymous(self, client, shop):
        assert (await client.get(self.URL, headers=shop.store)).status_code == 401
        response = await client.post(self.URL, headers=shop.store, json={})
        assert response.status_code == 401

    async def test_another_customers(self, client, shop):
        mine, _ = await register(client, shop)
        theirs, _ = await register(client, shop)
        added = await client.post(self.URL, headers=theirs, json={"city": "Lyon"})
        address = added.json()["customer"]["addresses"][0]
        url = f"{self.URL}/{address['id']}"
        assert (await client.get(url, headers=mine)).status_code == 404
        assert (await client.post(url, headers=mine, json={"city": "x"})).status_code == 404
        assert (await client.delete(url, headers=mine)).status_code == 404
        assert (await client.get(self.URL, headers=mine)).json()["count"] == 0
        assert (await client.get(url, headers=theirs)).json()["address"] == address

    async def test_another_tenants(self, client, shop, other_shop):
        mine, _ = await register(client, shop)
        theirs, _ = await register(client, other_shop)
        added = await client.post(self.URL, headers=theirs, json={"city": "Lyon"})
        url = f"{self.URL}/{added.json()['customer']['addresses'][0]['id']}"
        assert (await client.get(url, headers=mine)).status_code == 404
        assert (await client.delete(url, headers=mine)).status_code == 404

    async def test_bad_input(self, client, shop):
        headers, _ = await register(client, shop)
        response = await client.post(self.URL, headers=headers, json={"customer_id": str(uuid4())})
        assert response.status_code == 400

    async def test_adds_changes_lists_deletes(self, client, shop):
        headers, _ = await register(client, shop)
        for city in ("Paris", "Lyon"):
            body = {"city": city, "country_code": "fr", "is_default_shipping": True}
            answer = await client.post(self.URL, headers=headers, json=body)
        paris, lyon = answer.json()["customer"]["addresses"]
        assert (paris["is_default_shipping"], lyon["is_default_shipping"]) == (False, True)
        url = f"{self.URL}/{paris['id']}"
        await client.post(url, headers=headers, json={"is_default_shipping": True})
        body = (await client.get(self.URL, headers=headers, params={"order": "created_at"})).json()
        assert [a["is_default_shipping"] for a in body["addresses"]] == [True, False]
        assert (await client.delete(url, headers=headers)).json()["object"] == "address"
        body = (await client.get(self.URL, headers=headers)).json()
        assert [a["city"] for a in body["addresses"]] == ["Lyon"]
