"""Inventory levels: what is there, what is promised, what is left."""

from uuid import uuid4

import pytest

from impact.domains.inventory.schemas import InventoryLevelList, InventoryLevelResponse
from support.shapes import refused, shaped

URL = "/admin/inventory-levels"


async def level(client, shop, variant):
    response = await client.get(URL, headers=shop.admin, params={"variant_id": variant})
    (found,) = shaped(response, InventoryLevelList).inventory_levels
    return found


class TestAccess:
    async def test_anonymous(self, client, shop):
        one = f"{URL}/{(await level(client, shop, await shop.variant())).id}"
        for method, url in (("GET", URL), ("GET", one), ("POST", one)):
            body = {"stocked_quantity": 1} if method == "POST" else None
            refused(await client.request(method, url, json=body), 401)

    async def test_other_tenant(self, client, shop, other_shop):
        variant = await shop.variant()
        one = f"{URL}/{(await level(client, shop, variant)).id}"
        for params in ({}, {"variant_id": variant}):
            response = await client.get(URL, headers=other_shop.admin, params=params)
            assert shaped(response, InventoryLevelList).count == 0
        refused(await client.get(one, headers=other_shop.admin), 404)
        body = {"stocked_quantity": 0}
        refused(await client.post(one, headers=other_shop.admin, json=body), 404)
        assert (await level(client, shop, variant)).stocked_quantity == 10

    async def test_permission(self, client, shop):
        one = f"{URL}/{(await level(client, shop, await shop.variant())).id}"
        reader, writer = await shop.user("inventory:read"), await shop.user("inventory:update")
        body = {"stocked_quantity": 1}
        for url in (URL, one):
            refused(await client.get(url, headers=writer), 403)
            assert (await client.get(url, headers=reader)).status_code == 200
        refused(await client.post(one, headers=reader, json=body), 403)
        shaped(await client.post(one, headers=writer, json=body), InventoryLevelResponse)


class TestList:
    async def test_filters(self, client, shop):
        variants = [await shop.variant(stock=stock) for stock in (0, 5, 9)]
        await shop.order(variants[2], quantity=6)
        zero, five, nine = variants
        for params, wanted in (
            ({}, variants),
            ({"variant_id[]": [zero, nine, str(uuid4())]}, [zero, nine]),
            ({"available_below": 1}, [zero]),
            ({"available_below": 4}, [zero, nine]),
            ({"available_below": 0}, []),
            ({"available_below": 4, "variant_id": five}, []),
        ):
            response = await client.get(
                URL, headers=shop.admin, params={"order": "created_at", **params}
            )
            found = shaped(response, InventoryLevelList)
            assert [str(each.variant_id) for each in found.inventory_levels] == wanted, params
            assert found.count == len(wanted)

    async def test_pages(self, client, shop):
        for _ in range(3):
            await shop.variant()
        whole = (await client.get(URL, headers=shop.admin)).json()["inventory_levels"]
        seen, params = [], {"limit": 2}
        for _ in range(2):
            page = (await client.get(URL, headers=shop.admin, params=params)).json()
            seen += page["inventory_levels"]
            params["cursor"] = page["next_cursor"]
        assert (seen, params["cursor"]) == (whole, None)

    @pytest.mark.parametrize(
        ("params", "parameter"),
        [
            ({"available_below": -1}, "available_below"),
            ({"available_below": 10**30}, "available_below"),
            ({"available_below": "x"}, "available_below"),
            ({"variant_id": "x"}, "variant_id"),
            ({"order": "sku"}, "order"),
        ],
        ids=str,
    )
    async def test_bad_input(self, client, shop, params, parameter):
        refused(await client.get(URL, headers=shop.admin, params=params), 400, place=parameter)


class TestUpdate:
    async def test_what_is_promised_stays_promised(self, client, shop):
        variant = await shop.variant(stock=5)
        await shop.order(variant, quantity=3)
        found = await level(client, shop, variant)
        assert (found.stocked_quantity, found.reserved_quantity, found.available_quantity) == (
            *(5, 3),
            2,
        )
        url = f"{URL}/{found.id}"
        for stocked in (1, 10**9):
            response = await client.post(
                url, headers=shop.admin, json={"stocked_quantity": stocked}
            )
            changed = shaped(response, InventoryLevelResponse).inventory_level
            assert changed.available_quantity == stocked - 3
            assert changed.updated_at > found.updated_at
        one = await client.get(url, headers=shop.admin)
        assert one.json() == response.json()

    @pytest.mark.parametrize("quantity", [-1, 10**9 + 1, 10**30, 1.5, "two", None])
    async def test_quantities(self, client, shop, quantity):
        found = await level(client, shop, await shop.variant())
        body = {"stocked_quantity": quantity}
        response = await client.post(f"{URL}/{found.id}", headers=shop.admin, json=body)
        refused(response, 400, place="/stocked_quantity")

    async def test_nothing_else_can_be_set(self, client, shop):
        found = await level(client, shop, await shop.variant())
        body = {"stocked_quantity": 1, "reserved_quantity": 0}
        refused(await client.post(f"{URL}/{found.id}", headers=shop.admin, json=body), 400)

    async def test_an_unknown_one(self, client, shop):
        body = {"stocked_quantity": 1}
        refused(await client.post(f"{URL}/{uuid4()}", headers=shop.admin, json=body), 404)
