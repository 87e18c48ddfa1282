"""Customers and addresses as staff see them."""

from uuid import uuid4

import pytest

URL = "/admin/customers"


async def create(client, headers, **changes):
    body = {"email": f"{uuid4().hex}@mail.test", **changes}
    response = await client.post(URL, headers=headers, json=body)
    assert response.status_code == 200, response.text
    return response.json()["customer"]


class TestList:
    async def test_anonymous(self, client):
        assert (await client.get(URL)).status_code == 401

    async def test_own_tenant(self, client, shop, other_shop):
        await create(client, other_shop.admin)
        body = (await client.get(URL, headers=shop.admin)).json()
        assert body == {"customers": [], "count": 0, "offset": 0, "limit": 50, "next_cursor": None}

    async def test_permission(self, client, shop):
        headers = await shop.user("order:read")
        assert (await client.get(URL, headers=headers)).status_code == 403

    async def test_filters(self, client, shop):
        ada = await create(client, shop.admin, first_name="Ada", last_name="Lovelace")
        await create(client, shop.admin, first_name="100%", company_name="Percent Ltd")
        for params in (
            {"q": "LOVE"},
            {"q": ada["email"]},
            {"email": ada["email"].upper()},
            {"id": ada["id"]},
        ):
            body = (await client.get(URL, headers=shop.admin, params=params)).json()
            assert [customer["id"] for customer in body["customers"]] == [ada["id"]]
        for params, count in (({"q": "%"}, 1), ({"has_account": True}, 0)):
            body = (await client.get(URL, headers=shop.admin, params=params)).json()
            assert body["count"] == count

    @pytest.mark.parametrize("order", ["-created_at", "email", "-email", "id"])
    async def test_keyset(self, client, shop, order):
        for _ in range(5):
            await create(client, shop.admin)
        whole = (await client.get(URL, headers=shop.admin, params={"order": order})).json()
        seen, params = [], {"order": order, "limit": 2}
        while True:
            body = (await client.get(URL, headers=shop.admin, params=params)).json()
            seen += body["customers"]
            if body["next_cursor"] is None:
                break
            params["cursor"] = body["next_cursor"]
        assert seen == whole["customers"]

    async def test_bad_cursor(self, client, shop):
        response = await client.get(URL, headers=shop.admin, params={"cursor": "abc"})
        assert response.status_code == 400
        assert response.json()["errors"][0]["parameter"] == "cursor"


class TestCreate:
    async def test_permission(self, client, shop):
        headers = await shop.user("customer:read")
        response = await client.post(URL, headers=headers, json={"email": "a@b.test"})
        assert response.status_code == 403

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"email": "no"}, "/email"),
            ({"phone": 5}, "/phone"),
            ({"metadata": {"x": "y" * 17_000}}, "/metadata"),
        ],
    )
    async def test_bad_input(self, client, shop, changes, pointer):
        body = {"email": "a@b.test", **changes}
        response = await client.post(URL, headers=shop.admin, json=body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer

    async def test_duplicate_email(self, client, shop):
        customer = await create(client, shop.admin)
        email = customer["email"].upper()
        response = await client.post(URL, headers=shop.admin, json={"email": email})
        assert response.status_code == 409
        assert email in response.json()["message"]

    async def test_creates(self, client, shop, other_shop):
        given = {"first_name": "Ada", "phone": "+44 1", "metadata": {"vip": True}}
        customer = await create(client, shop.admin, **given)
        assert {key: customer[key] for key in given} == given
        assert (customer["has_account"], customer["addresses"]) == (False, [])
        assert not any("password" in key for key in customer)
        await create(client, other_shop.admin, email=customer["email"])


class TestUpdate:
    async def test_other_tenants(self, client, shop, other_shop):
        foreign = await create(client, other_shop.admin)
        for method in ("GET", "POST", "DELETE"):
            response = await client.request(
                method,
                f"{URL}/{foreign['id']}",
                headers=shop.admin,
                json={} if method == "POST" else None,
            )
            assert response.status_code == 404

    async def test_duplicate_email(self, client, shop):
        one, two = await create(client, shop.admin), await create(client, shop.admin)
        url = f"{URL}/{one['id']}"
        change = {"email": two["email"]}
        assert (await client.post(url, headers=shop.admin, json=change)).status_code == 409
        change = {"email": one["email"].upper()}
        assert (await client.post(url, headers=shop.admin, json=change)).status_code == 200

    async def test_updates(self, client, shop):
        customer = await create(client, shop.admin, first_name="Ada", metadata={"a": 1})
        change = {"first_name": None, "metadata": {"b": 2}, "company_name": "Engines"}
        url = f"{URL}/{customer['id']}"
        changed = (await client.post(url, headers=shop.admin, json=change)).json()["customer"]
        assert {key: changed[key] for key in change} == change
        assert changed["email"] == customer["email"]
        assert (await client.get(url, headers=shop.admin)).json()["customer"] == changed


class TestDelete:
    async def test_deletes(self, client, shop):
        customer = await create(client, shop.admin)
        url = f"{URL}/{customer['id']}"
        await client.post(f"{url}/addresses", headers=shop.admin, json={"city": "Paris"})
        response = await client.delete(url, headers=shop.admin)
        assert response.json() == {"id": customer["id"], "object": "customer", "deleted": True}
        assert (await client.get(url, headers=shop.admin)).status_code == 404


class TestAddresses:
    async def test_of_another_customer(self, client, shop):
        one, two = await create(client, shop.admin), await create(client, shop.admin)
        added = await client.post(
            f"{URL}/{one['id']}/addresses", headers=shop.admin, json={"city": "Paris"}
        )
        address = added.json()["customer"]["addresses"][0]
        url = f"{URL}/{two['id']}/addresses/{address['id']}"
        assert (await client.get(url, headers=shop.admin)).status_code == 404
        assert (await client.post(url, headers=shop.admin, json={})).status_code == 404
        assert (await client.delete(url, headers=shop.admin)).status_code == 404

    async def test_unknown_customer(self, client, shop):
        url = f"{URL}/{uuid4()}/addresses"
        assert (await client.get(url, headers=shop.admin)).status_code == 404
        assert (await client.post(url, headers=shop.admin, json={})).status_code == 404

    async def test_bad_country(self, client, shop):
        customer = await create(client, shop.admin)
        response = await client.post(
            f"{URL}/{customer['id']}/addresses", headers=shop.admin, json={"country_code": "FRA"}
        )
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/country_code"

    async def test_one_default_of_each_kind(self, client, shop):
        customer = await create(client, shop.admin)
        url = f"{URL}/{customer['id']}/addresses"
        for city in ("Paris", "Lyon"):
            body = {
                "city": city,
                "is_default_shipping": True,
                "is_default_billing": city == "Paris",
            }
            answer = (await client.post(url, headers=shop.admin, json=body)).json()

        def defaults(answer):
            return [
                (address["city"], address["is_default_shipping"], address["is_default_billing"])
                for address in answer["customer"]["addresses"]
            ]

        assert defaults(answer) == [("Paris", False, True), ("Lyon", True, False)]
        lyon = answer["customer"]["addresses"][1]
        change = {"is_default_billing": True, "city": "Lyon 2"}
        answer = await client.post(f"{url}/{lyon['id']}", headers=shop.admin, json=change)
        assert defaults(answer.json()) == [("Paris", False, False), ("Lyon 2", True, True)]

    async def test_lists_and_deletes(self, client, shop):
        customer = await create(client, shop.admin)
        url = f"{URL}/{customer['id']}/addresses"
        for city in ("Paris", "Lyon", "Nice"):
            await client.post(url, headers=shop.admin, json={"city": city})
        params = {"order": "created_at", "limit": 2}
        first = (await client.get(url, headers=shop.admin, params=params)).json()
        assert (first["count"], [a["city"] for a in first["addresses"]]) == (3, ["Paris", "Lyon"])
        params["cursor"] = first["next_cursor"]
        rest = (await client.get(url, headers=shop.admin, params=params)).json()
        assert [a["city"] for a in rest["addresses"]] == ["Nice"]
        beyond = (await client.get(url, headers=shop.admin, params={"offset": 10})).json()
        assert (beyond["count"], beyond["addresses"]) == (3, [])
        address = first["addresses"][0]
        got = await client.get(f"{url}/{address['id']}", headers=shop.admin)
        assert got.json() == {"address": address}
        answer = (await client.delete(f"{url}/{address['id']}", headers=shop.admin)).json()
        assert (answer["id"], answer["object"], answer["deleted"]) == (
            address["id"],
            "customer_address",
            True,
        )
        assert [a["city"] for a in answer["parent"]["addresses"]] == ["Lyon", "Nice"]
